"""Native histograms pushed into a server by remote write, which is how tests come by them."""

from __future__ import annotations

import struct

import cramjam
import numpy as np

from signalstudy.telemetry.varints import write_varint
from tests.telemetry.scripted_server import field_of

METRIC = "vllm:time_to_first_token_seconds"
STALE_SUM = struct.unpack("<d", (0x7FF0000000000002).to_bytes(8, "little"))[0]
SCHEMA, ZERO = 3, 2.0**-128


def _zigzag(value: int) -> int:
    return value << 1 ^ value >> 63


def _double(number: int, value: float) -> bytes:
    return write_varint(number << 3 | 1) + struct.pack("<d", value)


def _spans(number: int, indices: list[int]) -> bytes:
    """Write buckets as spans: how far from those before, and how many in a row."""
    spans: list[list[int]] = []
    for i, index in enumerate(indices):
        if i and index == indices[i - 1] + 1:
            spans[-1][1] += 1
        else:
            spans.append([index - indices[i - 1] - 1 if i else index, 1])
    return b"".join(
        field_of(number, field_of(1, _zigzag(offset)) + field_of(2, length))
        for offset, length in spans
    )


def _packed(number: int, values: list[int] | list[float], *, is_float: bool) -> bytes:
    if is_float:
        return field_of(number, struct.pack(f"<{len(values)}d", *values))
    return field_of(number, b"".join(write_varint(_zigzag(int(v))) for v in values))


def histogram(  # one message
    time_ms: int,
    buckets: dict[int, float],
    total: float,
    *,
    zero: float = 0.0,
    negative: dict[int, float] | None = None,
    is_float: bool = False,
    schema: int = SCHEMA,
) -> bytes:
    """Write one sample; `buckets`: by index of the schema."""
    negative = negative or {}
    count = sum(buckets.values()) + sum(negative.values()) + zero
    said = _double(2, count) if is_float else field_of(1, int(count))
    said += _double(3, total) + field_of(4, _zigzag(schema)) + _double(5, ZERO)
    said += _double(7, zero) if is_float else field_of(6, int(zero))
    for spans, deltas, floats, part in ((8, 9, 10, negative), (11, 12, 13, buckets)):
        indices = sorted(part)
        said += _spans(spans, indices)
        counts = [part[i] for i in indices]
        if is_float:
            said += _packed(floats, counts, is_float=True)
        else:
            said += _packed(deltas, np.diff(counts, prepend=0).tolist(), is_float=False)
    return said + field_of(15, time_ms)


def pushed(series: dict[str, list[bytes]], metric: str = METRIC) -> bytes:
    """Write a remote write request: pod -> samples."""
    body = b""
    for pod, samples in series.items():
        labels = {"__name__": metric, "pod": pod}
        said = b"".join(
            field_of(1, field_of(1, k.encode()) + field_of(2, v.encode()))
            for k, v in labels.items()
        )
        body += field_of(1, said + b"".join(field_of(4, sample) for sample in samples))
    return bytes(cramjam.snappy.compress_raw(body))


def grown(seed: int, steps: int, *, is_float: bool = False) -> list[dict[int, float]]:
    """Give buckets by step: log-normal latencies, a reset at two thirds, a quiet stretch."""
    random = np.random.default_rng(seed)
    buckets: dict[int, float] = {}
    found = []
    for step in range(steps):
        if step == 2 * steps // 3:
            buckets = {}
        arrived = 0 if steps // 4 < step < steps // 4 + 10 else int(random.integers(1, 9))
        for value in random.lognormal(-1.0, 0.9, arrived):
            index = int(np.ceil(np.log2(value) * 2**SCHEMA))
            buckets[index] = buckets.get(index, 0) + (0.5 if is_float else 1)
        found.append(dict(buckets))
    return found
