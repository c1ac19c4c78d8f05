"""Chunks of native histograms from samples, the other way round than the reader, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.telemetry.chunk_writer import BitWriter, bits_of

WIDTHS = (3, 6, 9, 12, 18, 25, 56)
CUSTOM = -53


@dataclass
class Histogram:
    """One sample; `buckets` and `negative`: index of the schema -> observations."""

    time_ms: int
    total: float
    buckets: dict[int, int] = field(default_factory=dict)
    negative: dict[int, int] = field(default_factory=dict)
    zero: int = 0

    @property
    def count(self) -> int:
        return self.zero + sum(self.buckets.values()) + sum(self.negative.values())


def natural(out: BitWriter, value: int) -> None:
    if value == 0:
        out.write(0, 1)
        return
    for ones, width in enumerate(WIDTHS, start=1):
        if value < 1 << width:
            out.write(((1 << ones) - 1) << 1, ones + 1)
            out.write(value, width)
            return
    out.write(0xFF, 8)
    out.write(value, 64)


def integer(out: BitWriter, value: int) -> None:
    if value == 0:
        out.write(0, 1)
        return
    for ones, width in enumerate(WIDTHS, start=1):
        if -(1 << (width - 1)) < value <= 1 << (width - 1):
            out.write(((1 << ones) - 1) << 1, ones + 1)
            out.write(value, width)
            return
    out.write(0xFF, 8)
    out.write(value, 64)


def spans(out: BitWriter, indices: list[int]) -> None:
    found: list[list[int]] = []
    for i, index in enumerate(indices):
        if i and index == indices[i - 1] + 1:
            found[-1][1] += 1
        else:
            found.append([index - indices[i - 1] - 1 if i else index, 1])
    natural(out, len(found))
    for offset, length in found:
        natural(out, length)
        integer(out, offset)


def encode_native(
    samples: list[Histogram],
    schema: int,
    *,
    threshold_exponent: int = -127,
    bounds: tuple[float, ...] = (),
    flags: int = 0,
) -> bytes:
    """Write one chunk of whole counts, from its count on; sums are always written in full."""
    positive = sorted({i for sample in samples for i in sample.buckets})
    negative = sorted({i for sample in samples for i in sample.negative})
    out = BitWriter()
    out.write(threshold_exponent + 243, 8)
    integer(out, schema)
    spans(out, positive)
    spans(out, negative)
    if schema == CUSTOM:
        natural(out, len(bounds))
        for bound in bounds:
            natural(out, round(bound * 1000) + 1)
    before: list[int] = []
    steps: list[int] = []
    total = 0
    for sample in samples:
        row = [sample.time_ms, sample.count, sample.zero]
        row += differences(positive, sample.buckets) + differences(negative, sample.negative)
        now = [value - old for value, old in zip(row, before, strict=True)] if before else row
        if before:
            changes = [step - old for step, old in zip(now, steps, strict=True)]
            steps = now
        else:
            changes, steps = row, [0] * len(row)
        for number, value in enumerate(changes):
            write = natural if not before and number in (1, 2) else integer
            write(out, value)
            if number == 2:
                change_of_sum(out, bits_of(sample.total), total, is_first=not before)
        before, total = row, bits_of(sample.total)
    return len(samples).to_bytes(2, "big") + bytes([flags]) + out.content()


def differences(indices: list[int], counts: dict[int, int]) -> list[int]:
    values = [counts.get(i, 0) for i in indices]
    return [value - last for value, last in zip(values, [0, *values], strict=False)]


def change_of_sum(out: BitWriter, bits: int, before: int, *, is_first: bool) -> None:
    if is_first:
        out.write(bits, 64)
    elif bits == before:
        out.write(0, 1)
    else:  # a window of all 64 bits
        out.write(0b11, 2)
        out.write(0, 11)
        out.write(bits ^ before, 64)
