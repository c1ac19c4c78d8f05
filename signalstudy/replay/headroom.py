"""Headroom by replay: the ramp factors whose policy costs least and still keeps what is asked.

The formula's ramp factor (threshold.ramp) depends on the width of its bins: at 10, 60 and 300 s one
day gave 5.2, 1.8 and 1.3. And a longer window of the signal is later but trembles less, so that its
tolerance is smaller. So every combination of a window and of the pools' ramp factors on a grid is
replayed on the study's own demand, in the closed loop and through the same queues as any policy,
and the replay decides (methods 9).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, cast

import numpy as np

from signalstudy.policy.decide import decide
from signalstudy.policy.draft import scale_in_tolerance
from signalstudy.policy.rules import STALE_AFTER_WINDOWS, compile_policy
from signalstudy.replay.controller import LANE, policy_controller
from signalstudy.replay.draws import draw
from signalstudy.replay.grounds import lay_grounds
from signalstudy.replay.history import start_replicas
from signalstudy.replay.lanes import run_lanes
from signalstudy.replay.rivals import busiest_part, held_within
from signalstudy.replay.score import CELLS_AT_ONCE, late_shares, score
from signalstudy.threshold.bootstrap import choose_blocks
from signalstudy.threshold.ramp import DEFAULT_HEADROOM_RATIO
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from signalstudy.policy.rules import PoolRule, Rules, SignalRule
    from signalstudy.policy.state import Observation, State
    from signalstudy.replay.controller import Controller, Decide
    from signalstudy.replay.grounds import Grounds, Studied
    from signalstudy.threshold.bootstrap import Blocks

    Floats = NDArray[np.float64]

STEP_RATIO = 1.16
FINER = 3
"""Steps of the grid, and into how many the last is divided: a study's time grows with the square of
their number."""
LARGEST_HEADROOM, BEYOND_FORMULA = 1.8, 1.2
"""The grid ends at the larger of 1.8 and the formula's ramp factor times 1.2."""
LONGEST_SECONDS = 7 * 86400.0
DRAWS = 500
QUANTILES = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class _Grid:
    """The combinations tried, one a lane; lane 0 is the formula's.

    `ramps` (lanes,) by pool; `at` (lanes, pools): the place on each pool's `steps`, -1 in lane 0.
    """

    formula: Mapping[str, float]
    steps: Mapping[str, Floats]
    ramps: Mapping[str, Floats]
    at: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Tried:
    """What the lanes came to: GPU-hours and share of requests kept (lanes,).

    `drawn` (draws, lanes): that share when blocks of time are drawn again.
    """

    gpu_hours: Floats
    kept: Floats
    drawn: Floats
    blocks: Blocks


@dataclass(frozen=True, slots=True)
class Tuned:
    """What the replay bears out: ramp factors by pool, and the window they go with.

    No ramp factors: what was drafted serves as well.
    """

    headrooms: dict[str, Estimate]
    window_seconds: float


