"""Schedule: periodic floors where demand's rhythm is strong enough to be worth them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from signalstudy.threshold.rhythm import DAY_KINDS, HOURS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalstudy.threshold.rhythm import Rhythm
    from signalstudy.vocabulary.estimate import Estimate

STRONG_ENOUGH = 0.8
"""The lower bound of a rhythm's strength from which a floor before the rise is worth its price."""

LEAST_GAIN = 1.25
"""A floor below this many times minReplicas saves hardly a start-up."""

MERGED_WITHIN = 0.25
"""Hours whose floors differ by less than a quarter share a window, at the lower of them."""


def draft_schedule(
    rhythms: Mapping[str, Rhythm],
    targets: Mapping[str, float],
    least: Mapping[str, int],
    most: Mapping[str, int],
    follower: tuple[str, str, float] | None,
) -> tuple[list[dict[str, Any]], str]:
    """Give spec.schedule and the sentence that says why it is what it is.

    A floor is what demand surely brings in that hour (nine days of ten) over the target, rounded
    down: it costs nothing that demand would not ask for, and is there before the rise. `targets`:
    work per replica by pool with a signal of its own; `follower`: (pool, driver, its replicas per
    replica of the driver) where the ratio sizes a pool.
    """
    known = {pool: rhythm for pool, rhythm in rhythms.items() if pool in targets}
    if not known:
        return [], ""
    weak = min(known.values(), key=lambda rhythm: rhythm.strength.low or -math.inf)
    if (weak.strength.low or 0.0) < STRONG_ENOUGH:
        return [], _why_not(weak.strength)
    windows: list[dict[str, Any]] = []
    kinds = set.intersection(*(set(rhythm.sure_per_second) for rhythm in known.values()))
    for kind in (name for name in DAY_KINDS if name in kinds):
        floors = {
            pool: [math.floor(work / targets[pool]) for work in rhythm.sure_per_second[kind]]
            for pool, rhythm in known.items()
        }
        if follower is not None and follower[1] in floors:
            floors[follower[0]] = [math.floor(n * follower[2]) for n in floors[follower[1]]]
        windows += _windows(list(DAY_KINDS[kind]), floors, least, most)
    return windows, "" if windows else "Demand never surely asks for more than minReplicas."


def _windows(
    days: list[str],
    floors: Mapping[str, list[int]],
    least: Mapping[str, int],
    most: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Join hours with similar floors into windows, at the lowest of each pool."""
    lead = max(floors, key=lambda pool: max(floors[pool]))
    runs: list[list[int]] = []
    for hour in range(HOURS):
        joined = [*runs[-1], hour] if runs else [hour]
        low = min(floors[lead][h] for h in joined)
        high = max(floors[lead][h] for h in joined)
        if runs and high - low <= max(1.0, MERGED_WITHIN * high):
            runs[-1] = joined
        else:
            runs.append([hour])
    found = []
    for run in runs:
        replicas = {pool: min(floors[pool][hour] for hour in run) for pool in sorted(floors)}
        kept = {
            pool: min(count, most[pool])
            for pool, count in replicas.items()
            if count >= max(LEAST_GAIN * least[pool], least[pool] + 1)
        }
        if kept:
            end = (run[-1] + 1) % HOURS
            found.append(
                {"days": days, "from": f"{run[0]:02d}:00", "to": f"{end:02d}:00", "replicas": kept}
            )
    return found


def _why_not(strength: Estimate) -> str:
    if strength.value is None:
        return f"No periodic floors: {strength.note}"
    return (
        f"No periodic floors: the hour of the day tells {strength.value:.0%} of hourly demand (at "
        f"least {strength.low or 0.0:.0%}); from {STRONG_ENOUGH:.0%} on floors are worth it."
    )
