"""Gathered: one service's samples by pool and quantity, the raw material of its Timeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.timeline.frozen import Frozen, thaw
from signalstudy.timeline.grid import Grid, Samples, make_grid
from signalstudy.timeline.impossible import without_negatives
from signalstudy.timeline.lives import part_lives

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from signalstudy.telemetry.discover import SeriesRow
    from signalstudy.telemetry.telemetry import Telemetry

    Floats = NDArray[np.float64]

NOT_FOR_THE_GRID = ("ready_replicas", "starting_replicas")


@dataclass(frozen=True, slots=True)
class Buckets:
    """Increments of one histogram by step: `edges` (e,), cumulative `counts` (e, n)."""

    edges: Floats
    counts: Floats
    cadence_seconds: float


@dataclass(frozen=True, slots=True)
class Gathered:
    """Samples of one service and role.

    `series`: (pool, quantity) -> rows with their samples. `buckets`: (pool, quantity) ->
    histogram. `requests`: columns of the request log, empty arrays where there is none.
    """

    service: str
    grid: Grid
    series: dict[tuple[str, str], list[tuple[SeriesRow, Samples]]]
    buckets: dict[tuple[str, str], Buckets]
    requests: dict[str, Floats]
    note: str = ""
    """What had to be left out to bring everything onto one grid."""
    frozen: tuple[Frozen, ...] = ()
    """Where exporters repeated themselves; what they repeated is not in `series`."""
    negative: dict[str, int] = field(default_factory=dict)
    """How many readings below zero of which quantity are not in `series`."""

    @property
    def pools(self) -> tuple[str, ...]:
        """Pools that any series speaks of, in the order of work."""
        order = ("gateway", "prefill", "decode", "unified")
        found = {pool for pool, _ in (*self.series, *self.buckets)}
        return tuple(pool for pool in order if pool in found)

    def samples(self, pool: str, quantity: str) -> list[Samples]:
        """Give the series of one quantity of one pool; empty where there is none."""
        return [samples for _, samples in self.series.get((pool, quantity), [])]

    def metrics(self, pool: str, quantity: str) -> str:
        """Name the metrics that a quantity of a pool was made of, for people."""
        rows = [row for row, _ in self.series.get((pool, quantity), [])]
        return ", ".join(sorted({row.metric for row in rows}))


def gather_samples(
    telemetry: Telemetry, service: str, role: str, step_seconds: float | None
) -> Gathered | None:
    """Load one service and role from the store; None where it has no history of anything."""
    if not ({(service, role)} & (telemetry.series.keys() | telemetry.request_services)):
        return None
    rows = {row.key: row for row in telemetry.series.get((service, role), ())}
    requests = _request_columns(telemetry.requests(service, role))
    series: dict[tuple[str, str], list[tuple[SeriesRow, Samples]]] = {}
    for key, samples in _split(telemetry.samples(service, role), telemetry).items():
        row = rows[key]
        series.setdefault((row.pool, row.quantity), []).append((row, samples))
    series = {
        name: found if name[1] in NOT_FOR_THE_GRID else part_lives(found)
        for name, found in series.items()
    }
    series, left_out = without_negatives(series)
    series, frozen = thaw(series)
    clocks = [
        samples
        for (_, quantity), found in series.items()
        for row, samples in found
        if quantity not in NOT_FOR_THE_GRID and row.form != "bucket"
    ]
    clocks = clocks or [samples for found in series.values() for _, samples in found]
    clocks = [samples for samples in clocks if samples.cadence_seconds > 0]
    if not clocks and requests["arrived_seconds"].size:
        clocks = [_clock_of_requests(requests["arrived_seconds"])]
    if not clocks:
        return None
    grid, note = make_grid(clocks, step_seconds)
    buckets = bucket_counts_of(telemetry, service, role, grid)
    return Gathered(service, grid, series, buckets, requests, note, frozen, left_out)


def _split(frame: pl.DataFrame, telemetry: Telemetry) -> dict[int, Samples]:
    """Cut the frame, sorted by key and time, into series."""
    if frame.is_empty():
        return {}
    keys = frame["key"].to_numpy()
    time = frame["time_ms"].to_numpy() / 1000.0
    values = frame["value"].to_numpy()
    interval = frame["interval_ms"].to_numpy() / 1000.0
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(keys)) + 1, [keys.size]])
    found = {}
    for begin, end in pairwise(cuts):
        key = int(keys[begin])
        cadence = (telemetry.facts[key].cadence_ms or 0.0) / 1000.0
        found[key] = Samples(time[begin:end], values[begin:end], interval[begin:end], cadence)
    return found


def _request_columns(frame: pl.DataFrame) -> dict[str, Floats]:
    columns = {
        name: frame[name].cast(float).fill_null(float("nan")).to_numpy()
        for name in frame.columns
        if name != "arrived_ms"
    }
    columns["arrived_seconds"] = frame["arrived_ms"].to_numpy() / 1000.0
    return columns


def _clock_of_requests(arrived_seconds: Floats) -> Samples:
    """Choose a step for a study of requests alone: about thirty arrivals a step, 1 s to 60 s."""
    span = float(arrived_seconds[-1] - arrived_seconds[0])
    ideal = 30.0 * span / max(arrived_seconds.size, 1)
    step = min(max(float(np.ceil(ideal)), 1.0), 60.0)
    ends = np.unique((np.floor(arrived_seconds / step) + 1.0) * step)
    return Samples(ends, np.zeros(ends.size), np.zeros(ends.size), step)


def bucket_counts_of(
    telemetry: Telemetry,
    service: str,
    role: str,
    grid: Grid,
    keys: frozenset[int] | None = None,
) -> dict[tuple[str, str], Buckets]:
    """Load histogram increments by step, edges that all replicas share; of some series or all."""
    rows = [r for r in telemetry.series.get((service, role), ()) if r.form == "bucket"]
    rows = [row for row in rows if keys is None or row.key in keys]
    if not rows:
        return {}
    step_ms = grid.step_seconds * 1000.0
    start_ms = (grid.time_seconds[0] - grid.step_seconds) * 1000.0
    of_edge = telemetry.bucket_counts(
        service, role, start_ms=start_ms, step_ms=step_ms, steps=grid.size, only=keys
    )
    found: dict[tuple[str, str], Buckets] = {}
    for pool, quantity in dict.fromkeys((pool, quantity) for pool, quantity, _ in of_edge):
        mine = [r for r in rows if (r.pool, r.quantity) == (pool, quantity)]
        edges = _shared_edges(mine)
        if edges.size < 2:
            continue
        counts = np.array([of_edge[pool, quantity, edge] for edge in edges.tolist()])
        cadence = float(np.median([telemetry.facts[r.key].cadence_ms or 0.0 for r in mine])) / 1e3
        found[pool, quantity] = Buckets(edges, counts, cadence)
    return found


def _shared_edges(rows: list[SeriesRow]) -> Floats:
    """Intersect the edges of all replicas: versions of an engine may differ (ingestion.md 2)."""
    by_group: dict[int, set[float]] = {}
    for row in rows:
        if row.le is not None:
            by_group.setdefault(row.group_key, set()).add(row.le)
    shared = set.intersection(*by_group.values()) if by_group else set()
    return np.array(sorted(shared))
