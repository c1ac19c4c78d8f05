"""gather_evidence: every measure of every signal of every pool of one service."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.evidence import Evidence, SignalEvidence, SignalView
from signalstudy.evidence.losses import block_losses
from signalstudy.evidence.measures import MEASURES
from signalstudy.evidence.mix import mix_changes
from signalstudy.evidence.prepared import Prepared
from signalstudy.evidence.shared import Shared
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import not_applicable, unidentified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.measures import Measure
    from signalstudy.timeline.timeline import (
        Demand,
        PoolTimeline,
        SignalSeries,
        SloCounts,
        Timeline,
    )
    from signalstudy.vocabulary.estimate import Estimate

    Floats = NDArray[np.float64]

HORIZON_SECONDS = 120.0
SMALLEST, LARGEST = 1e-60, 1e60
"""Nothing beyond was measured: what is smaller is zero, what is larger (or infinite) unknown."""
CHANGES = ("deploy", "version", "hardware")
WORKING_POOLS = ("prefill", "decode", "unified")
SAME_WITHIN = 1e-6
SAME_SHARE = 0.99
"""Equal within 1e-6 in more than 99 % of the steps: one series twice (methods, section 11)."""


def gather_evidence(
    timeline: Timeline, *, seed: int = 0, horizon_seconds: float = HORIZON_SECONDS
) -> Evidence:
    """Ask every measure of every signal of one service.

    `horizon_seconds`: how far ahead the replicas needed are predicted for `block_losses`; the time
    until new capacity serves. Measures that cannot answer say so in a sentence.
    """
    mix = mix_changes(timeline.time_seconds, timeline.token_mix, timeline.step_seconds)
    signals: list[SignalEvidence] = []
    for pool in timeline.pools.values():
        shared = Shared()
        for series in pool.signals.values():
            view = view_signal(timeline, pool, series, seed, horizon_seconds, shared=shared)
            changes = _changes(timeline, series.judged_by or pool.pool, mix)
            signals.append(gather_view(replace(view, changes=changes), series.source, shared))
    sources = {
        name: pool.demand.source for name, pool in timeline.pools.items() if pool.demand is not None
    }
    return Evidence(
        service=timeline.service,
        signals=tuple(signals),
        demand_source=sources,
        days=timeline.days,
    )


def view_signal(
    timeline: Timeline,
    pool: PoolTimeline,
    series: SignalSeries,
    seed: int = 0,
    horizon_seconds: float = HORIZON_SECONDS,
    *,
    shared: Shared | None = None,
) -> SignalView:
    """Make the arrays that measures see of one signal; excluded steps become NaN.

    Signals that are given the same `shared` see the same arrays of demand and replicas.
    """
    shared = shared or Shared()
    usable = timeline.usable
    unknown = np.full(timeline.time_seconds.shape, np.nan)
    judge = timeline.pools.get(series.judged_by, pool)
    offered = judge.demand.per_second if judge.demand is not None else unknown
    demand, replicas, hits = (
        shared.once("known", partial(_known, values, usable), values)
        for values in (offered, judge.ready_replicas, timeline.prefix_cache_hit_ratio)
    )
    signal = _known(series.values, usable)
    return SignalView(
        pool=pool.pool,
        name=series.name,
        kind=series.kind,
        time_seconds=timeline.time_seconds,
        step_seconds=timeline.step_seconds,
        signal=signal,
        demand=demand,
        reference=shared.once(
            f"reference of a signal that is {series.kind}",
            lambda: _reference(demand, replicas, series.kind),
            demand,
            replicas,
        ),
        replicas=replicas,
        hit_ratio=hits,
        # Demand is a mean over the step, its centre half a step before the time.
        centre_offset_seconds=(timeline.step_seconds - series.averaged_seconds) / 2.0,
        averaged_seconds=series.averaged_seconds,
        window_seconds=series.window_seconds,
        scrape_seconds=series.scrape_seconds,
        refresh_seconds=series.refresh_seconds,
        circular=_circularity(judge.demand, pool.demand, series.name, signal),
        seed=seed,
        excluded_steps=_excluded_steps(usable, demand),
        slo_counts=shared.once(
            f"requests that pool {pool.pool} answers for",
            lambda: _slo_counts(timeline, pool.pool),
            usable,
        ),
        scale_outs_seconds=tuple(
            event.at_seconds
            for event in timeline.events
            if event.kind == "scale_out" and event.pool == pool.pool
        ),
        horizon_seconds=horizon_seconds,
    )


def _changes(
    timeline: Timeline, pool: str, mix: tuple[tuple[float, str], ...]
) -> tuple[tuple[float, str], ...]:
    """Give what is known to have changed for a pool, in order of time: labels, replicas, mix."""
    told = [
        (event.at_seconds, event.note)
        for event in timeline.events
        if event.kind in CHANGES and event.pool == pool
    ]
    return tuple(sorted((*told, *mix)))


def gather_view(view: SignalView, source: str = "", shared: Shared | None = None) -> SignalEvidence:
    """Ask every measure of one signal; `shared` between all signals whose views hold one demand."""
    prepared = Prepared(view, shared or Shared())
    days = float(np.isfinite(view.signal).sum()) * view.step_seconds / 86400.0
    has_demand = bool(np.isfinite(view.reference).any())
    measures = {
        name: _answer(measure, prepared, has_demand=has_demand).with_days(days)
        for name, measure in MEASURES.items()
    }
    shift = prepared.shift if measures["regime_shift_ratio"].is_known else None
    return SignalEvidence(
        pool=view.pool,
        signal=view.name,
        kind=view.kind,
        measures=measures,
        block_losses=block_losses(prepared, view.horizon_seconds) if has_demand else None,
        source=source,
        changed_at_seconds=None if shift is None else shift.at_seconds,
        changed_with="" if shift is None else shift.known_as,
    )


def _answer(measure: Measure, prepared: Prepared, *, has_demand: bool) -> Estimate:
    """Ask one measure; what it cannot answer becomes a status with its sentence."""
    view = prepared.view
    if measure.needs_demand and not has_demand:
        return not_applicable(
            f"The demand on pool {view.pool!r} is not known: add gateway metrics or a request log."
        )
    if measure.compares and view.circular:
        return not_applicable(view.circular)
    try:
        answer = measure.function(prepared)
        if measure.needs_demand and answer.is_known:
            answer = replace(answer, effective_observations=prepared.effective_observations)
    except NotEnoughDataError as error:
        return unidentified(str(error))
    return answer


def _slo_counts(timeline: Timeline, pool: str) -> tuple[SloCounts, ...]:
    """Give the counts of the objectives that a pool answers for, in usable steps.

    A pool that answers for none (a gateway) sees them all.
    """
    counts = [
        replace(
            slo,
            observed=np.where(timeline.usable, slo.observed, 0.0),
            over_low=np.where(timeline.usable, slo.over_low, 0.0),
            over_high=np.where(timeline.usable, slo.over_high, 0.0),
        )
        for slo in timeline.slo_counts
    ]
    return tuple(slo for slo in counts if slo.pool == pool) or (
        tuple(counts) if pool not in WORKING_POOLS else ()
    )


def _excluded_steps(usable: NDArray[np.bool_], demand: Floats) -> int:
    """Count the steps nobody asks about: excluded ones, and those outside the span of demand.

    A request log of two days beside telemetry of two weeks is two days of evidence, not a gap.
    """
    known = np.flatnonzero(np.isfinite(demand))
    if not known.size:
        return int((~usable).sum())
    span = usable[known[0] : known[-1] + 1]
    return usable.size - int(span.sum())


def _known(values: Floats, usable: NDArray[np.bool_]) -> Floats:
    """Keep the measurements of usable steps (n,), NaN elsewhere."""
    size = np.abs(np.where(np.isfinite(values), values, np.inf))
    measured = np.where(size < SMALLEST, 0.0, values)
    return np.where(usable & (size < LARGEST), measured, np.nan)


def _reference(demand: Floats, replicas: Floats, kind: str) -> Floats:
    """Demand for a total, demand per ready replica for an intensive signal (n,).

    Demand itself where the data hold no replicas at all; unknown where none was ready.
    """
    if kind == "total" or not np.isfinite(replicas).any():
        return demand
    ready = np.where(np.isfinite(replicas), replicas, 0.0) > 0.0
    return np.where(ready, demand / np.where(ready, replicas, 1.0), np.nan)


def _circularity(demand: Demand | None, own: Demand | None, name: str, signal: Floats) -> str:
    """Say why comparing the signal with demand would prove nothing, or give ''.

    `demand` is what it is compared with; `own`, of its own pool, names the signals it was made of.
    """
    if demand is None:
        return ""
    both = np.isfinite(signal) & np.isfinite(demand.per_second)
    both &= (signal != 0.0) | (demand.per_second != 0.0)  # at rest everything is alike
    size = np.maximum(np.abs(demand.per_second[both]), 1e-12)
    same = np.abs(signal[both] - demand.per_second[both]) <= SAME_WITHIN * size
    if name not in (own or demand).same_as and not (same.size and same.mean() > SAME_SHARE):
        return ""
    return (
        f"Demand was taken from this very signal ({demand.source}), so comparing the two proves "
        "nothing: gateway metrics or a request log would give demand of its own."
    )
