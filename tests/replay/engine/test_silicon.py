"""Timing of a named model: as the recordings have it, or one clear sentence."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from signalstudy.replay.engine.silicon import is_named_model, profile_of
from signalstudy.vocabulary.errors import ConfigurationError

NAMED = "aiconfigurator:meta-llama/Meta-Llama-3.1-70B@h200_sxm"


def test_a_name_is_told_from_a_file():
    assert is_named_model(NAMED)
    assert not is_named_model("profiles/h200.npz")


@pytest.mark.parametrize("named", ["aiconfigurator:", "aiconfigurator:llama", "aiconfigurator:@h"])
def test_half_a_name_says_how_to_write_it(named):
    with pytest.raises(ConfigurationError, match="write aiconfigurator:MODEL@GPU"):
        profile_of(named, 2)


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'signalstudy\[aiconfigurator\]'"):
        profile_of(NAMED, 2)


def test_llama_70b_on_two_h200_takes_what_the_recordings_say():
    pytest.importorskip("aiconfigurator_core", reason="the extra `aiconfigurator` is not installed")
    profile = profile_of(NAMED, 2)
    prefill = np.interp([2048, 8192], profile.prefill_tokens, profile.prefill_ms)
    assert prefill == pytest.approx([218.0, 946.0], rel=0.03)
    column = int(np.argmin(np.abs(profile.context_tokens - 2048)))
    kv = np.array([64, 128]) * profile.context_tokens[column]
    decode = np.interp(kv, profile.kv_tokens, profile.decode_ms[:, column])
    assert decode == pytest.approx([27.5, 33.2], rel=0.05)
    with pytest.raises(ConfigurationError, match="cannot predict it"):
        profile_of("aiconfigurator:nobody/nothing@h200_sxm", 2)
    with pytest.raises(ConfigurationError, match="cannot predict it"):
        profile_of("aiconfigurator:meta-llama/Meta-Llama-3.1-70B@abacus", 2)
