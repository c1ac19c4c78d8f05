"""Native histograms: one sample holds a whole histogram, whose buckets follow from a schema.

What every reader gives of them is counts between bounds, whatever the schema. The study reads them
as it reads classic ones: `expand` makes the cumulative series `_bucket`, `_sum` and `_count` of
them, on the edges that no populated bucket of the metric straddles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]

MOST_EDGES = 160
"""As many as a server keeps buckets of a histogram; above it every second edge is left out."""
DIGITS = 12
"""Of an edge: routes compute powers of two with another last digit."""


@dataclass(frozen=True, slots=True)
class NativeBatch:
    """Samples of native histograms of one series.

    `time_ms`, `count`, `total` (the sum of observations): (n,). `lower`, `upper`: bounds of the
    buckets (b,), the lower one outside. `counts` (n, b): observations in each, not cumulative.
    """

    labels: Mapping[str, str]
    time_ms: Integers
    count: Floats
    total: Floats
    lower: Floats
    upper: Floats
    counts: Floats
    is_custom: bool = False
    """Whether the bounds were given, as those of a classic histogram, and follow no schema."""

    def between(self, first_ms: int, last_ms: int) -> NativeBatch:
        """Keep what lies in the span, both ends included."""
        return self.where((self.time_ms >= first_ms) & (self.time_ms <= last_ms))

    def where(self, kept: NDArray[np.bool_]) -> NativeBatch:
        """Keep the samples for which `kept` is true."""
        return NativeBatch(
            self.labels,
            self.time_ms[kept],
            self.count[kept],
            self.total[kept],
            self.lower,
            self.upper,
            self.counts[kept],
            self.is_custom,
        )

    def from_zero(self) -> NativeBatch:
        """Let the zero bucket begin at zero where no bucket lies below it."""
        is_zero = (self.lower == -self.upper) & ~(self.upper < 0).any()
        if self.is_custom or not is_zero.any():
            return self
        return replace(self, lower=np.where(is_zero, 0.0, self.lower))


def from_buckets(
    labels: Mapping[str, str],
    time_ms: Integers,
    count: Floats,
    total: Floats,
    said: Sequence[tuple[int, float, float, float]],
) -> NativeBatch:
    """Make samples of buckets told one by one: (sample, lower, upper, observations).

    Nobody says whether bounds are custom, but no other ones are without end.
    """
    flat = np.array(said, dtype=np.float64).reshape(-1, 4)
    bounds, which = np.unique(flat[:, 1:3], axis=0, return_inverse=True)
    counts = np.zeros((time_ms.size, bounds.shape[0]))
    np.add.at(counts, (flat[:, 0].astype(np.int64), which.reshape(-1)), flat[:, 3])
    is_custom = bool(np.isinf(bounds).any())
    return NativeBatch(labels, time_ms, count, total, bounds[:, 0], bounds[:, 1], counts, is_custom)


def bounds_of(schema: int, index: Integers) -> tuple[Floats, Floats]:
    """Give the bounds of exponential buckets: bucket i of schema s ends at 2 ** (i * 2 ** -s)."""
    step = 2.0**-schema
    with np.errstate(over="ignore", under="ignore"):
        lower: Floats = np.exp2((index - 1) * step)
        upper: Floats = np.exp2(index * step)
    return lower, upper


def edges_of(lower: Iterable[float], upper: Iterable[float]) -> Floats:
    """Give the finite edges at which the observations below are known, from populated buckets.

    An edge inside a bucket is none: of two resolutions the coarser decides.
    """
    pairs = np.array(list(zip(lower, upper, strict=True)), dtype=np.float64).reshape(-1, 2)
    pairs = _rounded(pairs)
    edges: Floats = np.unique(pairs)
    edges = edges[np.isfinite(edges) & ((edges > 0) | (pairs[:, 0].min(initial=0.0) < 0))]
    inside = np.zeros(edges.size, dtype=np.bool_)
    for low, high in np.unique(pairs, axis=0):
        inside |= (edges > low) & (edges < high)
    edges = edges[~inside]
    while edges.size > MOST_EDGES:
        edges = edges[::2]
    return edges


def cumulative(batch: NativeBatch, edges: Floats) -> Floats:
    """Count the observations up to each of `edges` (e,) and to infinity: (n, e + 1)."""
    place = np.searchsorted(edges, _rounded(batch.upper), side="left")
    summed = np.zeros((batch.time_ms.size, edges.size + 1))
    np.add.at(summed.T, place, batch.counts.T)
    found: Floats = np.cumsum(summed, axis=1)
    found[:, -1] = batch.count  # what is no number is counted and stands in no bucket
    return found


def _rounded(values: Floats) -> Floats:
    """Round to so many significant digits that equal edges of all routes are equal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (DIGITS - 1 - np.floor(np.log10(np.abs(values))))
        found = np.round(values * scale) / scale
    rounded: Floats = np.where(np.isfinite(found), found, values)
    return rounded
