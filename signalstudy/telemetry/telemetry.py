"""Telemetry: the store of one study, opened read-only for each call."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from signalstudy.sql import run_query

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from signalstudy.telemetry.discover import SeriesRow

    Floats = NDArray[np.float64]

DATABASE = "telemetry.duckdb"
PARTS = "telemetry"


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """What was wrong with the samples of one series, and how often they came."""

    key: int
    copies: int
    conflicts: int
    gaps: int
    resets: int
    first_ms: int
    last_ms: int
    cadence_ms: float
    repeats: int
    changes: int


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What the sources hold, in base units, pools and replicas told.

    `series` by service: (service, role) -> rows. `request_services`, `point_services`: which
    services have a request log (with its role) or operating points. `source_files`: for people.
    """

    folder: Path
    digest: str
    series: dict[tuple[str, str], tuple[SeriesRow, ...]]
    facts: dict[int, SeriesFacts]
    request_services: frozenset[tuple[str, str]]
    point_services: frozenset[str]
    left_out: dict[str, int]
    notes: tuple[str, ...]
    source_files: tuple[str, ...]

    @property
    def content_digest(self) -> str:
        """Digest of what the sources hold, without the version of the code."""
        return self.digest.split("-", maxsplit=1)[0]

    @property
    def services(self) -> tuple[str, ...]:
        """All services, sorted."""
        named = {service for service, _ in (*self.series, *self.request_services)}
        return tuple(sorted(named | self.point_services))

    def samples(self, service: str, role: str) -> pl.DataFrame:
        """Give key, time_ms, value, interval_ms of all series but histogram buckets."""
        with self._open() as connection:
            return _frame(run_query(connection, "series_samples", service=service, role=role))

    def bucket_counts(
        self,
        service: str,
        role: str,
        *,
        start_ms: float,
        step_ms: float,
        steps: int,
        only: frozenset[int] | None = None,
    ) -> dict[tuple[str, str, float], Floats]:
        """Sum histogram increments by step over replicas: (pool, quantity, edge) -> (steps,).

        `only`: the keys of the series to sum, None for all.
        An increment belongs to the step in which its interval ends, so that counts stay whole
        numbers. They come in batches, so that many replicas need no more memory than few.
        """
        rows = [row for row in self.series.get((service, role), ()) if row.form == "bucket"]
        rows = [row for row in rows if only is None or row.key in only]
        names = sorted({_cell_of(row) for row in rows})
        places = {name: place for place, name in enumerate(names)}
        keys = np.array(sorted(row.key for row in rows), dtype=np.uint64)
        cell_of_key = {row.key: places[_cell_of(row)] for row in rows}
        cells = np.array([cell_of_key[key] for key in keys.tolist()], dtype=np.int64)
        counts = np.zeros(len(names) * steps)
        with self._open() as connection:
            found = run_query(connection, "bucket_samples", service=service, role=role)
            for batch in pa.RecordBatchReader.from_stream(found):
                # by way of polars: an Arrow column that turns into an array imports pandas first
                key, time_ms, value = (column.to_numpy() for column in pl.DataFrame(batch))
                step = np.ceil((time_ms - start_ms) / step_ms).astype(np.int64) - 1
                inside = (step >= 0) & (step < steps)
                if only is not None:
                    inside &= np.isin(key, keys)
                cell = cells[np.searchsorted(keys, key[inside])]
                np.add.at(counts, cell * steps + step[inside], value[inside])
        return dict(zip(names, counts.reshape(len(names), steps), strict=True))

    def requests(self, service: str, role: str) -> pl.DataFrame:
        """Give the request log of a service by arrival; empty where there is none."""
        with self._open() as connection:
            return _frame(run_query(connection, "requests_of_service", service=service, role=role))

    def points(self, service: str) -> pl.DataFrame:
        """Give the operating points of a service."""
        with self._open() as connection:
            return _frame(run_query(connection, "points_of_service", service=service))

    @contextmanager
    def _open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = duckdb.connect(str(self.folder / DATABASE), read_only=True)
        try:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()


def _frame(relation: duckdb.DuckDBPyRelation) -> pl.DataFrame:
    frame: pl.DataFrame = relation.pl()
    return frame


def _cell_of(row: SeriesRow) -> tuple[str, str, float]:
    return row.pool, row.quantity, np.inf if row.le is None else row.le
