"""What a server holds in memory, pushed a moment ago, is read like what is on its disk."""

from __future__ import annotations

import struct
import time

import cramjam
import httpx
import numpy as np
import pytest

from signalstudy.telemetry.chunks import STALE_BITS
from signalstudy.telemetry.range_queries import fetch_ranges
from signalstudy.telemetry.raw_parts import series_text
from signalstudy.telemetry.remote_read import fetch_remote
from signalstudy.telemetry.varints import write_varint
from tests.real_servers.server import prometheus
from tests.real_servers.test_routes import from_server, numbers, stale
from tests.telemetry.scripted_server import field_of

EVERY, STEPS = 5, 700


def pushed(samples):
    """Write a remote write request: labels -> (milliseconds, bits)."""
    body = b""
    for name, rows in samples.items():
        labels = {"__name__": "vllm:num_requests_running", "pod": name}
        said = b"".join(
            field_of(1, field_of(1, k.encode()) + field_of(2, v.encode()))
            for k, v in labels.items()
        )
        for time_ms, bits in rows:
            value = write_varint(1 << 3 | 1) + struct.pack("<Q", bits)
            said += field_of(2, value + field_of(2, time_ms))
        body += field_of(1, said)
    return bytes(cramjam.snappy.compress_raw(body))


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    data = tmp_path_factory.mktemp("head") / "data"
    random = np.random.default_rng(2)
    start = int(time.time()) - EVERY * STEPS
    samples = {}
    for pod in ("a", "b", "c"):
        values = random.normal(20, 5, STEPS)
        values[7], values[9] = np.inf, -0.0
        bits = values.view(np.uint64)
        bits[100:110] = STALE_BITS
        bits[50] = 0x7FF8000000000001
        times = 1000 * (start + EVERY * np.arange(STEPS)) + random.integers(0, 9, STEPS)
        samples[pod] = list(zip(times.tolist(), bits.tolist(), strict=True))
    with prometheus(data, "--web.enable-remote-write-receiver") as url:
        for begin in range(0, STEPS, 100):
            part = {pod: rows[begin : begin + 100] for pod, rows in samples.items()}
            headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
            answer = httpx.post(f"{url}/api/v1/write", content=pushed(part), headers=headers)
            assert answer.status_code == httpx.codes.NO_CONTENT, answer.text
        expected = {
            series_text({"__name__": "vllm:num_requests_running", "pod": pod}): dict(rows)
            for pod, rows in samples.items()
        }
        yield url, (start - 10, start + EVERY * STEPS + 10), expected


def test_remote_read_gives_what_was_pushed_bit_for_bit(head):
    url, span, expected = head
    found = from_server(url, span, fetch_remote)
    assert found == expected
    assert len(stale(found)) == 30


def test_range_queries_give_its_numbers(head):
    url, span, expected = head
    assert numbers(from_server(url, span, fetch_ranges, tiles=3)) == numbers(expected)
