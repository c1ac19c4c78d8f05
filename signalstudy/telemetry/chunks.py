"""Prometheus XOR chunks to samples, many chunks at once.

The format is that of Gorilla (Pelkonen et al. 2015, section 4.1) with millisecond times: two bytes
of count, the first time as zigzag varint and the first value as 64 bits, the second step as varint,
then for every sample the change of the step and the XOR of the value, both of varying width.
NumPy advances all chunks by one sample a turn; where numba is installed each is decoded alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Words = NDArray[np.uint64]

XOR = 1
HISTOGRAMS = frozenset({2, 3, 5})
ENCODINGS = {1: "XOR", 2: "histogram", 3: "float histogram", 4: "XOR2", 5: "histogram with start"}
STALE_BITS = 0x7FF0000000000002
SPARE_BYTES = 16
GOOD, TRUNCATED, BAD_WIDTH = 0, 1, 2
# by the first four bits of a change of step: how many of them name its width, and that width
STEP_HEAD = np.array([1] * 8 + [2] * 4 + [3] * 2 + [4] * 2, dtype=np.int64)
STEP_WIDTH = np.array([0] * 8 + [14] * 4 + [17] * 2 + [20, 64], dtype=np.int64)


class ChunkError(ValueError):
    """A chunk that cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Samples of chunks, chunk after chunk: `counts` (chunks,), `time_ms` and `bits` (samples,).

    `bits` are the values' bit patterns: arithmetic on floats may lose what a NaN carries.
    """

    counts: Integers
    time_ms: Integers
    bits: Words


def decode_chunks(
    data: NDArray[np.uint8], offsets: Integers, lengths: Integers, *, use_numba: bool = True
) -> Decoded:
    """Decode the XOR chunks `data[offset : offset + length]`, each from its count on.

    Raises ChunkError naming the first chunk (by number) that is truncated or impossible.
    """
    if offsets.size == 0:
        return Decoded(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint64))
    if lengths.min() < 2 or offsets.min() < 0 or (offsets + lengths).max() > data.size:
        raise ChunkError("a chunk is shorter than its count of samples")
    counts = (data[offsets].astype(np.int64) << 8) | data[offsets + 1]
    # the first sample takes nine bytes at least, each further one two bits
    most = np.where(lengths >= 11, 1 + np.maximum(8 * (lengths - 11), 0), 0)
    if (counts > most).any():
        which = int(np.flatnonzero(counts > most)[0])
        raise ChunkError(
            f"chunk {which} claims {counts[which]} samples in {lengths[which]} bytes: truncated"
        )
    starts = np.cumsum(counts) - counts
    times = np.zeros(int(counts.sum()), dtype=np.int64)
    bits = np.zeros(times.size, dtype=np.uint64)
    spared = np.concatenate([data, np.zeros(SPARE_BYTES, np.uint8)])
    from signalstudy.telemetry import compiled  # noqa: PLC0415 - heavy only when used

    decode = compiled.xor_loop if use_numba and compiled.HAS_NUMBA else _decode_together
    states = decode(spared, offsets, offsets + lengths, starts, counts, times, bits)
    if (states != GOOD).any():
        which = int(np.flatnonzero(states != GOOD)[0])
        why = {TRUNCATED: "is truncated", BAD_WIDTH: "holds a value wider than 64 bits"}
        raise ChunkError(f"chunk {which} {why[int(states[which])]}")
    return Decoded(counts, times, bits)


class _Bits:
    """Reads up to 64 bits at any position of a padded buffer, for many positions at once."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self.data = data
        self.words: Words = np.ndarray((data.size - 7,), dtype=">u8", buffer=data, strides=(1,))
        self.last = data.size - 9

    def at(self, position: Integers) -> Words:
        """Give the 64 bits from `position` on, the first one highest."""
        byte = np.minimum(position >> 3, self.last)
        shift = (position & 7).astype(np.uint64)
        word = self.words[byte].astype(np.uint64)
        found: Words = (word << shift) | (
            self.data[byte + 8].astype(np.uint64) >> (np.uint64(8) - shift)
        )
        return found


def _varint(data: NDArray[np.uint8], at: Integers, last: int) -> tuple[Words, Integers]:
    """Read a varint at every place; give the values and the places behind them."""
    value = np.zeros(at.size, dtype=np.uint64)
    at, is_open = at.copy(), np.ones(at.size, dtype=bool)
    for turn in range(10):
        byte = np.where(is_open, data[np.minimum(at, last)], np.uint8(0)).astype(np.uint64)
        value |= (byte & np.uint64(127)) << np.uint64(7 * turn)
        at += is_open
        is_open &= byte >= 128
    at[is_open] = np.iinfo(np.int64).max >> 8  # eleven bytes are none: seen as truncated
    return value, at


