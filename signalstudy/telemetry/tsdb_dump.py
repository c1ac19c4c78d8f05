r"""Text of `promtool tsdb dump`: one sample a line, `{labels} value milliseconds`.

Labels are printed as Go quotes strings. The file is read in blocks and only series that the study
can use are kept, so memory follows the study's series and not the server's.
"""

from __future__ import annotations

import ast
import io
import json
import re
from hashlib import blake2b
from typing import TYPE_CHECKING

import polars as pl

from signalstudy.telemetry.columns import EARLIEST_MS, LATEST_MS
from signalstudy.telemetry.files import blocks, find_files
from signalstudy.telemetry.raw import RawSource
from signalstudy.vocabulary.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import duckdb

    from signalstudy.source import Source

LONGEST_LINE_BYTES = 1 << 25
LABEL = re.compile(r'\s*"?([^",={}\s]+|[^"={}]+)"?\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
NAME = r'__name__="((?:[^"\\]|\\.)*)"'
SAMPLE = r"^(\{.*\}) (\S+) (-?\d+)$"
NATIVE_HISTOGRAM = r"^\{.*\} \{.*count:"


def read_tsdb_dump(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    *,
    number: int,
    is_wanted: Callable[[str], bool],
) -> RawSource:
    """Bring dumps into the raw form; only metrics that `is_wanted` are kept.

    Raises TableError naming file and line of the first line that is no sample.
    """
    place = f"[[sources]] {number}"
    files = find_files(source.path, place)
    frames: list[pl.DataFrame] = []
    native = 0
    for file in files:
        for frame, histograms in _samples(file, place):
            native += histograms
            names = frame["labels"].unique()
            wanted = [text for text in names if is_wanted(_metric_name(text))]
            frames.append(frame.filter(pl.col("labels").is_in(wanted)))
    samples = (
        pl.concat(frames)
        if frames
        else pl.DataFrame(schema={"labels": pl.String, "value": pl.Float64, "time_ms": pl.Int64})
    )
    texts = samples["labels"].unique().sort().to_list()
    series = pl.DataFrame(
        [_series(source.role, text, f"{place}, {files[0].name}") for text in texts],
        schema={
            "text": pl.String,
            "key": pl.UInt64,
            "metric": pl.String,
            "le": pl.String,
            "labels": pl.String,
        },
        orient="row",
    )
    samples = samples.join(series.select("text", "key"), left_on="labels", right_on="text")
    _create_raw(connection, number, samples, series)
    notes = [f"{native} native histogram samples are left out: not yet read"] if native else []
    return RawSource(number, source.role, "tsdb-dump", tuple(files), tuple(notes))


def _create_raw(
    connection: duckdb.DuckDBPyConnection, number: int, samples: pl.DataFrame, series: pl.DataFrame
) -> None:
    counts = samples.group_by("key").agg(pl.len().alias("samples"))
    connection.register(f"dump_{number}", samples.select("key", "time_ms", "value").to_arrow())
    connection.register(
        f"dump_series_{number}",
        series.join(counts, on="key").select("key", "metric", "le", "labels", "samples").to_arrow(),
    )
    connection.execute(f"CREATE OR REPLACE TEMP VIEW raw_{number} AS SELECT * FROM dump_{number}")
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW raw_series_{number} AS SELECT * FROM dump_series_{number}"
    )


def whole_lines(file: Path, place: str) -> Iterator[bytes]:
    """Give the file in blocks that end at a line's end."""
    rest = b""
    for block in blocks(file, place):
        head, newline, tail = (rest + block).rpartition(b"\n")
        rest = tail
        if newline:
            yield head
        elif len(rest) > LONGEST_LINE_BYTES:
            raise TableError(f"{place}: {file} holds a line longer than {LONGEST_LINE_BYTES} bytes")
    if rest:
        yield rest


def _samples(file: Path, place: str) -> Iterator[tuple[pl.DataFrame, int]]:
    """Parse block after block; the second value counts native histogram samples passed over."""
    before = 0
    for block in whole_lines(file, place):
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
            raise TableError(f"{place}: {file} is no text of `promtool tsdb dump`") from None
        line = pl.col("line").str.strip_chars_end("\r ")
        groups = line.str.extract_groups(SAMPLE).struct.rename_fields(["labels", "text", "time_ms"])
        parsed = (
            lines.with_row_index("at")
            .with_columns(
                groups.alias("parts"), line.str.contains(NATIVE_HISTOGRAM).alias("native"), line
            )
            .unnest("parts")
        )
        time = pl.col("time_ms").cast(pl.Int64, strict=False)
        parsed = parsed.with_columns(
            pl.col("text").cast(pl.Float64, strict=False).alias("value"),
            pl.when(time.is_between(EARLIEST_MS, LATEST_MS)).then(time).alias("time_ms"),
        )
        bad = parsed.filter(
            (pl.col("value").is_null() | pl.col("time_ms").is_null())
            & ~pl.col("native").fill_null(value=False)
            & (pl.col("line").fill_null("") != "")
        )
        if bad.height:
            row = bad.row(0, named=True)
            raise TableError(
                f"{place}: {file}, line {before + row['at'] + 1} is no sample "
                f"`{{labels}} value milliseconds`: {row['line'][:80]!r}"
            )
        before += lines.height
        good = parsed.filter(pl.col("value").is_not_null())
        native = parsed.filter(pl.col("native").fill_null(value=False)).height
        yield good.select("labels", "value", "time_ms"), native
    if before == 0:
        raise TableError(f"{place}: {file} is empty")


def _metric_name(labels: str) -> str:
    found = re.search(NAME, labels) or re.match(r'\{"((?:[^"\\]|\\.)*)"[,}]', labels)
    return _unquoted(found.group(1)) if found else ""


def _unquoted(text: str) -> str:
    """Undo Go's quoting, whose escapes are a subset of Python's."""
    if "\\" not in text:
        return text
    try:
        return str(ast.literal_eval(f'"{text}"'))
    except (SyntaxError, ValueError):
        return text


def parse_labels(text: str) -> dict[str, str] | None:
    """Read `{a="b", ...}` into a dict with `__name__`; None where it is no label set."""
    inner = text.strip()[1:-1].strip()
    labels: dict[str, str] = {}
    bare = re.match(r'"((?:[^"\\]|\\.)*)"\s*(?:,|$)', inner)
    if bare:
        labels["__name__"] = _unquoted(bare.group(1))
        inner = inner[bare.end() :].strip()
    while inner:
        found = LABEL.match(inner)
        if not found:
            return None
        labels[found.group(1)] = _unquoted(found.group(2))
        inner = inner[found.end() :].strip()
    return labels


def _series(role: str, text: str, place: str) -> tuple[str, int, str, str | None, str]:
    labels = parse_labels(text)
    if labels is None or "__name__" not in labels:
        raise TableError(f"{place}: cannot read the labels {text[:120]!r}")
    key = int.from_bytes(blake2b(f"{role} {text}".encode(), digest_size=8).digest(), "big")
    metric = labels.pop("__name__")
    return text, key, metric, labels.pop("le", None), json.dumps(labels)
