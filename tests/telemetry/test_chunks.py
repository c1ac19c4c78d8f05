"""Chunks are decoded to what was encoded, by both decoders alike, and damage is an error."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.telemetry.checksums import crc32c, crc32c_of
from signalstudy.telemetry.chunks import STALE_BITS, ChunkError, decode_chunks
from signalstudy.telemetry.compiled import HAS_NUMBA
from tests.house.project import ROOT
from tests.telemetry.chunk_writer import bits_of, encode

BOTH = pytest.mark.parametrize("use_numba", [False, True], ids=["numpy", "numba"])


def decoded(pieces: list[bytes], *, use_numba: bool):
    data = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    offsets = np.cumsum(lengths) - lengths
    return decode_chunks(data, offsets, lengths, use_numba=use_numba)


def walk(steps: list[int], start: int) -> list[int]:
    return [start + int(total) for total in np.cumsum([0, *steps])]


STEPS = st.one_of(
    st.sampled_from([10_000, 10_000, 10_001, 9_999, 15_000, 0]),
    st.integers(0, 1 << 14),
    st.integers(0, 1 << 21),
    st.integers(0, 1 << 40),
)
VALUES = st.one_of(
    st.sampled_from([bits_of(v) for v in (0.0, 1.0, -0.0, 1e300, 5e-324, float("inf"))]),
    st.sampled_from([STALE_BITS, 0x7FF8000000000001]),
    st.integers(0, 300).map(lambda n: bits_of(float(n))),
    st.integers(0, (1 << 64) - 1),
)
CHUNK = st.lists(st.tuples(STEPS, VALUES), min_size=0, max_size=40)


@BOTH
@settings(max_examples=25, deadline=None)
@given(chunks=st.lists(CHUNK, min_size=1, max_size=6), start=st.integers(-(1 << 40), 1 << 45))
def test_what_was_encoded_is_decoded_bit_for_bit(chunks, start, use_numba):
    times = [walk([s for s, _ in chunk[1:]], start) if chunk else [] for chunk in chunks]
    bits = [[b for _, b in chunk] for chunk in chunks]
    pieces = [encode(t, b) for t, b in zip(times, bits, strict=True)]
    found = decoded(pieces, use_numba=use_numba)
    assert found.counts.tolist() == [len(t) for t in times]
    assert found.time_ms.tolist() == list(chain(*times))
    assert found.bits.tolist() == list(chain(*bits))


@BOTH
def test_times_may_run_backwards_and_changes_reach_each_edge(use_numba):
    edges = [0, 8192, 8193, -8191, -8192, 65536, 65537, -65535, -65536, 524288, 524289, -524287]
    steps, step = [], 10_000_000
    for change in edges:
        step += change
        steps.append(step)
    times = walk([10_000_000, *steps, -5], 0)
    found = decoded([encode(times, [7] * len(times))], use_numba=use_numba)
    assert found.time_ms.tolist() == times


def test_both_decoders_are_one():
    """Where numba is installed, as it is for tests; else only NumPy decodes."""
    assert HAS_NUMBA


def some_chunks(random: np.random.Generator, count: int) -> list[bytes]:
    pieces = []
    for _ in range(count):
        size = int(random.integers(1, 130))
        times = walk(random.integers(9_900, 10_100, size - 1).tolist(), 1_767_571_200_000)
        values = np.cumsum(random.integers(0, 50, size)).astype(float)
        values = values / 3 if random.random() < 0.5 else values
        pieces.append(encode(times, values.view(np.uint64).tolist()))
    return pieces


def outcome(pieces: list[bytes], *, use_numba: bool):
    try:
        found = decoded(pieces, use_numba=use_numba)
    except ChunkError as error:
        return "error", str(error).split()[1]
    return found.time_ms.tolist(), found.bits.tolist()


def test_damaged_chunks_are_an_error_or_other_numbers_never_more():
    """Cut, flipped and random bytes: both decoders agree on every outcome."""
    random = np.random.default_rng(20)
    errors = 0
    for piece in some_chunks(random, 150):
        for damage in ("cut", "flip", "noise"):
            data = bytearray(piece)
            if damage == "cut":
                data = data[: random.integers(0, len(data))]
            elif damage == "flip":
                data[random.integers(0, len(data))] ^= 1 << int(random.integers(0, 8))
            else:
                data[2:] = random.bytes(len(data) - 2)
            told = [outcome([bytes(data), piece], use_numba=flag) for flag in (False, True)]
            assert told[0] == told[1]
            errors += told[0][0] == "error"
    assert errors > 100


@pytest.mark.parametrize("lie", [b"\xff\xff", b"\x00\x05", b""])
@BOTH
def test_a_count_that_lies_is_an_error(lie, use_numba):
    with pytest.raises(ChunkError, match=r"truncated|shorter"):
        decoded([lie + encode([5], [6])[2:5]], use_numba=use_numba)


@BOTH
def test_checksums_are_castagnolis(use_numba):
    """Known answers of RFC 3720, appendix B.4, and of the usual check string."""
    known = [
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"", 0),
    ]
    data = np.frombuffer(b"".join(piece for piece, _ in known), dtype=np.uint8)
    lengths = np.array([len(piece) for piece, _ in known], dtype=np.int64)
    offsets = np.cumsum(lengths) - lengths
    found = crc32c(data, offsets, lengths, use_numba=use_numba)
    assert found.tolist() == [value for _, value in known]
    assert [crc32c_of(piece) for piece, _ in known] == found.tolist()


def test_long_and_short_checksums_agree_with_a_byte_at_a_time():
    random = np.random.default_rng(1)
    data = np.frombuffer(random.bytes(9000), dtype=np.uint8)
    lengths = np.array([0, 1, 7, 8, 9, 1023, 1024, 1025, 2048, 4999, 8000], dtype=np.int64)
    offsets = random.integers(0, 1000, lengths.size)
    together = crc32c(data, offsets, lengths, use_numba=False)
    assert together.tolist() == crc32c(data, offsets, lengths, use_numba=True).tolist()


def test_without_numba_numpy_decodes_the_same():
    """In a process that finds no numba."""
    piece = encode([1000, 2000, 3500], [1, 2, 3])
    program = f"""
import sys
sys.modules["numba"] = None
import numpy as np
from signalstudy.telemetry import compiled
from signalstudy.telemetry.checksums import crc32c_of
from signalstudy.telemetry.chunks import decode_chunks
assert not compiled.HAS_NUMBA
data = np.frombuffer({piece!r}, dtype=np.uint8)
found = decode_chunks(data, np.zeros(1, np.int64), np.array([data.size]))
assert found.time_ms.tolist() == [1000, 2000, 3500] and found.bits.tolist() == [1, 2, 3]
assert crc32c_of(b"123456789") == 0xE3069283
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, check=True)
