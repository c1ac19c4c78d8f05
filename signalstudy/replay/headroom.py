"""Headroom by replay: the ramp factors whose policy costs least and still keeps what is asked.

The formula's ramp factor (threshold.ramp) depends on the width of its bins: at 10, 60 and 300 s one
day gave 5.2, 1.8 and 1.3. And a longer window of the signal is later but trembles less, so that its
tolerance is smaller. So every combination of a window and of the pools' ramp factors on a grid is
replayed on the study's own demand, in the closed loop and through the same queues as any policy,
and the replay decides (methods 9).

One replica alone is the least steady fleet: work per replica moves by 1 / sqrt(replicas). Where
the fleet gets that small, a second one at all times may cost less than more room at all sizes, so
that is tried as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from signalstudy.policy.decide import decide
from signalstudy.policy.draft import scale_in_tolerance
from signalstudy.policy.rules import STALE_AFTER_WINDOWS, compile_policy
from signalstudy.replay.combinations import SPARE_REPLICAS, Combinations, coarse, finer, with_floors
from signalstudy.replay.controller import LANE, policy_controller
from signalstudy.replay.draws import draw
from signalstudy.replay.grounds import lay_grounds
from signalstudy.replay.history import start_replicas
from signalstudy.replay.lanes import run_lanes
from signalstudy.replay.rivals import busiest_part, held_within
from signalstudy.replay.score import CELLS_AT_ONCE, late_shares, score
from signalstudy.threshold.bootstrap import choose_blocks
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

OFFERED_SOURCES = ("requests", "gateway_tokens", "gateway_arrivals", "offered_requests")
AS_CHEAP = 1.02
"""What costs at most so much more is as cheap, as far as one recording can tell; of those the one
with least room is taken, because more demand than was seen makes room dearer and a floor not."""
LONGEST_SECONDS = 7 * 86400.0
DRAWS = 500
QUANTILES = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class _Tried:
    """What the lanes came to: GPU-hours and share of requests kept (lanes,).

    `room` (lanes,): GPUs that the mean work asks for, with the lane's ramp factors. `drawn` (draws,
    lanes): the share kept when blocks of time are drawn again. `smallest` (lanes,): the fewest
    replicas that any pool was asked to have.
    """

    gpu_hours: Floats
    kept: Floats
    room: Floats
    smallest: Floats
    drawn: Floats
    blocks: Blocks


@dataclass(frozen=True, slots=True)
class Tuned:
    """What the replay bears out: ramp factors by pool, the window they go with, and floors.

    No ramp factors: what was drafted serves as well. `least_replicas`: by pool, where not as
    drafted.
    """

    headrooms: dict[str, Estimate]
    window_seconds: float
    least_replicas: dict[str, int] = field(default_factory=dict)


def tune_headrooms(
    studied: Studied,
    *,
    tolerances: Mapping[float, float] | None = None,
    users_minimum: Collection[str] = (),
    users_maximum: Collection[str] = (),
    seed: int = 0,
) -> Tuned:
    """Tune each pool's ramp factor and least replicas, and the window of the signal, by replay.

    The cheapest combination that keeps `asked_attainment` of the requests (0.99, or more where the
    objectives ask it). Where that is dearer than the formula's, or none does, the formula's stands
    if it keeps the share that the objectives name; else the cheapest that does so much. At least 1:
    no replica is meant to rest above its capacity's safe bound.

    `studied` needs a policy. `tolerances`: the scaleOutTolerance that goes with a window in
    seconds; the drafted window has the drafted one. `users_minimum`, `users_maximum`: pools whose
    bounds the user gave; the maxReplicas of the others grows with the ramp factor. Raises
    SignalStudyError where the study cannot be replayed.
    """
    policy = studied.policy
    assert policy is not None  # noqa: S101 - as said above; for the type checker
    grounds = busiest_part(lay_grounds(studied), LONGEST_SECONDS)
    rules, controller = compile_policy(policy), policy_controller(policy, grounds)
    drafted = float(policy.document["spec"]["signal"]["windowSeconds"])
    of_window = {drafted: rules.scale_out_tolerance, **(tolerances or {})}
    lanes = [0]

    def replayed(window: float, grid: Combinations) -> _Tried:
        moved = _over(rules, window - drafted, of_window[window])
        reads = tuple(replace(one, window_seconds=window) for one in controller.reads)
        decides = _by_lane(moved, grid, users_maximum)
        lanes[0] += grid.lanes
        return _try(replace(controller, reads=reads, decide=decides), grounds, grid, seed)

    grid = coarse(studied, rules)
    scanned = grid.steps
    tried = {window: replayed(window, grid) for window in of_window}
    asked = grounds.asked_attainment
    named = min(one.objective.quantile for one in grounds.objectives)
    first = tried[drafted]
    best = _cheapest_of_all(tried, grid, asked)
    window, lane = best or (drafted, None)
    floors = with_floors(grid, lane, users_minimum)
    if floors is not None and tried[window].smallest.min() < SPARE_REPLICAS:
        beside = replayed(window, floors)
        at = _cheapest(beside, floors, asked)
        if at is not None and (lane is None or _is_better(beside, at, tried[window], lane)):
            best, grid, tried = (window, at), floors, {window: beside}
    if best is None or tried[window].gpu_hours[best[1]] > first.gpu_hours[0]:
        if first.kept[0] >= named:
            return Tuned({}, drafted)
        if best is None:
            best, asked = _cheapest_of_all(tried, grid, named), named
    if best is None or best == (drafted, 0):
        return Tuned({}, drafted)
    window, lane = best
    fine = finer(grid, lane, scanned)
    between = replayed(window, fine)
    found = _cheapest(between, fine, asked) or int(np.flatnonzero(fine.at[:, 0] >= 0)[-1])
    headrooms = {
        pool: replace(
            _around(float(ramps[found]), pool, fine, tried=between, asked=asked),
            note=f"The formula gives {grid.formula[pool]:.3g}; replayed, its policy costs "
            f"{first.gpu_hours[0]:.4g} GPU-hours and this one {between.gpu_hours[found]:.4g}.",
            days=grounds.time_seconds.size * grounds.step_seconds / 86400.0,
            method=f"of {lanes[0]} replayed the least room at {AS_CHEAP:g} x the least cost that "
            f"keeps {asked:g} of the requests; interval over {between.blocks.counted()}",
        )
        for pool, ramps in fine.ramps.items()
    }
    return Tuned(headrooms, window, _moved_floors(fine, found, rules))


def _moved_floors(grid: Combinations, lane: int, rules: Rules) -> dict[str, int]:
    """Give the floors of a lane that are not the drafted ones."""
    drafted = {rule.pool: rule.min_replicas for rule in rules.pools}
    floors = {pool: int(floor[lane]) for pool, floor in grid.floors.items()}
    return {pool: floor for pool, floor in floors.items() if floor != drafted[pool]}


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


def _by_lane(rules: Rules, grid: Combinations, users_maximum: Collection[str]) -> Decide:
    """Decide with the targets, ratio and bounds that each lane's ramp factors and floors give."""
    by_formula = {pool: ramps / grid.formula[pool] for pool, ramps in grid.ramps.items()}

    def pool_rule(rule: PoolRule, lane: NDArray[np.int64]) -> PoolRule:
        if rule.pool not in by_formula:
            return rule
        times = by_formula[rule.pool][lane]
        rule = replace(rule, min_replicas=cast("int", grid.floors[rule.pool][lane]))
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


