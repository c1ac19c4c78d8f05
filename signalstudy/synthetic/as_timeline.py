"""A synthetic service as the Timeline that a perfect recording of it would give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.synthetic.service import TOTAL_SIGNALS, is_rate
from signalstudy.timeline.timeline import (
    Demand,
    Event,
    PoolTimeline,
    SignalSeries,
    SloCounts,
    Timeline,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.synthetic.service import SyntheticPool, SyntheticService
    from signalstudy.vocabulary.objectives import Objective

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


def timeline_of(service: SyntheticService) -> Timeline:
    """Give the service's Timeline without files: demand from the requests, exact SLO counts."""
    spec, requests = service.spec, service.requests
    steps = service.time_seconds.size
    demand = service.demand_per_second
    has_demand = demand["decode"] > 0.0
    return Timeline(
        service=spec.name,
        role="production",
        time_seconds=service.time_seconds,
        step_seconds=spec.step_seconds,
        pools={pool: _pool(service, recorded) for pool, recorded in service.pools.items()},
        slo_counts=(
            _counts(
                spec.ttft_objective, "prefill", requests.ttft_seconds, requests.prefill_step, steps
            ),
            _counts(
                spec.tbt_objective, "decode", requests.tbt_seconds, requests.decode_step, steps
            ),
        ),
        usable=np.ones(steps, dtype=np.bool_),
        token_mix=np.divide(
            demand["prefill"], demand["decode"], out=np.full(steps, np.nan), where=has_demand
        ),
        prefix_cache_hit_ratio=service.prefix_cache_hit_ratio,
        startup_seconds=_startups(service),
        events=tuple(
            event for recorded in service.pools.values() for event in _events(service, recorded)
        ),
    )


def _pool(service: SyntheticService, recorded: SyntheticPool) -> PoolTimeline:
    by_replica = {
        name: np.nansum(values, axis=1) if name in TOTAL_SIGNALS else np.nanmean(values, axis=1)
        for name, values in recorded.replica_signals.items()
    }
    signals = by_replica | recorded.pool_signals
    step_seconds = service.spec.step_seconds
    return PoolTimeline(
        pool=recorded.pool,
        ready_replicas=recorded.replicas,
        starting_replicas=recorded.starting,
        signals={name: _series(name, values, step_seconds) for name, values in signals.items()},
        demand=Demand(service.demand_per_second[recorded.pool], "requests"),
        served_per_second=recorded.work_per_second,
        replicas_source="ready_replicas",
    )


def _series(name: str, values: Floats, step_seconds: float) -> SignalSeries:
    is_mean = is_rate(name) or name.endswith("_seconds")
    return SignalSeries(
        name=name,
        kind="total" if name in TOTAL_SIGNALS else "intensive",
        values=values,
        averaged_seconds=step_seconds if is_mean else 0.0,
        scrape_seconds=step_seconds,
        source="synthetic",
    )


def _counts(
    objective: Objective, pool: str, seconds: Floats, step: Integers, steps: int
) -> SloCounts:
    is_inside = (step >= 0) & (step < steps)
    inside = step[is_inside]
    is_over = seconds[is_inside] > objective.at_most_seconds
    over = np.bincount(inside, weights=is_over, minlength=steps).astype(np.float64)
    return SloCounts(
        objective=objective,
        pool=pool,
        observed=np.bincount(inside, minlength=steps).astype(np.float64),
        over_low=over,
        over_high=over,
        source="requests",
        edge_low_seconds=objective.at_most_seconds,
        edge_high_seconds=objective.at_most_seconds,
    )


def _events(service: SyntheticService, recorded: SyntheticPool) -> list[Event]:
    change = np.diff(recorded.replicas)
    return [
        Event(
            at_seconds=float(service.time_seconds[place + 1]),
            pool=recorded.pool,
            kind="scale_out" if change[place] > 0 else "scale_in",
            note=f"{recorded.replicas[place]:g} to {recorded.replicas[place + 1]:g} replicas",
        )
        for place in np.flatnonzero(change).tolist()
    ]


def _startups(service: SyntheticService) -> Floats:
    """Give one start-up time for each replica that an autoscaler added."""
    if service.spec.replica_plan != "autoscaled":
        return np.empty(0)
    added = sum(
        float(np.clip(np.diff(pool.replicas), 0.0, None).sum()) for pool in service.pools.values()
    )
    return np.full(int(added), service.spec.startup_seconds)
