"""Tables of telemetry, long or wide, told apart by their columns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import duckdb

from signalstudy.telemetry.columns import (
    is_number,
    listed,
    number_expression,
    refuse_missing,
    time_column,
    type_of,
)
from signalstudy.telemetry.files import find_files, first_line, open_table, quoted
from signalstudy.telemetry.raw import RawSource
from signalstudy.vocabulary.errors import TableError
from signalstudy.vocabulary.signals import signals

if TYPE_CHECKING:
    from pathlib import Path

    from signalstudy.source import Source

ALWAYS_LABELS = ("service", "pool", "replica")
NOT_LABELS = ("timestamp", "metric", "value", "le")


def read_table(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    *,
    number: int,
    labels: frozenset[str],
    scratch: Path,
) -> RawSource:
    """Bring a table into the raw form: views `raw_<n>` and `raw_series_<n>`.

    `labels` are the columns that study.toml names as labels. A long table has timestamp, metric
    and value; all its other columns are labels. A wide one has timestamp; its text columns are
    labels, its numbers are signals. Raises TableError.
    """
    place = f"[[sources]] {number}"
    files = find_files(source.path, place)
    relation = open_table(connection, files, place, scratch)
    place = f"{place}, {files[0].name}"
    columns = relation.columns
    refuse_missing(columns, ["timestamp"], place)
    try:
        if "metric" in columns or "value" in columns:
            refuse_missing(columns, ["metric", "value"], place)
            identity, notes = _long(relation, number, place)
            form = "long"
        else:
            identity, notes = _wide(connection, relation, number, labels, place)
            form = "wide"
        notes += _create_raw(connection, number, source.role, identity, place)
    except duckdb.Error as error:
        raise TableError(f"{place}: {first_line(error)}") from None
    return RawSource(number, source.role, form, tuple(files), tuple(notes))


def _long(
    relation: duckdb.DuckDBPyRelation, number: int, place: str
) -> tuple[list[str], list[str]]:
    """Make the view `source_<n>` of a long table; give its labels and notes."""
    time = time_column(relation, "timestamp", place)
    value = number_expression(relation, "value", place)
    labels = [c for c in relation.columns if c not in NOT_LABELS]
    fields = ["CAST(metric AS VARCHAR) AS metric"]
    le = "CAST(le AS VARCHAR)" if "le" in relation.columns else "CAST(NULL AS VARCHAR)"
    fields.append(f"{le} AS le")
    fields += [f"CAST({quoted(c)} AS VARCHAR) AS {quoted(c)}" for c in labels]
    fields += [f"{time.expression} AS time_ms", f"{value} AS value"]
    relation.project(", ".join(fields)).create_view(f"source_{number}", replace=True)
    return labels, [time.note] * bool(time.note)


def _wide(
    connection: duckdb.DuckDBPyConnection,
    relation: duckdb.DuckDBPyRelation,
    number: int,
    labels: frozenset[str],
    place: str,
) -> tuple[list[str], list[str]]:
    """Make the view `source_<n>` of a wide table; give its labels and notes."""
    time = time_column(relation, "timestamp", place)
    known = signals()
    label_columns, value_columns, ignored = [], [], []
    for column in relation.columns:
        kind = type_of(relation, column)
        if column == "timestamp":
            continue
        if column in ALWAYS_LABELS or column in labels:
            label_columns.append(column)
        elif column in known or is_number(kind):
            value_columns.append(column)
        elif kind == "VARCHAR":
            label_columns.append(column)
        else:
            ignored.append(column)
    if not value_columns:
        raise TableError(
            f"{place}: no column holds a signal. A wide table has a column a signal, a long one "
            f"timestamp, metric and value. {listed(relation.columns)}"
        )
    fields = [f"CAST({quoted(c)} AS VARCHAR) AS {quoted(c)}" for c in label_columns]
    fields += [f"{number_expression(relation, c, place)} AS {quoted(c)}" for c in value_columns]
    fields.append(f"{time.expression} AS time_ms")
    relation.project(", ".join(fields)).create_view(f"wide_{number}", replace=True)
    names = ", ".join(quoted(c) for c in value_columns)
    connection.execute(
        f"CREATE OR REPLACE VIEW source_{number} AS "
        f"SELECT *, CAST(NULL AS VARCHAR) AS le "
        f"FROM (UNPIVOT wide_{number} ON {names} INTO NAME metric VALUE value)"
    )
    notes = [time.note] * bool(time.note)
    notes += [f"column {c!r} is neither number nor text and is left out" for c in ignored]
    return label_columns, notes


def _create_raw(
    connection: duckdb.DuckDBPyConnection, number: int, role: str, labels: list[str], place: str
) -> list[str]:
    """Give every sample the key of its series: a 64-bit hash over all that identifies it.

    The same series in two sources of one role has one key, so that a recording may come in parts.
    """
    names = sorted(labels)
    said = ", ".join(quoted(name) for name in ["metric", "le", *names])
    about = json.dumps([role, *names]).replace("'", "''")
    key = f"hash('{about}', {said})"
    sound = "time_ms IS NOT NULL AND value IS NOT NULL AND metric IS NOT NULL"
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW raw_{number} AS "
        f"SELECT {key} AS key, time_ms, value FROM source_{number} WHERE {sound}"
    )
    pairs = ", ".join(f"{quoted(name)} := any_value({quoted(name)})" for name in names)
    packed = f"to_json(struct_pack({pairs}))" if pairs else "'{}'"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE raw_series_{number} AS "
        f"SELECT {key} AS key, any_value(metric) AS metric, any_value(le) AS le, "
        f"CAST({packed} AS VARCHAR) AS labels, count(*) AS samples "
        f"FROM source_{number} WHERE {sound} GROUP BY 1"
    )
    [(torn,)] = connection.execute(
        f"SELECT count(*) FROM source_{number} WHERE time_ms IS NULL OR metric IS NULL"
    ).fetchall()
    return [f"{place}: {torn} rows lack a timestamp or a metric and are left out"] * bool(torn)
