"""Series whose right answers are known, and the views that measures see of them."""

import numpy as np
from scipy.signal import lfilter

from signalstudy.evidence.evidence import SignalView
from signalstudy.evidence.prepared import Prepared
from signalstudy.timeline.timeline import Demand, PoolTimeline, SignalSeries, Timeline

DAY_SECONDS = 86400.0


def autoregression(rng, steps, decorrelation_steps, deviation):
    """Draw a stationary AR(1) series of the given standard deviation."""
    keep = np.exp(-1.0 / decorrelation_steps)
    warm_up = int(8 * decorrelation_steps)
    noise = rng.normal(0.0, deviation * np.sqrt(1.0 - keep**2), steps + warm_up)
    return lfilter([1.0], [1.0, -keep], noise)[warm_up:]


def day_of_demand(seed=0, steps=8640, step_seconds=10.0):
    """Draw a daily rhythm with bursts of minutes on top, always positive."""
    rng = np.random.default_rng(seed)
    rhythm = 1000.0 * (
        1.0 + 0.6 * np.sin(2 * np.pi * np.arange(steps) * step_seconds / DAY_SECONDS)
    )
    return np.maximum(rhythm + autoregression(rng, steps, 120.0 / step_seconds, 120.0), 50.0)


def view(signal, demand, *, step_seconds=10.0, kind="total", replicas=None, hit_ratio=None, **more):
    """Give the view of one signal of a decode pool."""
    unknown = np.full(demand.shape, np.nan)
    per_replica = kind == "intensive" and replicas is not None
    return SignalView(
        pool="decode",
        name="planted",
        kind=kind,
        time_seconds=np.arange(demand.size) * step_seconds,
        step_seconds=step_seconds,
        signal=np.asarray(signal, dtype=float),
        demand=demand,
        reference=demand / replicas if per_replica else demand,
        replicas=unknown if replicas is None else np.asarray(replicas, dtype=float),
        hit_ratio=unknown if hit_ratio is None else hit_ratio,
        **more,
    )


def prepared(signal, demand, **more):
    """Give what measures take, of one signal and one demand."""
    return Prepared(view(signal, demand, **more))


def timeline(signals, demand, *, step_seconds=10.0, replicas=None, usable=None, same_as=()):
    """Make a service of one decode pool; `signals` maps names to arrays or to whole series."""
    n = next(iter(signals.values())).size if demand is None else demand.size
    unknown = np.full(n, np.nan)
    pool = PoolTimeline(
        pool="decode",
        ready_replicas=unknown if replicas is None else replicas,
        starting_replicas=unknown,
        signals={
            name: values
            if isinstance(values, SignalSeries)
            else SignalSeries(name, "total", values, averaged_seconds=step_seconds)
            for name, values in signals.items()
        },
        demand=None if demand is None else Demand(demand, "requests", same_as=frozenset(same_as)),
        served_per_second=None,
    )
    return Timeline(
        service="chat",
        role="production",
        time_seconds=np.arange(n) * step_seconds,
        step_seconds=step_seconds,
        pools={"decode": pool},
        slo_counts=(),
        usable=np.ones(n, dtype=bool) if usable is None else usable,
        token_mix=unknown,
        prefix_cache_hit_ratio=unknown,
        startup_seconds=np.empty(0),
    )
