"""read_telemetry: sources into the store, each read once."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from signalstudy.sql import read_query
from signalstudy.telemetry.discover import (
    Discovery,
    RawSeries,
    SeriesRow,
    discover,
    is_known_metric,
)
from signalstudy.telemetry.files import first_line
from signalstudy.telemetry.increments import Reduced, write_increments
from signalstudy.telemetry.openmetrics import read_openmetrics
from signalstudy.telemetry.points import read_points
from signalstudy.telemetry.raw_parts import FETCHED
from signalstudy.telemetry.requests import NUMBERS, read_requests
from signalstudy.telemetry.store import (
    code_digest,
    content_digest,
    open_store,
    sweep,
    write_store,
)
from signalstudy.telemetry.table import read_table
from signalstudy.telemetry.telemetry import PARTS
from signalstudy.telemetry.tsdb import read_tsdb
from signalstudy.telemetry.tsdb_dump import read_tsdb_dump
from signalstudy.telemetry.vm_export import read_vm_export
from signalstudy.vocabulary.errors import ConfigurationError, TableError
from signalstudy.vocabulary.spoken import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalstudy.config import StudyConfig
    from signalstudy.telemetry.raw import RawSource
    from signalstudy.telemetry.telemetry import Telemetry

MEMORY_LIMIT = "600MB"
READERS = {
    "tsdb": read_tsdb,
    "tsdb-dump": read_tsdb_dump,
    "openmetrics": read_openmetrics,
    "vm-export": read_vm_export,
}
"""Readers of files of history, by kind."""
SERIES_SCHEMA = {
    "key": pl.UInt64,
    "group_key": pl.UInt64,
    "source": pl.Int32,
    "role": pl.String,
    "service": pl.String,
    "pool": pl.String,
    "replica": pl.String,
    "quantity": pl.String,
    "form": pl.String,
    "kind": pl.String,
    "factor": pl.Float64,
    "le": pl.Float64,
    "scope": pl.String,
    "per_token": pl.Boolean,
    "precedence": pl.Int32,
    "metric": pl.String,
    "hardware": pl.String,
    "version": pl.String,
    "one_of": pl.String,
    "ha_replica": pl.String,
    "samples": pl.Int64,
    "told_by": pl.String,
}


def read_telemetry(
    config: StudyConfig,
    folder: str | Path,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> Telemetry:
    """Read the sources of a study into the store in `folder`, or reuse the store that is there.

    The store is reused where sources, their reading and the code are unchanged. Raises TableError
    or ConfigurationError, and then leaves nothing behind.
    """
    place = Path(folder)
    digest = f"{content_digest(config)}-{code_digest()}"
    found = open_store(place, digest)
    if found is not None:
        progress("sources are unchanged: the store is reused")
        return found
    if "?" in str(place.absolute()):
        raise ConfigurationError(f"{place}: DuckDB opens no database below a name with '?'")
    is_new = not place.exists()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{place}: results cannot be written there: {error}") from None
    sweep(place)
    scratch = place / f"scratch.{os.getpid()}"
    connection = _connect(scratch)
    is_done = False
    try:
        facts = _fill(connection, config, scratch, progress)
        write_store(connection, place, scratch / PARTS, digest=digest, facts=facts)
        is_done = True
        shutil.rmtree(place / FETCHED, ignore_errors=True)
    except (duckdb.Error, OSError) as error:
        names = ", ".join(Path(source.name).name for source in config.sources)[:200]
        raise TableError(f"{names}: cannot be read: {first_line(error)}") from None
    finally:
        connection.close()
        shutil.rmtree(scratch, ignore_errors=True)
        # what a server has sent already is worth a folder that would otherwise go
        if is_new and not is_done and not any((place / FETCHED).rglob("*.parquet")):
            shutil.rmtree(place, ignore_errors=True)
    store = open_store(place, digest)
    if store is None:
        raise TableError(f"{place}: the store was written and cannot be read again")
    return store


def _connect(scratch: Path) -> duckdb.DuckDBPyConnection:
    scratch.mkdir(parents=True, exist_ok=True)  # DuckDB makes the last folder of a path, no more
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
    connection.execute("SET temp_directory = $place", {"place": str(scratch / "spill")})
    return connection


def _fill(
    connection: duckdb.DuckDBPyConnection,
    config: StudyConfig,
    scratch: Path,
    progress: Callable[[str], None],
) -> dict[str, object]:
    """Make the working tables; give what the store should remember besides them."""
    sources = []
    for number, source in enumerate(config.sources, start=1):
        progress(f"reading {Path(source.name).name}")
        sources.append(_read_source(connection, config, number, scratch, progress))
    notes = [note for source in sources for note in source.notes]
    discovery = _register_series(connection, config, sources)
    notes += discovery.notes
    progress("taking increments")
    _view_samples(connection, sources)
    reduced = write_increments(connection, discovery.series, scratch / PARTS, progress)
    if reduced.dropped:
        notes.append(
            f"{reduced.dropped} samples are no measurement (NaN, infinite or a sentinel) and are "
            "left out"
        )
    _union(connection, "all_requests", "requests", sources, _empty_requests())
    _union(connection, "points", "points", sources, _empty_points())
    _refuse_nothing(connection, discovery, reduced, sources)
    return {
        "notes": notes,
        "left_out": discovery.left_out,
        "source_files": [name for source in sources for name in source.names],
    }


def _read_source(
    connection: duckdb.DuckDBPyConnection,
    config: StudyConfig,
    number: int,
    scratch: Path,
    progress: Callable[[str], None],
) -> RawSource:
    source = config.sources[number - 1]
    if source.kind == "requests":
        return read_requests(connection, source, config, number=number, scratch=scratch)
    if source.kind == "points":
        return read_points(connection, source, config, number=number, scratch=scratch)

    def is_wanted(metric: str) -> bool:
        return is_known_metric(metric, config.signals)

    if source.kind in READERS:
        read = READERS[source.kind]
        return read(connection, source, number=number, is_wanted=is_wanted, scratch=scratch)
    if source.kind == "prometheus":
        from signalstudy.telemetry.prometheus import (  # noqa: PLC0415 - slow to import
            read_prometheus,
        )

        return read_prometheus(
            connection,
            source,
            number=number,
            is_wanted=is_wanted,
            folder=scratch.parent,
            progress=progress,
        )
    named = config.labels
    labels = {*named.service, *named.pool, *named.replica, *named.hardware, *named.ha_replica}
    labels |= set(named.version)
    return read_table(connection, source, number=number, labels=frozenset(labels), scratch=scratch)


def _register_series(
    connection: duckdb.DuckDBPyConnection, config: StudyConfig, sources: list[RawSource]
) -> Discovery:
    raw: dict[int, RawSeries] = {}
    for source in sources:
        if source.form in ("requests", "points"):
            continue
        rows = connection.execute(
            f"SELECT key, metric, le, labels, samples FROM raw_series_{source.number} ORDER BY 2, 1"
        ).fetchall()
        if not rows:
            raise TableError(
                f"[[sources]] {source.number}, {Path(source.names[0]).name}: holds no sample"
            )
        for key, metric, le, labels, samples in rows:
            # The same series in two sources is one series, whose samples are merged.
            before = raw[key].samples if key in raw else 0
            raw[key] = RawSeries(
                key, source.number, source.form, source.role, metric, le, labels, before + samples
            )
    discovery = discover(raw.values(), config)
    frame = pl.DataFrame(
        [asdict(row) for row in discovery.series],
        schema={f.name: SERIES_SCHEMA[f.name] for f in fields(SeriesRow)},
    )
    connection.register("discovered", frame.to_arrow())
    connection.execute("CREATE OR REPLACE TEMP TABLE series AS SELECT * FROM discovered")
    return discovery


def _view_samples(connection: duckdb.DuckDBPyConnection, sources: list[RawSource]) -> None:
    """Make the view `samples` of all sources."""
    telemetry = [s.number for s in sources if s.form not in ("requests", "points")]
    union = " UNION ALL ".join(f"SELECT * FROM raw_{number}" for number in telemetry)
    empty = "SELECT 0::UBIGINT AS key, 0::BIGINT AS time_ms, 0.0::DOUBLE AS value WHERE false"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW samples AS {union or empty}")


def _union(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    view: str,
    sources: list[RawSource],
    empty: str,
) -> None:
    parts = [f"SELECT * FROM {view}_{s.number}" for s in sources if s.form == view]
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS {' UNION ALL BY NAME '.join(parts) or empty}"
    )


def _empty_requests() -> str:
    numbers = ", ".join(f"0.0::DOUBLE AS {name}" for name in NUMBERS)
    return (
        "SELECT ''::VARCHAR AS service, ''::VARCHAR AS role, 0::BIGINT AS arrived_ms, "
        f"0.0::DOUBLE AS requests, {numbers} WHERE false"
    )


def _empty_points() -> str:
    names = read_query("points_of_service").returns
    numbers = ", ".join(f"0.0::DOUBLE AS {name}" for name in names)
    return f"SELECT ''::VARCHAR AS service, {numbers} WHERE false"


def _refuse_nothing(
    connection: duckdb.DuckDBPyConnection,
    discovery: Discovery,
    reduced: Reduced,
    sources: list[RawSource],
) -> None:
    """Raise where no source holds anything that a study can use."""
    names = ", ".join(Path(name).name for source in sources for name in source.names)[:200]
    [(others,)] = connection.execute(
        "SELECT (SELECT count(*) FROM all_requests) + (SELECT count(*) FROM points)"
    ).fetchall()
    if others or reduced.intervals:
        return
    if reduced.samples:
        raise TableError(f"{names}: a single sample a series is no history, nothing can be studied")
    if discovery.series:
        raise TableError(f"{names}: no sample is a finite number")
    seen = ", ".join(sorted(discovery.left_out))[:400]
    raise TableError(
        f"{names}: no metric in it is one the study knows. Seen: {one_line(seen) or 'none'}. "
        "`signalstudy signals` lists the known ones; others go under [[signals]]."
    )
