"""Which signals of a Timeline are drawn, and what each should be proportional to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.vocabulary.errors import unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from signalstudy.timeline.timeline import PoolTimeline, SignalSeries, Timeline

    Floats = NDArray[np.float64]

_SHOWN_BY_DEFAULT = 6


def chosen_signals(
    timeline: Timeline, signals: Sequence[str] | None
) -> list[tuple[str, SignalSeries]]:
    """Look up `pool.signal` names; without any, take the first six, pools taking turns."""
    known = {
        f"{pool.pool}.{name}": (pool.pool, series)
        for pool in timeline.pools.values()
        for name, series in pool.signals.items()
    }
    if signals is None:
        turns = max((len(pool.signals) for pool in timeline.pools.values()), default=0)
        mixed = [
            (pool.pool, list(pool.signals.values())[turn])
            for turn in range(turns)
            for pool in timeline.pools.values()
            if turn < len(pool.signals)
        ]
        return mixed[:_SHOWN_BY_DEFAULT]
    for name in signals:
        if name not in known:
            raise unknown_name("plot, signals", "signal", name, known)
    return [known[name] for name in signals]


def reference_of(pool: PoolTimeline, series: SignalSeries) -> Floats | None:
    """Give demand for a total, demand per ready replica for an intensive signal (n,).

    Demand itself where replicas are not known; None where demand is not.
    """
    if pool.demand is None:
        return None
    demand = pool.demand.per_second
    if not is_per_replica(pool, series):
        return demand
    ready = np.where(pool.ready_replicas > 0, pool.ready_replicas, np.nan)
    return demand / ready


def compared(pool: PoolTimeline, series: SignalSeries) -> tuple[Floats, Floats] | None:
    """Give (reference, values) to draw one against the other, each (n,), or None without demand.

    A queue or the work in flight depends on how full a replica is, not on how many there are: a
    total that is no rate is shown per ready replica, as is the demand beside it.
    """
    reference = reference_of(pool, series)
    if reference is None or not is_shared_out(pool, series):
        return None if reference is None else (reference, series.values)
    ready = np.where(pool.ready_replicas > 0, pool.ready_replicas, np.nan)
    return reference / ready, series.values / ready


def is_shared_out(pool: PoolTimeline, series: SignalSeries) -> bool:
    """Whether a total is shown per ready replica: it is an amount, not a rate."""
    is_amount = series.kind == "total" and not series.name.endswith("_per_second")
    return is_amount and bool(np.isfinite(pool.ready_replicas).any())


def is_per_replica(pool: PoolTimeline, series: SignalSeries) -> bool:
    """Whether the signal is held against demand per ready replica."""
    return series.kind == "intensive" and bool(np.isfinite(pool.ready_replicas).any())
