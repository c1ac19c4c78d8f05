"""Small studies written to disk: rows into files of every accepted form, and read back."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import zstandard

from signalstudy.config import parse_config
from signalstudy.telemetry.read import read_telemetry
from signalstudy.timeline.align import align

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from signalstudy.config import StudyConfig
    from signalstudy.telemetry.telemetry import Telemetry
    from signalstudy.timeline.timeline import Timeline

START = 1_767_571_200  # 2026-01-05T00:00:00Z
Row = dict[str, Any]


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def sample(metric: str, at: float, value: float | None, **labels: str | None) -> Row:
    """One row of a long table, `at` seconds after START."""
    return {
        "timestamp": iso(START + at),
        "service": "chat",
        "pool": "decode",
        "replica": "d0",
        **labels,
        "metric": metric,
        "value": value,
    }


def series(metric: str, values: Sequence[float], every: float = 10, **labels: str) -> list[Row]:
    return [sample(metric, every * i, value, **labels) for i, value in enumerate(values)]


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def as_csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns_of(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_jsonl(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_parquet(rows: Sequence[Row]) -> bytes:
    columns = columns_of(rows)
    frame = pl.DataFrame({name: [row.get(name) for row in rows] for name in columns})
    if "timestamp" in frame.columns and frame["timestamp"].dtype == pl.String:
        frame = frame.with_columns(pl.col("timestamp").str.to_datetime(time_zone="UTC"))
    stream = io.BytesIO()
    frame.write_parquet(stream)
    return stream.getvalue()


def as_dump(rows: Sequence[Row]) -> bytes:
    """Text of `promtool tsdb dump`."""
    lines = []
    for row in rows:
        labels = {"__name__": row["metric"]} | {
            key: str(value)
            for key, value in row.items()
            if key not in ("timestamp", "metric", "value") and value is not None
        }
        inner = ", ".join(f"{key}={json.dumps(labels[key])}" for key in sorted(labels))
        at = round(datetime.fromisoformat(row["timestamp"]).timestamp() * 1000)
        lines.append(f"{{{inner}}} {row['value']!r} {at}\n")
    return "".join(lines).encode()


FORMS = {
    "samples.csv": as_csv,
    "samples.csv.gz": lambda rows: gzip.compress(as_csv(rows)),
    "samples.csv.zst": lambda rows: zstandard.compress(as_csv(rows)),
    "samples.csv.xz": lambda rows: lzma.compress(as_csv(rows)),
    "samples.jsonl": as_jsonl,
    "samples.jsonl.zst": lambda rows: zstandard.compress(as_jsonl(rows)),
    "samples.jsonl.xz": lambda rows: lzma.compress(as_jsonl(rows)),
    "samples.parquet": as_parquet,
}
DUMPS = {
    "dump.txt": as_dump,
    "dump.txt.gz": lambda rows: gzip.compress(as_dump(rows)),
    "dump.txt.xz": lambda rows: lzma.compress(as_dump(rows)),
    "dump.txt.zst": lambda rows: zstandard.compress(as_dump(rows)),
}


def study(*sources: Path | dict[str, Any], name: str = "chat", **more: Any) -> StudyConfig:
    """Configure a study; a path alone is a table."""
    listed = [
        {"kind": "table", "path": str(s)} if isinstance(s, Path) else {**s, "path": str(s["path"])}
        for s in sources
    ]
    document = {"study": {"name": name}, "sources": listed, **more}
    return parse_config(document, place="study.toml", folder=Path())


def written(folder: Path, content: bytes | Sequence[Row], name: str = "samples.csv") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else as_csv(content))
    return file


def read(folder: Path, config: StudyConfig) -> Telemetry:
    return read_telemetry(config, folder / "study")


def timeline_of(
    folder: Path,
    rows: Sequence[Row],
    service: str = "chat",
    *,
    more: dict[str, Any] | None = None,
    **options: Any,
) -> Timeline:
    """Rows through file, store and align."""
    telemetry = read(folder, study(written(folder, rows), **(more or {})))
    timeline = align(telemetry, service, **options)
    assert timeline is not None
    return timeline


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


GOOD = (
    series("vllm:generation_tokens_total", [100.0 * i for i in range(30)])
    + series("vllm:num_requests_running", [float(i % 5) for i in range(30)])
    + series("vllm:kv_cache_usage_perc", [0.1 * (i % 5) for i in range(30)])
)


def changed(column: str, change: Callable[[int, Row], Any]) -> bytes:
    return as_csv([{**row, column: change(i, row)} for i, row in enumerate(GOOD)])


def parquet_of(rows: list[dict[str, Any]], **schema: Any) -> bytes:
    stream = io.BytesIO()
    pl.DataFrame(rows, schema=schema or None).write_parquet(stream)
    return stream.getvalue()
