"""Relations: what a signal shows at a given work per replica, as the recording has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.threshold.counts import work_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.timeline.timeline import SignalSeries, Timeline

    Floats = NDArray[np.float64]

BINS = 40
FEWEST_STEPS = 100
EMPTY_WITHOUT_WORK = (
    "gpu_utilization_ratio",
    "sm_activity_ratio",
    "dram_activity_ratio",
    "tensor_activity_ratio",
    "running_requests",
    "waiting_requests",
    "inflight_tokens",
    "kv_cache_usage_ratio",
)
"""Signals that are 0 where there is no work, and so are all `_per_second`: that much is known of
less work per replica than was ever seen."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A signal per replica against work per replica, as medians in bins (bins,).

    Between bins it is a straight line, beyond them it stays at the last: nothing was seen there,
    but that some signals are 0 without work. `least_seen`, `most_seen`: work per replica in the
    recording.
    """

    work_per_replica: Floats
    value: Floats
    least_seen: float
    most_seen: float

    def at(self, work_per_replica: Floats) -> Floats:
        """Give the signal at any work per replica; the shape is kept."""
        return np.asarray(np.interp(work_per_replica, self.work_per_replica, self.value))


def find_series(timeline: Timeline, pool: str, signal: str) -> SignalSeries | None:
    """Find a signal where a policy's reader would: on the pool, else at the gateway."""
    for place in (pool, "gateway"):
        found = timeline.pools.get(place)
        if found is not None and signal in found.signals:
            return found.signals[signal]
    return None


def fit_relation(timeline: Timeline, pool: str, signal: str, place: str) -> Relation | None:
    """Fit a signal of `place` to the work per replica of `pool`.

    Totals are divided by ready replicas. None where either is not in the recording.
    """
    found = timeline.pools.get(place)
    series = None if found is None else found.signals.get(signal)
    work = work_of(timeline.pools[pool])
    if series is None or isinstance(work, str):
        return None
    replicas = timeline.pools[pool].ready_replicas
    values = series.values
    if series.kind == "total":
        values = np.divide(
            values, replicas, out=np.full(values.size, np.nan), where=np.nan_to_num(replicas) > 0
        )
    known = np.isfinite(values) & np.isfinite(work.per_replica) & timeline.usable
    if int(known.sum()) < FEWEST_STEPS:
        return None
    order = np.argsort(work.per_replica[known], kind="stable")
    at, shown = work.per_replica[known][order], values[known][order]
    parts = zip(np.array_split(at, BINS), np.array_split(shown, BINS), strict=True)
    medians = np.array([(np.median(x), np.median(y)) for x, y in parts])
    apart = np.concatenate([[True], np.diff(medians[:, 0]) > 0.0])
    where, value = medians[apart, 0], medians[apart, 1]
    is_empty = signal in EMPTY_WITHOUT_WORK or signal.endswith("_per_second")
    if is_empty and where[0] > 0.0:
        where, value = np.concatenate([[0.0], where]), np.concatenate([[0.0], value])
    return Relation(where, value, float(at[0]), float(at[-1]))


def seen_relation(timeline: Timeline, pool: str, *signals: str) -> Relation | None:
    """Fit the first of `signals` that is seen, on the pool or at the gateway."""
    for signal in signals:
        for place in (pool, "gateway"):
            relation = fit_relation(timeline, pool, signal, place)
            if relation is not None:
                return relation
    return None
