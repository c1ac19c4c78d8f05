"""Capacity: what one replica of a pool bears under all objectives that it answers for."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.threshold.charge import HOME_POOL, Charge, charge
from signalstudy.threshold.counts import gather_counts, work_name, work_of
from signalstudy.threshold.exceedance import fit_exceedance
from signalstudy.threshold.physics import physics_note
from signalstudy.threshold.threshold import Capacity, ExceedanceCurve
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalstudy.threshold.counts import Work
    from signalstudy.timeline.timeline import SloCounts, Timeline
    from signalstudy.vocabulary.objectives import Objective

MEASURED_IN = {
    "ttft": ("gateway", "service", "unified", "prefill", "decode"),
    "tbt": ("gateway", "service", "unified", "decode", "prefill"),
    "e2e": ("gateway", "service", "unified", "decode", "prefill"),
}
"""Where a latency is best measured, the best first: TTFT at the gateway (methods 2.1)."""


COUPLED_NOTE = (
    "Which pool makes this latency is left open: the number holds only at the P/D ratio and token "
    "mix of these data."
)
OUTPUT = "decode_tokens_per_second"
SENTENCE_END = re.compile(r"(?<=[^\W\d]\.) ")
SIMILAR_SHARE = 0.9
"""A lower bound this near below another objective's knee does not make that knee unknown."""


@dataclass(frozen=True, slots=True)
class _Fitted:
    """One objective of one pool: its estimate and, where there is one, its curve."""

    objective: Objective
    estimate: Estimate
    curve: ExceedanceCurve | None = None
    is_idle: bool = False


def fit_capacity(
    timeline: Timeline,
    pool: str,
    objectives: Sequence[Objective],
    *,
    signal: str | None = None,
    is_coupled: bool = False,
    seed: int = 0,
) -> Capacity:
    """Fit every objective that a pool answers for; the one with the smallest safe bound binds.

    `signal`: work is measured by this signal per ready replica; without it by the pool's own
    served work. `is_coupled`: take every objective, whichever pool makes its latency: the capacity
    then holds only at the P/D ratio and token mix of these data, and its note says so.
    """
    source = timeline.pools.get(pool)
    name = signal or (work_name(source) if source is not None else "")
    if source is None:
        return _unknown(pool, name, not_applicable(f"The data have no {pool} pool."))
    work = work_of(source, signal)
    if isinstance(work, str):
        return _unknown(pool, name, unidentified(work))
    known = work.per_replica[np.isfinite(work.per_replica)]
    largest = float(known.max()) if known.size else None
    if not objectives:
        return _unknown(pool, name, not_applicable("No objective is given."), largest)
    fits = _fit_all(timeline, pool, work, objectives, is_coupled=is_coupled, seed=seed)
    if not fits:
        names = " and ".join(str(objective) for objective in objectives)
        sentence = f"{names} says nothing of the {pool} pool, which does not make that latency."
        return _unknown(pool, name, not_applicable(sentence), largest)
    estimate, binding = join_objectives([(f.objective, f.estimate) for f in fits])
    return Capacity(
        pool=pool,
        signal=work.signal,
        per_replica=estimate.with_days(timeline.days),
        binding=binding,
        max_observed=largest,
        by_objective={str(f.objective): f.estimate.with_days(timeline.days) for f in fits},
        curves=tuple(f.curve for f in fits if f.curve is not None),
    )


def join_objectives(estimates: Sequence[tuple[Objective, Estimate]]) -> tuple[Estimate, str]:
    """Give the capacity under all objectives at once, and which of them binds ("": none does).

    An objective that is broken throughout decides alone. Else the knee with the smallest safe
    bound binds, and no bound of another objective may lie below the joint one.
    """
    notes = _said_once(estimates)
    broken = [(o, e) for o, e in estimates if e.status == "censored"]
    if broken:
        objective, estimate = min(broken, key=lambda pair: pair[1].value or 0.0)
        return estimate, objective.signal
    known = [(o, e) for o, e in estimates if e.value is not None and e.low is not None]
    if not known:
        worst = next((e for _, e in estimates if e.status == "unidentified"), estimates[0][1])
        return replace(worst, note=notes), ""
    low = min(e.low for _, e in known if e.low is not None)
    value = min(e.value for _, e in known if e.value is not None)
    knees = [(o, e) for o, e in known if e.status == "ok"]
    objective, estimate = min(knees or known, key=lambda pair: pair[1].low or 0.0)
    is_hidden = bool(knees) and low < SIMILAR_SHARE * (estimate.low or 0.0)
    status = "lower_bound" if is_hidden else estimate.status
    binding = objective.signal if knees and not is_hidden else ""
    return replace(estimate, value=value, low=low, status=status, note=notes), binding


