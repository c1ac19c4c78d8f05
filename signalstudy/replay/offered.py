"""Offered work: how a recording's demand becomes the work that a pool of the model gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.threshold.counts import mean_per_bin, steps_per_bin, work_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.timeline.timeline import PoolTimeline, Timeline

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

GAIN_BIN_SECONDS = 300.0
USUAL_DEMAND = (0.25, 0.6)
CENSORED_SHARE = 0.9
"""A bin in which the recording served less than this share of what was offered is censored."""


def gain_of(timeline: Timeline, pool: PoolTimeline) -> float:
    """Give the served work per unit of demand: the median over five-minute bins of usual demand.

    It is 1 where both count the same; with all prompt tokens offered and uncached ones served it
    is what the prefix cache leaves to do. Bins of high demand are left out: where a pool is
    saturated it serves less, and that is no gain.
    """
    if pool.demand is None or pool.served_per_second is None or pool.pool != "prefill":
        return 1.0
    if pool.demand.unit == "requests" and work_name(pool) == "requests_per_second":
        return 1.0
    steps = steps_per_bin(timeline.step_seconds, GAIN_BIN_SECONDS)
    offered = mean_per_bin(pool.demand.per_second, steps)
    served = mean_per_bin(pool.served_per_second, steps)
    counts = np.isfinite(offered + served) & (offered > 0)
    if not counts.any() or not served[counts].any():
        return 1.0
    low, high = np.quantile(offered[counts], USUAL_DEMAND)
    usual = counts & (offered >= low) & (offered <= high)
    return float(np.median(served[usual] / offered[usual])) or 1.0


def residence_seconds(timeline: Timeline, pool: PoolTimeline) -> float:
    """Say how long a request stays: output tokens x usual TBT, else usual TTFT of prefill."""
    latency = "ttft" if pool.pool == "prefill" else "tbt"
    usual = [
        np.nanmedian(place.signals[name].values)
        for place in timeline.pools.values()
        for name in (f"{latency}_mean_seconds", f"{latency}_p50_seconds")
        if name in place.signals and np.isfinite(place.signals[name].values).any()
    ]
    if not usual:
        return 0.0
    return float(usual[0]) * (1.0 if latency == "ttft" else tokens_per_request(timeline) or 0.0)


def tokens_per_request(timeline: Timeline) -> float | None:
    """Give output tokens a request, None where requests or tokens are not counted."""
    requests = count_requests(timeline, slice(None))
    for name in ("decode", "unified"):
        pool = timeline.pools.get(name)
        if pool is not None and pool.demand is not None and pool.demand.unit == "tokens":
            tokens = float(np.nansum(pool.demand.per_second)) * timeline.step_seconds
            return tokens / requests if requests else None
    return None


def requests_by_step(timeline: Timeline) -> Floats | None:
    """Give the requests of each step (n,): offered ones where known, else finished ones.

    Of several counts the one that counts most; not TBT's, which may count tokens.
    """
    for pool in timeline.pools.values():
        if pool.demand is not None and pool.demand.unit == "requests":
            return np.nan_to_num(pool.demand.per_second) * timeline.step_seconds
    counts = [
        np.nan_to_num(one.observed)
        for one in timeline.slo_counts
        if one.objective.signal != "tbt" or one.source == "requests"
    ] or [
        np.nan_to_num(pool.signals["requests_per_second"].values) * timeline.step_seconds
        for pool in timeline.pools.values()
        if "requests_per_second" in pool.signals
    ]
    return max(counts, key=lambda one: float(one.sum()), default=None)


def count_requests(timeline: Timeline, rows: slice) -> float | None:
    """Count requests, None where the recording counts none."""
    requests = requests_by_step(timeline)
    return None if requests is None else float(requests[rows].sum())


def offered_requests(timeline: Timeline, work: Floats) -> Floats:
    """Give what attainment is weighted by (n,): the requests that arrive in each step.

    Requests are counted when they finish, so work says when they arrived and the count of five
    minutes how many requests that work is: where prompts grow long, fewer. Without a count, work.
    """
    requests = requests_by_step(timeline)
    steps = steps_per_bin(timeline.step_seconds, GAIN_BIN_SECONDS)
    size = work.size // steps * steps
    if requests is None or not size:
        return work
    of_bin = requests[:size].reshape(-1, steps).sum(axis=1)
    work_of_bin = work[:size].reshape(-1, steps).sum(axis=1)
    if not work_of_bin.sum():
        return work
    usual = float(of_bin.sum() / work_of_bin.sum())
    each = np.divide(of_bin, work_of_bin, out=np.full(of_bin.size, usual), where=work_of_bin > 0.0)
    whole = np.concatenate([np.repeat(each, steps), np.full(work.size - size, each[-1])])
    return np.asarray(work * whole)


def spread(work: Floats, steps: float) -> Floats:
    """Spread each step's work evenly over the `steps` that begin with it: tokens take time."""
    if steps <= 0.5:
        return work
    total = np.concatenate([[0.0], np.cumsum(work)])
    # The integral of the cumulated work, so that a fraction of a step spreads as well.
    area = np.concatenate([[0.0], np.cumsum((total[1:] + total[:-1]) / 2.0)])
    at = np.arange(total.size, dtype=float)
    spread = (np.interp(at, at, area) - np.interp(at - steps, at, area)) / steps
    return np.asarray(np.diff(spread))


def censored_steps(timeline: Timeline, names: list[str]) -> Booleans:
    """Say in which steps the recording served less than was offered, in bins of five minutes."""
    censored = np.zeros(timeline.time_seconds.size, dtype=bool)
    steps = steps_per_bin(timeline.step_seconds, GAIN_BIN_SECONDS)
    for name in names:
        pool = timeline.pools[name]
        if pool.demand is None or pool.served_per_second is None or pool.demand.unit != "tokens":
            continue
        offered = mean_per_bin(pool.demand.per_second, steps) * gain_of(timeline, pool)
        is_short = mean_per_bin(pool.served_per_second, steps) < CENSORED_SHARE * offered
        # At night bins hold few requests, and the edges of a bin make up much of it.
        is_short &= offered >= np.nanmedian(offered) if np.isfinite(offered).any() else False
        censored[: is_short.size * steps] |= np.repeat(is_short, steps)
    return censored
