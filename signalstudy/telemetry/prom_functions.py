"""What Prometheus makes of samples: rate, increase, quantiles of histograms, staleness.

For parity with dashboards and checks against servers; the study itself works on raw increments.
NaN in an answer means that Prometheus gives none there. Rules differ between versions 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.telemetry.chunks import STALE_BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

LOOKBACK_MS = 300_000
NEAR_AN_EDGE = 1.1  # of the mean distance of samples: so near, and the edge itself is reached


@dataclass(frozen=True, slots=True)
class Rules:
    """What differs between versions of Prometheus.

    `is_left_open`: a window holds (t - w, t] and not [t - w, t]. `is_halved_first`: a far edge
    counts half a distance before the counter's zero is looked at, and not after.
    """

    is_left_open: bool
    is_halved_first: bool


VERSION_2 = Rules(is_left_open=False, is_halved_first=False)
VERSION_3 = Rules(is_left_open=True, is_halved_first=True)


def rules_of(version: str) -> Rules:
    """Give the rules of a server's version, such as 2.42.0; without one those of version 3."""
    return VERSION_2 if version.lstrip("v").startswith(("0.", "1.", "2.")) else VERSION_3


def without_stale(time_ms: Integers, bits: NDArray[np.uint64]) -> tuple[Integers, Floats]:
    """Drop staleness markers, as range selectors do; give times and values."""
    kept = bits != np.uint64(STALE_BITS)
    return time_ms[kept], bits[kept].view(np.float64)


def latest(
    time_ms: Integers,
    bits: NDArray[np.uint64],
    at_ms: Integers,
    rules: Rules = VERSION_3,
    *,
    lookback_ms: int = LOOKBACK_MS,
) -> Floats:
    """Give the newest sample at each instant, none where it is stale or older than the lookback."""
    which = np.searchsorted(time_ms, at_ms, side="right") - 1
    found = np.full(at_ms.size, np.nan)
    some = np.flatnonzero(which >= 0)
    age = at_ms[some] - time_ms[which[some]]
    fresh = age < lookback_ms if rules.is_left_open else age <= lookback_ms
    fresh &= bits[which[some]] != np.uint64(STALE_BITS)
    found[some[fresh]] = bits[which[some[fresh]]].view(np.float64)
    return found


def increase(
    time_ms: Integers,
    values: Floats,
    at_ms: Integers,
    window_ms: int,
    rules: Rules = VERSION_3,
) -> Floats:
    """Give a counter's increase over the windows that end at `at_ms`, extrapolated to their edges.

    Samples (n,) by time, staleness markers dropped. A decrease is a reset and adds what was there
    before. To each side the increase is extended to the window's edge where a sample is within
    1.1 mean distances of it, else by half a distance; to the left never below a counter of zero.
    """
    return _extrapolated(time_ms, values, at_ms, window_ms, rules, per_seconds=1.0)


def rate(
    time_ms: Integers,
    values: Floats,
    at_ms: Integers,
    window_ms: int,
    rules: Rules = VERSION_3,
) -> Floats:
    """Give a counter's increase a second over the windows that end at `at_ms`; see `increase`."""
    seconds = window_ms / 1000.0
    return _extrapolated(time_ms, values, at_ms, window_ms, rules, per_seconds=seconds)


def _extrapolated(
    time_ms: Integers,
    values: Floats,
    at_ms: Integers,
    window_ms: int,
    rules: Rules,
    *,
    per_seconds: float,
) -> Floats:
    """Give the increase by `per_seconds`, in the server's order of operations, to the last bit."""
    first, behind = windows(time_ms, at_ms, window_ms, rules)
    found = np.full(at_ms.size, np.nan)
    some = np.flatnonzero(behind - first >= 2)
    if some.size == 0:
        return found
    i, j = first[some], behind[some] - 1
    dropped = np.concatenate([[0.0], np.where(np.diff(values) < 0, values[:-1], 0.0)])
    lost = np.cumsum(dropped)
    grown = values[j] - values[i] + (lost[j] - lost[i])
    factor = extrapolation(time_ms, (i, j), at_ms[some], window_ms, (values[i], grown), rules)
    found[some] = grown * (factor / per_seconds)
    return found


