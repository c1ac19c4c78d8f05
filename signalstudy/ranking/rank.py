"""Evidence -> Ranking: gates first, then the confidence set, then what an operator would rather."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.ranking.desirability import (
    WEIGHT_DRAWS,
    desirability,
    driver_merits,
    guard_merits,
    pareto_fronts,
    weight_support,
)
from signalstudy.ranking.gates import judge
from signalstudy.ranking.phrases import listed
from signalstudy.ranking.ranking import RankedSignal, Ranking
from signalstudy.ranking.reasons import reason_for
from signalstudy.ranking.standings import NOT_COMPETING, Standing, standings_of
from signalstudy.ranking.summary import summary_of
from signalstudy.vocabulary.estimate import Estimate, not_applicable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from signalstudy.evidence.evidence import Evidence, SignalEvidence
    from signalstudy.ranking.gates import Judgement
    from signalstudy.ranking.ranking import Verdict

    Floats = NDArray[np.float64]

VERDICT_ORDER: tuple[Verdict, ...] = ("proportional", "guard", "undetermined", "rejected")


KNEE_REMARK = (
    "It leads because these data show what a replica of its pool bears; of other pools they show a "
    "bound at best."
)
NO_WEIGHTS = not_applicable("Weights decide only between signals that the data cannot tell apart.")


@dataclass(frozen=True, slots=True)
class _Candidate:
    signal: SignalEvidence
    judgement: Judgement
    standing: Standing = NOT_COMPETING
    weight_support: Estimate = NO_WEIGHTS


def rank_signals(
    evidence: Evidence, *, seed: int = 0, visited_knees: frozenset[str] = frozenset()
) -> Ranking:
    """Rank the signals of one service: a verdict, a place and a sentence for each.

    Verdicts come first (`VERDICT_ORDER`). Among signals fit for proportional control, those in the
    confidence set of their pool come before the others, which follow by how much more they lose.
    Ties go to the pools of `visited_knees`, whose capacity the data show, so that the target of
    the first is known and not only bounded; then by Pareto front and desirability
    (`desirability`). No signal has a privilege by name.
    """
    ordered = _in_order(_candidates(evidence.signals, seed=seed), visited_knees)
    ranked = [_ranked(candidate, rank) for rank, candidate in enumerate(ordered, start=1)]
    if ranked and ranked[0].verdict == "proportional" and ranked[0].pool in visited_knees:
        ranked[0] = replace(ranked[0], reason=f"{ranked[0].reason} {KNEE_REMARK}")
    missing = [
        RankedSignal(
            pool=pool,
            signal=signal,
            rank=None,
            in_confidence_set=False,
            verdict="unavailable",
            reason=sentence,
            measures={"rank_probability": NOT_COMPETING.rank_probability},
        )
        for pool, signal, sentence in evidence.unavailable
    ]
    signals = (*ranked, *missing)
    ties = ordered[0].standing.tied_with if ordered else ()
    summary = summary_of(signals, evidence.demand_source, ties)
    return Ranking(service=evidence.service, signals=signals, summary=summary)


def _candidates(signals: Sequence[SignalEvidence], *, seed: int) -> list[_Candidate]:
    judged = [_Candidate(signal, judge(signal)) for signal in signals]
    places = [i for i, c in enumerate(judged) if c.judgement.verdict == "proportional"]
    standings = standings_of([signals[place] for place in places], seed=seed)
    for place, standing in zip(places, standings, strict=True):
        judged[place] = replace(judged[place], standing=standing)
    return judged


def _in_order(candidates: Sequence[_Candidate], visited_knees: frozenset[str]) -> list[_Candidate]:
    """Sort the candidates, best first; the name decides only between exact twins."""
    ordered: list[_Candidate] = []
    for verdict in VERDICT_ORDER:
        group = [c for c in candidates if c.judgement.verdict == verdict]
        merits = guard_merits if verdict == "guard" else driver_merits
        table = merits([c.signal for c in group])
        fronts, worth = pareto_fronts(table), desirability(table)
        keys = [
            (
                *_place_in_race(candidate.standing),
                candidate.signal.pool not in visited_knees,
                int(fronts[place]),
                -round(float(worth[place]), 3),
                # All prompt tokens and the uncached ones are twins only while the cache rests.
                candidate.signal.signal == "prefill_tokens_per_second",
                (candidate.signal.pool, candidate.signal.signal),
            )
            for place, candidate in enumerate(group)
        ]
        group = _with_weights(group, table)
        ordered.extend(group[place] for place in sorted(range(len(group)), key=keys.__getitem__))
    return ordered


def _with_weights(group: Sequence[_Candidate], table: Floats) -> list[_Candidate]:
    """Say of each signal that contends for the first place how much that is a matter of taste."""
    contends = np.array([c.standing.in_confidence_set for c in group], dtype=np.bool_)
    support = weight_support(table, contends)
    method = (
        f"{WEIGHT_DRAWS} Dirichlet weights of clarity, promptness, straightness, proportion and "
    )
    method += "response, weighted geometric mean"
    note = f"of {int(contends.sum())} signals in the confidence set"
    return [
        replace(c, weight_support=Estimate(float(share), note=note, method=method)) if is_in else c
        for c, share, is_in in zip(group, support, contends, strict=True)
    ]


def _place_in_race(standing: Standing) -> tuple[bool, float]:
    """Give a key that sorts the confidence set first, as equals, then by regret."""
    if standing.in_confidence_set:
        return (False, 0.0)
    return (True, np.inf if standing.regret_ratio is None else standing.regret_ratio)


def _ranked(candidate: _Candidate, rank: int) -> RankedSignal:
    signal, standing = candidate.signal, candidate.standing
    reason = reason_for(signal, candidate.judgement)
    if standing.tied_with:
        reason = f"{reason} Tied with {listed(standing.tied_with)}."
    return RankedSignal(
        pool=signal.pool,
        signal=signal.signal,
        rank=rank,
        in_confidence_set=standing.in_confidence_set,
        verdict=candidate.judgement.verdict,
        reason=reason,
        measures=signal.measures
        | {
            "rank_probability": standing.rank_probability,
            "weight_support_ratio": candidate.weight_support,
        },
        kind=signal.kind,
        source=signal.source,
    )
