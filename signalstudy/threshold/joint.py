"""Joint: one capacity from production and a pressure test, where the two agree."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from signalstudy.threshold.capacity import charged_counts, how_telling, join_objectives
from signalstudy.threshold.charge import Charge
from signalstudy.threshold.counts import work_of
from signalstudy.threshold.exceedance import fit_joint_exceedance
from signalstudy.threshold.threshold import Capacity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalstudy.threshold.threshold import ExceedanceCurve
    from signalstudy.timeline.timeline import Timeline
    from signalstudy.vocabulary.estimate import Estimate
    from signalstudy.vocabulary.objectives import Objective

JOINT_NOTE = "From production and pressure-test data together, which agree."


def fit_jointly(
    recorded: Sequence[tuple[Timeline, Capacity]],
    objectives: Sequence[Objective],
    *,
    is_coupled: bool = False,
    seed: int = 0,
) -> Capacity | None:
    """Fit each objective to the counts of all recordings at once; None where none can be.

    `recorded`: each with the capacity that it gives alone. Where an objective's knee was visited
    and the intervals meet (a lower bound's is open above) one isotonic curve is fitted to all
    counts, blocks drawn within each recording. Where they do not meet the lower capacity stands,
    and the note says so.
    """
    pool, signal = recorded[0][1].pool, recorded[0][1].signal
    if any((one.pool, one.signal) != (pool, signal) for _, one in recorded):
        return None
    found: list[tuple[Objective, Estimate]] = []
    curves: list[ExceedanceCurve] = []
    is_joined = False
    for objective in objectives:
        alone = [
            _Alone(part, one.by_objective[name], [c for c in one.curves if c.objective == name])
            for name in [str(objective)]
            for part, one in recorded
            if name in one.by_objective
        ]
        if not alone:
            continue
        stands = min(alone, key=lambda one: how_telling(one.estimate))
        if len(alone) == len(recorded) and _tell(alone):
            joint = _joint(alone, objective, (pool, signal), is_coupled=is_coupled, seed=seed)
            is_joined |= joint is not None
            stands = joint or stands
        found.append((objective, stands.estimate))
        curves += stands.curves
    return _completed(recorded, found, curves) if is_joined else None


@dataclass(frozen=True, slots=True)
class _Alone:
    """What one recording says of an objective, or all of them (`part` is then the first)."""

    part: Timeline
    estimate: Estimate
    curves: list[ExceedanceCurve]


def _tell(alone: Sequence[_Alone]) -> bool:
    """Say whether all have a safe bound, and one of them a knee."""
    return all(one.estimate.low is not None for one in alone) and any(
        one.estimate.status == "ok" for one in alone
    )


def _completed(
    recorded: Sequence[tuple[Timeline, Capacity]],
    found: Sequence[tuple[Objective, Estimate]],
    curves: Sequence[ExceedanceCurve],
) -> Capacity:
    days = sum(part.days for part, _ in recorded)
    estimate, binding = join_objectives(found)
    seen = [one.max_observed for _, one in recorded if one.max_observed is not None]
    return Capacity(
        pool=recorded[0][1].pool,
        signal=recorded[0][1].signal,
        per_replica=estimate.with_days(days),
        binding=binding,
        max_observed=max(seen, default=None),
        by_objective={str(which): one.with_days(days) for which, one in found},
        curves=tuple(curves),
    )


def _joint(
    alone: Sequence[_Alone],
    objective: Objective,
    of: tuple[str, str],
    *,
    is_coupled: bool,
    seed: int,
) -> _Alone | None:
    """Fit one curve to the counts of all, where their intervals meet, else keep the lower knee."""
    lows = [one.estimate.low for one in alone if one.estimate.low is not None]
    highs = [one.estimate.high for one in alone if one.estimate.high is not None]
    if max(lows) > min(highs, default=math.inf):
        return _lower(alone)
    pool, signal = of
    sources, notes = [], []
    for one in alone:
        work = work_of(one.part.pools[pool], signal)
        if isinstance(work, str):
            return None
        charged = charged_counts(one.part, pool, work, objective, is_coupled=is_coupled)
        if not isinstance(charged, Charge):
            return None
        sources.append((charged.counts, one.part.role))
        notes.append(one.estimate.note if one.estimate.status == "ok" else charged.note)
    told_by = [at for at, one in enumerate(alone) if one.estimate.status == "ok"]
    estimate, curve = fit_joint_exceedance(sources, told_by, objective, pool, seed=seed)
    if estimate.status != "ok":
        return None
    note = " ".join(said for said in [JOINT_NOTE, *notes, estimate.note] if said)
    curves = [] if curve is None else [curve]
    return _Alone(alone[0].part, replace(estimate, note=note), curves)


def _lower(alone: Sequence[_Alone]) -> _Alone:
    """Keep the recording that bears least, and say what the others say."""
    least, *others = sorted(alone, key=lambda one: one.estimate.high or math.inf)
    said = ", ".join(
        f"{one.part.role} {one.estimate.value:.4g} (at least {one.estimate.low:.4g})"
        for one in others
    )
    note = (
        f"Production and pressure test do not agree: {least.part.role} bears "
        f"{least.estimate.value:.4g} (at most {least.estimate.high:.4g}), {said}. The lower one "
        "stands; compare token mix, version and hardware of the two."
    )
    return replace(
        least, estimate=replace(least.estimate, note=f"{note} {least.estimate.note}".strip())
    )
