"""From samples to increments: sorted once by DuckDB, then shifted against themselves by NumPy.

Series are taken service by service and day by day, the parts of one histogram together, so that
memory follows neither the history nor the fleet. What each series had last is carried from day to
day. Windows in SQL do the same six times slower (methods.md 12.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from signalstudy.sql import run_query
from signalstudy.telemetry.series_facts import SeriesCounts
from signalstudy.vocabulary.slug import slugs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import duckdb
    from numpy.typing import NDArray

    from signalstudy.telemetry.discover import SeriesRow

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

DAY_MS = 86_400_000
ROWS_AT_ONCE = 500_000
SORTED_AT_ONCE = 3_000_000
"""Samples; a stretch is as many days as hold no more, or one day."""
LARGEST_VALUE = 1e18  # beyond stands no measurement
GPU_BLANK = 2_147_483_632  # DCGM writes blanks as numbers from 0x7ffffff0 on
LONGEST_RATE = 2.5  # cadences of which a mean per second speaks at most: a gap is not known
PART = pa.schema(
    [
        ("key", pa.uint64()),
        ("time_ms", pa.int64()),
        ("value", pa.float64()),
        ("interval_ms", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Places:
    """The series of a study in the order in which they are reduced: arrays (series,).

    `group`: the parts of one histogram have one number, and stand together. `service`: as a number.
    """

    key: NDArray[np.uint64]
    group: Integers
    service: Integers
    services: tuple[str, ...]
    factor: Floats
    is_gauge: Flags
    is_rate: Flags
    is_gpu: Flags


@dataclass(frozen=True, slots=True)
class Reduced:
    """What came of the samples: how many were kept, set aside, and followed another one."""

    samples: int
    dropped: int
    intervals: int


def places_of(rows: Sequence[SeriesRow]) -> Places:
    """Bring the series into order; of a key that stands twice the first counts."""
    services = tuple(sorted({row.service for row in rows}))
    number = {name: n for n, name in enumerate(services)}
    by_key = {row.key: row for row in reversed(rows)}
    ordered = sorted(by_key.values(), key=lambda r: (number[r.service], r.group_key, r.key))
    group = np.array([row.group_key for row in ordered], dtype=np.uint64)
    service = np.array([number[row.service] for row in ordered], dtype=np.int64)
    is_new = (np.diff(group) != 0) | (np.diff(service) != 0) if ordered else np.zeros(0, np.bool_)
    return Places(
        key=np.array([row.key for row in ordered], dtype=np.uint64),
        group=np.concatenate([[0], np.cumsum(is_new)])[: len(ordered)].astype(np.int64),
        service=service,
        services=services,
        factor=np.array([row.factor for row in ordered], dtype=np.float64),
        is_gauge=np.array([row.form == "gauge" for row in ordered], dtype=np.bool_),
        is_rate=np.array([row.form == "rate" for row in ordered], dtype=np.bool_),
        is_gpu=np.array([row.scope == "gpu" for row in ordered], dtype=np.bool_),
    )


def write_increments(
    connection: duckdb.DuckDBPyConnection,
    rows: Sequence[SeriesRow],
    folder: Path,
    progress: Callable[[str], None],
) -> Reduced:
    """Write the increments of `rows` into Parquet, one part a service and day, by series and time.

    Reads the view `samples` (key, time_ms, value); makes the table `series_facts`. Gauges are kept
    as they are, means per second times their interval, counters as increases: after a reset of any
    part of a histogram the whole value is the increase, as in Prometheus. A counter's first sample
    says nothing, and of several samples at an instant the largest counts. All are brought to base
    units.
    """
    places = places_of(rows)
    _table_of(connection, places)
    shifted = _Shifted(places, _cadences(connection, places))
    writer = _PartWriter(folder, places)
    try:
        for stretch in _stretches(connection):
            progress(f"writing {_date(stretch[0] // DAY_MS)} and on")
            for place, time_ms, value in _slices(connection, places, stretch):
                service, day = int(places.service[place[0]]), int(time_ms[0]) // DAY_MS
                writer.write(service, day, shifted(place, time_ms, value))
    finally:
        writer.close()
    facts = shifted.counts.facts(places.key)
    connection.register("counted", facts.to_arrow())
    connection.execute("CREATE OR REPLACE TEMP TABLE series_facts AS SELECT * FROM counted")
    return Reduced(shifted.samples, shifted.dropped, shifted.counts.intervals)


def _table_of(connection: duckdb.DuckDBPyConnection, places: Places) -> None:
    """Make the table `places`, whose size the planner knows: a view's it would have to guess."""
    order = pl.DataFrame(
        {
            "key": places.key,
            "place": np.arange(places.key.size, dtype=np.int64),
            "service_number": places.service,
            "is_rate": places.is_rate,
        }
    )
    connection.register("ordered", order.to_arrow())
    connection.execute("CREATE OR REPLACE TEMP TABLE places AS SELECT * FROM ordered")


