"""Lives of a series: a replica that goes and comes back under its old name was away, not silent.

A StatefulSet gives its pods their names again. While such a replica is away nothing of it is
missing; while a scrape fails, what it did is. Where other replicas go on exporting through a long
gap, the series ends at the gap and a new one begins after it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.timeline.grid import Samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from signalstudy.telemetry.discover import SeriesRow

    Floats = NDArray[np.float64]

AWAY_INTERVALS = 5.0
AWAY_SECONDS = 60.0
Rows = list[tuple["SeriesRow", Samples]]


def part_lives(found: Rows) -> Rows:
    """Cut every series of one quantity of a pool into lives; one row stands for each of them."""
    if len({row.replica for row, _ in found}) < 2:
        return found
    parted: Rows = []
    for row, samples in found:
        others = [s for other, s in found if other.replica != row.replica]
        cuts = _absences(samples, others)
        parted += [(row, life) for life in _cut(samples, cuts, is_count=row.form != "gauge")]
    return parted


def _absences(samples: Samples, others: Sequence[Samples]) -> list[int]:
    """Give the indices of first samples after an absence: a long gap that others exported in."""
    longest = max(AWAY_INTERVALS * samples.cadence_seconds, AWAY_SECONDS)
    after = np.flatnonzero(np.diff(samples.time_seconds) > longest) + 1
    return [
        int(index)
        for index in after
        if any(
            _exports_between(other, samples.time_seconds[index - 1], samples.time_seconds[index])
            for other in others
        )
    ]


def _exports_between(other: Samples, start: float, end: float) -> bool:
    """Whether a series went on through at least half of a stretch of time."""
    low, high = np.searchsorted(other.time_seconds, [start, end])
    expected = (end - start) / max(other.cadence_seconds, 1e-3)
    return bool(high - low >= 0.5 * expected)


def _cut(samples: Samples, cuts: list[int], *, is_count: bool) -> list[Samples]:
    lives = []
    edges = [0, *cuts, samples.values.size]
    for begin, end in pairwise(edges):
        # When the first increment of a new life happened is not known: it spans the absence.
        first = begin + 1 if is_count and begin > 0 else begin
        if first < end:
            lives.append(
                Samples(
                    samples.time_seconds[first:end],
                    samples.values[first:end],
                    samples.interval_seconds[first:end],
                    samples.cadence_seconds,
                )
            )
    return lives
