"""Scores of an engine run: what it cost, how many requests it kept, what went wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.replay.flags import flags_of
from signalstudy.replay.moments import worst_moments
from signalstudy.replay.offered import spread
from signalstudy.replay.paths import Journey, PoolPath
from signalstudy.replay.replay import PoolRun, Run
from signalstudy.vocabulary.estimate import Estimate, not_applicable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from signalstudy.replay.controller import Controller
    from signalstudy.replay.draws import Draws
    from signalstudy.replay.engine.run import Job, Ran
    from signalstudy.replay.grounds import Grounds
    from signalstudy.replay.moments import Moment
    from signalstudy.vocabulary.objectives import Objective

    Floats = NDArray[np.float64]

METHOD = "counted in one run of the request-level engine; it is deterministic"
STEP_SECONDS = 15.0
SMOOTHED_STEPS = 4
"""Work is booked at arrival; over a minute a busy step is no need."""
WAITS_SECONDS = 1.0
"""Waits below it are those of a batch to come round, not of work that finds no room."""
LATENCY_MS = {"ttft": "ttft_ms", "tbt": "tbt_ms", "e2e": "e2e_ms"}


@dataclass(frozen=True, slots=True)
class Life:
    """One worker: Unix-free seconds of the run, cut at the span's end."""

    pool: str
    begin: float
    ready: float
    draining: float
    removed: float


def kept_requests(ran: Ran, objectives: Sequence[Objective]) -> NDArray[np.bool_]:
    """Say which finished requests (m,) are within every limit; one output token has no TBT."""
    kept = np.ones(ran.requests["arrived_ms"].size, dtype=bool)
    for one in objectives:
        latency = np.nan_to_num(ran.requests[LATENCY_MS[one.signal]], nan=0.0)
        kept &= latency <= 1000.0 * one.at_most_seconds
    return kept


def attainment(ran: Ran, job: Job, objectives: Sequence[Objective]) -> float:
    """Give the share of offered requests within every limit; unfinished ones are missed."""
    offered = job.offered.arrived_seconds.size
    return float(kept_requests(ran, objectives).sum()) / offered


def lives(ran: Ran, job: Job) -> list[Life]:
    """Give every worker's life, from the decision to the removal."""
    end = job.span_seconds
    found = {(pool, number): [0.0, 0.0, end, end]
             for pool, count in job.fleet.start.items() for number in range(count)}  # fmt: skip
    for at, pool, worker, what in ran.moves:
        life = found.setdefault((pool, worker), [min(at, end), end, end, end])
        within = min(at, end)
        if what == "starting":
            life[0] = within
        elif what == "ready":
            life[1] = within
        elif what == "draining":
            life[2] = within
        elif what == "removed":
            life[2], life[3] = min(life[2], within), within
    return [Life(pool, *life) for (pool, _), life in found.items()]


def gpu_hours_of(ran: Ran, job: Job) -> float:
    """Give the GPU-hours of all workers, from the decision to the removal, within the span."""
    return sum(
        (one.removed - one.begin) * job.fleet.gpus[one.pool] / 3600.0 for one in lives(ran, job)
    )


