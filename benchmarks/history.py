"""Time the readers of Prometheus history: `python benchmarks/history.py [python-of-rival]`.

A fleet's history (counters, gauges, noise; every 10 s) is written into blocks by promtool and
served by a real Prometheus. Printed as a Markdown table: decoding with and without numba, each
route from request to arrays, the TSDB folder, a long Parquet with histogram buckets to increments
in the store against a scan of it, peak memory at 1, 4 and 16 times the history. Where a Python
with `prometheus-api-client[dataframe]` is named, that library gets the same series in the same run,
to its lists of text and on to its data frames. Seconds are the processor's.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.long_table import table_rows  # noqa: E402
from signalstudy.source import Source  # noqa: E402
from signalstudy.telemetry.chunks import decode_chunks  # noqa: E402
from signalstudy.telemetry.promql import Matcher  # noqa: E402
from signalstudy.telemetry.range_queries import fetch_ranges  # noqa: E402
from signalstudy.telemetry.raw_parts import RawParts, SampleBatch  # noqa: E402
from signalstudy.telemetry.remote_read import Wanted, fetch_remote  # noqa: E402
from signalstudy.telemetry.transfer import Server  # noqa: E402
from signalstudy.telemetry.tsdb import Passed, _Segments, find_blocks, read_block  # noqa: E402
from signalstudy.telemetry.tsdb_index import Index  # noqa: E402
from tests.real_servers.server import blocks_from, prometheus  # noqa: E402

Fetch = Callable[[Server, Wanted, dict[str, int]], Iterable[SampleBatch]]
START, EVERY, SERIES, STEPS = 1_767_571_200, 10, 60, 12_000
METRIC = "vllm:generation_tokens_total"
RIVAL = """
import sys, time
from datetime import datetime, timedelta, timezone
from prometheus_api_client import MetricsList, PrometheusConnect
url, metric, start, end = sys.argv[1:]
at = lambda s: datetime.fromtimestamp(int(s), timezone.utc).replace(tzinfo=None)
client = PrometheusConnect(url=url, disable_ssl=True)
began = time.process_time()
found = client.get_metric_range_data(
    metric, start_time=at(start), end_time=at(end), chunk_size=timedelta(hours=6))
samples = sum(len(row["values"]) for row in found)
lists = time.process_time() - began
frames = [metric.metric_values for metric in MetricsList(found)]
print(samples, lists, time.process_time() - began)
"""


def history(steps: int) -> str:
    """Write OpenMetrics text: a third counters of tokens, a third small gauges, a third noise."""
    random = np.random.default_rng(1)
    lines = [f"# TYPE {METRIC.removesuffix('_total')} counter"]
    for number in range(SERIES):
        if number % 3 == 0:
            values = np.cumsum(random.integers(0, 900, steps)).astype(float)
        elif number % 3 == 1:
            values = random.integers(0, 40, steps).astype(float)
        else:
            values = random.random(steps)
        times = START + EVERY * np.arange(steps) + random.integers(0, 3, steps) / 1000
        said = f'{METRIC}{{pod="p{number}",service="chat",pool="decode"}}'
        lines += [f"{said} {v!r} {t:.3f}" for v, t in zip(values.tolist(), times, strict=True)]
    return "\n".join([*lines, "# EOF", ""])


def decode_rates(data: Path) -> dict[bool, float]:
    """Decode all chunks of the blocks, each way; give samples a second."""
    pieces = []
    for block in find_blocks(str(data), "bench")[0]:
        segments = _Segments(block.folder / "chunks")
        for series in Index(block.folder / "index").series(lambda _: True):
            pieces += [segments.chunk(reference)[1][1:] for reference in series.chunks.tolist()]
    joined = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    offsets = np.cumsum(lengths) - lengths
    rates = {}
    for use_numba in (True, False):
        decode_chunks(joined, offsets[:9], lengths[:9], use_numba=use_numba)  # compiled now
        took = []
        for _ in range(5):
            began = time.process_time()
            samples = decode_chunks(joined, offsets, lengths, use_numba=use_numba).bits.size
            took.append(time.process_time() - began)
        rates[use_numba] = samples / min(took)
    return rates


def route_rate(url: str, fetch: Fetch, last: int) -> float:
    """Fetch everything by one route in tiles of half a million; give samples a second of ours."""
    span = {"start": "2026-01-05T00:00:00Z", "end": "2026-01-12T00:00:00Z"}
    source = Source(kind="prometheus", url=url, requests_per_second=1e6, **span)
    wanted = (Matcher("__name__", "=", METRIC),)
    samples, step = 0, 80_000_000
    with Server(source, "bench") as server:
        began = time.process_time()
        for first in range(START * 1000, last * 1000, step):
            tile = Wanted(wanted, first, min(first + step, last * 1000) - 1)
            samples += sum(batch.bits.size for batch in fetch(server, tile, {}))
        return samples / (time.process_time() - began)


def peak_megabytes(folder: Path, times: int) -> float:
    """Read the folder in a process of its own, its blocks named `times` times; give peak memory."""
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from benchmarks.history import read_all; read_all(Path(sys.argv[2]), int(sys.argv[3]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, ROOT, folder, str(times)],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return float(done.stdout)


def read_all(data: Path, times: int) -> None:
    """Bring the blocks into parts `times` times over and print the peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        parts = RawParts(Path(folder), "production")
        for turn in range(times):
            for block in find_blocks(str(data), "bench")[0]:
                parts.write(f"{turn}-{block.ulid}", read_block(block, lambda _: True, Passed()))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Measure and print."""
    rows: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = blocks_from(folder, history(STEPS))
        rates = decode_rates(data)
        rows += [
            (f"decoding, {'numba' if k else 'NumPy alone'}", f"{v / 1e6:.1f} M samples/s")
            for k, v in rates.items()
        ]
        began, samples = time.process_time(), 0
        for block in find_blocks(str(data), "bench")[0]:
            samples += sum(b.bits.size for b in read_block(block, lambda _: True, Passed()))
        rows.append(
            (
                "TSDB folder to arrays",
                f"{samples / (time.process_time() - began) / 1e6:.1f} M samples/s",
            )
        )
        with prometheus(data) as url:
            last = START + EVERY * STEPS
            ours = route_rate(url, fetch_remote, last)
            rows.append(("remote read to arrays", f"{ours / 1e6:.1f} M samples/s"))
            rows.append(
                (
                    "range queries to arrays",
                    f"{route_rate(url, fetch_ranges, last) / 1e6:.2f} M samples/s",
                )
            )
            if sys.argv[1:]:
                told = subprocess.run(
                    [sys.argv[1], "-c", RIVAL, url, METRIC, str(START), str(last)],
                    capture_output=True, text=True, check=True,
                ).stdout.split()  # fmt: skip
                for what, took in zip(("lists of text", "data frames"), told[1:], strict=True):
                    rival = int(told[0]) / float(took)
                    rows.append(
                        (f"prometheus-api-client to {what}", f"{rival / 1e6:.3f} M samples/s")
                    )
                    rows.append(("- remote read against it", f"{ours / rival:.0f} times"))
                    rows.append(("- decoding against it", f"{rates[True] / rival:.0f} times"))
        for times in (1, 4, 16):
            rows.append(
                (f"peak memory, history x {times}", f"{peak_megabytes(data, times):.0f} MB")
            )
    rows += table_rows()
    print(json.dumps({"samples": samples}))
    print("| what | figure |\n|---|---|")
    for what, figure in rows:
        print(f"| {what} | {figure} |")


if __name__ == "__main__":
    main()
