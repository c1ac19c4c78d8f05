"""Kthena AutoscalingPolicy: both roles of a disaggregated service, held to the band of the ratio.

The formula, by role: ceil(total / target), kept within tolerance, the largest of several metrics;
then windows and steps; last the ratio, whose repair raises the role that is short.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from signalstudy.scalers.manifest import (
    Manifest,
    current_replicas,
    decision,
    manifest_yaml,
    metadata,
    percent,
    plain_number,
    pool_step,
    quantity_value,
    read_manifest,
    reading,
    seconds_text,
)
from signalstudy.scalers.plan import need_queries, need_totals, plan
from signalstudy.scalers.said import RATIO, what_is_left_out
from signalstudy.vocabulary.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from signalstudy.policy.policy import Policy
    from signalstudy.policy.state import Decision, Observation, PoolStep, State
    from signalstudy.scalers.plan import Plan, PoolPlan

SERVER = "http://prometheus:9090"
API_VERSION = "workload.serving.volcano.sh/v1alpha1"
DEFAULT_TOLERANCE_PERCENT = 10


def write(policy: Policy) -> str:
    """Write one AutoscalingPolicy for the whole service."""
    whole = plan(policy)
    need_queries(whole.pools, "kthena")
    need_totals(whole, "kthena")
    intensive = [pool.key for pool in whole.pools if not pool.is_total]
    if intensive:
        raise ExportError(
            f"kthena divides what its prometheus source says by the target, whatever the replicas "
            f"are: {', '.join(intensive)} is intensive and does not add up. Use a signal that does."
        )
    is_joint = {"prefill", "decode"} <= {pool.pool for pool in whole.pools}
    target = _disaggregated(whole) if is_joint else _homogeneous(whole)
    document = {
        "apiVersion": API_VERSION,
        "kind": "AutoscalingPolicy",
        "metadata": metadata(whole, whole.name, None, _target(whole).get("namespace")),
        "spec": {
            "tolerancePercent": math.floor(100.0 * whole.rules.scale_out_tolerance + 1e-9),
            "behavior": _behavior(whole),
            **target,
        },
    }
    sentences = [
        f"serverURL {SERVER} is an example: put your Prometheus in (its auth has no effect yet).",
        *what_is_left_out(whole, can={RATIO} if is_joint else (), names_objects=False),
        *_approximations(whole, is_joint=is_joint),
    ]
    return manifest_yaml(whole, "Kthena AutoscalingPolicy", sentences, [document])


def read(text: str, place: str = "the manifest") -> Manifest:
    """Read AutoscalingPolicies."""
    return read_manifest(text, "kthena", place)


def decide(manifest: Manifest, state: State, observation: Observation) -> Decision:
    """Say what Kthena would ask for."""
    steps: dict[str, PoolStep] = {}
    for document in manifest.documents:
        steps |= _steps(document, state, observation)
    return decision(steps)


def _target(whole: Plan) -> Mapping[str, str]:
    return whole.pools[0].target_ref


def _target_ref(whole: Plan) -> dict[str, str]:
    known = next(
        (p.target_ref for p in whole.pools if p.target_ref["kind"] == "ModelServing"), None
    )
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelServing",
        "name": whole.name if known is None else known["name"],
    }


def _metrics(pool: PoolPlan) -> list[dict[str, Any]]:
    return [{"name": pool.name, "targetValue": plain_number(pool.target)}]


def _sources(pool: PoolPlan) -> dict[str, Any]:
    return {pool.name: {"prometheus": {"serverURL": SERVER, "query": pool.query}}}


def _disaggregated(whole: Plan) -> dict[str, Any]:
    roles = {
        pool.pool: {
            "minReplicas": pool.rule.min_replicas,
            "maxReplicas": pool.rule.max_replicas,
            "metrics": _metrics(pool),
            "metricSources": _sources(pool),
        }
        for pool in sorted(whole.pools, key=lambda pool: pool.pool != "prefill")
    }
    target: dict[str, Any] = {"targetRef": _target_ref(whole), "roles": roles}
    if whole.ratio_band is not None:
        lowest, highest = whole.ratio_band
        target["ratioConstraint"] = {
            "numeratorRole": "prefill",
            "denominatorRole": "decode",
            "minRatio": f"{lowest:g}",
            "maxRatio": f"{highest:g}",
        }
    return {"disaggregatedTarget": target}


def _homogeneous(whole: Plan) -> dict[str, Any]:
    pool = whole.pools[0]
    return {
        "metrics": _metrics(pool),
        "homogeneousTarget": {
            "minReplicas": pool.rule.min_replicas,
            "maxReplicas": pool.rule.max_replicas,
            "target": {"targetRef": _target_ref(whole), "metricSources": _sources(pool)},
        },
    }


def _behavior(whole: Plan) -> dict[str, Any]:
    """Give one behavior for all roles: the slowest cool-downs, the smallest steps."""
    rules = [pool.rule for pool in whole.pools]
    cool_out = max(rule.scale_out_cooldown_seconds for rule in rules)
    cool_in = max(rule.scale_in_cooldown_seconds for rule in rules)
    return {
        "scaleUp": {
            "stablePolicy": {
                "instances": 1,
                "percent": percent(min(rule.scale_out_step_ratio for rule in rules)),
                "period": seconds_text(max(1.0, cool_out)),
                "selectPolicy": "Or",
                "stabilizationWindow": "0s",
            }
        },
        "scaleDown": {
            "instances": 1,
            "percent": percent(min(rule.scale_in_step_ratio for rule in rules)),
            "period": seconds_text(max(1.0, cool_in)),
            "selectPolicy": "Or",
            "stabilizationWindow": seconds_text(cool_in),
        },
    }


def _approximations(whole: Plan, *, is_joint: bool) -> Iterable[str]:
    rules = whole.rules
    if rules.scale_in_tolerance != rules.scale_out_tolerance:
        yield (
            f"APPROXIMATED: one tolerance serves both ways: the one outwards; the policy scales in "
            f"only below {1.0 - rules.scale_in_tolerance:g} times."
        )
    if is_joint:
        yield (
            "APPROXIMATED: a role moves when its own tolerance is passed, or when the pair leaves "
            "the band: then the role that is short is raised. Set minRatio = maxRatio only where "
            "whole numbers can meet it."
        )
    yield "APPROXIMATED: steps are rounded down to whole replicas, never below one."
    yield "No panicPolicy: the policy has none, and one would overrule its steps."
    if _target_ref(whole)["name"] == whole.name:
        yield f"targetRef: ModelServing {whole.name} is a guess where the policy names none."


def _steps(
    document: Mapping[str, Any], state: State, observation: Observation
) -> dict[str, PoolStep]:
    spec = document["spec"]
    if "disaggregatedTarget" in spec:
        target = spec["disaggregatedTarget"]
        roles = {
            role: _step(role, section, document, state, observation)
            for role, section in target["roles"].items()
        }
        return _held_to_ratio(roles, target)
    target = spec["homogeneousTarget"]
    name = (
        next(iter(state.replicas))
        if len(state.replicas) == 1
        else target["target"]["targetRef"]["name"]
    )
    return {name: _step(name, target, document, state, observation)}


def _step(
    role: str,
    section: Mapping[str, Any],
    document: Mapping[str, Any],
    state: State,
    observation: Observation,
) -> PoolStep:
    spec, current = document["spec"], current_replicas(state, role)
    least, most = section["minReplicas"], section["maxReplicas"]
    tolerance = spec.get("tolerancePercent", DEFAULT_TOLERANCE_PERCENT) / 100.0
    asked = [
        reading(observation, metric["name"], document) / quantity_value(metric["targetValue"])
        for metric in section.get("metrics") or spec.get("metrics", [])
    ]
    known = [one for one in asked if not math.isnan(one)]
    desired = max(known, default=math.nan)
    if not least <= current <= most:
        bounded = min(max(current, least), most)
        return pool_step(current, desired, bounded, bounded)
    wanted = max(
        (
            current if current and abs(one / current - 1.0) <= tolerance else math.ceil(one - 1e-9)
            for one in known
        ),
        default=current,
    )
    wanted = min(max(wanted, least), most)
    moved = _limited(wanted, current, spec.get("behavior") or {}, role, state)
    return pool_step(current, desired, wanted, min(max(moved, least), most))


def _limited(
    wanted: int, current: int, behavior: Mapping[str, Any], role: str, state: State
) -> int:
    is_out = wanted > current
    said = behavior.get("scaleUp", {}).get("stablePolicy") if is_out else behavior.get("scaleDown")
    if not said or wanted == current:
        return wanted
    past = state.history.get(role, ())
    oldest = state.now_seconds - _duration(said.get("stabilizationWindow", "0s"))
    begun = state.now_seconds - _duration(said.get("period", "15s"))
    wanted_lately = [int(one.wanted) for one in past if one.at_seconds > oldest]
    start = int(next((one.before for one in past if one.at_seconds > begun), current))
    most_instances = int(said.get("instances", 1))
    most_percent = start * int(said.get("percent", 100)) // 100
    takes_larger = said.get("selectPolicy", "Or") == "Or"
    step = max(most_instances, most_percent) if takes_larger else min(most_instances, most_percent)
    if is_out:
        return max(current, min(wanted, *wanted_lately, start + step))
    return min(current, max(wanted, *wanted_lately, start - step))


def _duration(text: str) -> float:
    """Read a Go duration of hours, minutes, seconds."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    total, digits = 0.0, ""
    for letter in text:
        if letter in units:
            total, digits = total + float(digits) * units[letter], ""
        else:
            digits += letter
    return total