def extrapolation(  # noqa: PLR0917 - columns
    time_ms: Integers,
    samples: tuple[NDArray[np.intp], NDArray[np.intp]],
    at_ms: Integers,
    window_ms: int,
    counter: tuple[Floats, Floats],
    rules: Rules,
) -> Floats:
    """Give by how much the increase between two samples is extended to the edges of its window.

    `samples`: the first and the last one in each window. `counter`: its value at the first and its
    increase, which say where it was zero; NaN where that is not asked.
    """
    (i, j), (start, grown) = samples, counter
    sampled = (time_ms[j] - time_ms[i]) / 1000.0
    to_start = (time_ms[i] - (at_ms - window_ms)) / 1000.0
    to_end = (at_ms - time_ms[j]) / 1000.0
    distance = sampled / (j - i)
    with np.errstate(divide="ignore", invalid="ignore"):
        to_zero = np.where((grown > 0) & (start >= 0), sampled * (start / grown), np.inf)
    if rules.is_halved_first:
        to_start = np.where(to_start >= distance * NEAR_AN_EDGE, distance / 2, to_start)
        to_start = np.minimum(to_start, to_zero)
    else:
        to_start = np.minimum(to_start, to_zero)
        to_start = np.where(to_start < distance * NEAR_AN_EDGE, to_start, distance / 2)
    to_end = np.where(to_end < distance * NEAR_AN_EDGE, to_end, distance / 2)
    found: Floats = (sampled + to_start + to_end) / sampled
    return found


def resets(
    time_ms: Integers,
    values: Floats,
    at_ms: Integers,
    window_ms: int,
    rules: Rules = VERSION_3,
) -> Floats:
    """Count the decreases inside the windows that end at `at_ms`."""
    first, behind = windows(time_ms, at_ms, window_ms, rules)
    fell = np.concatenate([[0], np.cumsum(np.diff(values) < 0)]).astype(np.float64)
    some = behind > first
    found = np.full(at_ms.size, np.nan)
    found[some] = fell[behind[some] - 1] - fell[first[some]]
    return found


def windows(
    time_ms: Integers, at_ms: Integers, window_ms: int, rules: Rules
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give for each window the first sample in it and the one behind its last, each (m,)."""
    side = "right" if rules.is_left_open else "left"
    first = np.searchsorted(time_ms, at_ms - window_ms, side=side)  # type: ignore[call-overload]
    return first, np.searchsorted(time_ms, at_ms, side="right")


def histogram_quantile(quantile: float, edges: Floats, counts: Floats) -> Floats:
    """Give a quantile of classic histograms: `edges` (e,), cumulative `counts` (e, n).

    Linear inside a bucket, the lowest one from 0 where its edge is above 0. A quantile in the
    bucket to infinity is the last finite edge. Counts that fall are lifted to those before, equal
    edges are added up. None without two edges, an infinite one and an observation.
    """
    size = counts.shape[1]
    if np.isnan(quantile) or not 0 <= quantile <= 1:
        outside = np.nan if np.isnan(quantile) else np.inf if quantile > 1 else -np.inf
        return np.full(size, outside)
    unique, where = np.unique(edges, return_inverse=True)
    if unique.size < 2 or unique[-1] != np.inf:
        return np.full(size, np.nan)
    summed = np.zeros((unique.size, size))
    np.add.at(summed, where, counts)
    summed = np.maximum.accumulate(summed, axis=0)
    total = summed[-1]
    rank = quantile * total
    bucket = np.minimum((summed[:-1] < rank).sum(axis=0), unique.size - 1)
    lower = np.concatenate([[0.0], unique[:-1]])[bucket]
    below = np.concatenate([np.zeros((1, size)), summed[:-1]])[bucket, np.arange(size)]
    inside = summed[bucket, np.arange(size)] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        found = lower + (unique[bucket] - lower) * ((rank - below) / inside)
    found = np.where(bucket == unique.size - 1, unique[-2], found)
    found = np.where((bucket == 0) & (unique[0] <= 0), unique[0], found)
    return np.where(total > 0, found, np.nan)
