"""Scores: what a path costs and how many requests it keeps, lane by lane, then as estimates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter1d

from signalstudy.replay.latencies import share_late
from signalstudy.replay.moments import worst_moments
from signalstudy.replay.replay import Placement, PoolRun, Run
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from signalstudy.replay.draws import Draws
    from signalstudy.replay.grounds import Grounds
    from signalstudy.replay.moments import Explain
    from signalstudy.replay.paths import Journey, PoolPath
    from signalstudy.replay.placement import Placed

    Floats = NDArray[np.float64]

CELLS_AT_ONCE = 5_000_000
"""Lanes x steps held at once: with two pools and a signal about 0.5 GB."""
METHOD = "fluid queue on the study's estimates; low and high: 2.5 and 97.5 % of the draws"


@dataclass(frozen=True, slots=True)
class Score:
    """What lanes came to, each (lanes,); NaN where the question does not arise."""

    gpu_hours: Floats
    attainment: Floats
    uncensored_attainment: Floats
    minutes_over: Floats
    scale_events: Floats
    pd_imbalance: Floats
    replica_seconds: dict[str, Floats]
    uncensored_gpu_hours: Floats
    unplaced_hours: Floats
    fragmentation: Floats
    refused: Floats


def score(
    grounds: Grounds,
    draws: Draws,
    paths: Mapping[str, PoolPath],
    drain_seconds: Mapping[str, float],
    placed: Placed | None = None,
) -> Score:
    """Score paths (lanes, n).

    Attainment weighs each step by the work offered in it; a step's requests miss with the sum of
    the shares that each objective lets slip (at most all), which never flatters. GPU-hours count a
    replica from the decision to its removal: a drained one for `drain_seconds` more, or until it is
    put back.
    """
    step, step_count = grounds.step_seconds, grounds.time_seconds.size
    unknown = np.full(draws.lanes, np.nan)
    replica_seconds = {
        name: path.asked.sum(axis=1) * step
        + np.maximum(-np.diff(path.ready, axis=1), 0.0).sum(axis=1) * drain_seconds.get(name, 0.0)
        - (0.0 if path.spared_seconds is None else path.spared_seconds[:, 0])
        for name, path in paths.items()
    }
    gpu_seconds = sum(
        (seconds * grounds.pools[name].gpus for name, seconds in replica_seconds.items()),
        np.zeros(draws.lanes),
    )
    kept = 1.0 - late_shares(grounds, draws, paths)
    is_over = np.any(
        [
            (path.wait_seconds > 0.0)
            | (path.offered > path.bears * (draws.capacity[name] * step)[:, None])
            for name, path in paths.items()
        ],
        axis=0,
    )
    moved = np.any([np.diff(path.asked, axis=1) != 0.0 for path in paths.values()], axis=0)
    return Score(
        gpu_hours=gpu_seconds / 3600.0,
        attainment=_weighted(kept, grounds.weights),
        uncensored_attainment=_weighted(kept, grounds.weights * ~grounds.censored),
        minutes_over=is_over.sum(axis=1) * step / 60.0,
        scale_events=moved.sum(axis=1).astype(float),
        pd_imbalance=_imbalance(draws, paths, step),
        replica_seconds=replica_seconds,
        uncensored_gpu_hours=_uncensored_hours(grounds, draws, paths),
        unplaced_hours=_unplaced_hours(draws, paths, step),
        fragmentation=unknown if placed is None else placed.fragmentation(step_count),
        refused=unknown if placed is None else placed.refused.astype(float),
    )


def score_all(
    grounds: Grounds,
    draws: Draws,
    run: Callable[[Draws], Journey],
    drain_seconds: Mapping[str, float],
    lanes_at_once: int | None = None,
) -> tuple[list[Score], Journey]:
    """Run and score all lanes, `lanes_at_once` or so many at a time as fit into memory.

    Gives the scores in order, and the journey of lane 0.
    """
    room = lanes_at_once or max(CELLS_AT_ONCE // grounds.time_seconds.size, 1)
    scores = []
    first: Journey | None = None
    for begin in range(0, draws.lanes, room):
        part = draws.part(slice(begin, begin + room))
        journey = run(part)
        scores.append(score(grounds, part, journey.pools, drain_seconds, journey.placed))
        if first is None:
            paths = {name: path.lane(0) for name, path in journey.pools.items()}
            first = replace(journey, pools=paths)
    assert first is not None  # noqa: S101 - there is a lane 0; for the type checker
    return scores, first


def late_shares(grounds: Grounds, draws: Draws, paths: Mapping[str, PoolPath]) -> Floats:
    """Give the share of each step's requests that miss any objective (lanes, n).

    A curve is read at the work per replica over as long as the bins that it was fitted in.
    """
    late = np.zeros((draws.lanes, grounds.time_seconds.size))
    for one in grounds.objectives:
        path = paths[one.pool]
        bears = draws.saturation[one.pool][:, None]
        # The curve is that of the estimate: a replica that bears less is late at less work.
        drawn = draws.capacity[one.pool][:, None]
        scale = (grounds.pools[one.pool].capacity.per_replica.value or 1.0) / drawn
        steps = max(round(one.over_seconds / grounds.step_seconds), 1)
        offered, bearing = (
            uniform_filter1d(values, steps, axis=1, mode="nearest")
            for values in (path.offered / grounds.step_seconds, path.bears)
        )
        per_replica = np.divide(offered, bearing, out=np.zeros(offered.shape), where=bearing > 0)
        per_replica = np.where(path.wait_seconds > 0.0, bears, np.minimum(per_replica, bears))
        late = late + share_late(
            one, per_replica * scale, waited(one.objective.signal, path, paths)
        )
    return np.minimum(late, 1.0)


def waited(latency: str, path: PoolPath, paths: Mapping[str, PoolPath]) -> Floats:
    """Give what a latency waits for: end to end it is every pool's queue, one after the other."""
    if latency != "e2e":
        return path.wait_seconds
    return np.asarray(np.sum([one.wait_seconds for one in paths.values()], axis=0))


