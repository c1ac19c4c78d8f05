"""Hardware: a pool that mixes GPU types, taken apart by the replicas of each type."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.timeline.gathered import bucket_counts_of
from signalstudy.timeline.replicas import counted_replicas
from signalstudy.timeline.served import served_of
from signalstudy.timeline.signals import signals_of
from signalstudy.timeline.slo import slo_counts
from signalstudy.timeline.timeline import HardwarePart, PoolTimeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalstudy.telemetry.telemetry import Telemetry
    from signalstudy.timeline.gathered import Gathered
    from signalstudy.vocabulary.objectives import Objective


def hardware_parts(
    telemetry: Telemetry,
    gathered: Gathered,
    role: str,
    pools: dict[str, PoolTimeline],
    objectives: Sequence[Objective],
) -> tuple[HardwarePart, ...]:
    """Give a part for each hardware type of each pool that has several.

    A replica is of the type that any of its series names (its GPUs' exporter, or the engine's own
    label). Work, replicas and latency histograms are those of its replicas alone; a request log
    names no replica, so that only histograms tell who was late.
    """
    parts = []
    for pool in pools.values():
        kinds = _kinds(gathered, pool.pool)
        if len(set(kinds.values())) < 2:
            continue
        for hardware in sorted(set(kinds.values())):
            own = frozenset(name for name, kind in kinds.items() if kind == hardware)
            alone = _alone(telemetry, gathered, role, pool.pool, own)
            parts.append(
                HardwarePart(
                    hardware=hardware,
                    pool=_pool_of(alone, pool, hardware),
                    slo_counts=slo_counts(alone, objectives, [pool.pool]),
                )
            )
    return tuple(parts)


def _kinds(gathered: Gathered, pool: str) -> dict[str, str]:
    """Give the hardware of each replica of a pool, where any of its series says."""
    return {
        row.replica: row.hardware
        for (owner, _), found in gathered.series.items()
        for row, _ in found
        if owner == pool and row.replica is not None and row.hardware
    }


def _alone(
    telemetry: Telemetry, gathered: Gathered, role: str, pool: str, replicas: frozenset[str]
) -> Gathered:
    """Keep what these replicas of a pool exported."""
    series = {
        (owner, quantity): kept
        for (owner, quantity), found in gathered.series.items()
        if owner == pool and (kept := [pair for pair in found if pair[0].replica in replicas])
    }
    known = telemetry.series.get((gathered.service, role), ())
    keys = frozenset(row.key for row in known if row.pool == pool and row.replica in replicas)
    return replace(
        gathered,
        series=series,
        buckets=bucket_counts_of(telemetry, gathered.service, role, gathered.grid, keys),
        requests={column: values[:0] for column, values in gathered.requests.items()},
    )


def _pool_of(alone: Gathered, whole: PoolTimeline, hardware: str) -> PoolTimeline:
    """Make a pool of them, with the demand of the whole pool."""
    signals = signals_of(alone, whole.pool)
    ready, source = counted_replicas(alone, whole.pool)
    return PoolTimeline(
        pool=whole.pool,
        ready_replicas=np.where(ready > 0, ready, np.nan),
        starting_replicas=np.full(ready.size, np.nan),
        signals=signals,
        demand=whole.demand,
        served_per_second=served_of(alone, whole.pool, {whole.pool: signals}, whole.demand),
        replicas_source=source,
        hardware=(hardware,),
    )
