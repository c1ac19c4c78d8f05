"""Chunks of native histograms to samples: the layout once, then changes of changes, bit by bit.

Two bytes of count, one of flags, the layout (zero threshold, schema, spans of buckets, for custom
buckets their bounds), then the samples: whole numbers as varying widths of the change of their
change, floats as the XOR of the one before. Few such chunks are met, so a loop over bits in Python
will do: half a million buckets a second.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.telemetry.chunks import STALE_BITS, ChunkError
from signalstudy.telemetry.columns import LATEST_MS
from signalstudy.telemetry.native import NativeBatch, bounds_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]

HISTOGRAM, FLOAT_HISTOGRAM = 2, 3
READ = frozenset({HISTOGRAM, FLOAT_HISTOGRAM})
CUSTOM_SCHEMA = -53
SCHEMAS = range(-9, 53)
GAUGE_FLAGS, FLAGS_MASK = 0b11000000, 0b11000000
WIDTHS = (0, 3, 6, 9, 12, 18, 25, 56, 64)
"""Bits of a number by how many ones stand before it."""
MOST_BUCKETS = 20_000
TRUNCATED = "a chunk of a native histogram is truncated"


class _Bits:
    """Reads a chunk bit by bit; raises ChunkError at its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data + bytes(16)
        self.at, self.end = 0, 8 * len(data)

    def take(self, width: int) -> int:
        at = self.at
        self.at = at + width
        if self.at > self.end:
            raise ChunkError(TRUNCATED)
        byte = at >> 3
        word = int.from_bytes(self.data[byte : byte + 9], "big")
        return (word >> (72 - (at & 7) - width)) & ((1 << width) - 1)

    def _width(self) -> int:
        byte = self.at >> 3
        word = int.from_bytes(self.data[byte : byte + 2], "big")
        head = (word >> (8 - (self.at & 7))) & 0xFF
        ones = 8 if head == 0xFF else 8 - (head ^ 0xFF).bit_length()
        self.at += min(ones + 1, 8)
        if self.at > self.end:  # or no end would be found to a count of numbers without bits
            raise ChunkError(TRUNCATED)
        return WIDTHS[ones]

    def natural(self) -> int:
        """Read a number that is 0 or above."""
        width = self._width()
        return self.take(width) if width else 0

    def integer(self) -> int:
        """Read a number that may be below 0."""
        width = self._width()
        if width == 0:
            return 0
        value = self.take(width)
        # 64 bits are two's complement, fewer hold one more above zero than below
        is_below = value >> 63 if width == 64 else value > 1 << (width - 1)
        return value - (1 << width) if is_below else value


class _Xor:
    """A float that changes by the XOR of its bits, in a window that is kept."""

    def __init__(self, bits: int = 0) -> None:
        self.bits, self.leading, self.width = bits, 0, 64

    def read(self, bits: _Bits) -> int:
        if bits.take(1):
            if bits.take(1):
                self.leading, self.width = bits.take(5), bits.take(6) or 64
                if self.leading + self.width > 64:
                    raise ChunkError("a native histogram holds a value wider than 64 bits")
            change = bits.take(self.width)
            self.bits ^= change << (64 - self.leading - self.width)
        return self.bits


def decode_native(data: bytes, encoding: int, labels: Mapping[str, str]) -> NativeBatch | None:
    """Decode a chunk, from its count on; None where it holds gauges, which no rate is taken of.

    Staleness markers come as samples whose `total` has the marker's bits. Raises ChunkError.
    """
    if len(data) < 3:
        raise ChunkError(TRUNCATED)
    number, bits = int.from_bytes(data[:2], "big"), _Bits(data[3:])
    if data[2] & FLAGS_MASK == GAUGE_FLAGS:
        return None
    if number > bits.end:
        raise ChunkError("a chunk of a native histogram claims more samples than it has bits")
    lower, upper, positive, is_custom = _layout(bits)
    buckets = lower.size - (not is_custom)
    if number * max(lower.size, 1) > 64 * bits.end:
        raise ChunkError("a chunk of a native histogram claims more buckets than it has bits")
    if encoding == HISTOGRAM:
        times, counts, sums, rows = _whole_samples(bits, number, buckets)
    else:
        times, counts, sums, rows = _float_samples(bits, number, buckets)
    matrix = np.array(rows, dtype=np.float64).reshape(number, 1 + buckets)
    if encoding == HISTOGRAM:  # each bucket is told by its difference from the one before
        for part in (matrix[:, 1 : 1 + positive], matrix[:, 1 + positive :]):
            np.cumsum(part, axis=1, out=part)
    if any(abs(time) > LATEST_MS for time in times):
        raise ChunkError("a native histogram is of a time beyond the year 9999")
    return NativeBatch(
        labels,
        np.array(times, dtype=np.int64),
        np.array(counts, dtype=np.float64),
        np.array(sums, dtype=np.uint64).view(np.float64),
        lower,
        upper,
        matrix[:, 1:] if is_custom else matrix,
        is_custom,
    )