def _cadences(connection: duckdb.DuckDBPyConnection, places: Places) -> Floats:
    """Give the milliseconds between samples of the series that are means per second (series,)."""
    found = np.full(places.key.size, np.nan)
    if places.is_rate.any():
        for place, cadence in run_query(connection, "cadences").fetchall():
            found[place] = np.nan if cadence is None else cadence
    return found


def _stretches(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, int]]:
    """Cut the history into stretches of whole days that can be sorted at once: [first, end)."""
    found: list[tuple[int, int]] = []
    size = SORTED_AT_ONCE
    for day, samples in run_query(connection, "samples_of_days").fetchall():
        if size + samples > SORTED_AT_ONCE:
            found.append((day * DAY_MS, (day + 1) * DAY_MS))
            size = samples
        else:
            found[-1] = (found[-1][0], (day + 1) * DAY_MS)
            size += samples
    return found


def _slices(
    connection: duckdb.DuckDBPyConnection, places: Places, stretch: tuple[int, int]
) -> Iterator[tuple[Integers, Integers, Floats]]:
    """Give samples in order, whole groups of series of one service and day together."""
    first_ms, end_ms = stretch
    samples = run_query(connection, "sorted_samples", first_ms=first_ms, end_ms=end_ms)
    held: list[tuple[Integers, Integers, Floats]] = []
    for batch in samples.to_arrow_reader(ROWS_AT_ONCE):
        # by way of polars: an Arrow column that turns into an array imports pandas first
        arrays = [column.to_numpy() for column in pl.DataFrame(batch)]
        held.append((arrays[0], arrays[1], arrays[2]))
        place, time_ms, value = _joined(held)
        whole, cuts = _edges(place, time_ms, places, is_one_day=end_ms - first_ms == DAY_MS)
        if whole.size == 0:
            held = [(place, time_ms, value)]
            continue
        end = int(whole[-1])
        edges = [0, *cuts[cuts < end].tolist(), end]
        for first, behind in pairwise(edges):
            yield place[first:behind], time_ms[first:behind], value[first:behind]
        held = [(place[end:], time_ms[end:], value[end:])]
    if held and held[0][0].size:
        yield _joined(held)


def _joined(
    held: list[tuple[Integers, Integers, Floats]],
) -> tuple[Integers, Integers, Floats]:
    if len(held) == 1 or held[0][0].size == 0:
        return held[-1]
    place, time_ms, value = zip(*held, strict=True)
    return np.concatenate(place), np.concatenate(time_ms), np.concatenate(value)


