"""Generate the sample again: `python sample/generate.py [--out FOLDER]`.

Needs `ai-dynamo-runtime==1.6.1`, numpy and pyarrow. Everything is seeded: the same versions give
the same tables and the same `truth.json`. Takes about a quarter of an hour and 3 GB on one core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from generator.exposition import expose
from generator.scenario import CHAT, DAY_SECONDS, SERVICES, draw_day
from generator.simulation import simulate
from generator.truth import SEARCHES, describe_day, find_knee, prefill_per_decode

if TYPE_CHECKING:
    from generator.exposition import Series
    from generator.simulation import Run

START = np.datetime64("2026-03-10T00:00:00", "ms")  # a made-up Tuesday
LABELS = ("metric", "service", "pool", "replica", "le", "source")


def _timestamps(at_ms: np.ndarray[Any, Any]) -> pa.Array:
    return pa.array(START + np.rint(at_ms).astype("timedelta64[ms]"), pa.timestamp("ms", tz="UTC"))


def telemetry_table(series: list[Series]) -> pa.Table:
    """Return all samples in long form, series by series in order of time."""
    lengths = [one.at_ms.size for one in series]
    columns: dict[str, pa.Array] = {
        "timestamp": _timestamps(np.concatenate([one.at_ms for one in series]))
    }
    for label in LABELS:
        words = sorted({getattr(one, label) for one in series})
        codes = np.repeat([words.index(getattr(one, label)) for one in series], lengths)
        absent = codes == words.index("") if "" in words else np.zeros(codes.size, dtype=bool)
        indices = pa.array(codes.astype(np.int32), mask=absent)
        columns[label] = pa.DictionaryArray.from_arrays(indices, words).cast(pa.string())
    columns["value"] = pa.array(np.concatenate([one.values for one in series]), pa.float64())
    return pa.table(columns)


def request_table(run: Run, service: str) -> pa.Table:
    """Return the request log of one service, latencies rounded (TTFT 1 ms, TBT 0.1 ms)."""
    rows = run.requests
    day = rows["arrived_ms"] < DAY_SECONDS * 1000.0
    rows = {name: column[day] for name, column in rows.items()}
    counts = {
        "prompt_tokens": rows["prompt_tokens"],
        "output_tokens": rows["output_tokens"],
        "cached_prompt_tokens": rows["cached_tokens"],
    }
    seconds = {
        "ttft_seconds": np.round(rows["ttft_ms"] / 1000.0, 3),
        "tbt_seconds": np.round(rows["tbt_ms"] / 1000.0, 4),
        "e2e_seconds": np.round(rows["e2e_ms"] / 1000.0, 1),
    }
    return pa.table(
        {"arrived_at": _timestamps(rows["arrived_ms"])}
        | {"service": pa.array([service] * rows["arrived_ms"].size)}
        | {name: pa.array(column.astype(np.int32)) for name, column in counts.items()}
        | {name: pa.array(column.astype(np.float32)) for name, column in seconds.items()}
    )


def _write(table: pa.Table, path: Path, time: str, split: list[str]) -> None:
    """Write small: times as deltas, `split` columns byte by byte, the rest by dictionary."""
    encodings = {time: "DELTA_BINARY_PACKED"} | dict.fromkeys(split, "BYTE_STREAM_SPLIT")
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=[name for name in table.column_names if name not in encodings],
        column_encoding=encodings,
        data_page_size=16 * 1024 * 1024,
        dictionary_pagesize_limit=16 * 1024 * 1024,
    )
    print(f"{path.name}: {table.num_rows} rows, {path.stat().st_size / 1e6:.2f} MB")


def write_tables(out: Path, folder: Path) -> list[dict[str, Any]]:
    """Simulate both days, write the two tables, and return what the days held."""
    series: list[Series] = []
    days: list[dict[str, Any]] = []
    for service in SERVICES:
        replicas = service.prefill_replicas, service.decode_replicas
        run = simulate(draw_day(service), *replicas, service.changes, folder)
        series += expose(service, run, with_gateway=service is not CHAT)
        days.append(describe_day(service, run))
        if service is CHAT:
            log = request_table(run, service.name)
            _write(log, out / "requests.parquet", "arrived_at", [])
    _write(telemetry_table(series), out / "telemetry.parquet", "timestamp", ["value"])
    return days


def write_truth(out: Path, days: list[dict[str, Any]], knees: list[dict[str, Any]]) -> None:
    """Write what is planted and what is true, for tests and for the curious."""
    truth = {
        "command": "python sample/generate.py",
        "engine": "ai-dynamo-runtime 1.6.1, offline replay",
        "prefill_per_decode": {CHAT.name: prefill_per_decode(knees, CHAT.name, days[0])},
        "knees": knees,
        "days": days,
    }
    (out / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")


def main() -> None:
    """Simulate both days and write the tables, then find the knees and write the truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        days = write_tables(out, folder)
        write_truth(out, days, [find_knee(search, folder) for search in SEARCHES])


if __name__ == "__main__":
    main()