def _decode_together(  # noqa: PLR0917 - as the compiled loop
    data: NDArray[np.uint8],
    offsets: Integers,
    ends: Integers,
    starts: Integers,
    counts: Integers,
    times: Integers,
    bits: Words,
) -> NDArray[np.int8]:
    """Advance all chunks together, those with most samples first; see `xor_loop`."""
    order = np.argsort(-counts, kind="stable")
    order = order[: int((counts > 0).sum())]
    states = np.zeros(offsets.size, dtype=np.int8)
    if order.size == 0:
        return states
    out, end = starts[order], ends[order]
    reader, last = _Bits(data), data.size - 1
    raw, at = _varint(data, offsets[order] + 2, last)
    time = (raw >> np.uint64(1)).view(np.int64) ^ -(raw & np.uint64(1)).view(np.int64)
    value = reader.at(at * 8)
    times[out], bits[out] = time, value
    position, is_wide = (at + 8) * 8, np.zeros(order.size, dtype=bool)
    live = np.searchsorted(-counts[order], -np.arange(2, int(counts.max()) + 1), side="right")
    if live.size:
        m = int(live[0])
        raw, at = _varint(data, position[:m] >> 3, last)
        delta = raw.view(np.int64)
        position[:m] = at * 8
        window = (np.zeros(m, np.uint64), np.zeros(m, np.uint64))
        with np.errstate(over="ignore"):
            for i, now in enumerate(live, start=1):
                m = int(now)
                if i > 1:
                    change, position[:m] = _steps(reader, position[:m])
                    delta[:m] += change
                time[:m] += delta[:m]
                changed, position[:m], wide = _changes(reader, position[:m], window)
                value[:m] ^= changed
                # a chunk that has run over its end reads on in what lies behind it: states tell
                is_wide[:m] |= wide & (position[:m] <= end[:m] * 8)
                times[out[:m] + i], bits[out[:m] + i] = time[:m], value[:m]
    states[order] = np.where(is_wide, BAD_WIDTH, np.where(position > end * 8, TRUNCATED, GOOD))
    return states


def _steps(reader: _Bits, position: Integers) -> tuple[Integers, Integers]:
    """Read the changes of the step; give them and the positions behind them."""
    word = reader.at(position)
    class_ = (word >> np.uint64(60)).view(np.int64)
    change = np.zeros(position.size, dtype=np.int64)
    some = np.flatnonzero(class_ >= 8)
    head, width = STEP_HEAD[class_], STEP_WIDTH[class_]
    if some.size:
        w = width[some].astype(np.uint64)
        raw = (word[some] << head[some].astype(np.uint64)) >> (np.uint64(64) - w)
        whole = np.flatnonzero(w == 64)
        if whole.size:
            raw[whole] = reader.at(position[some[whole]] + 4)
        found = raw.view(np.int64)
        narrow = (w < 64) & (raw > (np.uint64(1) << (np.minimum(w, np.uint64(63)) - np.uint64(1))))
        found[narrow] -= np.int64(1) << w[narrow].view(np.int64)
        change[some] = found
    return change, position + head + width


def _changes(
    reader: _Bits, position: Integers, window: tuple[Words, Words]
) -> tuple[Words, Integers, NDArray[np.bool_]]:
    """Read the XORs of the values; `window`: leading and trailing zeros, moved on in place."""
    leading, trailing = window
    word = reader.at(position)
    xor = np.zeros(position.size, dtype=np.uint64)
    wide = np.zeros(position.size, dtype=bool)
    head = (word >> np.uint64(62)).view(np.int64)
    behind = position + 1
    new = np.flatnonzero(head == 3)
    if new.size:
        field = (word[new] >> np.uint64(51)) & np.uint64(0x7FF)
        width = field & np.uint64(63)
        width[width == 0] = 64
        ahead = field >> np.uint64(6)
        wide[new] = ahead + width > 64
        leading[new] = np.where(wide[new], np.uint64(0), ahead)
        trailing[new] = np.where(wide[new], np.uint64(0), np.uint64(64) - ahead - width)
    some = np.flatnonzero(head >= 2)
    if some.size:
        begin = position[some] + np.where(head[some] == 3, 13, 2)
        width = np.uint64(64) - leading[some] - trailing[some]
        xor[some] = (reader.at(begin) >> (np.uint64(64) - width)) << trailing[some]
        behind[some] = begin + width.view(np.int64)
    return xor, behind, wide
