"""Frozen exporters: stretches in which a series repeats itself although it usually moves.

A counter that stands still and then makes up for it in one scrape was not read in between; a gauge
that moves from scrape to scrape and then keeps one value for long is not read any more. What was
repeated is no reading: it is left out, and the stretch is a gap (methods.md, blocking check 6).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from signalstudy.telemetry.discover import SeriesRow
    from signalstudy.timeline.grid import Samples

    Floats = NDArray[np.float64]
    Series = dict[tuple[str, str], list[tuple[SeriesRow, Samples]]]

FEWEST_STILL = 8
"""So many increments of nothing before one that makes up for them."""
LEAST_CATCH_UP = 0.5
"""... by at least this share of what they usually add up to."""
FEWEST_REPEATS = 20
MOST_REPEATED = 0.2
"""Where elsewhere at most a fifth of the values repeat the one before, chance repeats six of them
in a row in ten thousand; counts of a few requests may rest longer."""
FEWEST_OF_A_COUNT = 3.0


@dataclass(frozen=True, slots=True)
class Frozen:
    """A stretch of one replica: from its last true reading to the last that repeats it."""

    pool: str
    replica: str | None
    start_seconds: float
    still_seconds: float

    def __str__(self) -> str:
        """Say what stood still when."""
        first, last = (
            datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
            for at in (self.start_seconds, self.still_seconds)
        )
        return f"{self.pool}{f' of {self.replica}' if self.replica else ''}, {first} to {last} UTC"


def thaw(series: Series) -> tuple[Series, tuple[Frozen, ...]]:
    """Leave out what frozen exporters repeated, and say where; what moves stays as it is."""
    found: dict[tuple[str, str | None], dict[tuple[float, float], Frozen]] = {}
    for (pool, quantity), rows in series.items():
        if quantity.endswith("_replicas"):
            continue  # a state rests
        is_alone = len({row.replica for row, _ in rows}) < 2
        for row, samples in rows:
            for start, still in _stretches(samples, row.form != "gauge", is_alone=is_alone):
                frozen = Frozen(pool, row.replica, start, still)
                found.setdefault((pool, row.replica), {})[round(start), round(still)] = frozen
    if not found:
        return series, ()
    thawed = {
        (pool, quantity): [
            (row, _without(samples, row.form != "gauge", found.get((pool, row.replica), {})))
            for row, samples in rows
        ]
        for (pool, quantity), rows in series.items()
    }
    told = [one for of_replica in found.values() for one in _joined(list(of_replica.values()))]
    return thawed, tuple(sorted(told, key=lambda one: one.start_seconds))


def _joined(stretches: list[Frozen]) -> list[Frozen]:
    """Join the stretches of one replica that overlap, as several of its series tell them."""
    joined: list[Frozen] = []
    for one in sorted(stretches, key=lambda each: each.start_seconds):
        if joined and one.start_seconds <= joined[-1].still_seconds:
            still = max(one.still_seconds, joined[-1].still_seconds)
            joined[-1] = replace(joined[-1], still_seconds=still)
        else:
            joined.append(one)
    return joined


def _stretches(
    samples: Samples,
    is_count: bool,
    *,
    is_alone: bool,
) -> Iterator[tuple[float, float]]:
    """Give the last true and the last repeated reading of each frozen stretch of one series."""
    values, at = samples.values, samples.time_seconds
    if values.size < 2 * FEWEST_REPEATS:
        return
    turns = np.flatnonzero(np.diff(values)) + 1
    begins, ends = np.append(0, turns), np.append(turns, values.size)
    lengths = ends - begins
    if is_count:
        positive = values[values > 0.0]
        usual = float(np.median(positive)) if positive.size else np.inf
        after = np.append(values, 0.0)[ends]
        caught_up = after >= LEAST_CATCH_UP * lengths * usual
        for i in np.flatnonzero((lengths >= FEWEST_STILL) & (values[begins] == 0.0) & caught_up):
            if begins[i] > 0:
                yield float(at[begins[i] - 1]), float(at[ends[i] - 1])
    long = lengths >= FEWEST_REPEATS
    others = float(lengths[~long].sum())
    repeats = others - float((~long).sum())
    if others < values.size / 10.0 or repeats > MOST_REPEATED * others:
        return
    rests = (values[begins] == 0.0) | (values[begins] == 1.0)
    if (values == np.round(values)).all():
        rests |= values[begins] < FEWEST_OF_A_COUNT
    for i in np.flatnonzero(long & ~rests):
        is_last = ends[i] == values.size
        if is_last and not is_alone:
            continue  # its pod may be gone: a ghost, and told as one
        yield float(at[begins[i]]), float(at[ends[i] - 1])


def _without(
    samples: Samples,
    is_count: bool,
    frozen: dict[tuple[float, float], Frozen],
) -> Samples:
    """Leave out what a series repeated in the frozen stretches of its replica."""
    keep = np.ones(samples.values.size, dtype=np.bool_)
    interval = samples.interval_seconds.copy()
    for one in frozen.values():
        after = samples.time_seconds > one.start_seconds + 1e-3
        inside = after & (samples.time_seconds <= one.still_seconds + 1e-3)
        held = samples.values[inside]
        if not held.size or np.ptp(held) > 0.0:
            continue  # another exporter, which went on
        keep &= ~inside
        last = int(np.flatnonzero(inside)[-1]) + 1
        if is_count and last < keep.size:
            # the increment that makes up for it belongs to the whole stretch: a gap, by its length
            interval[last] = samples.time_seconds[last] - one.start_seconds
    if keep.all():
        return samples
    return replace(
        samples,
        time_seconds=samples.time_seconds[keep],
        values=samples.values[keep],
        interval_seconds=interval[keep],
    )
