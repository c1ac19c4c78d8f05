"""Request logs: one row a request, what metrics cannot tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from signalstudy.telemetry.columns import listed, number_expression, time_column
from signalstudy.telemetry.files import find_files, first_line, open_table, quoted
from signalstudy.telemetry.raw import RawSource
from signalstudy.vocabulary.errors import TableError

if TYPE_CHECKING:
    from pathlib import Path

    from signalstudy.config import StudyConfig
    from signalstudy.source import Source

NUMBERS = (
    "prompt_tokens",
    "output_tokens",
    "cached_prompt_tokens",
    "ttft_seconds",
    "tbt_seconds",
    "e2e_seconds",
    "queue_wait_seconds",
)


def read_requests(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    config: StudyConfig,
    *,
    number: int,
    scratch: Path,
) -> RawSource:
    """Bring a request log into the view `requests_<n>`, one row a request.

    Columns that are not there are NULL; negative numbers mean "not known". A column `requests`
    counts arrivals where one row stands for several. Raises TableError.
    """
    place = f"[[sources]] {number}"
    files = find_files(source.path, place)
    relation = open_table(connection, files, place, scratch)
    place = f"{place}, {files[0].name}"
    columns = relation.columns
    when = next((name for name in ("arrived_at", "timestamp") if name in columns), None)
    if when is None:
        raise TableError(f"{place}: a request log has a column 'arrived_at'. {listed(columns)}")
    if when == "timestamp" and not {*NUMBERS, "requests"} & set(columns):
        raise TableError(
            f"{place}: is no request log, which has {', '.join(NUMBERS[:2])} and latencies; series "
            f'are kind = "table". {listed(columns)}'
        )
    try:
        time = time_column(relation, when, place)
        fields = [f"{service_expression(columns, config)} AS service", f"'{source.role}' AS role"]
        fields.append(f"{time.expression} AS arrived_ms")
        weight = number_expression(relation, "requests", place) if "requests" in columns else "1.0"
        fields.append(f"{weight} AS requests")
        fields += [f"{_number(relation, name, place)} AS {name}" for name in NUMBERS]
        relation.project(", ".join(fields)).create_view(f"request_rows_{number}", replace=True)
        connection.execute(
            f"CREATE OR REPLACE VIEW requests_{number} AS SELECT * REPLACE ("
            "coalesce(tbt_seconds, CASE WHEN output_tokens > 1 AND e2e_seconds >= ttft_seconds "
            "THEN (e2e_seconds - ttft_seconds) / (output_tokens - 1) END) AS tbt_seconds) "
            f"FROM request_rows_{number} WHERE arrived_ms IS NOT NULL AND requests > 0"
        )
        notes = _notes(connection, number, place)
    except duckdb.Error as error:
        raise TableError(f"{place}: {first_line(error)}") from None
    return RawSource(
        number, source.role, "requests", tuple(files), tuple([time.note] * bool(time.note) + notes)
    )


def service_expression(columns: list[str], config: StudyConfig) -> str:
    """Give SQL for the service of a row: the columns that say it, else the study's name."""
    found = [quoted(name) for name in config.labels.service if name in columns]
    default = "'" + config.study.name.replace("'", "''") + "'"
    if not found:
        return default
    casts = [f"CAST({name} AS VARCHAR)" for name in found]
    return f"coalesce(nullif(concat_ws('/', {', '.join(casts)}), ''), {default})"


def _number(relation: duckdb.DuckDBPyRelation, name: str, place: str) -> str:
    if name not in relation.columns:
        return "CAST(NULL AS DOUBLE)"
    number = number_expression(relation, name, place)
    return f"CASE WHEN isfinite({number}) AND {number} >= 0 THEN {number} END"


def _notes(connection: duckdb.DuckDBPyConnection, number: int, place: str) -> list[str]:
    [(rows, seen)] = connection.execute(
        f"SELECT count(*), (SELECT count(*) FROM request_rows_{number}) FROM requests_{number}"
    ).fetchall()
    if rows == 0:
        raise TableError(f"{place}: holds no request")
    lost = f"{place}: {seen - rows} of {seen} rows lack an arrival and are left out"
    return [lost] * (rows < seen)