def score_run(
    ran: Ran,
    job: Job,
    grounds: Grounds,
    draws: Draws,
    *,
    controller: Controller | None = None,
    given: str = "",
    flags: tuple[str, ...] = (),
) -> Run:
    """Put together what a run came to. GPU-hours end with the span; what follows is emptying.

    `controller`: what decided, None for a plan, which nobody blames for its decisions.
    """
    workers = lives(ran, job)
    objectives = [one.objective for one in grounds.objectives]
    paths = {
        pool: _path(ran, job, workers, pool, grounds.pools[pool].capacity.signal)
        for pool in job.fleet.sides
    }
    bears = {pool: draws.capacity[pool][0] * STEP_SECONDS for pool in paths}
    over = np.any(
        [(path.wait_seconds[0] > 0) | (path.offered[0] > path.ready[0] * bears[pool])
         for pool, path in paths.items()], axis=0,
    )  # fmt: skip
    arrived, late = _late(ran, job, objectives)
    replayed = replace(
        grounds,
        time_seconds=job.start + STEP_SECONDS * np.arange(1.0, arrived.size + 1.0),
        step_seconds=STEP_SECONDS,
        weights=arrived,
    )
    unfinished = job.offered.arrived_seconds.size - ran.requests["arrived_ms"].size
    said = [f"{unfinished} requests never finished."] * (unfinished > 0)
    moments: tuple[Moment, ...] = ()
    if controller is not None:
        said += flags_of(replayed, draws, paths, controller.bounds)
        journey = Journey(paths, _seen(ran, arrived.size))
        moments = worst_moments(replayed, journey, late, controller.explain)
    return Run(
        name=job.name,
        gpu_hours=Estimate(gpu_hours_of(ran, job), method=METHOD),
        slo_attainment_ratio=Estimate(attainment(ran, job, objectives), method=METHOD),
        uncensored_attainment_ratio=not_applicable("The engine is offered every request."),
        minutes_over_capacity=Estimate(float(over.sum()) * STEP_SECONDS / 60.0, method=METHOD),
        scale_events=Estimate(float(len(ran.asked) - 1), method=METHOD),
        pd_imbalance_ratio=_imbalance(paths, bears),
        replica_seconds={
            pool: sum(one.removed - one.begin for one in workers if one.pool == pool)
            for pool in job.fleet.sides
        },
        given=given,
        flags=(*flags, *said),
        pools={pool: _pool_run(pool, path, bears[pool]) for pool, path in paths.items()},
        late_ratio=late,
        worst_moments=moments,
    )


def _late(ran: Ran, job: Job, objectives: Sequence[Objective]) -> tuple[Floats, Floats]:
    """Give the requests that arrived in each step (n,), and the share of them that missed."""
    steps = steps_of(job)
    arrived = np.bincount(_step_of(job.offered.arrived_seconds, steps), minlength=steps)
    kept_at = ran.requests["arrived_ms"][kept_requests(ran, objectives)] / 1000.0
    kept = np.minimum(np.bincount(_step_of(kept_at, steps), minlength=steps), arrived)
    share = np.divide(kept, arrived, out=np.ones(steps), where=arrived > 0)
    return arrived.astype(float), 1.0 - share


def _step_of(seconds: Floats, steps: int) -> NDArray[np.int64]:
    return np.minimum((seconds / STEP_SECONDS).astype(np.int64), steps - 1)


def _seen(ran: Ran, steps: int) -> dict[str, Floats]:
    """Give what was seen at the last decision before the end of each step (n,)."""
    if not ran.seen:
        return {}
    at = np.array([moment for moment, _ in ran.seen])
    ends = STEP_SECONDS * np.arange(1.0, steps + 1.0)
    rows = np.searchsorted(at, ends, side="right") - 1
    found = {}
    for key in ran.seen[0][1]:
        values = np.array([saw[key] for _, saw in ran.seen])
        found[key] = np.where(rows < 0, np.nan, values[np.maximum(rows, 0)])
    return found


def _pool_run(pool: str, path: PoolPath, bears: float) -> PoolRun:
    return PoolRun(
        pool=pool,
        asked_replicas=path.asked[0],
        ready_replicas=path.ready[0],
        offered_per_second=path.offered[0] / STEP_SECONDS,
        capacity_per_second=path.ready[0] * bears / STEP_SECONDS,
        wait_seconds=path.wait_seconds[0],
    )


def _path(ran: Ran, job: Job, workers: Sequence[Life], pool: str, work: str) -> PoolPath:
    """Give a pool's course in steps (1, n): replicas, offered work, and how long it waited."""
    steps = steps_of(job)
    ends = STEP_SECONDS * np.arange(1.0, steps + 1.0)
    mine = [one for one in workers if one.pool == pool]
    ready = _living(ends, [one.ready for one in mine], [one.draining for one in mine])
    at = np.array([moment for moment, _ in ran.asked])
    counts = np.array([asked[pool] for _, asked in ran.asked], dtype=float)
    asked = counts[np.searchsorted(at, ends, side="right") - 1]
    offered = _averaged(booked_work(job, work, steps))
    return PoolPath(asked[None], ready[None], offered[None], _waits(ran, job, pool, steps)[None])