def _edges(
    place: Integers, time_ms: Integers, places: Places, *, is_one_day: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give where a group of series or a day begins, and where a service or a day does."""
    changes = np.diff(place) != 0
    if not is_one_day:
        changes |= np.diff(time_ms // DAY_MS) != 0
    at = np.flatnonzero(changes) + 1
    before, behind = place[at - 1], place[at]
    is_next = time_ms[at - 1] // DAY_MS != time_ms[at] // DAY_MS
    whole = at[is_next | (places.group[before] != places.group[behind])]
    return whole, at[is_next | (places.service[before] != places.service[behind])]


class _Shifted:
    """Turns slices into increments, each series against what it had before."""

    def __init__(self, places: Places, cadences: Floats) -> None:
        self.places = places
        self.cadences = cadences
        self.counts = SeriesCounts(places.key.size)
        self.last_ms = np.zeros(places.key.size, dtype=np.int64)
        self.last_value = np.full(places.key.size, np.nan)
        self.samples = self.dropped = 0

    def __call__(
        self, place: Integers, time_ms: Integers, value: Floats
    ) -> tuple[Integers, Integers, Floats, Integers]:
        """Give place, time, increment and interval of a slice that holds whole groups."""
        with np.errstate(invalid="ignore"):
            sound = np.isfinite(value) & (np.abs(value) < LARGEST_VALUE)
            sound &= ~(self.places.is_gpu[place] & (value >= GPU_BLANK))
        self.dropped += int(sound.size - sound.sum())
        if not sound.all():
            place, time_ms, value = place[sound], time_ms[sound], value[sound]
        place, time_ms, value = self._once(place, time_ms, value)
        if place.size == 0:
            return place, time_ms, value, time_ms
        self.samples += place.size
        first = np.concatenate([[True], np.diff(place) != 0])
        before = np.concatenate([[np.nan], value[:-1]])
        before_ms = np.concatenate([[0], time_ms[:-1]])
        before[first], before_ms[first] = self.last_value[place[first]], self.last_ms[place[first]]
        last = np.concatenate([first[1:], [True]])
        self.last_value[place[last]], self.last_ms[place[last]] = value[last], time_ms[last]
        follows = ~np.isnan(before)
        interval = np.where(follows, time_ms - before_ms, -1)
        is_reset = self._resets(place, time_ms, value < before)
        self.counts.add(place, time_ms, interval, is_reset, value - before)
        steps = np.where(is_reset, value, value - before)
        return self._increments(place, time_ms, value, steps, interval)

    def _once(
        self, place: Integers, time_ms: Integers, value: Floats
    ) -> tuple[Integers, Integers, Floats]:
        """Keep the largest of several samples of a series at one instant."""
        twice = (np.diff(place) == 0) & (np.diff(time_ms) == 0)
        if not twice.any():
            return place, time_ms, value
        order = np.lexsort((value, time_ms, place))
        place, time_ms, value = place[order], time_ms[order], value[order]
        self.counts.add_copies(place, time_ms, twice, differs=np.diff(value) != 0)
        kept = np.concatenate([~twice, [True]])
        return place[kept], time_ms[kept], value[kept]

    def _resets(self, place: Integers, time_ms: Integers, fell: Flags) -> Flags:
        """Mark samples at which a part of their group fell: a histogram resets as a whole."""
        places = self.places
        fell &= ~(places.is_gauge | places.is_rate)[place]
        if not fell.any():
            return fell
        group = places.group[place]
        instant = (group - group[0]) * DAY_MS + time_ms % DAY_MS
        return np.isin(instant, np.unique(instant[fell]))

    def _increments(
        self,
        place: Integers,
        time_ms: Integers,
        value: Floats,
        steps: Floats,
        interval: Integers,
    ) -> tuple[Integers, Integers, Floats, Integers]:
        places = self.places
        gauge, rate = places.is_gauge[place], places.is_rate[place]
        found = np.where(gauge | rate, value, steps)
        spans = interval.astype(np.float64)
        if rate.any():
            cadence = self.cadences[place]
            usual = np.where(np.isnan(cadence), 1000.0, cadence)
            spans = np.where(interval < 0, usual, spans)
            most = np.where(np.isnan(cadence), 1000.0, LONGEST_RATE * cadence)
            found = np.where(rate, value / 1000.0 * np.minimum(spans, most), found)
        kept = gauge | rate | (interval >= 0)
        lasting = np.where(gauge, 0, np.rint(spans)).astype(np.int64)
        found = found * places.factor[place]
        if kept.all():
            return place, time_ms, found, lasting
        return place[kept], time_ms[kept], found[kept], lasting[kept]


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_MS / 1000, UTC).date().isoformat()


class _PartWriter:
    """Writes one Parquet part a service and day; slices come in the order of the parts."""

    def __init__(self, folder: Path, places: Places) -> None:
        self.places = places
        names = slugs(places.services)
        self.folders = [folder / names[service] for service in places.services]
        self.open: tuple[int, int] | None = None
        self.writer: pq.ParquetWriter | None = None

    def write(
        self,
        service: int,
        day: int,
        found: tuple[Integers, Integers, Floats, Integers],
    ) -> None:
        place, time_ms, value, interval = found
        if place.size == 0:
            return
        if self.writer is None or self.open != (service, day):
            self.close()
            self.folders[service].mkdir(parents=True, exist_ok=True)
            path = self.folders[service] / f"{_date(day)}.parquet"
            self.writer = pq.ParquetWriter(path, PART, compression="zstd")
            self.open = (service, day)
        columns = [self.places.key[place], time_ms, value, interval]
        self.writer.write_table(pa.table(columns, schema=PART))

    def close(self) -> None:
        """Finish the part that is open."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None
