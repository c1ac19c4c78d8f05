"""Physics: the batch law as a cross-check of the fitted decode capacity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.threshold.counts import bin_seconds, mean_per_bin, settled_bins, steps_per_bin

if TYPE_CHECKING:
    from signalstudy.timeline.timeline import Timeline
    from signalstudy.vocabulary.estimate import Estimate
    from signalstudy.vocabulary.objectives import Objective

FEWEST_ROWS = 30
FARTHEST_FROM_FIT = 0.15
SMALLEST_FIT = 0.8


def batch_law_note(timeline: Timeline, pool: str, objective: Objective, capacity: Estimate) -> str:
    """Compare the capacity with the work at which mean TBT reaches the limit, by the batch law.

    mean TBT(b) = alpha + beta b with b running requests per replica, and Little's b = x TBT, give
    x = (1 - alpha / limit) / beta (methods 8.4). It speaks of the mean, so a quantile's capacity
    lies below it. Empty where the law does not hold, or the data do not tell.
    """
    source = timeline.pools[pool]
    running, tbt = source.signals.get("running_requests"), source.signals.get("tbt_mean_seconds")
    if objective.signal != "tbt" or running is None or tbt is None or capacity.value is None:
        return ""
    steps = steps_per_bin(timeline.step_seconds, bin_seconds(timeline, objective.signal))
    batch = mean_per_bin(running.values / source.ready_replicas, steps)
    seconds = mean_per_bin(tbt.values, steps)
    kept = settled_bins(timeline, source, steps) & np.isfinite(batch + seconds)
    if kept.sum() < FEWEST_ROWS or np.ptp(batch[kept]) == 0.0:
        return ""
    slope, level = np.polyfit(batch[kept], seconds[kept], 1)
    explained = np.corrcoef(batch[kept], seconds[kept])[0, 1] ** 2
    if slope <= 0.0 or not 0.0 < level < objective.at_most_seconds or explained < SMALLEST_FIT:
        return ""
    bound = (1.0 - level / objective.at_most_seconds) / slope
    sentence = (
        f"By the batch law (TBT = {1e3 * level:.3g} ms + {1e3 * slope:.3g} ms a running request) "
        f"mean TBT reaches the limit at {bound:.4g} tokens/s a replica"
    )
    if capacity.status == "ok" and capacity.value > (1.0 + FARTHEST_FROM_FIT) * bound:
        return f"{sentence}, well below the fitted capacity: one of the two is wrong."
    return f"{sentence}."