def _living(ends: Floats, begin: Sequence[float], end: Sequence[float]) -> Floats:
    begun = np.searchsorted(np.sort(begin), ends - 1e-6, side="right")
    gone = np.searchsorted(np.sort(end), ends - 1e-6, side="right")
    return (begun - gone).astype(float)


def steps_of(job: Job) -> int:
    """Say how many steps the span has."""
    return max(int(np.ceil(job.span_seconds / STEP_SECONDS - 1e-9)), 2)


def booked_work(job: Job, work: str, steps: int) -> Floats:
    """Give the work offered per step (n,), booked at arrival; `work`: the signal that counts it."""
    offered = job.offered
    prompt, reusable = np.diff(offered.prompt_tokens), np.diff(offered.reusable_tokens)
    amount = {
        "prefill_uncached_tokens_per_second": prompt - reusable,
        "prefill_tokens_per_second": prompt,
        "requests_per_second": np.ones(prompt.size),
    }.get(work, offered.output_tokens)
    at = _step_of(offered.arrived_seconds, steps)
    return np.bincount(at, amount, steps).astype(float)


def work_per_step(job: Job, grounds: Grounds, pool: str, steps: int) -> Floats:
    """Give the work offered per step (n,), spread over the stay of a request in decode."""
    signal = grounds.pools[pool].capacity.signal
    booked = booked_work(job, signal, steps)
    if pool == "prefill" or signal == "requests_per_second":
        return booked
    return spread(booked, grounds.pools[pool].residence_seconds / STEP_SECONDS)


def _averaged(booked: Floats) -> Floats:
    kernel = np.full(min(SMOOTHED_STEPS, booked.size), 1.0)
    weight = np.convolve(np.ones(booked.size), kernel)[: booked.size]
    return np.asarray(np.convolve(booked, kernel)[: booked.size] / weight)


def _waits(ran: Ran, job: Job, pool: str, steps: int) -> Floats:
    """Give how long requests that arrived in a step waited for a pool, 0 below WAITS_SECONDS."""
    rows = ran.requests
    if pool == "decode":
        waited = rows["decode_admit_ms"] - rows["prefilled_ms"]
    else:
        waited = rows["first_admit_ms"] - rows["arrived_ms"]
    at = _step_of(rows["arrived_ms"] / 1000.0, steps)
    total = np.bincount(at, np.nan_to_num(waited) / 1000.0, steps)
    finished = np.bincount(at, minlength=steps)
    all_at = _step_of(job.offered.arrived_seconds, steps)
    lost = np.bincount(all_at, minlength=steps) - finished
    if rows["arrived_ms"].size == job.offered.arrived_seconds.size:
        lost[:] = 0  # a request may still be counted in the neighbouring step
    still = np.maximum(job.span_seconds - STEP_SECONDS * np.arange(steps), STEP_SECONDS)
    if pool != "decode":
        total = total + np.maximum(lost, 0) * still
        finished = finished + np.maximum(lost, 0)
    mean = np.divide(total, finished, out=np.zeros(steps), where=finished > 0)
    return np.where(mean >= WAITS_SECONDS, mean, 0.0)


def _imbalance(paths: Mapping[str, PoolPath], bears: Mapping[str, float]) -> Estimate:
    """Give the mean difference between how full the two pools are."""
    if not {"prefill", "decode"} <= set(paths):
        return not_applicable("The service has one pool.")
    full = {}
    for pool in ("prefill", "decode"):
        room = np.maximum(paths[pool].ready, 1.0) * bears[pool]
        full[pool] = np.minimum(paths[pool].offered / room, 1.0)
    return Estimate(float(np.abs(full["prefill"] - full["decode"]).mean()), method=METHOD)
