"""A simulated run as the Timeline that its recording gives: counters, gauges, SLO counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.thresholds.fleet import TOKENS_OF_A_CACHE, in_flight, tokens_done
from signalstudy.timeline.timeline import Demand, PoolTimeline, SignalSeries, SloCounts, Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.thresholds.fleet import Fleet, Served
    from signalstudy.vocabulary.objectives import Objective

    Floats = NDArray[np.float64]

BUCKETS_SECONDS = {
    "ttft": (0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    "tbt": (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2),
}
"""vLLM's edges around the usual limits."""


def recorded(
    fleet: Fleet, served: Served, objectives: Sequence[Objective], *, seconds: float,
    step_seconds: float, by_buckets: bool = False,
) -> Timeline:  # fmt: skip
    """Record a run of `seconds` at steps of `step_seconds`, latencies one by one or in buckets."""
    edges = np.arange(0.0, seconds + step_seconds, step_seconds)
    grid, arrivals = edges[1:], served.arrivals
    pools = {
        "prefill": _pool(
            ("prefill", "prefill_uncached_tokens_per_second"), fleet.prefill_replicas,
            _booked(edges, served.prefill_ended, arrivals.prompt_tokens),
            _booked(edges, arrivals.at_seconds, arrivals.prompt_tokens),
            {"waiting_requests": in_flight(grid, arrivals.at_seconds, served.prefill_began)},
        ),
        "decode": _pool(
            ("decode", "decode_tokens_per_second"), fleet.decode_replicas,
            tokens_done(edges, served.first_token, served.ended, arrivals.output_tokens)
            / step_seconds,
            _booked(edges, arrivals.at_seconds, arrivals.output_tokens),
            _decode_gauges(fleet, served, grid),
        ),
    }  # fmt: skip
    # A request log tells when a mean TBT was made, a histogram only when the request had ended.
    midway = 0.5 * (served.first_token + served.ended)
    ends = {"ttft": served.first_token, "tbt": served.ended if by_buckets else midway}
    latencies = {"ttft": served.ttft_seconds, "tbt": served.tbt_seconds}
    unknown = np.full(grid.size, np.nan)
    offered = [pool.demand.per_second for pool in pools.values() if pool.demand is not None]
    mix = np.divide(*offered, out=unknown.copy(), where=offered[1] > 0)
    return Timeline(
        "simulated", "pressure-test", grid, step_seconds, pools,
        tuple(
            _counts(o, edges, ends[o.signal], latencies[o.signal], by_buckets=by_buckets)
            for o in objectives
        ),
        np.ones(grid.size, dtype=bool), mix, unknown, np.empty(0),
    )  # fmt: skip


def _pool(
    names: tuple[str, str], replicas: int, done: Floats, offered: Floats, gauges: dict[str, Floats]
) -> PoolTimeline:
    name, work = names
    signals = {work: SignalSeries(work, "total", done)}
    for gauge, values in gauges.items():
        kind = "intensive" if gauge.endswith("_ratio") else "total"
        signals[gauge] = SignalSeries(gauge, kind, values)
    ready = np.full(done.size, float(replicas))
    return PoolTimeline(
        name, ready, np.zeros(done.size), signals, Demand(offered, "requests"), done
    )


def _decode_gauges(fleet: Fleet, served: Served, grid: Floats) -> dict[str, Floats]:
    running = in_flight(grid, served.decode_began, served.ended)
    held = served.arrivals.prompt_tokens + 0.5 * served.arrivals.output_tokens
    cache = TOKENS_OF_A_CACHE * fleet.decode_replicas
    return {
        "waiting_requests": in_flight(grid, served.prefill_ended, served.decode_began),
        "running_requests": running,
        "kv_cache_usage_ratio": np.minimum(running * held.mean() / cache, 1.0),
    }


def _booked(edges: Floats, at: Floats, amounts: Floats) -> Floats:
    """Sum amounts into the steps of their times, per second."""
    sums: Floats = np.histogram(at, bins=edges, weights=amounts)[0]
    return sums / (edges[1] - edges[0])


def _counts(
    objective: Objective, edges: Floats, at: Floats, seconds: Floats, *, by_buckets: bool
) -> SloCounts:
    limit = objective.at_most_seconds
    below = above = limit
    if by_buckets:
        known = np.array(BUCKETS_SECONDS[objective.signal])
        below = float(known[known <= limit].max())
        above = float(known[known >= limit].min())

    def count(over: NDArray[np.bool_]) -> Floats:
        return np.histogram(at[over], bins=edges)[0].astype(float)

    return SloCounts(
        objective, "gateway", count(np.ones(at.size, dtype=bool)), count(seconds > above),
        count(seconds > below), "simulated", below, above,
    )  # fmt: skip