def _layout(bits: _Bits) -> tuple[Floats, Floats, int, bool]:
    """Give bounds of the zero bucket, the positive and the negative ones.

    Also how many are positive, and whether the bounds are custom: then there is no zero bucket.
    """
    head = bits.take(8)
    zero = 0.0
    if head == 255:
        [zero] = struct.unpack(">d", bits.take(64).to_bytes(8, "big"))
    elif head:
        zero = float(np.ldexp(0.5, head - 243))
    schema = bits.integer()
    positive, negative = _indices(bits), _indices(bits)
    if schema == CUSTOM_SCHEMA:
        size = bits.natural()
        if size > min(bits.end, MOST_BUCKETS):
            raise ChunkError("a native histogram claims more bounds than it has bits")
        edges = np.array([-np.inf, *(_bound(bits) for _ in range(size)), np.inf])
        if negative.size or (positive.size and not 0 <= positive.min() <= positive.max() <= size):
            raise ChunkError("a native histogram has buckets beyond its bounds")
        return edges[positive], edges[positive + 1], positive.size, True
    if schema not in SCHEMAS:
        raise ChunkError(f"a native histogram has the unknown schema {schema}")
    low, high = bounds_of(schema, positive)
    mirrored = bounds_of(schema, negative)
    lower = np.concatenate([[-zero], low, -mirrored[1]])
    upper = np.concatenate([[zero], high, -mirrored[0]])
    return lower, upper, positive.size, False


def _indices(bits: _Bits) -> Integers:
    """Read spans of buckets: how many there are in a row, and how far from those before."""
    found: list[int] = []
    at = 0
    for _ in range(bits.natural()):
        length, offset = bits.natural(), bits.integer()
        at += offset
        if len(found) + length > MOST_BUCKETS or abs(at) > 1 << 40:
            raise ChunkError("a native histogram claims too many buckets")
        found.extend(range(at, at + length))
        at += length
    return np.array(found, dtype=np.int64)


def _bound(bits: _Bits) -> float:
    """Read a bound: thousandths plus one, or 0 and the float itself."""
    value = bits.natural()
    if value:
        return (value - 1) / 1000
    return float(struct.unpack(">d", bits.take(64).to_bytes(8, "big"))[0])


_Columns = tuple[list[int], list[float], list[int], list[list[float]]]


def _whole_samples(bits: _Bits, number: int, buckets: int) -> _Columns:
    """Read counts as whole numbers: the first sample, then changes of changes."""
    times: list[int] = []
    counts: list[float] = []
    sums: list[int] = []
    rows: list[list[float]] = []
    size = 3 + buckets  # time, count, zero count, and the differences from bucket to bucket
    value, step, total = [0] * size, [0] * size, _Xor()
    for sample in range(number):
        for i in range(3):
            if sample == 0:
                value[i] = bits.natural() if i else bits.integer()
            else:
                step[i] += bits.integer()
                value[i] += step[i]
        total.bits = bits.take(64) if sample == 0 else total.read(bits)
        is_stale = total.bits == STALE_BITS
        for i in range(3, 3 if is_stale else size):
            if sample == 0:
                value[i] = bits.integer()
            else:
                step[i] += bits.integer()
                value[i] += step[i]
        times.append(value[0])
        counts.append(float(value[1]))
        sums.append(total.bits)
        rows.append([float(part) for part in value[2:]])
    return times, counts, sums, rows


def _float_samples(bits: _Bits, number: int, buckets: int) -> _Columns:
    """Read counts as floats: the first sample whole, then XORs."""
    times: list[int] = []
    counts: list[float] = []
    sums: list[int] = []
    rows: list[list[float]] = []
    parts = [_Xor() for _ in range(3 + buckets)]  # count, zero count, sum, buckets
    time = step = 0
    for sample in range(number):
        if sample == 0:
            time = bits.integer()
        else:
            step += bits.integer()
            time += step
        for i, part in enumerate(parts):
            if i >= 3 and parts[2].bits == STALE_BITS:
                break
            part.bits = bits.take(64) if sample == 0 else part.read(bits)
        found = np.array([part.bits for part in parts], dtype=np.uint64).view(np.float64).tolist()
        times.append(time)
        counts.append(found[0])
        sums.append(parts[2].bits)
        rows.append([found[1], *found[3:]])
    return times, counts, sums, rows
