"""Profiles: read as Dynamo's profiler writes them, or refused with the array that is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.replay.engine.profile import ENGINE, read_profile
from signalstudy.vocabulary.errors import TableError
from tests.replay.engine import simulated


def arrays(**changes):
    profile = simulated.profile()
    found = {
        "prefill_isl": profile.prefill_tokens,
        "prefill_ttft_ms": profile.prefill_ms,
        "decode_active_kv_tokens": profile.kv_tokens,
        "decode_context_length": profile.context_tokens,
        "decode_itl": profile.decode_ms,
    } | changes
    return {name: values for name, values in found.items() if values is not None}


def test_what_is_written_is_read_again(tmp_path):
    simulated.profile().write(tmp_path / "p.npz")
    profile = read_profile(tmp_path / "p.npz")
    assert profile.decode_ms.tolist() == simulated.profile().decode_ms.tolist()
    assert profile.engine == ENGINE  # the file says nothing of sizes
    assert profile.seconds_per_token == pytest.approx(1e-3)


def test_a_profile_may_say_how_large_a_replica_is(tmp_path):
    np.savez(tmp_path / "p.npz", **arrays(num_gpu_blocks=np.array(700), max_num_seqs=np.array(32)))
    profile = read_profile(tmp_path / "p.npz")
    assert profile.kv_capacity_tokens == 700 * 64
    assert profile.arguments()["max_num_seqs"] == 32


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"decode_itl": None}, "no array 'decode_itl'"),
        ({"prefill_ttft_ms": np.ones(3)}, "one time for each length"),
        ({"decode_itl": np.ones((2, 2))}, r"decode_itl is \(2, 2\)"),
        ({"decode_itl": -simulated.profile().decode_ms}, "times above 0"),
        ({"prefill_isl": simulated.profile().prefill_tokens[::-1]}, "must rise"),
        ({"decode_context_length": np.array([["a"]])}, "holds no numbers"),
        ({"max_num_seqs": np.array(0)}, "one number above 0"),
        ({"prefill_isl": np.ones((2, 2))}, "one dimension"),
    ],
)
def test_wrong_profiles_are_refused_with_the_array(tmp_path, changes, said):
    np.savez(tmp_path / "p.npz", **arrays(**changes))
    with pytest.raises(TableError, match=said) as caught:
        read_profile(tmp_path / "p.npz")
    assert "p.npz" in str(caught.value)


def test_no_profile_at_all_is_refused(tmp_path):
    with pytest.raises(TableError, match="no file"):
        read_profile(tmp_path / "p.npz")
    (tmp_path / "p.npz").write_bytes(b"not an archive")
    with pytest.raises(TableError, match="no NPZ"):
        read_profile(tmp_path / "p.npz")
    np.save(tmp_path / "p.npy", np.ones(3))
    with pytest.raises(TableError, match="no NPZ"):
        read_profile(tmp_path / "p.npy")
    np.savez(tmp_path / "o.npz", prefill_isl=np.array([{}], dtype=object))
    with pytest.raises(TableError, match="no NPZ"):
        read_profile(tmp_path / "o.npz")
