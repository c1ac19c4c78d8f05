"""Counts: requests over the limit against work per replica, in bins of time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.threshold.levels import planned_levels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from signalstudy.timeline.timeline import Event, PoolTimeline, SloCounts, Timeline

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

LEAST_BIN_SECONDS = 30.0
MOST_BIN_SECONDS = 300.0
MOST_BIN_SECONDS_OF_A_TEST = 60.0
"""Methods 8.3 fits on bins of 30 s; a pressure test's steps must hold several."""

BINS_OF_A_RECORD = 48.0
REQUESTS_PER_BIN = {"ttft": 150.0, "tbt": 1000.0, "e2e": 1000.0}
"""Work in a bin trembles by sqrt((1 + cv^2) / n), about 4.5 % at a thousand requests. Where bins of
light traffic are too short, high work is mostly chance, its breaches are those of the lower work
behind it, and the knee comes out too high: by 5 % at 90 requests a bin (the sample's chat). TTFT
answers to bursts of seconds, so its bins are shorter."""

SETTLING_SECONDS = 60.0
"""How long after a change of replicas work per replica does not say what a replica bears."""

OVERLOAD_SHARE = 0.5
FALL_SHARE = 0.8
"""After a bin with more than half over the limit, one with less than 0.8 of its work drains the
queue that is left: its breaches belong to the work before."""

WORK_SIGNALS = {
    "prefill": ("prefill_uncached_tokens_per_second", "prefill_tokens_per_second"),
    "decode": ("decode_tokens_per_second",),
    "unified": ("decode_tokens_per_second",),
}
"""Canonical names of a pool's own work, the better one first (contract section 1)."""


@dataclass(frozen=True, slots=True)
class WorkCounts:
    """One objective against one pool's work, all arrays (rows,), one row a bin of time.

    `work_per_replica`: per second and ready replica (an intensive signal: its own value).
    `over` holds requests over the limit counted so that breaches are rather over- than
    underestimated, `over_least` the other edge of the bracket; equal where counts are exact.
    """

    time_seconds: Floats
    bin_seconds: float
    work_per_replica: Floats
    observed: Floats
    over: Floats
    over_least: Floats

    def where(self, rows: Booleans) -> WorkCounts:
        """Keep the rows asked for."""
        return replace(
            self,
            time_seconds=self.time_seconds[rows],
            work_per_replica=self.work_per_replica[rows],
            observed=self.observed[rows],
            over=self.over[rows],
            over_least=self.over_least[rows],
        )


@dataclass(frozen=True, slots=True)
class Work:
    """What a pool does per second: canonical name, values (n,) per replica, and a sentence."""

    signal: str
    per_replica: Floats
    note: str = ""


def stacked(sources: Sequence[WorkCounts]) -> WorkCounts:
    """Put the rows of several sources one after the other; `bin_seconds` is the longest."""
    names = ("time_seconds", "work_per_replica", "observed", "over", "over_least")
    rows = {name: np.concatenate([getattr(one, name) for one in sources]) for name in names}
    return WorkCounts(bin_seconds=max(one.bin_seconds for one in sources), **rows)


def bin_seconds(timeline: Timeline, latency: str) -> float:
    """Choose the bins of time for a latency's capacity, by the requests they hold when busy."""
    rates = [
        pool.signals["requests_per_second"].values
        for pool in timeline.pools.values()
        if "requests_per_second" in pool.signals
    ]
    rates += [
        counts.observed / timeline.step_seconds
        for counts in timeline.slo_counts
        if counts.objective.signal != "tbt"  # may count tokens
    ]
    known = [rate[np.isfinite(rate)] for rate in rates]
    busy = max((float(np.quantile(rate, 0.75)) for rate in known if rate.size), default=0.0)
    is_test = timeline.role == "pressure-test"
    most = MOST_BIN_SECONDS_OF_A_TEST if is_test else MOST_BIN_SECONDS
    span = timeline.time_seconds.size * timeline.step_seconds
    wanted = REQUESTS_PER_BIN[latency] / busy if busy > 0 else LEAST_BIN_SECONDS
    return max(min(wanted, most, span / BINS_OF_A_RECORD), LEAST_BIN_SECONDS)


def steps_per_bin(step_seconds: float, bin_seconds: float) -> int:
    """Say how many steps make a bin of at least `bin_seconds`."""
    return max(1, math.ceil(bin_seconds / step_seconds - 1e-9))


def mean_per_bin(values: Floats, steps: int) -> Floats:
    """Average whole bins of `steps` values (n // steps,); NaN where any value is not known."""
    whole = values.size // steps
    cut = np.asarray(values[: whole * steps], dtype=float).reshape(whole, steps)
    return np.asarray(cut.mean(axis=1))


def work_name(pool: PoolTimeline) -> str:
    """Name the pool's own work: what it is measured by, uncached prompt tokens where known."""
    if pool.demand is not None and pool.demand.unit == "requests":
        return "requests_per_second"
    names = WORK_SIGNALS.get(pool.pool, WORK_SIGNALS["unified"])
    return next((name for name in names if name in pool.signals), names[0])


