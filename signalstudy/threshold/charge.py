"""Charge: which pool's work a breach of an objective counts against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.threshold.counts import mean_per_bin, steps_per_bin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.threshold.counts import WorkCounts
    from signalstudy.timeline.timeline import PoolTimeline, Timeline
    from signalstudy.vocabulary.objectives import Objective

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

HOME_POOL = {"ttft": "prefill", "tbt": "decode", "e2e": "decode"}
BLAME_SHARE = 0.5
DOUBT_SHARE = 0.1
"""A pool is to blame where the mean wait in its queue is more than half of the limit; the other
pool is in doubt, and its requests are left out, from a tenth of the limit on."""

FEWEST_WAITING = 2.0
"""Fewer requests waiting a replica are the next batch forming, not a queue."""

FULL_CACHE_RATIO = 0.95
"""Above this a decode pool's KV cache holds back new requests (methods 8.3 step 6)."""


@dataclass(frozen=True, slots=True)
class Charge:
    """The counts that speak of one pool, and the sentence that says what was left out.

    `is_idle`: the pool is not this objective's home and was never to blame, so that all its
    requests count as within the limit.
    """

    counts: WorkCounts
    note: str = ""
    is_idle: bool = False


def charge(
    counts: WorkCounts, timeline: Timeline, pool: str, objective: Objective
) -> Charge | None:
    """Keep what a pool answers for (methods 8.3 step 6), or None where that cannot be told.

    In its home pool (TTFT: prefill; TBT and end-to-end: decode) an objective counts except where
    the other pool holds requests back. In the other pool only breaches while that pool holds
    requests back count, all other requests as within the limit. A pool that never reached its own
    knee while the other saturates so ends in a lower bound, not in a false knee.
    """
    if not {"prefill", "decode"} <= set(timeline.pools):
        return Charge(counts)
    is_home = pool == HOME_POOL[objective.signal]
    if objective.signal == "tbt":
        return Charge(counts) if is_home else None
    other = "decode" if pool == "prefill" else "prefill"
    other_fault = holds_back(counts, timeline, timeline.pools[other], objective, DOUBT_SHARE)
    if is_home:
        return _charge_home(counts, other_fault, other, objective)
    own_fault = holds_back(counts, timeline, timeline.pools[pool], objective)
    return _charge_away(counts, own_fault, other_fault, pool, objective)


def _charge_home(
    counts: WorkCounts, other_fault: Booleans | None, other: str, objective: Objective
) -> Charge:
    """Charge everything that the other pool is not to blame for."""
    if other_fault is None:
        return Charge(
            counts,
            f"Whether {other} caused breaches of {objective} is not known (no waiting_requests "
            f"or KV occupancy of that pool).",
        )
    left_out = int(counts.observed[other_fault].sum())
    note = f"{left_out} requests left out of {objective}: {other} held them back."
    return Charge(counts.where(~other_fault), note if left_out else "")


def _charge_away(
    counts: WorkCounts,
    own_fault: Booleans | None,
    other_fault: Booleans | None,
    pool: str,
    objective: Objective,
) -> Charge | None:
    """Charge only what the pool itself held back; leave out where both pools did."""
    if own_fault is None:
        return None
    both = own_fault & other_fault if other_fault is not None else np.zeros_like(own_fault)
    sole = own_fault & ~both
    kept = replace(
        counts,
        over=np.where(sole, counts.over, 0.0),
        over_least=np.where(sole, counts.over_least, 0.0),
    ).where(~both)
    if not sole.any():
        note = f"The {pool} pool never held requests back, so {objective} does not limit it."
        return Charge(kept, note, is_idle=True)
    return Charge(kept, f"{objective} counts where the {pool} pool held requests back.")


def holds_back(
    counts: WorkCounts,
    timeline: Timeline,
    pool: PoolTimeline,
    objective: Objective,
    share: float = BLAME_SHARE,
) -> Booleans | None:
    """Say in which rows a pool's own queue explains breaches (rows,); None: cannot be told.

    Its mean wait by Little's law, waiting requests / requests per second, is more than `share` of
    the limit, with two or more waiting a replica; for decode also a KV cache above 0.95.
    """
    waiting = _per_row(counts, timeline, pool, "waiting_requests")
    occupancy = (
        _per_row(counts, timeline, pool, "kv_cache_usage_ratio") if pool.pool == "decode" else None
    )
    if waiting is None and occupancy is None:
        return None
    fault = np.zeros(counts.observed.size, dtype=bool)
    if waiting is not None:
        wait_seconds = waiting * counts.bin_seconds / counts.observed
        replicas = mean_in_rows(counts, timeline, pool.ready_replicas)
        is_queue = waiting >= FEWEST_WAITING * np.nan_to_num(replicas, nan=1.0)
        fault |= is_queue & (wait_seconds > share * objective.at_most_seconds)
    if occupancy is not None:
        fault |= occupancy > FULL_CACHE_RATIO
    return fault


def _per_row(
    counts: WorkCounts, timeline: Timeline, pool: PoolTimeline, name: str
) -> Floats | None:
    """Give a signal's mean in each row's bin of time (rows,), or None where it is not there."""
    series = pool.signals.get(name)
    if series is None or not np.isfinite(series.values).any():
        return None
    return mean_in_rows(counts, timeline, series.values)


def mean_in_rows(counts: WorkCounts, timeline: Timeline, values: Floats) -> Floats:
    """Give the mean of a series (n,) in each row's bin of time (rows,)."""
    steps = steps_per_bin(timeline.step_seconds, counts.bin_seconds)
    first = timeline.time_seconds[steps - 1]
    index = np.rint((counts.time_seconds - first) / (steps * timeline.step_seconds))
    return np.asarray(mean_per_bin(values, steps)[index.astype(np.int64)])
