"""Draft a policy from threshold, P/D ratio, ranking, and what only the user knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from signalstudy.policy.guards import draft_guards
from signalstudy.policy.origins import stated_evidence
from signalstudy.policy.policy import Policy
from signalstudy.policy.pools import draft_pool
from signalstudy.policy.rounding import significant
from signalstudy.policy.schedule import draft_schedule
from signalstudy.policy.schema import validate_policy
from signalstudy.policy.targets import (
    PoolTarget,
    driving_target,
    find_ranked,
    most_by_ratio,
    own_targets,
    peak_replicas,
    ratio_section,
)
from signalstudy.policy.trail import trail_entry
from signalstudy.policy.window import signal_window_seconds
from signalstudy.threshold.counts import WORK_SIGNALS
from signalstudy.threshold.drift import drift_warnings
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from signalstudy.policy.inputs import PoolInput, ProvisioningInput, StudyFacts
    from signalstudy.ranking.ranking import Ranking
    from signalstudy.threshold.threshold import PdRatio, Threshold
    from signalstudy.vocabulary.objectives import Objective

API_VERSION = "signalstudy.dev/v1alpha1"
KIND = "ScalingPolicy"
LEAST_SCALE_IN_TOLERANCE = 0.2
MOST_SCALE_IN_TOLERANCE = 0.9
"""Above it a fleet would hardly ever shrink."""


def draft_policy(
    *,
    service: str,
    name: str,
    threshold: Threshold,
    pd_ratio: PdRatio,
    ranking: Ranking,
    objectives: Sequence[Objective],
    provisioning: ProvisioningInput,
    pool_inputs: Mapping[str, PoolInput],
    study: StudyFacts,
    promql: Mapping[str, str],
) -> Policy:
    """Draft the document of contract section 6, valid by its schema.

    `name`: the service as a slug. `pool_inputs`: the pools to scale, by name: `unified`, or
    `prefill` and `decode`. `promql`: queries by POOL.SIGNAL, where known.
    Raises NotEnoughDataError with the reason where the study supports no policy.
    """
    driver = driving_target(threshold, ranking, pool_inputs)
    is_split = {"prefill", "decode"} <= set(pool_inputs)
    own, own_notes = own_targets(driver, threshold, pd_ratio, ranking) if is_split else ({}, [])
    ratio = ratio_section(pd_ratio) if is_split else None
    notes = _target_notes([driver, *own.values()])
    notes += _drift_notes(threshold, {driver.pool, *own})
    notes += [*_ratio_notes(pd_ratio, driver, ratio, own), *own_notes] if is_split else []
    signals = {pool: _signal(own.get(pool, driver), promql, study) for pool in pool_inputs}
    peaks = peak_replicas(driver, own, ratio, pool_inputs)
    parts = [
        draft_pool(
            pool_inputs[pool],
            provisioning,
            peak_replicas=peaks.get(pool),
            most_by_ratio=most_by_ratio(ratio, pool_inputs).get(pool, 0),
            seen_lag=_seen_lag(own.get(pool, driver), ranking),
            window_seconds=signals[pool]["windowSeconds"],
        )
        for pool in sorted(pool_inputs)
    ]
    guards, guard_notes = draft_guards(objectives, ranking, pool_inputs, promql, study)
    sections = {part.pool: part.section for part in parts}
    for pool, target in own.items():
        sections[pool] |= {"signal": signals[pool], "targetPerReplica": target.as_document()}
    floors, floor_notes, floor_evidence = _floors(driver, own, pd_ratio, pool_inputs, sections)
    spec: dict[str, Any] = {
        "objectives": [_objective(objective) for objective in objectives],
        "signal": _signal(driver, promql, study, counted_on=driver.pool),
        "proportional": _proportional(driver, threshold.tolerance_ratio),
        "ratio": ratio,
        "pools": sections,
        "guards": guards,
        "schedule": floors,
        "evidence": _evidence(driver, own, threshold, pd_ratio, ratio)
        + [entry for part in parts for entry in part.evidence]
        + floor_evidence,
    }
    spec["evidence"] += stated_evidence(spec, pool_inputs, study.signal_window_seconds)
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": _metadata(service, name, study),
        "spec": {key: value for key, value in spec.items() if value is not None},
    }
    validate_policy(document, f"the policy drafted for {service!r}")
    notes += [note for part in parts for note in part.notes]
    return Policy(name, document, (*notes, *guard_notes, *floor_notes))


def _proportional(driver: PoolTarget, tolerance_ratio: float) -> dict[str, Any]:
    return {
        "targetPerReplica": driver.as_document(),
        "scaleOutTolerance": significant(tolerance_ratio),
        "scaleInTolerance": significant(scale_in_tolerance(tolerance_ratio)),
    }


def _floors(
    driver: PoolTarget,
    own: Mapping[str, PoolTarget],
    pd_ratio: PdRatio,
    pools: Mapping[str, PoolInput],
    sections: Mapping[str, Mapping[str, Any]],
) -> tuple[list[dict[str, Any]], list[str], list[dict[str, Any]]]:
    """Draft periodic floors for the pools whose own work drives them, and for what follows."""
    targets = {
        target.pool: target.target.value
        for target in {driver.pool: driver, **own}.values()
        if target.kind == "total" and target.target.value and _is_work(target)
    }
    rhythms = {name: p.rhythm for name, p in pools.items() if p.rhythm is not None}
    follower, ratio = None, pd_ratio.ratio.value
    if not own and ratio and {"prefill", "decode"} <= set(pools):
        other = "prefill" if driver.pool == "decode" else "decode"
        follower = (other, driver.pool, ratio if other == "prefill" else 1.0 / ratio)
    windows, why_not = draft_schedule(
        rhythms,
        targets,
        {name: int(section["minReplicas"]) for name, section in sections.items()},
        {name: int(section["maxReplicas"]) for name, section in sections.items()},
        follower,
    )
    evidence = [
        trail_entry("schedule", rhythm.strength)
        for pool, rhythm in rhythms.items()
        if windows and pool == driver.pool
    ]
    return windows, [why_not] if why_not else [], evidence


def _is_work(target: PoolTarget) -> bool:
    """Whether the signal counts in the unit of the pool's demand."""
    return target.signal in WORK_SIGNALS.get(target.pool, ())


