"""OpenMetrics text with times, as `promtool tsdb dump-openmetrics` prints it.

One sample a line, `name{labels} value seconds`; lines that begin with # are passed over.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from signalstudy.telemetry.files import find_files
from signalstudy.telemetry.raw import RawSource
from signalstudy.telemetry.raw_parts import RawParts, SampleBatch
from signalstudy.telemetry.tsdb_dump import parse_labels, whole_lines
from signalstudy.vocabulary.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import duckdb

    from signalstudy.source import Source

# An exemplar (` # {...} 1 2`) may follow; a quote inside the labels keeps a # there its own.
SAMPLE = r'^([^\s{]*)(\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?\s+(\S+)\s+(\S+)(?:\s+#\s.*)?$'
NO_TIME = r'^[^\s{]*(\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?\s+\S+(?:\s+#\s.*)?$'
LATEST_SECONDS = 253_402_300_800.0


def read_openmetrics(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    *,
    number: int,
    is_wanted: Callable[[str], bool],
    scratch: Path,
) -> RawSource:
    """Bring files of OpenMetrics text into the raw form; only metrics that `is_wanted` are kept.

    Raises TableError naming file and line of the first line that is no sample with a time.
    """
    place = f"[[sources]] {number}"
    files = find_files(source.path, place)
    parts = RawParts(scratch / f"openmetrics-{number}", source.role)
    for at, file in enumerate(files):
        parts.write(str(at), _batches(file, place, is_wanted))
    notes = parts.register(connection, number, is_overlapping=len(files) > 1)
    return RawSource(number, source.role, "openmetrics", tuple(files), notes)


def _batches(file: Path, place: str, is_wanted: Callable[[str], bool]) -> Iterator[SampleBatch]:
    before = 0
    known: dict[str, dict[str, str] | None] = {}
    for block in whole_lines(file, place):
        parsed = _parsed(block, f"{place}: {file}", before)
        before += block.count(b"\n") + 1
        for text in parsed["series"].unique().to_list():
            if text not in known:
                known[text] = _labels(text, f"{place}: {file}", is_wanted)
        wanted = [text for text in parsed["series"].unique().to_list() if known[text] is not None]
        kept = parsed.filter(pl.col("series").is_in(wanted)).sort("series", maintain_order=True)
        if kept.height == 0:
            continue
        counts = kept.group_by("series", maintain_order=True).len()
        yield SampleBatch(
            tuple(found for text in counts["series"] if (found := known[text]) is not None),
            counts["len"].cast(pl.Int64).to_numpy(),
            kept["time_ms"].to_numpy(),
            np.ascontiguousarray(kept["value"].to_numpy()).view(np.uint64),
        )
    if before == 0:
        raise TableError(f"{place}: {file} is empty")


def _parsed(block: bytes, place: str, before: int) -> pl.DataFrame:
    """Split lines into series, value and time; raises TableError naming the first that is none."""
    try:
        lines = pl.read_csv(
            io.BytesIO(block),
            has_header=False,
            separator="\x01",
            quote_char=None,
            new_columns=["line"],
            schema={"line": pl.String},
        )
    except (pl.exceptions.PolarsError, UnicodeDecodeError):
        raise TableError(f"{place} is no text of OpenMetrics") from None
    line = pl.col("line").fill_null("").str.strip_chars()
    groups = line.str.extract_groups(SAMPLE)
    parsed = lines.with_row_index("at").with_columns(line.alias("line"), groups.alias("parts"))
    parsed = parsed.filter((line != "") & ~line.str.starts_with("#")).unnest("parts")
    seconds = pl.col("4").cast(pl.Float64, strict=False)
    parsed = parsed.with_columns(
        (pl.col("1") + pl.col("2").fill_null("")).alias("series"),
        pl.col("3").cast(pl.Float64, strict=False).alias("value"),
        pl.when(seconds.abs() < LATEST_SECONDS).then((seconds * 1000).round()).alias("time_ms"),
    )
    bad = parsed.filter(pl.any_horizontal(pl.col("series", "value", "time_ms").is_null()))
    if bad.height:
        row = bad.row(0, named=True)
        where = f"{place}, line {before + row['at'] + 1}"
        if bad.head(1).select(pl.col("line").str.contains(NO_TIME)).item():
            raise TableError(f"{where} has no time: a single scrape is no history")
        raise TableError(
            f"{where} is no sample `name{{labels}} value seconds`: {row['line'][:80]!r}"
        )
    return parsed.select("series", "value", pl.col("time_ms").cast(pl.Int64))


def _labels(text: str, place: str, is_wanted: Callable[[str], bool]) -> dict[str, str] | None:
    """Read `name{labels}`; None where the metric is not wanted."""
    name, brace, inner = text.partition("{")
    if name and not is_wanted(name):
        return None
    labels = parse_labels(brace + inner) if brace else {}
    if labels is None or not (name or "__name__" in labels):
        raise TableError(f"{place}: cannot read the labels {text[:120]!r}")
    if name:
        labels["__name__"] = name
    return labels if is_wanted(labels["__name__"]) else None
