"""A long Parquet with histogram buckets, as an exporter of samples writes it, and what reads it.

Part of `python benchmarks/history.py`; `python benchmarks/long_table.py FOLDER` reads the files of
a folder into a store and prints processor seconds and peak memory in MB.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from signalstudy.config import parse_config  # noqa: E402
from signalstudy.telemetry.read import read_telemetry  # noqa: E402

START_MS, EVERY_MS, STEPS = 1_767_571_200_000, 10_000, 8_640
PODS = 5
COUNTERS = (
    "vllm:generation_tokens_total",
    "vllm:prompt_tokens_total",
    "vllm:request_success_total",
)
GAUGES = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
HISTOGRAMS = ("vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds")
EDGES = tuple(
    f"{edge:g}" if edge < np.inf else "+Inf"
    for edge in (
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
        20.0, 40.0, 80.0, 160.0, 640.0, np.inf,
    )
)  # fmt: skip
COLUMNS = ("timestamp", "metric", "value", "service", "pool", "replica", "le")


def write_day(folder: Path, day: int, pods: int = PODS) -> int:
    """Write one day of a fleet, series after series; give its number of rows."""
    random = np.random.default_rng(day)
    time = START_MS + EVERY_MS * (np.arange(STEPS) + STEPS * day)
    frames = []

    def add(metric: str, pod: int, values: np.ndarray, le: str | None = None) -> None:
        said = {"metric": metric, "service": "chat", "pool": "decode", "replica": f"decode-{pod}"}
        columns = [pl.lit(text).alias(name) for name, text in said.items()]
        columns.append(pl.lit(le, dtype=pl.String).alias("le"))
        frame = pl.DataFrame({"timestamp": time, "value": values.astype(np.float64)})
        frames.append(frame.with_columns(pl.from_epoch("timestamp", "ms"), *columns))

    for pod in range(pods):
        for metric in COUNTERS:
            add(metric, pod, np.cumsum(random.integers(0, 900, STEPS)) + 10_000_000 * day)
        for metric in GAUGES:
            add(metric, pod, random.random(STEPS))
        for metric in HISTOGRAMS:
            grown = np.cumsum(random.integers(0, 9, (STEPS, len(EDGES))), axis=0) + 100_000 * day
            counts = np.cumsum(grown, axis=1)
            for column, edge in enumerate(EDGES):
                add(f"{metric}_bucket", pod, counts[:, column], edge)
            add(f"{metric}_count", pod, counts[:, -1])
            add(f"{metric}_sum", pod, np.cumsum(random.random(STEPS)) + 5_000 * day)
    table = pl.concat(frames)
    table.write_parquet(folder / f"{day:03d}.parquet", compression="zstd")
    return table.height


def seconds() -> float:
    """Give the processor's time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def scan_seconds(folder: Path) -> float:
    """Scan every column once with DuckDB; the best of five."""
    query = f"SELECT {', '.join(f'max({name})' for name in COLUMNS)} FROM '{folder}/*.parquet'"
    took = []
    for _ in range(5):
        with duckdb.connect() as connection:
            began = seconds()
            connection.execute(query).fetchall()
            took.append(seconds() - began)
    return min(took)


def ingested(folder: Path) -> tuple[float, float]:
    """Read the table into a store in a process of its own; give its seconds and peak megabytes."""
    done = subprocess.run(
        [sys.executable, __file__, str(folder)], capture_output=True, text=True, check=True
    )
    took, peak = done.stdout.split()
    return float(took), float(peak)


def ingest(folder: Path) -> None:
    """Read the table into a store; print the seconds that took and the peak memory."""
    source = {"kind": "table", "path": f"{folder}/*.parquet"}
    document = {"study": {"name": "bench"}, "sources": [source]}
    config = parse_config(document, place="bench", folder=Path())
    with tempfile.TemporaryDirectory() as out:
        began = seconds()
        read_telemetry(config, Path(out) / "study")
        took = seconds() - began
    print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def table_rows() -> list[tuple[str, str]]:
    """Measure one day of a small fleet, then 4 and 16 days of it."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder, rows, days = Path(name), 0, 0
        for times in (1, 4, 16):
            while days < times:
                rows += write_day(folder, days)
                days += 1
            took, peak = ingested(folder)
            if times == 4:
                scan = scan_seconds(folder)
                found.append(("DuckDB scan of every column", f"{rows / scan / 1e6:.1f} M rows/s"))
                found.append(
                    ("long Parquet to increments in the store", f"{rows / took / 1e6:.2f} M rows/s")
                )
                found.append(("- share of the scan's speed", f"{scan / took:.3f}"))
            found.append((f"- peak memory, {rows / 1e6:.1f} M rows", f"{peak:.0f} MB"))
    return found


if __name__ == "__main__":
    ingest(Path(sys.argv[1]))