def scale_in_tolerance(scale_out_tolerance: float) -> float:
    """Give a tolerance at least as large as the one outwards (methods section 9)."""
    return min(max(LEAST_SCALE_IN_TOLERANCE, scale_out_tolerance), MOST_SCALE_IN_TOLERANCE)


def _metadata(service: str, name: str, study: StudyFacts) -> dict[str, Any]:
    generated_at = _utc(study.generated_at)
    facts = {
        "name": study.study_name,
        "fingerprint": study.fingerprint,
        "start": _instant(_utc(study.start)),
        "end": _instant(_utc(study.end)),
    }
    return {
        "name": name,
        "service": service,
        "generatedAt": _instant(generated_at),
        "validUntil": _instant(generated_at + timedelta(days=study.valid_days)),
        "toolVersion": study.tool_version,
        "study": {key: value for key, value in facts.items() if value},
    }


def _utc(text: str) -> datetime:
    """Read an instant; one without an offset is UTC, as everywhere here."""
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _objective(objective: Objective) -> dict[str, Any]:
    return {
        "signal": objective.signal,
        "quantile": objective.quantile,
        "atMostSeconds": objective.at_most_seconds,
    }


def _signal(
    target: PoolTarget, promql: Mapping[str, str], study: StudyFacts, *, counted_on: str = ""
) -> dict[str, Any]:
    """Describe a signal to follow; `perReplicaOf` only where it is not plain from the place."""
    query = promql.get(f"{target.pool}.{target.signal}") or promql.get(f"gateway.{target.signal}")
    signal = {
        "name": target.signal,
        "kind": target.kind,
        "perReplicaOf": counted_on,
        "windowSeconds": signal_window_seconds(
            query, study.step_seconds, wished_seconds=study.signal_window_seconds
        ),
        "promql": query,
    }
    return {key: value for key, value in signal.items() if value}


def _seen_lag(target: PoolTarget, ranking: Ranking) -> Estimate | None:
    ranked = find_ranked(ranking, target.signal, target.pool)
    return None if ranked is None else ranked.measures.get("seen_lag_seconds")