def tune_headrooms(
    studied: Studied,
    *,
    tolerances: Mapping[float, float] | None = None,
    users_maximum: Collection[str] = (),
    seed: int = 0,
) -> Tuned:
    """Tune the ramp factor of each pool, and the window of the signal, by replay.

    The cheapest combination that keeps `asked_attainment` of the requests (0.99, or more where the
    objectives ask it). Where that is dearer than the formula's, or none does, the formula's stands
    if it keeps the share that the objectives name; else the cheapest that does so much. At least 1:
    no replica is meant to rest above its capacity's safe bound.

    `studied` needs a policy. `tolerances`: the scaleOutTolerance that goes with a window in
    seconds; the drafted window has the drafted one. `users_maximum`: pools whose maxReplicas the
    user gave; that of the others grows with the ramp factor. Raises SignalStudyError where the
    study cannot be replayed.
    """
    policy = studied.policy
    assert policy is not None  # noqa: S101 - as said above; for the type checker
    grounds = busiest_part(lay_grounds(studied), LONGEST_SECONDS)
    rules, controller = compile_policy(policy), policy_controller(policy, grounds)
    drafted = float(policy.document["spec"]["signal"]["windowSeconds"])
    of_window = {drafted: rules.scale_out_tolerance, **(tolerances or {})}

    def replayed(window: float, grid: _Grid) -> _Tried:
        moved = _over(rules, window - drafted, of_window[window])
        reads = tuple(replace(one, window_seconds=window) for one in controller.reads)
        decides = _by_lane(moved, grid, users_maximum)
        return _try(replace(controller, reads=reads, decide=decides), grounds, grid, seed)

    grid = _coarse(studied, rules)
    tried = {window: replayed(window, grid) for window in of_window}
    asked = grounds.asked_attainment
    named = min(one.objective.quantile for one in grounds.objectives)
    best = _cheapest_of_all(tried, grid, asked)
    first = tried[drafted]
    if best is None or tried[best[0]].gpu_hours[best[1]] > first.gpu_hours[0]:
        if first.kept[0] >= named:
            return Tuned({}, drafted)
        if best is None:
            best, asked = _cheapest_of_all(tried, grid, named), named
    if best is None or best == (drafted, 0):
        return Tuned({}, drafted)
    window, lane = best
    chosen, fine = tried[window], _finer(grid, lane)
    between = replayed(window, fine)
    found = _cheapest(between, fine, asked) or fine.at.shape[0] - 1
    lanes = len(tried) * grid.at.shape[0] + fine.at.shape[0]
    headrooms = {
        pool: replace(
            _around(float(fine.ramps[pool][found]), pool, lane, grid, tried=chosen, asked=asked),
            note=f"The formula gives {grid.formula[pool]:.3g}; replayed, its policy costs "
            f"{first.gpu_hours[0]:.4g} GPU-hours and this one {between.gpu_hours[found]:.4g}.",
            effective_observations=chosen.blocks.count,
            days=grounds.time_seconds.size * grounds.step_seconds / 86400.0,
            method=f"of {lanes} combinations replayed the cheapest that keeps {asked:g} of the "
            f"requests; interval over {chosen.blocks.counted()}",
        )
        for pool in grid.steps
    }
    return Tuned(headrooms, window)


def _over(rules: Rules, longer_seconds: float, tolerance: float) -> Rules:
    """Give the rules with a longer window, as they are drafted with its tolerance."""
    times = (1.0 + rules.scale_out_tolerance) / (1.0 + tolerance)

    def moved(signal: SignalRule | None) -> SignalRule | None:
        if signal is None:
            return None
        return replace(
            signal,
            target_per_replica=signal.target_per_replica * times,
            stale_after_seconds=signal.stale_after_seconds + STALE_AFTER_WINDOWS * longer_seconds,
        )

    return replace(
        rules,
        scale_out_tolerance=tolerance,
        scale_in_tolerance=scale_in_tolerance(tolerance),
        pools=tuple(
            replace(
                rule,
                signal=moved(rule.signal),
                scale_out_cooldown_seconds=rule.scale_out_cooldown_seconds + longer_seconds / 2.0,
            )
            for rule in rules.pools
        ),
    )


def _coarse(studied: Studied, rules: Rules) -> _Grid:
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
    return _grid(formula, steps)


def _finer(grid: _Grid, lane: int) -> _Grid:
    """Give what lies between a combination, which comes last, and its neighbours with less room."""
    parts = STEP_RATIO ** (-np.arange(FINER)[::-1] / FINER)
    steps = {
        pool: np.unique(np.maximum(ramps[lane] * parts, 1.0)) for pool, ramps in grid.ramps.items()
    }
    return _grid(grid.formula, steps)


def _grid(formula: Mapping[str, float], steps: Mapping[str, Floats]) -> _Grid:
    at = np.array([[-1] * len(steps), *product(*(range(one.size) for one in steps.values()))])
    ramps = {
        pool: np.where(at[:, position] < 0, formula[pool], one[at[:, position]])
        for position, (pool, one) in enumerate(steps.items())
    }
    return _Grid(formula, steps, ramps, at)


def _by_lane(rules: Rules, grid: _Grid, users_maximum: Collection[str]) -> Decide:
    """Decide with the targets, ratio and maxima that each lane's ramp factors give."""
    by_formula = {pool: ramps / grid.formula[pool] for pool, ramps in grid.ramps.items()}

    def pool_rule(rule: PoolRule, lane: NDArray[np.int64]) -> PoolRule:
        if rule.pool not in by_formula:
            return rule
        times = by_formula[rule.pool][lane]
        if rule.pool not in users_maximum:
            most = np.ceil(rule.max_replicas * np.maximum(times, 1.0))
            rule = replace(rule, max_replicas=cast("int", most))
        if rule.signal is None:
            return rule
        target = cast("float", rule.signal.target_per_replica / times)
        return replace(rule, signal=replace(rule.signal, target_per_replica=target))

    def ask(state: State, observation: Observation) -> dict[str, Floats]:
        lane = np.asarray(observation.readings[LANE].value, dtype=np.int64)
        moved = replace(rules, pools=tuple(pool_rule(rule, lane) for rule in rules.pools))
        if {"prefill", "decode"} <= by_formula.keys():
            per_decode = by_formula["prefill"][lane] / by_formula["decode"][lane]
            if rules.follower_ratio is not None:
                follows = per_decode if rules.driver == "decode" else 1.0 / per_decode
                moved = replace(moved, follower_ratio=cast("float", rules.follower_ratio * follows))
            if rules.band is not None:
                low, high = (cast("float", end * per_decode) for end in rules.band)
                moved = replace(moved, band=(low, high))
        steps = decide(moved, state, observation).steps
        return {pool: step.replicas for pool, step in steps.items()}

    return ask


