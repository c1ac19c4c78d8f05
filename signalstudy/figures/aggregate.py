"""Fewer points before drawing: min-mean-max over time, density over a plane, a monotone fit.

No trace of a figure holds more than 2000 points, however long the recording.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_POINTS = 2000
_TIME_BINS = 600
_PLANE_BINS = (48, 36)
_FIT_BINS = 60


@dataclass(frozen=True, slots=True)
class Reduced:
    """A series in at most 600 bins (m,), NaN where a bin holds nothing. Times are milliseconds."""

    time_milliseconds: Floats
    mean: Floats
    low: Floats
    high: Floats

    @property
    def outline(self) -> tuple[Floats, Floats]:
        """The band from low to high: a closed outline per run without a gap, parted by NaN."""
        known = np.isfinite(self.mean)
        starts = np.flatnonzero(known & ~np.r_[False, known[:-1]])
        ends = np.flatnonzero(known & ~np.r_[known[1:], False]) + 1
        gap = np.array([np.nan])
        across: list[Floats] = []
        up: list[Floats] = []
        for start, end in zip(starts, ends, strict=True):
            run = slice(int(start), int(end))
            time = self.time_milliseconds[run]
            across += [time, time[::-1], gap]
            up += [self.high[run], self.low[run][::-1], gap]
        if not across:
            return np.empty(0), np.empty(0)
        return np.concatenate(across), np.concatenate(up)


def reduced(time_seconds: Floats, values: Floats) -> Reduced:
    """Reduce a series (n,) to the mean, least and largest value of at most 600 equal bins."""
    count = time_seconds.size
    starts = np.unique(np.linspace(0, count, min(count, _TIME_BINS), endpoint=False).astype(int))
    if count == 0:
        return Reduced(*(np.empty(0) for _ in range(4)))
    known = np.isfinite(values)
    held = np.add.reduceat(known.astype(float), starts)
    empty = held == 0
    total = np.add.reduceat(np.where(known, values, 0.0), starts)
    low = np.minimum.reduceat(np.where(known, values, np.inf), starts)
    high = np.maximum.reduceat(np.where(known, values, -np.inf), starts)
    sizes = np.diff(np.r_[starts, count])
    middle = np.add.reduceat(time_seconds, starts) / sizes
    mean = total / np.where(empty, 1.0, held)
    mean, low, high = (np.where(empty, np.nan, column) for column in (mean, low, high))
    return Reduced(middle * 1e3, mean, low, high)


def summed(values: Floats, bins: int) -> Floats:
    """Sum a series (n,) over at most `bins` equal runs, NaN counting as zero (m,)."""
    count = values.size
    if count == 0:
        return np.empty(0)
    starts = np.unique(np.linspace(0, count, min(count, bins), endpoint=False).astype(int))
    return np.add.reduceat(np.nan_to_num(values), starts)


def steps(time_seconds: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Keep of a piecewise constant series (n,) the points where it changes, and both ends.

    A series that changes too often for that is thinned evenly.
    """
    if values.size == 0:
        return time_seconds, values
    marked = np.where(np.isfinite(values), values, -1.0)
    keep = np.r_[True, np.diff(marked) != 0]
    keep[-1] = True
    chosen = np.flatnonzero(keep)
    if chosen.size > MOST_POINTS:
        chosen = np.unique(np.linspace(0, values.size - 1, MOST_POINTS).astype(int))
    return time_seconds[chosen] * 1e3, values[chosen]


@dataclass(frozen=True, slots=True)
class Density:
    """Counts of points over a plane: `counts` (rows, columns), NaN where there are none."""

    across: Floats
    up: Floats
    counts: Floats


def density(across: Floats, up: Floats, x_most: float, y_range: tuple[float, float]) -> Density:
    """Count points in 48 x 36 cells; what lies above the plane counts in its last row."""
    limits = [[0.0, x_most], list(y_range)]
    clipped = np.clip(up, *y_range)
    counts, x_edges, y_edges = np.histogram2d(across, clipped, bins=_PLANE_BINS, range=limits)
    middles = [(edges[1:] + edges[:-1]) / 2 for edges in (x_edges, y_edges)]
    return Density(middles[0], middles[1], np.where(counts.T > 0, counts.T, np.nan))


def monotone_fit(across: Floats, up: Floats) -> tuple[Floats, Floats]:
    """Fit the nearest monotone curve to the medians of equally filled bins of `across`.

    Rising or falling, whichever is closer (isotonic regression, pool adjacent violators; Robertson,
    Wright and Dykstra, 1988). Arrays (n,) in, (at most 60,) out.
    """
    order = np.argsort(across, kind="stable")
    parts = np.array_split(order, min(_FIT_BINS, max(1, order.size // 5)))
    x = np.array([across[part].mean() for part in parts])
    y = np.array([np.median(up[part]) for part in parts])
    weights = np.array([part.size for part in parts], dtype=float)
    fits = [
        isotonic_regression(y, weights=weights, increasing=rising).x for rising in (True, False)
    ]
    return x, min(fits, key=lambda fit: float(np.sum(weights * (fit - y) ** 2)))
