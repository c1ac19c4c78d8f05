"""Combinations of ramp factors and floors, side by side: what a search for headroom replays."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.threshold.ramp import DEFAULT_HEADROOM_RATIO

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from signalstudy.policy.rules import Rules
    from signalstudy.replay.grounds import Studied

    Floats = NDArray[np.float64]

STEP_RATIO = 1.16
FINER, HALVES = 3, 3
"""Steps of the grid, into how many the last is divided, and how many half steps are looked at with
higher floors: a study's time grows with the square of their number."""
LARGEST_HEADROOM, BEYOND_FORMULA = 1.8, 1.2
"""The grid ends at the larger of 1.8 and the formula's ramp factor times 1.2."""
SPARE_REPLICAS = 2
"""The floor that is tried where the fleet gets smaller: two survive the loss of one."""


@dataclass(frozen=True, slots=True)
class Combinations:
    """The combinations tried, one a lane; lane 0 is what was drafted.

    `ramps`, `floors` (lanes,) by pool. `steps`: the ramp factors of each pool's axis. `at`
    (lanes, 2 x pools): the places of a lane on the axes, ramp factors first; -1 where it lies on
    none. `scans`: by pool the lanes that move its ramp factor alone.
    """

    formula: Mapping[str, float]
    steps: Mapping[str, Floats]
    ramps: Mapping[str, Floats]
    floors: Mapping[str, Floats]
    at: NDArray[np.int64]
    scans: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def lanes(self) -> int:
        """How many combinations there are."""
        return int(self.at.shape[0])


def coarse(studied: Studied, rules: Rules) -> Combinations:
    """Give every combination from no room at all to more than the formula asks for."""
    known = studied.threshold.pool_headrooms
    formula = {
        rule.pool: max(known[rule.pool].value or DEFAULT_HEADROOM_RATIO, 1.0)
        if rule.pool in known
        else DEFAULT_HEADROOM_RATIO
        for rule in rules.pools
        if rule.signal is not None or rules.follower_ratio is not None
    }
    steps = {}
    for pool, ramp in formula.items():
        largest = max(LARGEST_HEADROOM, BEYOND_FORMULA * ramp)
        count = int(np.ceil(np.log(largest) / np.log(STEP_RATIO))) + 1
        steps[pool] = np.geomspace(1.0, largest, count)
    least = {rule.pool: float(rule.min_replicas) for rule in rules.pools if rule.pool in formula}
    return _combined(formula, steps, {pool: np.array([floor]) for pool, floor in least.items()})


def with_floors(
    grid: Combinations, best: int | None, users_minimum: Collection[str]
) -> Combinations | None:
    """Give combinations of less room than the best, in half steps, without and with higher floors.

    None where all floors are the user's, or high enough.
    """
    floors = {
        pool: np.array([one[0], SPARE_REPLICAS], dtype=float)
        if one[0] < SPARE_REPLICAS and pool not in users_minimum
        else one[:1]
        for pool, one in grid.floors.items()
    }
    if all(one.size == 1 for one in floors.values()):
        return None
    steps = grid.steps
    if best is not None:
        parts = STEP_RATIO ** (-np.arange(HALVES)[::-1] / 2.0)
        steps = {
            pool: np.unique(np.maximum(one[best] * parts, 1.0)) for pool, one in grid.ramps.items()
        }
    return _combined(grid.formula, steps, floors)


def finer(grid: Combinations, lane: int, scanned: Mapping[str, Floats]) -> Combinations:
    """Give what lies between a combination, which comes last, and its neighbours with less room.

    `scanned`: ramp factors of each pool to try beside that combination's of the other.
    """
    parts = STEP_RATIO ** (-np.arange(FINER)[::-1] / FINER)
    steps = {
        pool: np.unique(np.maximum(ramps[lane] * parts, 1.0)) for pool, ramps in grid.ramps.items()
    }
    fine = _combined(grid.formula, steps, {pool: one[[lane]] for pool, one in grid.floors.items()})
    sizes = [scanned[pool].size for pool in steps]
    ends = fine.lanes + np.cumsum([0, *sizes])
    scans = {pool: np.arange(*ends[at : at + 2]) for at, pool in enumerate(steps)}
    ramps = {}
    for pool, one in fine.ramps.items():
        more = np.full(sum(sizes), grid.ramps[pool][lane])
        more[scans[pool] - fine.lanes] = scanned[pool]
        ramps[pool] = np.concatenate([one, more])
    # The combination itself stays last of those on the axes.
    return Combinations(
        fine.formula,
        steps,
        ramps,
        {pool: np.append(one, np.full(sum(sizes), one[-1])) for pool, one in fine.floors.items()},
        np.concatenate([fine.at, np.full((sum(sizes), fine.at.shape[1]), -1)]),
        scans,
    )


def _combined(
    formula: Mapping[str, float], steps: Mapping[str, Floats], floors: Mapping[str, Floats]
) -> Combinations:
    """Combine ramp factors and floors of all pools, after the formula's with the least floors."""
    sizes = [one.size for one in (*steps.values(), *floors.values())]
    at = np.array([[-1] * len(sizes), *product(*map(range, sizes))])

    def values(axis: int, known: Floats, first: float) -> Floats:
        return np.where(at[:, axis] < 0, first, known[at[:, axis]])

    return Combinations(
        formula,
        steps,
        {pool: values(axis, one, formula[pool]) for axis, (pool, one) in enumerate(steps.items())},
        {
            pool: values(axis, one, one[0])
            for axis, (pool, one) in enumerate(floors.items(), len(steps))
        },
        at,
    )