def _try(controller: Controller, grounds: Grounds, grid: _Grid, seed: int) -> _Tried:
    """Run all lanes on the study's estimates, so many at a time as fit into memory."""
    lanes = grid.at.shape[0]
    drawn = draw(grounds, 0, seed).repeated(lanes)
    start = held_within(start_replicas(grounds), controller)
    drain = controller.drain_seconds(grounds)
    weights = grounds.weights * ~grounds.censored
    room = max(CELLS_AT_ONCE // grounds.time_seconds.size, 1)
    hours, sums = [], []
    blocks: Blocks | None = None
    for begin in range(0, lanes, room):
        part = drawn.part(slice(begin, begin + room))
        journey = run_lanes(controller, grounds, part, start)
        hours.append(score(grounds, part, journey.pools, drain).gpu_hours)
        late = late_shares(grounds, part, journey.pools) * weights
        if blocks is None:
            blocks = choose_blocks(
                grounds.time_seconds, grounds.step_seconds, late[0], role="production"
            )
            begins = np.flatnonzero(np.diff(blocks.of_row, prepend=-1))
        sums.append(np.add.reduceat(late, begins, axis=1))
    assert blocks is not None  # noqa: S101 - there is a lane 0; for the type checker
    counted = np.add.reduceat(weights, begins)
    missed, drawn_blocks = np.concatenate(sums), blocks.weights(DRAWS, np.random.default_rng(seed))
    requests = np.maximum(drawn_blocks @ counted, np.finfo(float).tiny)
    return _Tried(
        np.concatenate(hours),
        1.0 - missed.sum(axis=1) / counted.sum(),
        1.0 - drawn_blocks @ missed.T / requests[:, None],
        blocks,
    )


def _cheapest_of_all(
    tried: Mapping[float, _Tried], grid: _Grid, asked: float
) -> tuple[float, int] | None:
    """Give window and lane of the cheapest that keeps `asked`."""
    found = [
        (one.gpu_hours[lane], window, lane)
        for window, one in tried.items()
        if (lane := _cheapest(one, grid, asked)) is not None
    ]
    return min(found)[1:] if found else None


def _cheapest(tried: _Tried, grid: _Grid, asked: float) -> int | None:
    """Give the cheapest lane that keeps `asked`, and whose neighbours with more room do.

    A closed loop answers in jumps: a lane among others that fail keeps it by chance.
    """
    enough = tried.kept >= asked
    lane_of = {tuple(place): lane for lane, place in enumerate(grid.at.tolist())}
    sound = []
    for lane in np.flatnonzero(enough).tolist():
        place = grid.at[lane]
        above = [
            lane_of.get(tuple((place + step).tolist()))
            for step in np.eye(place.size, dtype=np.int64)
        ]
        if lane == 0 or all(one is None or enough[one] for one in above):
            sound.append(lane)
    return min(sound, key=lambda lane: tried.gpu_hours[lane]) if sound else None


def _around(
    value: float, pool: str, best: int, grid: _Grid, *, tried: _Tried, asked: float
) -> Estimate:
    """Give a pool's ramp factor between the least that keep `asked` in 97.5 and 2.5 % of draws.

    The other pool's stays at that of lane `best`.
    """
    position = list(grid.steps).index(pool)
    same = np.delete(grid.at, position, axis=1) == np.delete(grid.at[best], position)
    lanes = np.flatnonzero(same.all(axis=1) & (grid.at[:, position] >= 0))
    low, high = (
        min(grid.ramps[pool][lanes][share >= asked], default=value)
        for share in np.quantile(tried.drawn[:, lanes], QUANTILES[::-1], axis=0)
    )
    return Estimate(value, low=min(float(low), value), high=max(float(high), value))