def _try(controller: Controller, grounds: Grounds, grid: Combinations, seed: int) -> _Tried:
    """Run all lanes on the study's estimates, so many at a time as fit into memory."""
    lanes = grid.lanes
    drawn = draw(grounds, 0, seed).repeated(lanes)
    start = held_within(start_replicas(grounds), controller)
    drain = controller.drain_seconds(grounds)
    weights = grounds.weights if _is_offered(grounds) else grounds.weights * ~grounds.censored
    room = max(CELLS_AT_ONCE // grounds.time_seconds.size, 1)
    hours, sums, smallest = [], [], []
    blocks: Blocks | None = None
    for begin in range(0, lanes, room):
        part = drawn.part(slice(begin, begin + room))
        journey = run_lanes(controller, grounds, part, start)
        hours.append(score(grounds, part, journey.pools, drain).gpu_hours)
        smallest.append(np.min([path.asked.min(axis=1) for path in journey.pools.values()], axis=0))
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
        _room(grounds, grid),
        np.concatenate(smallest),
        1.0 - drawn_blocks @ missed.T / requests[:, None],
        blocks,
    )


def _is_offered(grounds: Grounds) -> bool:
    """Whether demand was counted outside the engine: then it is right where too little was served.

    Those are the busiest steps, the very ones that room is for.
    """
    demands = [grounds.whole.pools[pool].demand for pool in grounds.pools]
    return all(one is not None and one.source in OFFERED_SOURCES for one in demands)