def work_of(pool: PoolTimeline, signal: str | None = None) -> Work | str:
    """Give work per ready replica of a pool, or the sentence why there is none.

    Without `signal` it is the pool's served work; with one that signal, divided by ready replicas
    where it is a total and as it is where it is intensive.
    """
    name = signal or work_name(pool)
    series = pool.signals.get(name)
    if series is not None and series.kind == "intensive":
        return Work(name, series.values)
    values = series.values if series is not None else None
    if name == work_name(pool) and pool.served_per_second is not None:
        values = pool.served_per_second
    if values is None:
        return f"The {pool.pool} pool has no {name}, so work per replica is not known."
    replicas = np.where(pool.ready_replicas > 0, pool.ready_replicas, np.nan)
    if not np.isfinite(replicas).any():
        return (
            f"The number of ready {pool.pool} replicas is not known; add ready_replicas or a "
            "label that tells replicas apart."
        )
    return Work(name, np.asarray(values / replicas))


def gather_counts(timeline: Timeline, pool: PoolTimeline, work: Work, slo: SloCounts) -> WorkCounts:
    """Put the counts of one objective beside work per replica, in bins of time (`bin_seconds`).

    Left out: bins with anything unknown, outside the usable span, without requests, and around
    changes of replicas, resets and gaps (methods 7.1, 8.3 step 1), and while a queue drains. In a
    pressure test work is that of the plan (`planned_levels`).
    """
    wanted = bin_seconds(timeline, slo.objective.signal)
    steps = steps_per_bin(timeline.step_seconds, wanted)
    seconds = steps * timeline.step_seconds
    whole = timeline.time_seconds.size // steps
    ends = timeline.time_seconds[: whole * steps].reshape(whole, steps)[:, -1]
    counts = WorkCounts(
        time_seconds=ends,
        bin_seconds=seconds,
        work_per_replica=mean_per_bin(work.per_replica, steps),
        observed=mean_per_bin(slo.observed, steps) * steps,
        over=mean_per_bin(slo.over_high, steps) * steps,
        over_least=mean_per_bin(slo.over_low, steps) * steps,
    )
    draining = draining_bins(counts)
    if timeline.role == "pressure-test":
        work_of_plan = np.where(draining, np.nan, counts.work_per_replica)
        counts = replace(counts, work_per_replica=planned_levels(work_of_plan, seconds))
    return counts.where(
        settled_bins(timeline, pool, steps)
        & ~draining
        & (counts.observed > 0)
        & np.isfinite(counts.over + counts.over_least)
        & np.isfinite(counts.work_per_replica)
        & (counts.work_per_replica >= 0)
    )


def draining_bins(counts: WorkCounts) -> Booleans:
    """Say which bins show the end of an overload: breaches of waiting requests at falling work.

    A request over the limit spent its time in earlier bins. While the queue lasts work stays at
    saturation and breaches stand where they belong; in the bin where it ends they would be booked
    at whatever work is left. Judged by the bin before alone, so that a bin's own breaches do not
    decide whether it counts.
    """
    share = np.divide(
        counts.over, counts.observed, out=np.zeros(counts.over.size), where=counts.observed > 0
    )
    work = counts.work_per_replica
    draining = np.zeros(work.size, dtype=bool)
    high = 0.0
    for row in range(1, work.size):
        if share[row - 1] > OVERLOAD_SHARE:
            high = max(high, work[row - 1])
            draining[row] = work[row] < FALL_SHARE * high
        else:
            high = 0.0
    return draining


def settled_bins(timeline: Timeline, pool: PoolTimeline, steps: int) -> Booleans:
    """Say which bins of `steps` steps are usable and away from any change of the pool (bins,)."""
    whole = timeline.time_seconds.size // steps
    shape = (whole, steps)
    ends = timeline.time_seconds[: whole * steps].reshape(shape)[:, -1]
    starts = ends - steps * timeline.step_seconds
    kept = np.asarray(timeline.usable[: whole * steps].reshape(shape).all(axis=1))
    for event in timeline.events:
        if event.pool in ("", pool.pool, "gateway", "service"):
            kept &= ~_is_touched(starts, ends, event)
    replicas = pool.ready_replicas
    jumps = np.flatnonzero(np.abs(np.diff(replicas)) > 0) + 1
    for at_seconds in timeline.time_seconds[jumps]:
        before = ends <= at_seconds - timeline.step_seconds
        kept &= before | _is_past(starts, at_seconds)
    return kept


def _is_touched(starts: Floats, ends: Floats, event: Event) -> Booleans:
    """Say which bins overlap an event and what follows it."""
    if event.kind in ("scale_out", "scale_in"):
        return ~((ends <= event.at_seconds) | _is_past(starts, event.at_seconds))
    return np.asarray((starts < event.at_seconds) & (event.at_seconds <= ends))


def _is_past(starts: Floats, at_seconds: float) -> Booleans:
    return np.asarray(starts >= at_seconds + SETTLING_SECONDS)
