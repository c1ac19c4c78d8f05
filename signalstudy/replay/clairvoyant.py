"""Plans made in hindsight: the clairvoyant's, and the best fixed fleet (contract, section 5)."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import maximum_filter1d

from signalstudy.replay.planned import ready_by_plan, run_plan
from signalstudy.replay.score import run_of, score, score_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from signalstudy.replay.draws import Draws
    from signalstudy.replay.grounds import Grounds
    from signalstudy.replay.replay import Run

    Floats = NDArray[np.float64]

FILLS = tuple(round(0.3 + 0.05 * step, 2) for step in range(19))
"""The grid of c: how full a plan lets its replicas be at the largest work ahead."""
MOST_FLEETS = 200
MOST_TRIED = 60


@dataclass(frozen=True, slots=True)
class _Option:
    """A plan of one pool: what it is, replicas asked for and ready (n,), and its GPU-seconds."""

    label: str
    asked: Floats
    ready: Floats
    gpu_seconds: float


def clairvoyant(grounds: Grounds, draws: Draws, attainment: float) -> Run:
    """Run the cheapest plan tried that reaches `attainment`.

    Per pool ceil(largest offered work over [t, t + start-up] / (c x capacity)), c on a grid in each
    pool, chosen on the study's estimates.
    """
    options = {}
    startup = float(draws.startup_seconds[0])
    ahead = round(startup / grounds.step_seconds) + 1
    for name, pool in grounds.pools.items():
        bears = draws.capacity[name][0] * grounds.step_seconds
        largest = maximum_filter1d(pool.work, ahead, mode="nearest", origin=-((ahead - 1) // 2))
        plans = []
        for fill in FILLS:
            asked = np.maximum(np.ceil(largest / (fill * bears) - 1e-9), 1.0)
            ready = ready_by_plan(asked, startup, grounds.step_seconds)
            plans.append(_option(grounds, name, f"c = {fill:g}", asked, ready))
        options[name] = plans
    return _cheapest("clairvoyant", grounds, draws, options, attainment)


def fixed_peak(grounds: Grounds, draws: Draws, attainment: float) -> Run:
    """Run the cheapest fixed fleet that reaches `attainment`."""
    options = {}
    steps = grounds.time_seconds.size
    for name, pool in grounds.pools.items():
        bears = draws.capacity[name][0] * grounds.step_seconds
        most = max(int(np.ceil(pool.work.max() / bears)) + 1, 2)
        least = max(int(pool.work.mean() / bears), 1)
        counts = np.unique(np.linspace(least, most, MOST_FLEETS).round())
        options[name] = [
            _option(grounds, name, f"{count:g}", np.full(steps, count), np.full(steps, count))
            for count in counts
        ]
    return _cheapest("fixed-peak", grounds, draws, options, attainment)


def _option(grounds: Grounds, pool: str, label: str, asked: Floats, ready: Floats) -> _Option:
    gpu_seconds = float(asked.sum()) * grounds.step_seconds * grounds.pools[pool].gpus
    return _Option(label, asked, ready, gpu_seconds)


def _cheapest(
    name: str,
    grounds: Grounds,
    draws: Draws,
    options: Mapping[str, list[_Option]],
    wanted: float,
) -> Run:
    """Find the cheapest combination that reaches `wanted`, else the best seen, and run it.

    A pool alone, beside the most generous plan of the others, bounds from below what it needs;
    from there combinations are tried by cost.
    """
    pools = {pool: sorted(plans, key=lambda one: one.gpu_seconds)
             for pool, plans in options.items()}  # fmt: skip
    lane = draws.part(slice(0, 1))

    def attained(choice: Mapping[str, _Option]) -> float:
        journey = run_plan(grounds, lane, *_arrays(choice))
        return float(score(grounds, lane, journey.pools, {}).attainment[0])

    generous = {pool: plans[-1] for pool, plans in pools.items()}

    def first_enough(pool: str) -> int:
        def is_enough(one: _Option) -> bool:
            return attained({**generous, pool: one}) >= wanted

        return min(bisect_left(pools[pool], True, key=is_enough), len(pools[pool]) - 1)

    from_least = {pool: plans[first_enough(pool) :] for pool, plans in pools.items()}
    combined = sorted(
        itertools.product(*from_least.values()),
        key=lambda plans: sum(one.gpu_seconds for one in plans),
    )
    best, reached = generous, attained(generous)
    for plans in combined[:MOST_TRIED]:
        choice = dict(zip(pools, plans, strict=True))
        share = attained(choice)
        if share >= wanted:
            best, reached = choice, share
            break
        if reached < wanted and share > reached:
            best, reached = choice, share
    said = ", ".join(f"{pool} {one.label}" for pool, one in best.items())
    flags: tuple[str, ...] = ()
    if reached < wanted:
        flags = (f"No plan tried reaches {wanted:.4g}; the best reaches {reached:.4g}.",)
    scores, first = score_all(
        grounds, draws, lambda part: run_plan(grounds, part, *_arrays(best)), {}
    )
    return run_of(name, grounds, draws, scores, first, given=f"{said}.", flags=flags)


def _arrays(choice: Mapping[str, _Option]) -> tuple[dict[str, Floats], dict[str, Floats]]:
    return (
        {pool: one.asked for pool, one in choice.items()},
        {pool: one.ready for pool, one in choice.items()},
    )