def _said_once(estimates: Sequence[tuple[Objective, Estimate]]) -> str:
    """Join the notes of all objectives, no sentence twice, and say what the number leaves out."""
    is_any_known = any(e.value is not None for _, e in estimates)
    notes = [
        f"Without {objective}, which cannot be judged: {e.note}"
        if e.value is None and is_any_known
        else e.note
        for objective, e in estimates
        if e.note
    ]
    sentences = [sentence for note in notes for sentence in SENTENCE_END.split(note)]
    return " ".join(dict.fromkeys(sentences))


def how_telling(estimate: Estimate) -> tuple[int, float]:
    """Order capacities: a visited knee, else the largest lower bound, else whatever there is."""
    order = ("ok", "lower_bound", "extrapolated", "censored", "unidentified", "not_applicable")
    bound = -(estimate.low or 0.0) if estimate.status == "lower_bound" else 0.0
    return order.index(estimate.status), bound


def best_counts(timeline: Timeline, objective: Objective) -> SloCounts | None:
    """Choose the counts of an objective: exact before bracketed, then where it is best measured."""
    places = MEASURED_IN[objective.signal]
    found = [
        counts
        for counts in timeline.slo_counts
        if counts.objective == objective and np.nansum(counts.observed) > 0
    ]

    def preference(counts: SloCounts) -> tuple[bool, int]:
        place = places.index(counts.pool) if counts.pool in places else len(places)
        return (not counts.is_exact, place)

    return min(found, key=preference, default=None)


def _unknown(pool: str, name: str, estimate: Estimate, largest: float | None = None) -> Capacity:
    """Give a capacity without a number: the estimate says why."""
    return Capacity(pool, name, per_replica=estimate, binding="", max_observed=largest)


def _fit_all(
    timeline: Timeline,
    pool: str,
    work: Work,
    objectives: Sequence[Objective],
    *,
    is_coupled: bool,
    seed: int,
) -> list[_Fitted]:
    """Fit what is charged to the pool; what never was its fault only if there is nothing else."""
    fits = [
        _fit_one(timeline, pool, work, objective, is_coupled=is_coupled, seed=seed)
        for objective in objectives
    ]
    charged = [fitted for fitted in fits if fitted is not None]
    speaking = [fitted for fitted in charged if not fitted.is_idle]
    return speaking or charged


def _fit_one(
    timeline: Timeline,
    pool: str,
    work: Work,
    objective: Objective,
    *,
    is_coupled: bool,
    seed: int,
) -> _Fitted | None:
    """Fit one objective, None where the pool does not answer for it."""
    charged = charged_counts(timeline, pool, work, objective, is_coupled=is_coupled)
    if charged is None:
        return None
    if isinstance(charged, Estimate):
        return _Fitted(objective, charged)
    estimate, curve = fit_exceedance(charged.counts, objective, pool, role=timeline.role, seed=seed)
    # the batch law speaks of output tokens: beside another unit it says nothing
    law = physics_note(timeline, pool, objective, estimate) if work.signal == OUTPUT else ""
    note = " ".join(part for part in (estimate.note, charged.note, law) if part)
    return _Fitted(objective, replace(estimate, note=note), curve, charged.is_idle)


def charged_counts(
    timeline: Timeline, pool: str, work: Work, objective: Objective, *, is_coupled: bool
) -> Charge | Estimate | None:
    """Gather an objective's counts that speak of a pool; None where it does not answer for it.

    An Estimate, without a number, says why there are none.
    """
    slo = best_counts(timeline, objective)
    home = HOME_POOL[objective.signal]
    if slo is None and pool != home and home in timeline.pools:
        return None  # what cannot be judged is missing where that latency is made
    if slo is None:
        return unidentified(
            f"No counts of requests over {objective.at_most_seconds:g} s of {objective.signal} "
            "in the data (a latency histogram or a request log), so no capacity can be fitted."
        )
    counts = gather_counts(timeline, timeline.pools[pool], work, slo)
    if counts.observed.size == 0:
        return unidentified(
            f"No bin of time has both requests of {objective} and {work.signal} a replica."
        )
    if is_coupled:
        return Charge(counts, COUPLED_NOTE)
    return charge(counts, timeline, pool, objective)
