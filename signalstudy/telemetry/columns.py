"""What a stranger's column holds: times in whichever unit, numbers, or text that is neither."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalstudy.telemetry.files import quoted
from signalstudy.vocabulary.errors import TableError
from signalstudy.vocabulary.spoken import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

INTEGERS = frozenset(
    [
        "TINYINT",
        "SMALLINT",
        "INTEGER",
        "BIGINT",
        "HUGEINT",
        "UTINYINT",
        "USMALLINT",
        "UINTEGER",
        "UBIGINT",
    ]
)
YEAR_LAST = re.compile(r"\s*\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b")
TIME_COLUMNS = ("timestamp", "arrived_at")
EARLIEST_MS, LATEST_MS = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999
# An epoch in seconds stays below 1e11 until the year 5138; each finer unit is 1000 times more.
EPOCH_UNITS = ((1e11, 1000.0, "seconds"), (1e14, 1.0, "milliseconds"), (1e17, 1e-3, "microseconds"))


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """`expression`: SQL that gives milliseconds since 1970 UTC; `note`: what had to be assumed."""

    expression: str
    note: str = ""


def type_of(relation: duckdb.DuckDBPyRelation, column: str) -> str:
    """Give DuckDB's type of a column, in capitals."""
    return str(relation.types[relation.columns.index(column)]).upper()


def is_number(kind: str) -> bool:
    """Whether a DuckDB type is a number."""
    return kind in INTEGERS or kind in {"DOUBLE", "FLOAT"} or kind.startswith("DECIMAL")


def time_column(relation: duckdb.DuckDBPyRelation, column: str, place: str) -> TimeColumn:
    """Say how to read `column` as time; raises TableError where it is none."""
    name, kind = quoted(column), type_of(relation, column)
    zoneless = f"{column} has no time zone: read as UTC"
    if kind == "TIMESTAMP WITH TIME ZONE":
        return _checked(relation, column, TimeColumn(f"epoch_ms({name})"), place)
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        time = TimeColumn(f"epoch_ms(CAST({name} AS TIMESTAMP))", zoneless)
        return _checked(relation, column, time, place)
    if is_number(kind):
        return _checked(relation, column, _epoch(relation, column, name), place)
    if kind == "VARCHAR":
        # Without a zone the session's is taken, which is UTC; a cast to TIMESTAMP drops the zone.
        text = f"nullif(trim({name}), '')"
        bad = _first_bad(relation, f"try_cast({text} AS TIMESTAMPTZ)", name)
        if bad is None:
            has_zone = f"regexp_matches({text}, '(?i)(z|utc|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$')"
            any_naive = relation.filter(f"NOT {has_zone}").limit(1).fetchall()
            time = TimeColumn(f"epoch_ms(CAST({text} AS TIMESTAMPTZ))", zoneless * bool(any_naive))
            return _checked(relation, column, time, place)
        if _first_bad(relation, f"try_cast({text} AS DOUBLE)", name) is None:
            time = _epoch(relation, column, f"CAST({text} AS DOUBLE)")
            return _checked(relation, column, time, place)
        mixed = _mixed(column, text)
        if (bad := _first_bad(relation, mixed.expression, name)) is None:
            return _checked(relation, column, mixed, place)
        raise _no_time(place, column, bad)
    raise TableError(f"{place}: column {column!r} is {kind}, which is no time")


def _no_time(place: str, column: str, shown: object) -> TableError:
    why = ": whether day or month comes first is not told" if YEAR_LAST.match(str(shown)) else ""
    return TableError(
        f"{place}: column {column!r} holds {str(shown)[:80]!r}, which is no time{why}. "
        "Times are ISO 8601 (2026-03-04T00:00:00Z) or seconds since 1970."
    )


