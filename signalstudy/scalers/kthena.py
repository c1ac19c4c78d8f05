"""Kthena AutoscalingPolicy: both roles of a disaggregated service, held to a band of the ratio."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from signalstudy.scalers.kthena_roles import decide_roles
from signalstudy.scalers.manifest import (
    Manifest,
    decision,
    manifest_yaml,
    metadata,
    percent,
    plain_number,
    read_manifest,
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
        steps |= decide_roles(document, state, observation)
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
    return [{"name": one.name, "targetValue": plain_number(one.target)} for one in pool.metrics]


def _sources(pool: PoolPlan) -> dict[str, Any]:
    return {
        one.name: {"prometheus": {"serverURL": SERVER, "query": one.query}} for one in pool.metrics
    }


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
    band = _band(whole)
    if band is not None:
        target["ratioConstraint"] = {
            "numeratorRole": "prefill",
            "denominatorRole": "decode",
            "minRatio": f"{math.floor(band[0] * 1e3) / 1e3:g}",
            "maxRatio": f"{math.ceil(band[1] * 1e3) / 1e3:g}",
        }
    return {"disaggregatedTarget": target}


def _band(whole: Plan) -> tuple[float, float] | None:
    """Widen the band to every pair of whole numbers that the policy rounds to.

    The targets keep the ratio, or the metrics of both pools keep the band; Kthena's repair, which
    works on whole numbers, must not overrule them. For n decode replicas, of which n - 1 would not
    do, the policy asks for more than (n - 1) x lowest of prefill, and ceil(n x highest) at most.
    """
    if whole.ratio_band is None:
        return None
    lowest, highest = whole.ratio_band
    ratio = whole.rules.follower_ratio
    if ratio is not None:
        lowest = highest = ratio if whole.rules.driver == "decode" else 1.0 / ratio
    bounds = {one.pool: (one.rule.min_replicas, one.rule.max_replicas) for one in whole.pools}
    least, most = bounds["prefill"]
    pairs = [
        min(max(prefill, least), most) / decode
        for decode in range(max(1, bounds["decode"][0]), bounds["decode"][1] + 1)
        for prefill in (
            math.floor((decode - 1) * lowest) + 1,
            math.ceil(decode * highest - 1e-9),
        )
    ]
    return min(*pairs, *whole.ratio_band), max(*pairs, *whole.ratio_band)


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
            "the band: then the role that is short is raised."
        )
    if whole.ratio_band is not None and is_joint:
        lowest, highest = whole.ratio_band
        yield (
            f"APPROXIMATED: the band {lowest:g}..{highest:g} holds for unrounded numbers; "
            "ratioConstraint admits every pair of whole numbers that these round to."
        )
    yield "APPROXIMATED: steps are rounded down to whole replicas, never below one."
    yield "No panicPolicy: the policy has none, and one would overrule its steps."
    if _target_ref(whole)["name"] == whole.name:
        yield f"targetRef: ModelServing {whole.name} is a guess where the policy names none."