def _room(grounds: Grounds, grid: Combinations) -> Floats:
    """Give the GPUs (lanes,) that the mean work asks for where its fleet is large."""
    asked = np.zeros(grid.lanes)
    for pool, ramps in grid.ramps.items():
        one = grounds.pools[pool]
        bears = (one.capacity.per_replica.value or 1.0) * grounds.step_seconds
        asked += one.gpus * float(one.work.mean()) / bears * ramps
    return asked


def _is_better(tried: _Tried, lane: int, other: _Tried, other_lane: int) -> bool:
    """Whether a lane is cheaper than that of another grid, or as cheap and with less room."""
    costs, known = tried.gpu_hours[lane], other.gpu_hours[other_lane]
    if max(costs, known) > AS_CHEAP * min(costs, known):
        return bool(costs < known)
    return bool(tried.room[lane] < other.room[other_lane])


def _cheapest_of_all(
    tried: Mapping[float, _Tried], grid: Combinations, asked: float
) -> tuple[float, int] | None:
    """Give window and lane of the cheapest that keeps `asked`."""
    found = [
        (one.gpu_hours[lane], window, lane)
        for window, one in tried.items()
        if (lane := _cheapest(one, grid, asked)) is not None
    ]
    return min(found)[1:] if found else None


def _cheapest(tried: _Tried, grid: Combinations, asked: float) -> int | None:
    """Give the cheapest lane that keeps `asked`, and whose neighbours with more room do.

    A closed loop answers in jumps: a lane among others that fail keeps it by chance.
    """
    enough = tried.kept >= asked
    lane_of = {tuple(at): lane for lane, at in enumerate(grid.at.tolist()) if at[0] >= 0}
    sound = []
    for lane in [0, *lane_of.values()]:
        if not enough[lane]:
            continue
        place = grid.at[lane]
        above = [
            lane_of.get(tuple((place + step).tolist()))
            for step in np.eye(place.size, dtype=np.int64)
        ]
        if lane == 0 or all(one is None or enough[one] for one in above):
            sound.append(lane)
    if not sound:
        return None
    least = min(tried.gpu_hours[lane] for lane in sound)
    as_cheap = [lane for lane in sound if tried.gpu_hours[lane] <= AS_CHEAP * least]
    return min(as_cheap, key=lambda lane: tried.room[lane])


def _around(
    value: float, pool: str, grid: Combinations, *, tried: _Tried, asked: float
) -> Estimate:
    """Give a pool's ramp factor between the least that keep `asked` in 97.5 and 2.5 % of draws.

    The other pool's and the floors stay. Where none of those scanned keeps it so surely the
    interval ends at the largest.
    """
    lanes = grid.scans[pool]
    ramps = grid.ramps[pool][lanes]
    low, high = (
        min(ramps[share >= asked], default=float(ramps.max()))
        for share in np.quantile(tried.drawn[:, lanes], QUANTILES[::-1], axis=0)
    )
    return Estimate(
        value,
        low=min(float(low), value),
        high=max(float(high), value),
        effective_observations=tried.blocks.count,
    )
