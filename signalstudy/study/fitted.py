"""The numbers of a study that were fitted or drafted, as `explain` gives them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from signalstudy.evidence.pooling import pool_evidence
from signalstudy.policy.draft import draft_policy, scale_in_tolerance
from signalstudy.policy.guards import draft_guards
from signalstudy.policy.pools import draft_pool, scale_in_cooldown, scale_out_cooldown
from signalstudy.policy.schedule import draft_schedule
from signalstudy.policy.window import signal_window_seconds
from signalstudy.threshold.capacity import fit_capacity
from signalstudy.threshold.drift import measure_drift
from signalstudy.threshold.fit import draft_target
from signalstudy.threshold.pd_ratio import fit_pd_ratio, fixed_ratio_cost, measure_token_mix
from signalstudy.threshold.planner import ongoing_requests, planner_thresholds
from signalstudy.threshold.ramp import estimate_headroom, estimate_horizon
from signalstudy.threshold.rhythm import measure_rhythm
from signalstudy.threshold.tolerance import tolerance_ratio
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from signalstudy.ranking.ranking import RankedSignal
    from signalstudy.study.study import ServiceStudy, Study
    from signalstudy.threshold.threshold import Capacity

ALSO_CALLED = {
    "per_replica": "capacity",
    "pd_ratio": "prefill_per_decode_ratio",
    "band_low": "ratio_band_low",
    "band_high": "ratio_band_high",
    "fixed_cost": "fixed_ratio_cost_ratio",
}
"""Names that study.json has for them."""


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a study: what it answers, its formula with source, and its estimate."""

    measure: str
    question: str
    formula: str
    estimate: Estimate


def formula_of(function: Callable[..., Any]) -> str:
    """Give what a function says of itself, up to its parameters: formula and source."""
    text = (inspect.getdoc(function) or "").split("\nParameters\n")[0]
    return " ".join(text.split())


FORMULAS = {
    "proportional.scaleOutTolerance": formula_of(tolerance_ratio),
    "proportional.scaleInTolerance": formula_of(scale_in_tolerance),
    "*argetPerReplica*": formula_of(draft_target),
    "threshold.headroom*": formula_of(estimate_headroom),
    "threshold.drift*": formula_of(measure_drift),
    "threshold.horizon*": formula_of(estimate_horizon),
    "threshold*": formula_of(fit_capacity),
    "ratio.fixedCost*": formula_of(fixed_ratio_cost),
    "ratio*": formula_of(fit_pd_ratio),
    "schedule": formula_of(measure_rhythm),
    "schedule.*": formula_of(draft_schedule),
    "guards.*.windowSeconds": formula_of(signal_window_seconds),
    "*signal.windowSeconds": formula_of(signal_window_seconds),
    "guards.*": formula_of(draft_guards),
    "tokenMix": formula_of(measure_token_mix),
    "dynamo*": formula_of(planner_thresholds),
    "rayServe*": formula_of(ongoing_requests),
    "pools.*.scaleOut.cooldownSeconds": formula_of(scale_out_cooldown),
    "pools.*.scaleIn.cooldownSeconds": formula_of(scale_in_cooldown),
    "pools.*": formula_of(draft_pool),
    "*": formula_of(draft_policy),
}
"""Where the numbers of a policy's evidence come from, by their names; the first that fits."""


def fitted_numbers(study: ServiceStudy, ranked: RankedSignal) -> list[Number]:
    """List what was fitted on a signal; with the driver and the pools' work also what rests on it.

    A signal of the gateway stands for the pool whose work it is.
    """
    threshold, numbers = study.threshold, []
    driver = _is_of(ranked, threshold.pool, threshold.signal)
    own = next(
        (
            capacity
            for pool, capacity in threshold.capacities.items()
            if _is_of(ranked, pool, capacity.signal)
        ),
        None,
    )
    if driver or own is not None:
        bears = threshold.per_replica if driver or own is None else own.per_replica
        question = "How much of it does one replica bear within the objectives?"
        numbers.append(Number("capacity", question, formula_of(fit_capacity), bears))
    if own is not None:
        numbers += _of_capacity(own)
    target = threshold.target if driver else None
    if target is None and own is not None:
        target = threshold.pool_targets.get(own.pool)
    if target is not None:
        question = "What should one replica be given?"
        numbers.append(Number("target", question, formula_of(draft_target), target))
    numbers += [
        Number(
            f"spread_ratio: {drift.over}",
            f"How much more does a replica bear in the best {drift.over} than in the worst?",
            formula_of(measure_drift),
            drift.spread,
        )
        for drift in threshold.drifts
        if _is_of(ranked, drift.pool, drift.signal)
    ]
    if driver or own is not None:
        numbers += [*_of_threshold(study), *_of_ratio(study), *_of_policy(study)]
    return numbers


