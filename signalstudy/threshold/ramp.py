"""Ramp: how much demand can rise before capacity that was ordered arrives."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from signalstudy.threshold.bootstrap import choose_blocks
from signalstudy.threshold.counts import mean_per_bin, steps_per_bin
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from signalstudy.timeline.timeline import PoolTimeline, Timeline

    Floats = NDArray[np.float64]

BIN_SECONDS = 60.0
"""Faster bursts are the queue's business: at 10, 60 and 300 s one day gave 5.2, 1.8 and 1.3."""

RAMP_QUANTILE = 0.99
PEAK_QUANTILE = 0.995
"""The peak is this quantile of demand, so that a single spike does not empty the upper half."""

FEWEST_TIMES = 20
DRAWS = 500
DEFAULT_HEADROOM_RATIO = 1.25
DEFAULT_STARTUP_SECONDS = 120.0
FEWEST_STARTUPS = 3


def estimate_horizon(
    measured_startup_seconds: Sequence[Floats],
    startup_seconds: float | None,
    seen_lag_seconds: float | None,
    evaluation_seconds: float,
) -> Estimate:
    """Add up H = seen lag + start-up (95 % quantile) + evaluation period, in seconds.

    Start-up is measured where at least three were seen, else as configured, else 120 s assumed
    (status `extrapolated`, and the note asks for the figure).
    """
    measured = np.concatenate([np.empty(0), *measured_startup_seconds])
    measured = measured[np.isfinite(measured)]
    status, notes = "ok", []
    if measured.size >= FEWEST_STARTUPS:
        startup = float(np.quantile(measured, 0.95))
        notes.append(f"start-up {startup:.0f} s: 95 % of {measured.size} seen in the data")
    elif startup_seconds is not None:
        startup = startup_seconds
        notes.append(f"start-up {startup:.0f} s as configured")
    else:
        startup, status = DEFAULT_STARTUP_SECONDS, "extrapolated"
        notes.append(f"start-up {startup:.0f} s is assumed: set [provisioning] startup_seconds")
    if seen_lag_seconds is None:
        notes.append("the signal's lag is not known and counts as 0 s")
    else:
        notes.append(f"seen lag {seen_lag_seconds:.0f} s")
    notes.append(f"evaluation {evaluation_seconds:.0f} s")
    return Estimate(
        max(0.0, seen_lag_seconds or 0.0) + startup + evaluation_seconds,
        status="extrapolated" if status == "extrapolated" else "ok",
        note="; ".join(notes) + ".",
        method="seen lag + start-up + evaluation period",
    )


def estimate_headroom(
    timeline: Timeline | None, pool: PoolTimeline | None, horizon_seconds: float, *, seed: int = 0
) -> Estimate:
    """Estimate the ramp factor R: demand to come within the horizon over demand now (methods 9).

    R = 0.99 quantile, weighted by demand, over times above half the peak, of
    max demand over (t, t + H] / demand at t, in bins of >= 60 s, and at least 1. The interval is
    a block bootstrap (days, else blocks of at least 10 min).
    """
    if timeline is None or pool is None or pool.demand is None or timeline.role != "production":
        return not_applicable(
            "No demand of production was recorded (a pressure test's ramp is its operator's), so "
            f"how fast demand rises is not known; {DEFAULT_HEADROOM_RATIO:g} is used."
        )
    steps = steps_per_bin(timeline.step_seconds, BIN_SECONDS)
    seconds = steps * timeline.step_seconds
    demand = mean_per_bin(np.where(timeline.usable, pool.demand.per_second, np.nan), steps)
    ahead = max(1, math.ceil(horizon_seconds / seconds))
    ratio = rise_ahead(demand, ahead)
    known = demand[np.isfinite(demand)]
    peak = float(np.quantile(known, PEAK_QUANTILE)) if known.size else 0.0
    kept = np.flatnonzero(np.isfinite(ratio) & (demand > 0.5 * peak))
    if kept.size < FEWEST_TIMES:
        return unidentified(
            f"Demand is above half of its peak, and known {ahead * seconds:.0f} s ahead, only "
            f"{kept.size} times of {seconds:.0f} s; {DEFAULT_HEADROOM_RATIO:g} is used as ramp "
            "factor until more is recorded."
        )
    order = kept[np.argsort(ratio[kept], kind="stable")]
    value = float(_weighted_quantile(ratio[order], demand[order][None, :])[0])
    times = kept.astype(float) * seconds
    blocks = choose_blocks(times, seconds, ratio[kept], role="production")
    labels = np.zeros(demand.size, dtype=np.int64)
    labels[kept] = blocks.of_row
    drawn = blocks.weights(DRAWS, np.random.default_rng(seed))[:, labels[order]] * demand[order]
    low, high = np.quantile(_weighted_quantile(ratio[order], drawn), [0.025, 0.975])
    return Estimate(
        max(1.0, value),
        low=max(1.0, min(float(low), value)),
        high=max(1.0, float(high), value),
        note=f"Demand in bins of {seconds:.0f} s, {ahead * seconds:.0f} s ahead, source "
        f"{pool.demand.source}.",
        effective_observations=blocks.count,
        days=timeline.days,
        method=f"demand-weighted 0.99 quantile of rise over the horizon, {blocks.count} "
        f"{blocks.name}",
    )


def rise_ahead(demand: Floats, ahead: int) -> Floats:
    """Give max demand over the next `ahead` bins / demand now (n,); NaN where not known."""
    if demand.size <= ahead:
        return np.full(demand.size, np.nan)
    future = np.full(demand.size, np.nan)
    future[:-ahead] = sliding_window_view(demand[1:], ahead).max(axis=1)
    return np.asarray(np.divide(future, demand, out=np.full(demand.size, np.nan), where=demand > 0))


def _weighted_quantile(ascending: Floats, weights: Floats) -> Floats:
    """Give the 0.99 quantile of sorted values (m,) under each row of weights (draws, m)."""
    cumulated = np.cumsum(weights, axis=1)
    reached = cumulated >= RAMP_QUANTILE * cumulated[:, -1:]
    return np.asarray(ascending[np.argmax(reached, axis=1)])
