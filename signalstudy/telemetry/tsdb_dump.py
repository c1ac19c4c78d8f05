r"""Text of `promtool tsdb dump`: one sample a line, `{labels} value milliseconds`.

Labels are printed as Go quotes strings. The file is read in blocks and only series that the study
can use are kept, so memory follows the study's series and not the server's.
"""

from __future__ import annotations

import ast
import io
import re
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from signalstudy.telemetry.columns import EARLIEST_MS, LATEST_MS
from signalstudy.telemetry.files import blocks, find_files
from signalstudy.telemetry.native import from_buckets
from signalstudy.telemetry.raw import RawSource
from signalstudy.telemetry.raw_parts import RawParts, SampleBatch
from signalstudy.vocabulary.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import duckdb

    from signalstudy.source import Source
    from signalstudy.telemetry.native import NativeBatch
    from signalstudy.telemetry.raw_parts import Batch

LONGEST_LINE_BYTES = 1 << 25
LABEL = re.compile(r'\s*"?([^",={}\s]+|[^"={}]+)"?\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
NAME = r'__name__="((?:[^"\\]|\\.)*)"'
SAMPLE = r"^(\{.*\}) (\{count:[^{}\"]*\}|\S+) (-?\d+)$"
BUCKET = r"[\[(]([^,\[\](){}:]+),([^,\[\](){}:]+)[\])]:([^,}]+)"


def read_tsdb_dump(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    *,
    number: int,
    is_wanted: Callable[[str], bool],
    scratch: Path,
) -> RawSource:
    """Bring dumps into the raw form; only metrics that `is_wanted` are kept.

    Raises TableError naming file and line of the first line that is no sample.
    """
    place = f"[[sources]] {number}"
    files = find_files(source.path, place)
    parts = RawParts(scratch / f"tsdb-dump-{number}", source.role)
    for at, file in enumerate(files):
        parts.write(str(at), _batches(file, place, is_wanted))
    notes = parts.register(connection, number, is_overlapping=len(files) > 1)
    return RawSource(number, source.role, "tsdb-dump", tuple(files), notes)


def _batches(file: Path, place: str, is_wanted: Callable[[str], bool]) -> Iterator[Batch]:
    """Give the wanted samples of a file, block by block, series by series."""
    known: dict[str, dict[str, str] | None] = {}
    for frame in _samples(file, place):
        for text in frame["labels"].unique().to_list():
            if text not in known:
                known[text] = _labels(text, f"{place}, {file.name}", is_wanted)
        wanted = [text for text in frame["labels"].unique().to_list() if known[text] is not None]
        kept = frame.filter(pl.col("labels").is_in(wanted)).sort("labels", maintain_order=True)
        numbers = kept.filter(~pl.col("native"))
        if numbers.height:
            counts = numbers.group_by("labels", maintain_order=True).len()
            yield SampleBatch(
                tuple(found for text in counts["labels"] if (found := known[text]) is not None),
                counts["len"].cast(pl.Int64).to_numpy(),
                numbers["time_ms"].to_numpy(),
                np.ascontiguousarray(numbers["value"].to_numpy()).view(np.uint64),
            )
        for (text,), part in kept.filter(pl.col("native")).group_by("labels"):
            labels = known[str(text)]
            if labels is not None:
                yield _native(labels, part, f"{place}: {file}")


def _native(labels: dict[str, str], part: pl.DataFrame, place: str) -> NativeBatch:
    """Read native histograms as Prometheus prints them: `{count:3, sum:1, (0.5,1]:3}`."""
    rows = part["text"].to_list()
    found = [re.match(r"\{count:([^,}]+), sum:([^,}]+)", text) for text in rows]
    heads = [head for head in found if head is not None]
    if len(heads) < len(rows):
        raise _no_histogram(rows[found.index(None)], place)
    try:
        said = [
            (row, float(low), float(high), float(number))
            for row, text in enumerate(rows)
            for low, high, number in re.findall(BUCKET, text)
        ]
        count = np.array([float(head.group(1)) for head in heads])
        total = np.array([float(head.group(2)) for head in heads])
    except ValueError:
        raise _no_histogram(rows[0], place) from None
    for row, *numbers in said:
        if np.isnan(numbers).any():
            raise _no_histogram(rows[row], place)
    return from_buckets(labels, part["time_ms"].to_numpy(), count, total, said)


def _no_histogram(text: str, place: str) -> TableError:
    return TableError(f"{place}: cannot read the histogram {text[:120]!r}")


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


def _samples(file: Path, place: str) -> Iterator[pl.DataFrame]:
    """Parse block after block: labels, text, value, time_ms, native."""
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
            lines.with_row_index("at").with_columns(groups.alias("parts"), line).unnest("parts")
        )
        time = pl.col("time_ms").cast(pl.Int64, strict=False)
        parsed = parsed.with_columns(
            pl.col("text").cast(pl.Float64, strict=False).alias("value"),
            pl.col("text").str.starts_with("{count:").fill_null(value=False).alias("native"),
            pl.when(time.is_between(EARLIEST_MS, LATEST_MS)).then(time).alias("time_ms"),
        )
        bad = parsed.filter(
            ((pl.col("value").is_null() & ~pl.col("native")) | pl.col("time_ms").is_null())
            & (pl.col("line").fill_null("") != "")
        )
        if bad.height:
            row = bad.row(0, named=True)
            raise TableError(
                f"{place}: {file}, line {before + row['at'] + 1} is no sample "
                f"`{{labels}} value milliseconds`: {row['line'][:80]!r}"
            )
        before += lines.height
        yield parsed.filter(pl.col("time_ms").is_not_null()).drop("at", "line")
    if before == 0:
        raise TableError(f"{place}: {file} is empty")


def _labels(text: str, place: str, is_wanted: Callable[[str], bool]) -> dict[str, str] | None:
    """Read a label set; None where its metric is not wanted."""
    if not is_wanted(_metric_name(text)):
        return None
    labels = parse_labels(text)
    if labels is None or "__name__" not in labels:
        raise TableError(f"{place}: cannot read the labels {text[:120]!r}")
    return labels


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