def pooled_numbers(study: Study, ranked: RankedSignal) -> list[Number]:
    """List what all services have in common about a signal, and what to expect of another one."""
    if len(study.services) < 2:
        return []
    found = []
    for pooled in pool_evidence([one.evidence for one in study.services.values()]):
        if (pooled.pool, pooled.signal) == (ranked.pool, ranked.signal):
            about = f"{pooled.measure} over {pooled.services} services"
            formula = formula_of(pool_evidence)
            found += [
                Number(f"pooled_{pooled.measure}", f"What is {about}?", formula, pooled.mean),
                Number(
                    f"expected_{pooled.measure}",
                    f"What is to be expected of another service: {about}?",
                    formula,
                    pooled.prediction,
                ),
            ]
    return found


def _is_of(ranked: RankedSignal, pool: str, signal: str) -> bool:
    return ranked.signal == signal and ranked.pool in (pool, "gateway")


def _of_capacity(capacity: Capacity) -> Iterator[Number]:
    for objective, estimate in capacity.by_objective.items():
        question = f"How much of it does one replica bear within {objective}?"
        yield Number(f"capacity: {objective}", question, formula_of(fit_capacity), estimate)
    if capacity.max_observed is not None:
        yield Number(
            "max_observed",
            "How much of it has a replica been seen to do?",
            formula_of(fit_capacity),
            Estimate(capacity.max_observed, method="the largest work per replica in a bin of time"),
        )


def _of_threshold(study: ServiceStudy) -> Iterator[Number]:
    threshold = study.threshold
    yield Number(
        "headroom_ratio",
        "How much can demand rise before capacity arrives?",
        formula_of(estimate_headroom),
        threshold.headroom_ratio,
    )
    yield Number(
        "horizon_seconds",
        "How long does capacity take to arrive?",
        formula_of(estimate_horizon),
        threshold.horizon_seconds,
    )
    yield Number(
        "tolerance_ratio",
        "How far may the signal stray before the fleet is changed?",
        formula_of(tolerance_ratio),
        Estimate(threshold.tolerance_ratio, method="from the noise of the signal"),
    )


def _of_ratio(study: ServiceStudy) -> Iterator[Number]:
    ratio = study.pd_ratio
    yield Number(
        "prefill_per_decode_ratio",
        "How many prefill replicas per decode replica?",
        formula_of(fit_pd_ratio),
        ratio.ratio,
    )
    mix = "of prompt tokens per output token"
    for name, value, method in (
        ("ratio_band_low", ratio.band_low, f"ratio x 5 % quantile / median {mix}"),
        ("ratio_band_high", ratio.band_high, f"ratio x 95 % quantile / median {mix}"),
    ):
        if value is not None:
            question = "Within which band is the ratio kept as the token mix moves?"
            yield Number(name, question, formula_of(fit_pd_ratio), Estimate(value, method=method))
    if ratio.fixed_cost is not None:
        question = "Which share of throughput does one fixed ratio cost as the mix moves?"
        formula = formula_of(fixed_ratio_cost)
        yield Number("fixed_ratio_cost_ratio", question, formula, ratio.fixed_cost)
    if ratio.token_mix is not None:
        yield Number(
            "token_mix",
            "How many uncached prompt tokens come with an output token?",
            formula_of(measure_token_mix),
            Estimate(
                ratio.token_mix,
                ratio.token_mix_low,
                ratio.token_mix_high,
                method="median, 5 and 95 % quantiles",
                note=ratio.note,
            ),
        )


def _of_policy(study: ServiceStudy) -> Iterator[Number]:
    """Give the numbers of the policy that its evidence has, with how each was got."""
    if study.policy is None:
        return
    for entry in study.policy.document["spec"].get("evidence", []):
        yield Number(
            f"policy.{entry['number']}",
            f"What stands in the policy, or behind it, as {entry['number']}?",
            next(text for form, text in FORMULAS.items() if fnmatchcase(entry["number"], form)),
            Estimate(
                entry["value"],
                entry.get("low"),
                entry.get("high"),
                status=entry["status"],
                note=entry.get("note", ""),
                effective_observations=entry.get("effectiveObservations"),
                days=entry.get("days"),
                method=entry.get("method", ""),
            ),
        )
