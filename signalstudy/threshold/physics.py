"""Physics: batch law, Little's law and KV budget as cross-checks of the fitted decode capacity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.threshold.counts import bin_seconds, mean_per_bin, settled_bins, steps_per_bin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.timeline.timeline import PoolTimeline, Timeline
    from signalstudy.vocabulary.estimate import Estimate
    from signalstudy.vocabulary.objectives import Objective

    Floats = NDArray[np.float64]

FEWEST_ROWS = 30
FARTHEST_FROM_FIT = 0.15
SMALLEST_FIT = 0.8
CLOSED_WITHIN = 0.1
CLOSED_SHARE = 0.8
"""Little's law shall hold within 10 % in four bins of five (methods 8.4)."""

FULL_CACHE_RATIO = 0.95
LEAST_CACHE_RATIO = 0.1


@dataclass(frozen=True, slots=True)
class _Batches:
    """Settled bins of a pool (rows,): running requests, tokens/s and KV share of a replica, TBT."""

    running: Floats
    tbt_seconds: Floats
    work: Floats
    kv_cache_ratio: Floats


def physics_note(timeline: Timeline, pool: str, objective: Objective, capacity: Estimate) -> str:
    """Say what physics makes of a TBT capacity; empty where the data do not tell.

    Batch law: mean TBT(b) = alpha + beta b with b running requests per replica and b = x TBT give
    x = (1 - alpha / limit) / beta. KV budget: b at a full cache, as requests fill it here, gives
    x = b / TBT(b). Both speak of means, so a quantile's capacity lies below the smaller. Little's
    law, running = tokens/s x TBT per bin, holds or a number of these means something else
    (methods 8.4).
    """
    if objective.signal != "tbt" or capacity.value is None:
        return ""
    found = _batches(timeline, timeline.pools[pool], objective)
    if found is None:
        return ""
    sentences = [_little(found), *_bounds(found, objective, capacity)]
    return " ".join(sentence for sentence in sentences if sentence)


def _batches(timeline: Timeline, source: PoolTimeline, objective: Objective) -> _Batches | None:
    running, tbt = source.signals.get("running_requests"), source.signals.get("tbt_mean_seconds")
    if running is None or tbt is None:
        return None
    steps = steps_per_bin(timeline.step_seconds, bin_seconds(timeline, objective.signal))
    unknown = np.full(timeline.time_seconds.size, np.nan)
    cache = source.signals.get("kv_cache_usage_ratio")
    served = source.signals.get("decode_tokens_per_second")
    ready = np.where(source.ready_replicas > 0.0, source.ready_replicas, np.nan)
    per_replica = [
        running.values / ready,
        tbt.values,
        unknown if served is None else served.values / ready,
        unknown if cache is None else cache.values,
    ]
    batch, seconds, work, share = (mean_per_bin(values, steps) for values in per_replica)
    kept = settled_bins(timeline, source, steps) & np.isfinite(batch + seconds)
    if kept.sum() < FEWEST_ROWS or np.ptp(batch[kept]) == 0.0:
        return None
    return _Batches(batch[kept], seconds[kept], work[kept], share[kept])


def _little(found: _Batches) -> str:
    """Say where running requests are not tokens/s x TBT."""
    known = np.isfinite(found.work) & (found.running >= 1.0)
    if known.sum() < FEWEST_ROWS:
        return ""
    running = found.running[known]
    off = found.work[known] * found.tbt_seconds[known] / running - 1.0
    if (np.abs(off) < CLOSED_WITHIN).mean() >= CLOSED_SHARE:
        return ""
    return (
        f"Little's law does not close: tokens/s x mean TBT is {np.median(off):+.0%} off the "
        "running requests in the middle bin; replicas may be missing from one of them, running may "
        "count waiting requests, or TBT another interval."
    )


def _bounds(found: _Batches, objective: Objective, capacity: Estimate) -> list[str]:
    """Say where the batch law and the KV budget put the capacity."""
    limit = objective.at_most_seconds
    slope, level = np.polyfit(found.running, found.tbt_seconds, 1)
    explained = np.corrcoef(found.running, found.tbt_seconds)[0, 1] ** 2
    if slope <= 0.0 or not 0.0 < level < limit or explained < SMALLEST_FIT:
        return []
    bound = (1.0 - level / limit) / slope
    sentence = (
        f"By the batch law (TBT = {1e3 * level:.3g} ms + {1e3 * slope:.3g} ms a running request) "
        f"mean TBT reaches the limit at {bound:.4g} tokens/s a replica"
    )
    value = capacity.value or 0.0
    if capacity.status == "ok" and value > (1.0 + FARTHEST_FROM_FIT) * bound:
        sentence = (
            f"{sentence}, well below the fitted capacity: one of the two is wrong (latency of "
            "other requests than these, or a batch that is not counted whole); trust the lower"
        )
    return [f"{sentence}.", _cache_budget(found, float(level), float(slope), bound)]


def _cache_budget(found: _Batches, level: float, slope: float, bound: float) -> str:
    """Say where the KV cache is full before TBT reaches its limit."""
    known = np.isfinite(found.kv_cache_ratio) & (found.kv_cache_ratio > LEAST_CACHE_RATIO)
    if known.sum() < FEWEST_ROWS:
        return ""
    most = FULL_CACHE_RATIO * float(np.median(found.running[known] / found.kv_cache_ratio[known]))
    full = most / (level + slope * most)
    if full >= bound:
        return ""
    return (
        f"The KV cache is full at {most:.3g} running requests, {full:.4g} tokens/s a replica, "
        "before TBT reaches its limit: beyond that requests wait or are preempted."
    )