def _checked(
    relation: duckdb.DuckDBPyRelation, column: str, time: TimeColumn, place: str
) -> TimeColumn:
    """Refuse instants outside the years 1 to 9999, the infinite ones included."""
    name = quoted(column)
    bad = relation.filter(
        f"{name} IS NOT NULL AND coalesce(try({time.expression}) "
        f"NOT BETWEEN {EARLIEST_MS} AND {LATEST_MS}, trim(CAST({name} AS VARCHAR)) <> '')"
    )
    rows = bad.limit(1).project(f"CAST({name} AS VARCHAR)").fetchall()
    if rows:
        raise _no_time(place, column, rows[0][0])
    return time


def _epoch(relation: duckdb.DuckDBPyRelation, column: str, expression: str) -> TimeColumn:
    [(middle,)] = relation.aggregate(f"median(CAST({expression} AS DOUBLE))").fetchall()
    factor, unit = 1e-6, "nanoseconds"
    for below, to_ms, name in EPOCH_UNITS:
        if middle is None or abs(middle) < below:
            factor, unit = to_ms, name
            break
    return TimeColumn(
        f"CAST(round(CAST({expression} AS DOUBLE) * {factor!r}) AS BIGINT)",
        f"{column} is a number: read as {unit} since 1970",
    )


def _mixed(column: str, text: str) -> TimeColumn:
    """Read a column in which some times are texts and some numbers, each for itself."""
    number, size = f"try_cast({text} AS DOUBLE)", f"abs(try_cast({text} AS DOUBLE))"
    sizes = " ".join(f"WHEN {size} < {below!r} THEN {to_ms!r}" for below, to_ms, _ in EPOCH_UNITS)
    in_ms = f"try_cast(round({number} * CASE {sizes} ELSE 1e-6 END) AS BIGINT)"
    return TimeColumn(
        f"coalesce({in_ms}, epoch_ms(try_cast({text} AS TIMESTAMPTZ)))",
        f"{column} is written in several ways: numbers are read as time since 1970 in the unit of "
        "their size, times without zone as UTC",
    )


def number_expression(relation: duckdb.DuckDBPyRelation, column: str, place: str) -> str:
    """Give SQL that reads `column` as DOUBLE; raises TableError naming the first text in it."""
    name, kind = quoted(column), type_of(relation, column)
    if is_number(kind) or kind == "BOOLEAN":
        return f"CAST({name} AS DOUBLE)"
    if kind in {"VARCHAR", "JSON"}:
        text = f"json_extract_string({name}, '$')" if kind == "JSON" else name
        bad = _first_bad(relation, f"try_cast(nullif(trim({text}), '') AS DOUBLE)", text)
        if bad is not None:
            raise TableError(f"{place}: column {column!r} holds {bad!r}, which is no number")
        return f"try_cast(nullif(trim({text}), '') AS DOUBLE)"
    if kind == '"NULL"':
        return "CAST(NULL AS DOUBLE)"
    raise TableError(f"{place}: column {column!r} is {kind}, which is no number")


def _first_bad(relation: duckdb.DuckDBPyRelation, cast: str, name: str) -> str | None:
    """Find the first text that is there but does not survive the cast."""
    rows = (
        relation.filter(f"{name} IS NOT NULL AND trim({name}) <> '' AND {cast} IS NULL")
        .limit(1)
        .project(name)
        .fetchall()
    )
    return str(rows[0][0])[:80] if rows else None


TELLTALES = {
    "arrived_at": 'A request log is kind = "requests".',
    "concurrency_requests": 'Operating points are kind = "points".',
}
"""Columns that say of a table without times what it is."""


def refuse_missing(columns: Sequence[str], needed: Sequence[str], place: str) -> None:
    """Raise TableError where one of `needed` is not among `columns`."""
    missing = [name for name in needed if name not in columns]
    if missing:
        hint = next((f" {said}" for name, said in TELLTALES.items() if name in columns), "")
        hint = hint if missing[0] == "timestamp" else ""
        raise TableError(f"{place}: there is no column {missing[0]!r}.{hint} {listed(columns)}")


def listed(columns: Sequence[str]) -> str:
    """List a table's columns in one line, for a message."""
    return one_line(f"Columns: {', '.join(columns)[:400]}.")