def _held_to_ratio(roles: dict[str, PoolStep], target: Mapping[str, Any]) -> dict[str, PoolStep]:
    """Repair a pair outside the band: the nearest whole pair that takes nothing away, if any."""
    said = target.get("ratioConstraint")
    if said is None:
        return roles
    above, below = said["numeratorRole"], said["denominatorRole"]
    lowest, highest = quantity_value(said["minRatio"]), quantity_value(said["maxRatio"])
    bounds = {role: (s["minReplicas"], s["maxReplicas"]) for role, s in target["roles"].items()}
    pair = int(roles[above].replicas), int(roles[below].replicas)
    if not any(pair):
        return roles
    wanted = max(1, pair[0]), max(1, pair[1])
    if lowest <= wanted[0] / wanted[1] <= highest:
        found: tuple[int, int] | None = wanted
    else:
        found = _nearest(wanted, (bounds[above], bounds[below]), (lowest, highest))
    if found is None:
        return roles
    for role, replicas in zip((above, below), found, strict=True):
        step = roles[role]
        roles[role] = pool_step(int(step.current), float(step.desired), int(step.wanted), replicas)
    return roles


def _nearest(
    wanted: tuple[int, int],
    bounds: tuple[tuple[int, int], tuple[int, int]],
    band: tuple[float, float],
) -> tuple[int, int] | None:
    """Search denominators upwards from where the numerator need not shrink, then downwards."""
    (numerator, denominator), (lowest, highest), slack = wanted, band, 1e-9
    numerator_bounds, denominator_bounds = bounds
    first = max(1, denominator_bounds[0])
    last = denominator_bounds[1]
    start = min(max(denominator, math.ceil(numerator / highest - slack), first), last)
    for candidate in [*range(start, last + 1), *range(start - 1, first - 1, -1)]:
        least = max(numerator_bounds[0], math.ceil(lowest * candidate - slack))
        most = min(numerator_bounds[1], math.floor(highest * candidate + slack))
        if least <= most:
            return min(max(numerator, least), most), candidate
    return None
