"""Rhythm: how well the hour of the day alone tells demand, and what it surely brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.vocabulary.estimate import Estimate, unidentified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.timeline.timeline import PoolTimeline, Timeline

    Floats = NDArray[np.float64]

HOUR_SECONDS, DAY_SECONDS = 3600.0, 86_400.0
HOURS = 24
LEAST_COVERAGE = 0.9
"""An hour counts with at least this share of its steps known, a day with all its hours."""

FEWEST_DAYS = 4
"""Of a kind: fewer cannot show that a rhythm comes back."""

SURE_QUANTILE = 0.1
DRAWS = 1000
WORKDAYS, WEEKEND = "workdays", "weekend"
DAY_KINDS = {
    WORKDAYS: ("monday", "tuesday", "wednesday", "thursday", "friday"),
    WEEKEND: ("saturday", "sunday"),
}


@dataclass(frozen=True, slots=True)
class Rhythm:
    """What the clock tells of a pool's demand.

    `strength`: the share of the variance of hourly demand that the other days of a kind predict.
    `sure_per_second`: by kind of day, the demand per second that each hour UTC (24,) brings on
    nine days of ten; only kinds with days enough.
    """

    strength: Estimate
    sure_per_second: dict[str, Floats]


def measure_rhythm(timeline: Timeline, pool: PoolTimeline, *, seed: int = 0) -> Rhythm:
    """Measure the rhythm of a pool's demand, leaving one day out at a time.

    R^2 = 1 - sum (y - mean of the same hour on the other days of its kind)^2 / sum (y - mean)^2,
    over hours; the interval draws whole days again (bootstrap, 95 %).
    """
    if pool.demand is None:
        return Rhythm(unidentified("The demand of the pool is not known."), {})
    hourly, kind = _hourly(timeline, pool.demand.per_second)
    kinds = {name: hourly[kind == name] for name in DAY_KINDS}
    kinds = {name: days for name, days in kinds.items() if len(days) >= FEWEST_DAYS}
    if not kinds:
        return Rhythm(
            unidentified(
                f"A rhythm needs {FEWEST_DAYS} whole days of a kind (workdays, weekend); the data "
                f"hold {int((kind == WORKDAYS).sum())} and {int((kind == WEEKEND).sum())}."
            ),
            {},
        )
    missed, spread = [], []
    overall = np.concatenate(list(kinds.values())).mean()
    for days in kinds.values():
        others = (days.sum(axis=0) - days) / (len(days) - 1)
        missed.append(((days - others) ** 2).sum(axis=1))
        spread.append(((days - overall) ** 2).sum(axis=1))
    strength = _share(np.concatenate(missed), np.concatenate(spread), seed)
    sure = {name: np.quantile(days, SURE_QUANTILE, axis=0) for name, days in kinds.items()}
    return Rhythm(strength, sure)


def _hourly(timeline: Timeline, per_second: Floats) -> tuple[Floats, NDArray[np.str_]]:
    """Give mean demand by whole day and hour UTC (days, 24), and each day's kind (days,)."""
    middle = timeline.time_seconds - 0.5 * timeline.step_seconds
    hour = (middle // HOUR_SECONDS).astype(np.int64)
    known = np.isfinite(per_second) & timeline.usable
    first = hour[0] // HOURS * HOURS
    size = int(hour[-1] - first) // HOURS * HOURS + HOURS
    count = np.bincount(hour[known] - first, minlength=size)
    total = np.bincount(hour[known] - first, weights=per_second[known], minlength=size)
    enough = count >= LEAST_COVERAGE * HOUR_SECONDS / timeline.step_seconds
    means = np.where(enough, total / np.maximum(count, 1), np.nan).reshape(-1, HOURS)
    day = first // HOURS + np.arange(len(means))
    weekday = (day + 3) % 7  # 1 January 1970 was a Thursday
    whole = np.isfinite(means).all(axis=1)
    return means[whole], np.where(weekday < 5, WORKDAYS, WEEKEND)[whole]


def _share(missed: Floats, spread: Floats, seed: int) -> Estimate:
    days = missed.size
    even = np.full(days, 1.0 / days)
    drawn = np.random.default_rng(seed).multinomial(days, even, size=DRAWS)
    of_draw = 1.0 - (drawn @ missed) / np.maximum(drawn @ spread, 1e-300)
    value = float(1.0 - missed.sum() / max(float(spread.sum()), 1e-300))
    low, high = np.quantile(of_draw, [0.025, 0.975])
    return Estimate(
        value,
        low=min(float(low), value),
        high=max(float(high), value),
        effective_observations=days,
        days=float(days),
        method="share of the variance of hourly demand told by the same hour of other days of its "
        "kind; interval by days",
    )