def _weighted(kept: Floats, weights: Floats) -> Floats:
    total = weights.sum()
    if not total:
        return np.full(kept.shape[0], np.nan)
    return np.asarray(np.minimum((kept * weights).sum(axis=1) / total, 1.0))


def _imbalance(draws: Draws, paths: Mapping[str, PoolPath], step_seconds: float) -> Floats:
    if not {"prefill", "decode"} <= set(paths):
        return np.full(draws.lanes, np.nan)
    fill = {}
    for name in ("prefill", "decode"):
        path = paths[name]
        bears = path.bears * (draws.capacity[name] * step_seconds)[:, None]
        share = np.divide(path.offered, bears, out=np.ones(bears.shape), where=bears > 0)
        fill[name] = np.minimum(share, 1.0)
    return np.asarray(np.abs(fill["prefill"] - fill["decode"]).mean(axis=1))


def _uncensored_hours(grounds: Grounds, draws: Draws, paths: Mapping[str, PoolPath]) -> Floats:
    """Sum the GPU-hours of replicas running or starting in steps that are not censored."""
    keep = ~grounds.censored
    hours = np.zeros(draws.lanes)
    for name, path in paths.items():
        hours += path.asked[:, keep].sum(axis=1) * grounds.pools[name].gpus
    return hours * grounds.step_seconds / 3600.0


def _unplaced_hours(draws: Draws, paths: Mapping[str, PoolPath], step_seconds: float) -> Floats:
    """Sum the replica-hours for which there was no place, NaN where nothing bounds the fleet."""
    hours = np.zeros(draws.lanes)
    for path in paths.values():
        if path.unplaced is None:
            return np.full(draws.lanes, np.nan)
        hours += path.unplaced.sum(axis=1) * step_seconds / 3600.0
    return hours


def run_of(
    name: str,
    grounds: Grounds,
    draws: Draws,
    scores: Sequence[Score],
    first: Journey,
    *,
    given: str = "",
    flags: tuple[str, ...] = (),
    explain: Explain | None = None,
) -> Run:
    """Put the scores of all lanes together; `first`: the journey on the study's estimates.

    `explain`: says why a policy decided as it did, for its worst moments.
    """
    late = late_shares(grounds, draws.part(slice(0, 1)), first.pools)[0]
    joined = {
        field: np.concatenate([getattr(score, field) for score in scores])
        for field in ("gpu_hours", "attainment", "uncensored_attainment", "minutes_over",
                      "scale_events", "pd_imbalance", "unplaced_hours", "fragmentation", "refused",
                      "uncensored_gpu_hours")
    }  # fmt: skip
    return Run(
        name=name,
        gpu_hours=_estimate(joined["gpu_hours"]),
        slo_attainment_ratio=_estimate(joined["attainment"]),
        uncensored_attainment_ratio=_uncensored(joined["uncensored_attainment"]),
        minutes_over_capacity=_estimate(joined["minutes_over"]),
        scale_events=_estimate(joined["scale_events"]),
        pd_imbalance_ratio=_imbalance_estimate(joined["pd_imbalance"]),
        replica_seconds={
            pool: float(seconds[0]) for pool, seconds in scores[0].replica_seconds.items()
        },
        given=given,
        flags=flags,
        pools={pool: pool_run(pool, path, grounds, draws) for pool, path in first.pools.items()},
        late_ratio=late,
        uncensored_gpu_hours=_estimate(joined["uncensored_gpu_hours"]),
        placement=None
        if first.placed is None
        else Placement(
            unplaced_replica_hours=_estimate(joined["unplaced_hours"]),
            fragmentation_ratio=_pieces_estimate(joined["fragmentation"]),
            refused_decisions=_estimate(joined["refused"]),
        ),
        worst_moments=worst_moments(grounds, first, late, explain),
    )


def _estimate(lanes: Floats) -> Estimate:
    value = float(lanes[0])
    if lanes.size < 2:
        return Estimate(value, method=METHOD)
    low, high = np.quantile(lanes[1:], [0.025, 0.975])
    return Estimate(value, min(float(low), value), max(float(high), value), method=METHOD)


def _uncensored(lanes: Floats) -> Estimate:
    if np.isnan(lanes).any():
        return unidentified("The recording served less than was offered wherever it had demand.")
    return _estimate(lanes)


def _imbalance_estimate(lanes: Floats) -> Estimate:
    if np.isnan(lanes).any():
        return not_applicable("The service has one pool.")
    return _estimate(lanes)


def _pieces_estimate(lanes: Floats) -> Estimate:
    if np.isnan(lanes).any():
        return not_applicable("No replica was added or removed.")
    return _estimate(lanes)


def pool_run(pool: str, path: PoolPath, grounds: Grounds, draws: Draws) -> PoolRun:
    """Give lane 0 of a pool's path for drawing."""
    return PoolRun(
        pool=pool,
        asked_replicas=path.asked[0],
        ready_replicas=path.ready[0],
        offered_per_second=path.offered[0] / grounds.step_seconds,
        capacity_per_second=path.bears[0] * draws.capacity[pool][0],
        wait_seconds=path.wait_seconds[0],
    )
