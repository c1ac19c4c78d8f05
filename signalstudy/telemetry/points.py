"""Measured operating points: one row a concurrency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from signalstudy.telemetry.columns import number_expression, refuse_missing
from signalstudy.telemetry.files import find_files, first_line, open_table
from signalstudy.telemetry.raw import RawSource
from signalstudy.telemetry.requests import service_expression
from signalstudy.vocabulary.errors import TableError

if TYPE_CHECKING:
    from pathlib import Path

    from signalstudy.config import StudyConfig
    from signalstudy.source import Source

NEEDED = ("concurrency_requests", "ttft_seconds", "tbt_seconds", "prompt_tokens", "output_tokens")


def read_points(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    config: StudyConfig,
    *,
    number: int,
    scratch: Path,
) -> RawSource:
    """Bring operating points into the view `points_<n>`; rows that lack a number are left out."""
    place = f"[[sources]] {number}"
    files = find_files(source.path, place)
    relation = open_table(connection, files, place, scratch)
    place = f"{place}, {files[0].name}"
    refuse_missing(relation.columns, NEEDED, place)
    fields = [f"{service_expression(relation.columns, config)} AS service"]
    fields += [f"{number_expression(relation, name, place)} AS {name}" for name in NEEDED]
    has_gpus = "gpus_per_replica" in relation.columns
    gpus = number_expression(relation, "gpus_per_replica", place) if has_gpus else "NULL"
    fields.append(f"CAST({gpus} AS DOUBLE) AS gpus_per_replica")
    sound = " AND ".join(f"isfinite({name}) AND {name} > 0" for name in NEEDED)
    try:
        relation.project(", ".join(fields)).create_view(f"point_rows_{number}", replace=True)
        connection.execute(
            f"CREATE OR REPLACE VIEW points_{number} AS "
            f"SELECT * FROM point_rows_{number} WHERE {sound}"
        )
        [(good, seen)] = connection.execute(
            f"SELECT count(*), (SELECT count(*) FROM point_rows_{number}) FROM points_{number}"
        ).fetchall()
    except duckdb.Error as error:
        raise TableError(f"{place}: {first_line(error)}") from None
    if good == 0:
        raise TableError(f"{place}: no row has all of {', '.join(NEEDED)}, each above 0")
    notes = (f"{place}: {seen - good} of {seen} rows lack a number and are left out",)
    return RawSource(number, source.role, "points", tuple(files), notes if good < seen else ())
