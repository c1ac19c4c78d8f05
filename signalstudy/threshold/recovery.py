"""Recovery: how long after a peak demand is back, so that a scale-in would have been in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from signalstudy.threshold.counts import mean_per_bin, steps_per_bin
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.timeline.timeline import PoolTimeline, Timeline

    Floats = NDArray[np.float64]

BIN_SECONDS = 60.0
LONGEST_SECONDS = 900.0
"""A fall that lasts longer than this is no dip: replicas that leave then are not missed at once."""
QUANTILE = 0.9
FEWEST_DIPS = 20


def estimate_recovery(
    timeline: Timeline, pool: PoolTimeline, scale_in_tolerance: float
) -> Estimate:
    """Give the 0.9 quantile of the time until demand is back at its previous peak (methods 9).

    Dips are what a scale-in would answer to: after a local peak, in bins of 60 s, demand falls by
    more than the tolerance and is back at the peak within a quarter of an hour. The interval is
    that of the order statistics (binomial, 95 %), dips taken as independent.
    """
    if pool.demand is None or timeline.role != "production":
        return not_applicable("No demand of production was recorded.")
    steps = steps_per_bin(timeline.step_seconds, BIN_SECONDS)
    seconds = steps * timeline.step_seconds
    demand = mean_per_bin(np.where(timeline.usable, pool.demand.per_second, np.nan), steps)
    taken = recoveries(demand, max(1, int(LONGEST_SECONDS // seconds)), scale_in_tolerance)
    if taken.size < FEWEST_DIPS:
        return unidentified(f"Demand dipped and came back only {taken.size} times.")
    ordered = np.sort(taken) * seconds
    spread = 1.96 * np.sqrt(QUANTILE * (1.0 - QUANTILE) / taken.size)
    levels = np.clip([QUANTILE - spread, QUANTILE, QUANTILE + spread], 0.0, 1.0)
    low, value, high = np.quantile(ordered, levels)
    return Estimate(
        float(value),
        low=float(low),
        high=float(high),
        effective_observations=taken.size,
        days=timeline.days,
        method=f"0.9 quantile over {taken.size} dips that end within {LONGEST_SECONDS:g} s",
    )


def recoveries(demand: Floats, longest: int, tolerance: float) -> Floats:
    """Give how many bins each dip of `demand` (n,) lasted, for those that end within `longest`.

    A dip begins at a local peak, falls below (1 - tolerance) x peak and ends when the peak is
    reached again. Bins that are not known reach nothing.
    """
    if demand.size <= longest:
        return np.empty(0)
    peak = demand[:-longest]
    ahead = np.nan_to_num(sliding_window_view(demand[1:], longest), nan=-np.inf)
    before = np.concatenate(([-np.inf], peak[:-1]))
    is_peak = np.isfinite(peak) & (peak > 0.0) & ~(before > peak) & (ahead[:, 0] < peak)
    back = ahead >= peak[:, None]
    first = back.argmax(axis=1)
    # the lowest known value before demand is back
    seen = np.where(np.isneginf(ahead), np.inf, ahead)
    lowest = np.minimum.accumulate(seen, axis=1)[np.arange(first.size), first]
    is_dip = is_peak & back.any(axis=1) & (lowest < (1.0 - tolerance) * peak)
    return np.asarray(first[is_dip] + 1.0)
