"""align: Telemetry of one service onto one grid, as a Timeline."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.timeline.changes import known_changes
from signalstudy.timeline.demand import SERVED_SIGNALS, UNCACHED, demand_of
from signalstudy.timeline.gathered import Gathered, gather_samples
from signalstudy.timeline.grid import rolling_sum
from signalstudy.timeline.hardware import hardware_parts
from signalstudy.timeline.latency import WINDOW_SECONDS, window_quantiles
from signalstudy.timeline.points import OperatingPoints
from signalstudy.timeline.quality import check_quality
from signalstudy.timeline.replicas import (
    counted_replicas,
    replica_events,
    replicas_of,
    startup_durations,
)
from signalstudy.timeline.served import served_of
from signalstudy.timeline.signals import LATENCIES, signals_of
from signalstudy.timeline.slo import attained, observed_at, slo_counts
from signalstudy.timeline.timeline import (
    Event,
    PoolTimeline,
    QualityCheck,
    SignalSeries,
    Timeline,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from signalstudy.telemetry.telemetry import Telemetry
    from signalstudy.timeline.timeline import Demand, Role
    from signalstudy.vocabulary.objectives import Objective

    Floats = NDArray[np.float64]

MIX_SECONDS = 1800.0
LEAST_EXPORTING = 0.8
PROMPTS_AT_THE_GATEWAY = frozenset(
    {"prefill_tokens_per_second", "prefill_uncached_tokens_per_second"}
)


def align(
    telemetry: Telemetry,
    service: str,
    *,
    role: Role = "production",
    objectives: Sequence[Objective] = (),
    step_seconds: float | None = None,
    excluded: Sequence[tuple[float, float]] = (),
) -> Timeline | None:
    """Bring everything known of a service in one role onto one grid; None where there is nothing.

    `excluded` are (start, end) in seconds since 1970, left out of evidence but kept in the arrays.
    """
    gathered = gather_samples(telemetry, service, role, step_seconds)
    if gathered is None:
        return None
    by_pool = {pool: signals_of(gathered, pool) for pool in gathered.pools}
    work_pools = [p for p in by_pool if p != "gateway"] or ["unified"]
    replicas = {pool: replicas_of(gathered, pool) for pool in work_pools}
    partly = [
        check
        for pool in work_pools
        if (check := _mask_partly_seen(gathered, pool, by_pool.get(pool, {}), replicas[pool][0]))
    ]
    _add_latencies_of_requests(gathered, by_pool)
    hit_ratio = _hit_ratio(gathered, by_pool)
    demands = {pool: demand_of(gathered, pool, by_pool, hit_ratio) for pool in work_pools}
    pools = {
        pool: _pool(gathered, pool, by_pool, demands[pool], replicas[pool]) for pool in work_pools
    }
    if by_pool.get("gateway"):
        pools["gateway"] = _gateway(gathered, by_pool["gateway"], pools)
    events = [
        event
        for pool in pools.values()
        if pool.pool != "gateway"
        for event in replica_events(gathered.grid.time_seconds, pool.ready_replicas, pool.pool)
    ]
    events += [event for pool in pools for event in known_changes(gathered, pool)]
    events += _resets(telemetry, service, role)
    counts = slo_counts(gathered, objectives, work_pools)
    startup = [
        startup_durations(gathered.grid.time_seconds, p.ready_replicas, p.starting_replicas)
        for p in pools.values()
        if p.pool != "gateway"
    ]
    return Timeline(
        service=service,
        role=role,
        time_seconds=gathered.grid.time_seconds,
        step_seconds=gathered.grid.step_seconds,
        pools=pools,
        slo_counts=counts,
        usable=_usable(gathered, excluded),
        token_mix=_token_mix(gathered, pools),
        prefix_cache_hit_ratio=hit_ratio,
        startup_seconds=np.concatenate([*startup, np.array([])]),
        events=tuple(events),
        quality=(*partly, *check_quality(telemetry, gathered, pools, counts, objectives)),
        hardware_parts=hardware_parts(telemetry, gathered, role, pools, objectives),
        attained=attained(gathered, counts),
    )


def _mask_partly_seen(
    gathered: Gathered, pool: str, signals: dict[str, SignalSeries], ready: Floats
) -> QualityCheck | None:
    """Drop totals at times at which too few of the ready replicas exported anything.

    A sum over one replica of eight is not the pool's total. Means over replicas stay.
    """
    exporting, source = counted_replicas(gathered, pool)
    with np.errstate(invalid="ignore"):
        too_few = exporting < LEAST_EXPORTING * ready
    share = float(too_few[np.isfinite(ready)].mean()) if np.isfinite(ready).any() else 0.0
    if not source or not too_few.any():
        return None
    for name, signal in signals.items():
        if signal.kind == "total":
            values = np.where(too_few, np.nan, signal.values)
            signals[name] = replace(signal, values=values)
    often = "under 1%" if share < 0.005 else f"{share:.0%}"
    return QualityCheck(
        f"replicas of {pool} that export",
        "warning" if share > 0.05 else "note",
        f"at {often} of the steps fewer than {LEAST_EXPORTING:.0%} of the ready replicas have "
        "series: totals are not known there and are left out",
    )


def read_points(telemetry: Telemetry, service: str) -> OperatingPoints | None:
    """Give the operating points of a service, None where there are none."""
    if service not in telemetry.point_services:
        return None
    frame = telemetry.points(service)
    columns = {
        name: frame[name].cast(float).fill_null(float("nan")).to_numpy() for name in frame.columns
    }
    return OperatingPoints(service=service, **columns)


def _pool(
    gathered: Gathered,
    pool: str,
    by_pool: dict[str, dict[str, SignalSeries]],
    demand: Demand | None,
    replicas: tuple[Floats, Floats, str],
) -> PoolTimeline:
    ready, starting, source = replicas
    hardware = {
        row.hardware
        for (owner, _), found in gathered.series.items()
        if owner == pool
        for row, _ in found
        if row.hardware
    }
    return PoolTimeline(
        pool=pool,
        ready_replicas=ready,
        starting_replicas=starting,
        signals=by_pool.get(pool, {}),
        demand=demand,
        served_per_second=served_of(gathered, pool, by_pool, demand),
        replicas_source=source,
        hardware=tuple(sorted(hardware)),
    )


def _gateway(
    gathered: Gathered, signals: dict[str, SignalSeries], pools: dict[str, PoolTimeline]
) -> PoolTimeline:
    """Judge what is measured at the gateway against the pool that it speaks of.

    Prompt tokens that the gateway counts are demand itself where demand was made of them.
    """
    judge = next((pools[p] for p in ("decode", "unified", "prefill") if p in pools), None)
    demand = judge.demand if judge is not None else None
    signals = {
        name: replace(signal, judged_by=_judge_of(name, pools)) for name, signal in signals.items()
    }
    if demand is not None and any(
        pool.demand is not None and pool.demand.source == "gateway_tokens"
        for pool in pools.values()
    ):
        demand = replace(demand, same_as=demand.same_as | PROMPTS_AT_THE_GATEWAY)
    return PoolTimeline(
        pool="gateway",
        ready_replicas=(
            judge.ready_replicas if judge is not None else np.full(gathered.grid.size, np.nan)
        ),
        starting_replicas=np.full(gathered.grid.size, np.nan),
        signals=signals,
        demand=demand,
        served_per_second=None,
        replicas_source=f"replicas of {judge.pool}" if judge is not None else "",
    )


def _judge_of(signal: str, pools: dict[str, PoolTimeline]) -> str:
    """Say which pool a gateway signal speaks of: prompts, first tokens and waits of prefill."""
    of_prefill = signal.startswith(("prefill_", "ttft_", "queue_wait_", "prefix_cache_"))
    order = ("prefill", "unified", "decode") if of_prefill else ("decode", "unified", "prefill")
    return next((name for name in order if name in pools), "")


def _add_latencies_of_requests(
    gathered: Gathered, by_pool: dict[str, dict[str, SignalSeries]]
) -> None:
    """Where no metric tells a latency, make its signals from the request log, at the gateway."""
    log = gathered.requests
    grid = gathered.grid
    for family in LATENCIES:
        told = any(name.startswith(f"{family}_") for found in by_pool.values() for name in found)
        values = log[f"{family}_seconds"]
        at = observed_at(log, "ttft" if family == "queue_wait" else family)
        known = np.isfinite(values) & np.isfinite(at)
        if told or not known.any():
            continue
        span = grid.size * grid.step_seconds
        wanted = max(min(WINDOW_SECONDS, span / 20.0), grid.step_seconds)
        steps = max(round(wanted / grid.step_seconds), 1)
        found = window_quantiles(grid.step_of(at[known]), values[known], grid.size, steps)
        for name, series in found.items():
            if np.isfinite(series).any():
                by_pool.setdefault("gateway", {})[f"{family}_{name}_seconds"] = SignalSeries(
                    name=f"{family}_{name}_seconds",
                    kind="intensive",
                    values=series,
                    averaged_seconds=steps * grid.step_seconds,
                    source="request log",
                    unit="seconds",
                )


def _resets(telemetry: Telemetry, service: str, role: str) -> list[Event]:
    """Say which pools had counters that started again."""
    counted: dict[str, int] = {}
    for row in telemetry.series.get((service, role), ()):
        if row.form == "count":
            counted[row.pool] = max(counted.get(row.pool, 0), telemetry.facts[row.key].resets)
    return [
        Event(0.0, pool, "counter_reset", f"counters of one series started again {n} times")
        for pool, n in counted.items()
        if n
    ]


def _usable(gathered: Gathered, excluded: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    at, step = gathered.grid.time_seconds, gathered.grid.step_seconds
    usable = np.ones(at.size, dtype=np.bool_)
    for start, end in excluded:
        usable &= ~((at > start) & (at - step < end))
    return usable


def _token_mix(gathered: Gathered, pools: dict[str, PoolTimeline]) -> Floats:
    """Uncached prompt tokens offered per output token offered, over a trailing half hour (n,)."""
    unknown = np.full(gathered.grid.size, np.nan)
    prefill, decode = pools.get("prefill"), pools.get("decode")
    if prefill is None or decode is None or prefill.demand is None or decode.demand is None:
        return unknown
    sources = {prefill.demand.source, decode.demand.source}
    if sources & {"served_other_pool", "served_own"}:
        prompts, outputs = prefill.served_per_second, decode.served_per_second
    else:
        prompts, outputs = prefill.demand.per_second, decode.demand.per_second
    if prompts is None or outputs is None:
        return unknown
    both = np.isfinite(prompts) & np.isfinite(outputs)
    steps = max(round(MIX_SECONDS / gathered.grid.step_seconds), 1)
    steps = min(steps, max(gathered.grid.size // 8, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        mix = rolling_sum(np.where(both, prompts, 0.0), steps) / rolling_sum(
            np.where(both, outputs, 0.0), steps
        )
    return np.where(both & np.isfinite(mix), mix, np.nan)


def _hit_ratio(gathered: Gathered, by_pool: dict[str, dict[str, SignalSeries]]) -> Floats:
    """Give the share of prompt tokens found in the prefix cache (n,), NaN where nobody tells."""
    for pool in ("prefill", "unified", "decode", "gateway"):
        found = by_pool.get(pool, {}).get("prefix_cache_hit_ratio")
        if found is not None and np.isfinite(found.values).any():
            return found.values
    for pool in ("prefill", "unified"):
        every = by_pool.get(pool, {}).get("prefill_tokens_per_second")
        uncached = by_pool.get(pool, {}).get(SERVED_SIGNALS[UNCACHED])
        if every is not None and uncached is not None:
            steps = max(round(WINDOW_SECONDS / gathered.grid.step_seconds), 1)
            with np.errstate(invalid="ignore", divide="ignore"):
                share = rolling_sum(uncached.values, steps) / rolling_sum(every.values, steps)
            return np.clip(1.0 - share, 0.0, 1.0)
    log = gathered.requests
    known = np.isfinite(log["cached_prompt_tokens"]) & np.isfinite(log["prompt_tokens"])
    if not known.any():
        return np.full(gathered.grid.size, np.nan)
    at = log["arrived_seconds"][known]
    cached = gathered.grid.counts(at, log["cached_prompt_tokens"][known])
    every_token = gathered.grid.counts(at, log["prompt_tokens"][known])
    steps = max(round(WINDOW_SECONDS / gathered.grid.step_seconds), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return rolling_sum(cached, steps) / rolling_sum(every_token, steps)
