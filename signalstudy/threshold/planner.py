"""What scalers that read no signal of ours scale on, at the targets of a study.

NVIDIA Dynamo's planner: queued prompt tokens and KV occupancy. Ray Serve: ongoing requests.

Its thresholds are usually guessed. Here KV occupancy is read off the recording where a replica does
the work at which the policy would act, and the queue from the TTFT objective: a request that finds
q tokens queued before it waits q / (tokens per second), so that q = target x (limit - TTFT without
a queue) is the queue at which a replica at its target just keeps the limit.
Scale-down thresholds leave room for the work of the replica that goes: n / (n + 1) of scale-up at
the smallest fleet n, or the survivors would call it back (ai-dynamo/dynamo 9294).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.threshold.counts import work_of
from signalstudy.vocabulary.estimate import Estimate, unidentified

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from signalstudy.threshold.threshold import Threshold
    from signalstudy.timeline.timeline import PoolTimeline, Timeline
    from signalstudy.vocabulary.objectives import Objective

    Floats = NDArray[np.float64]

OCCUPANCY = "kv_cache_usage_ratio"
QUEUE_UP, QUEUE_DOWN = "dynamo.prefillScaleUpQueueTokens", "dynamo.prefillScaleDownQueueTokens"
CACHE_UP, CACHE_DOWN = "dynamo.decodeScaleUpKvRatio", "dynamo.decodeScaleDownKvRatio"
RUNNING, ONGOING = "running_requests", "rayServe.{}.targetOngoingRequests"
NEARBY = 0.15
"""Steps whose work per replica is within this share of a point speak for it."""
FEWEST_STEPS, FEWEST_BLOCKS = 30, 4
BLOCK_SECONDS = 600.0
REPLICATES = 500
LEAST_RISE = 1.05
"""Occupancy that rises less between the two points follows no work."""
WITHOUT_QUEUE_QUANTILE = 0.1


def planner_thresholds(
    timeline: Timeline,
    threshold: Threshold,
    objectives: Sequence[Objective],
    *,
    scale_in_tolerance: float,
    fewest: Mapping[str, int],
) -> dict[str, Estimate]:
    """Give the thresholds by name; those that the data do not tell say why.

    `fewest`: the smallest fleet of each pool.
    """
    decode = next((name for name in ("decode", "unified") if name in timeline.pools), None)
    found: dict[str, Estimate] = {}
    if decode is not None:
        found |= _cache(timeline, threshold, decode, scale_in_tolerance, fewest.get(decode, 1))
    if "prefill" in timeline.pools:
        found |= _queue(timeline, threshold, objectives, scale_in_tolerance,
                        fewest.get("prefill", 1))  # fmt: skip
    return found


def _target(threshold: Threshold, pool: str) -> Estimate | None:
    """Give what a replica of a pool is to do of its own work per second."""
    capacity = threshold.capacities.get(pool)
    own = threshold.pool_targets.get(pool)
    if own is not None and own.value:
        return own
    if capacity is None:
        return None
    if (threshold.pool, threshold.signal) == (pool, capacity.signal) and threshold.target.value:
        return threshold.target
    headroom, bears = threshold.headroom_ratio.value, capacity.per_replica
    if not headroom or not bears.low:
        return None
    share = headroom * (1.0 + threshold.tolerance_ratio)
    high = None if bears.value is None else bears.value / share
    return Estimate(bears.low / share, high=high, method=f"capacity's safe bound / {share:.3g}")


def _cache(
    timeline: Timeline, threshold: Threshold, name: str, tolerance: float, fewest: int
) -> dict[str, Estimate]:
    """Read KV occupancy off at target x (1 + scale-out) and target x (1 - scale-in tolerance)."""
    pool, target = timeline.pools[name], _target(threshold, name)
    work, series = work_of(pool), pool.signals.get(OCCUPANCY)
    why = ""
    if series is None:
        why = f"{name}.{OCCUPANCY} is not in the data."
    elif isinstance(work, str):
        why = work
    elif target is None:
        why = f"What a replica of {name} bears is not known."
    if why or series is None or isinstance(work, str) or target is None:
        return dict.fromkeys((CACHE_UP, CACHE_DOWN), unidentified(why))
    known = np.isfinite(work.per_replica) & np.isfinite(series.values) & timeline.usable
    blocks = (timeline.time_seconds // BLOCK_SECONDS).astype(np.int64)[known]
    shown = series.values[known], work.per_replica[known], blocks
    at = target.value or 0.0
    out = _level(*shown, at * (1.0 + threshold.tolerance_ratio))
    into = _level(*shown, at * (1.0 - tolerance))
    if out.value is None or into.value is None:
        return {CACHE_UP: out, CACHE_DOWN: into if out.value is not None else out}
    if out.value < LEAST_RISE * into.value:
        flat = f"KV occupancy hardly rises with work: {into.value:.3g} to {out.value:.3g}."
        return dict.fromkeys((CACHE_UP, CACHE_DOWN), unidentified(flat))
    return {CACHE_UP: out, CACHE_DOWN: _lower(into, out, fewest)}


def ongoing_requests(timeline: Timeline, threshold: Threshold) -> dict[str, Estimate]:
    """Give the requests that a replica works on at its target, by name: what Ray Serve scales on.

    Read off the recording, as occupancy is; by Little's law it moves with the length of answers.
    """
    found = {}
    for name, pool in timeline.pools.items():
        target, work = _target(threshold, name), work_of(pool)
        series = pool.signals.get(RUNNING)
        if target is None or isinstance(work, str) or series is None:
            continue
        known = np.isfinite(work.per_replica) & np.isfinite(series.values) & timeline.usable
        known &= np.nan_to_num(pool.ready_replicas) > 0
        blocks = (timeline.time_seconds // BLOCK_SECONDS).astype(np.int64)[known]
        counts = series.values[known] / pool.ready_replicas[known]
        at = target.value or 0.0
        found[ONGOING.format(name)] = _level(counts, work.per_replica[known], blocks, at)
    return found


def _level(values: Floats, work: Floats, blocks: NDArray[np.int64], at: float) -> Estimate:
    """Average a signal over the steps near a point of work; bootstrap of blocks for the interval.

    `values`, `work`, `blocks`: (n,).
    """
    near = np.abs(work / at - 1.0) <= NEARBY
    places, index = np.unique(blocks[near], return_inverse=True)
    most = float(work.max(initial=0.0))
    if int(near.sum()) < FEWEST_STEPS or places.size < FEWEST_BLOCKS:
        return unidentified(
            f"Work of {at:.4g} a replica is hardly in the data, which go up to {most:.4g}."
        )
    sums = np.bincount(index, weights=values[near])
    counts = np.bincount(index).astype(float)
    weights = np.random.default_rng(0).multinomial(
        places.size, np.full(places.size, 1.0 / places.size), size=REPLICATES
    )
    low, high = np.quantile((weights @ sums) / (weights @ counts), (0.025, 0.975))
    return Estimate(
        value=float(sums.sum() / counts.sum()),
        low=float(low),
        high=float(high),
        effective_observations=float(places.size),
        method=f"mean of {int(near.sum())} steps with {at:.4g} of work a replica, "
        f"+-{NEARBY:.0%}; bootstrap of {places.size} blocks of {BLOCK_SECONDS / 60.0:g} min",
    )


def _lower(into: Estimate, out: Estimate, fewest: int) -> Estimate:
    """Keep a scale-down threshold low enough that the survivors do not call the replica back."""
    smallest = max(1, fewest)
    most = (out.value or 0.0) * smallest / (smallest + 1)
    if into.value is not None and into.value <= most:
        return into
    return Estimate(
        value=most,
        method=f"scale-up x {smallest} / {smallest + 1}: what is left after one of "
        f"{smallest + 1} goes",
    )


def _queue(
    timeline: Timeline,
    threshold: Threshold,
    objectives: Sequence[Objective],
    tolerance: float,
    fewest: int,
) -> dict[str, Estimate]:
    """Give target x (TTFT limit - TTFT without a queue), in prompt tokens a prefill worker."""
    limits = [one.at_most_seconds for one in objectives if one.signal == "ttft"]
    target, alone = _target(threshold, "prefill"), _without_queue(timeline)
    why = ""
    if not limits:
        why = "No objective on TTFT says how long a queue may be."
    elif target is None:
        why = "What a replica of prefill bears is not known."
    elif alone is None:
        why = "TTFT without a queue is not in the data."
    elif alone >= min(limits):
        why = f"TTFT without a queue, {alone:.3g} s, is no shorter than its limit."
    if why or target is None or alone is None:
        return dict.fromkeys((QUEUE_UP, QUEUE_DOWN), unidentified(why))
    spare, at = min(limits) - alone, target.value or 0.0
    out = Estimate(
        value=at * spare,
        low=None if target.low is None else target.low * spare,
        high=None if target.high is None else target.high * spare,
        effective_observations=target.effective_observations,
        days=target.days,
        method=f"target {at:.4g} tokens/s x ({min(limits):g} s - {alone:.3g} s without a queue)",
        note=f"Target: {target.method}." if target.method else "",
    )
    into = Estimate((out.value or 0.0) * (1.0 - tolerance), method="scale-up x (1 - tolerance)")
    return {QUEUE_UP: out, QUEUE_DOWN: _lower(into, out, fewest)}


def _without_queue(timeline: Timeline) -> float | None:
    """Give the TTFT of a request that finds nothing before it: a low quantile of the usual."""
    for name in ("ttft_p50_seconds", "ttft_mean_seconds"):
        for place in ("prefill", "gateway", "decode"):
            pool: PoolTimeline | None = timeline.pools.get(place)
            series = None if pool is None else pool.signals.get(name)
            if series is not None and np.isfinite(series.values).any():
                known = series.values[np.isfinite(series.values)]
                return float(np.quantile(known, WITHOUT_QUEUE_QUANTILE))
    return None