def _evidence(
    driver: PoolTarget,
    own: Mapping[str, PoolTarget],
    threshold: Threshold,
    pd_ratio: PdRatio,
    ratio: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """List how target and ratio were got, and the numbers behind them."""
    entries = [
        trail_entry("proportional.targetPerReplica.value", driver.target),
        trail_entry("threshold.perReplica", threshold.per_replica),
        trail_entry("threshold.headroomRatio", threshold.headroom_ratio),
        trail_entry("threshold.horizonSeconds", threshold.horizon_seconds),
    ]
    entries += [
        trail_entry(f"threshold.drift.{drift.pool}.{_camel(drift.over)}Ratio", drift.spread)
        for drift in threshold.drifts
        if drift.pool in {driver.pool, *own}
    ]
    for pool, target in sorted(own.items()):
        entries.append(trail_entry(f"pools.{pool}.targetPerReplica.value", target.target))
    if ratio is not None:
        entries.append(trail_entry("ratio.prefillPerDecode", pd_ratio.ratio))
    if ratio is not None and pd_ratio.token_mix is not None:
        mix = Estimate(
            pd_ratio.token_mix,
            pd_ratio.token_mix_low,
            pd_ratio.token_mix_high,
            method="median uncached prompt tokens per output token, its 5 and 95 % quantiles",
        )
        entries.append(trail_entry("tokenMix", mix))
    if ratio is not None and pd_ratio.fixed_cost is not None:
        entries.append(trail_entry("ratio.fixedCostRatio", pd_ratio.fixed_cost))
    return entries


def _target_notes(targets: Sequence[PoolTarget]) -> list[str]:
    """Say what a reader must know before trusting a target."""
    notes = []
    for target in {target.pool: target for target in targets}.values():
        name = f"{target.pool}: the target {target.target.value:.4g}"
        seen = "" if target.max_observed is None else f" of {target.max_observed:.4g}"
        if target.target.status == "lower_bound":
            notes.append(
                f"{name} is a lower bound: the objectives held up to the largest work per replica "
                f'in the data{seen}. A pressure test (role = "pressure-test") would show how '
                "much more a replica bears."
            )
        elif target.target.status != "ok":
            notes.append(f"{name} is {target.target.status}. {target.target.note}".strip())
        if target.by_hardware:
            each = ", ".join(
                f"{one.hardware} {one.target.value:.4g}"
                if one.target.value
                else f"{one.hardware} ?"
                for one in target.by_hardware
            )
            notes.append(
                f"{name} is that of the mix of GPU types as recorded ({each}); with another mix it "
                "is another."
            )
    return notes


def _drift_notes(threshold: Threshold, pools: Collection[str]) -> list[str]:
    """Say where a target holds in some hours or regimes better than in others."""
    notes = [
        f"{drift.pool}: {drift.sentence()}"
        for drift in threshold.drifts
        if drift.pool in pools and (drift.spread.low or 1.0) > 1.0
    ]
    warnings = drift_warnings(threshold)
    return [*notes, *(said for pool, said in warnings.items() if pool in pools)]


def _camel(words: str) -> str:
    first, *others = words.split()
    return "".join([first, *(word.capitalize() for word in others)])


def _ratio_notes(
    pd_ratio: PdRatio,
    driver: PoolTarget,
    ratio: Mapping[str, Any] | None,
    own: Mapping[str, PoolTarget],
) -> list[str]:
    """Say how the two pools hang together where it is not simply by the ratio."""
    if own:
        return [
            "Each pool follows a signal of its own"
            + (", held to the band of the ratio: " if ratio is not None else ": ")
            + (pd_ratio.note or pd_ratio.ratio.note)
        ]
    if ratio is None:
        other = "prefill" if driver.pool == "decode" else "decode"
        return [
            f"{other} is not sized by this policy and keeps its replicas: {pd_ratio.ratio.note}"
        ]
    if pd_ratio.moves_too_much:
        return [f"The ratio holds only while the token mix stays: {pd_ratio.note}"]
    return [f"One signal drives both pools by the ratio. {pd_ratio.note}"] if pd_ratio.note else []
