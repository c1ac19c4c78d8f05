"""Kubernetes HorizontalPodAutoscaler, autoscaling/v2, and the rules its External metrics need.

The formula is the controller's own documented one: desired = ceil(total / target) (AverageValue) or
ceil(replicas x value / target) (Value), kept where it is within tolerance; several metrics combine
by max; then stabilization windows, step policies, and bounds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from signalstudy.policy.yaml_text import Block, dump
from signalstudy.scalers.manifest import (
    Manifest,
    current_replicas,
    decision,
    manifest_yaml,
    metadata,
    percent,
    plain_number,
    pool_of,
    pool_step,
    quantity,
    quantity_value,
    read_manifest,
    reading,
)
from signalstudy.scalers.plan import identifier, need_queries, need_totals, object_name, plan
from signalstudy.scalers.promql import selectors
from signalstudy.scalers.said import what_is_left_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from signalstudy.policy.policy import Policy
    from signalstudy.policy.rules import Rules
    from signalstudy.policy.state import Decision, Observation, PoolStep, State
    from signalstudy.scalers.plan import BandPlan, Plan, PoolPlan

ADAPTER = (
    "The ConfigMap at the end holds what prometheus-adapter needs to serve the External metrics: "
    "merge its externalRules into your adapter's configuration."
)
LONGEST_WINDOW_SECONDS, LONGEST_PERIOD_SECONDS = 3600, 1800
DEFAULT_TOLERANCE_RATIO = 0.1
DEFAULT_SCALE_UP: dict[str, Any] = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
DEFAULT_SCALE_DOWN: dict[str, Any] = {
    "stabilizationWindowSeconds": 300,
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


def write(policy: Policy) -> str:
    """Write one HPA per pool, and the prometheus-adapter rules of the metrics they read."""
    whole = plan(policy)
    need_queries(whole.pools, "hpa")
    need_totals(whole, "hpa")
    documents = [_object(whole, pool) for pool in whole.pools]
    sentences = [
        ADAPTER,
        *what_is_left_out(whole),
        *_approximations(whole),
    ]
    return manifest_yaml(
        whole, "HorizontalPodAutoscalers", sentences, [*documents, adapter_rules(whole)]
    )


def read(text: str, place: str = "the manifest") -> Manifest:
    """Read HorizontalPodAutoscalers."""
    return read_manifest(text, "hpa", place)


def decide(manifest: Manifest, state: State, observation: Observation) -> Decision:
    """Say what the HPA controller would ask for."""
    return decision(
        {
            pool_of(document, document["spec"]["scaleTargetRef"]): _step(
                document, state, observation
            )
            for document in manifest.documents
        }
    )


def metric_name(whole: Plan, one: PoolPlan | BandPlan) -> str:
    """Name an external metric so that no other service's has the same name."""
    return identifier(f"{whole.name}_{one.key}")


def behavior(pool: PoolPlan, *, out_tolerance: float, in_tolerance: float) -> dict[str, Any]:
    """Give spec.behavior: cool-downs as windows and periods, steps in percent, tolerances."""
    rule = pool.rule
    cool_out, cool_in = rule.scale_out_cooldown_seconds, rule.scale_in_cooldown_seconds
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "tolerance": plain_number(out_tolerance),
            "policies": [_percent_policy(rule.scale_out_step_ratio, cool_out)],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": min(math.ceil(cool_in), LONGEST_WINDOW_SECONDS),
            "selectPolicy": "Min",
            "tolerance": plain_number(in_tolerance),
            "policies": [_percent_policy(rule.scale_in_step_ratio, cool_in)],
        },
    }


def _percent_policy(step_ratio: float, cooldown_seconds: float) -> dict[str, Any]:
    period = min(max(1, math.ceil(cooldown_seconds)), LONGEST_PERIOD_SECONDS)
    return {"type": "Percent", "value": percent(step_ratio), "periodSeconds": period}


def adapter_rules(whole: Plan) -> dict[str, Any]:
    """Give the ConfigMap with one externalRule per metric."""
    rules = {
        metric_name(whole, pool): {
            "seriesQuery": str(selectors(pool.query)[0]),
            "resources": {"namespaced": False},
            "name": {"as": metric_name(whole, pool)},
            "metricsQuery": pool.query,
        }
        for pool in whole.pools
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(whole, f"{whole.name}-adapter-rules", None, _namespace(whole)),
        "data": {"config.yaml": Block(dump({"externalRules": list(rules.values())}))},
    }


def _namespace(whole: Plan) -> str | None:
    return next(
        (p.target_ref["namespace"] for p in whole.pools if "namespace" in p.target_ref), None
    )


def _object(whole: Plan, pool: PoolPlan) -> dict[str, Any]:
    ref = {key: pool.target_ref[key] for key in ("apiVersion", "kind", "name")}
    rules: Rules = whole.rules
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(
            whole, object_name(whole, pool), pool.pool, pool.target_ref.get("namespace")
        ),
        "spec": {
            "scaleTargetRef": ref,
            "minReplicas": pool.rule.min_replicas,
            "maxReplicas": pool.rule.max_replicas,
            "metrics": [
                {"type": "External", "external": _external(whole, one, is_total=pool.is_total)}
                for one in pool.metrics
            ],
            "behavior": behavior(
                pool,
                out_tolerance=rules.scale_out_tolerance,
                in_tolerance=rules.scale_in_tolerance,
            ),
        },
    }


def _external(whole: Plan, one: PoolPlan | BandPlan, *, is_total: bool) -> dict[str, Any]:
    """Give one metric: a total is divided by its target, anything else multiplies the replicas."""
    kind, key = ("AverageValue", "averageValue") if is_total else ("Value", "value")
    target = {"type": kind, key: quantity(one.target)}
    return {"metric": {"name": metric_name(whole, one)}, "target": target}


def _approximations(whole: Plan) -> Iterable[str]:
    yield (
        "tolerance needs HPAConfigurableTolerance (on by default since Kubernetes 1.34); an older "
        "cluster ignores it and uses its own 10 % both ways."
    )
    yield (
        "The HPA has no cool-down: a scale-out cool-down became the period of the step policy, a "
        "scale-in cool-down the stabilization window as well."
    )
    if any(pool.rule.min_replicas == 0 for pool in whole.pools):
        yield "minReplicas 0 needs the feature gate HPAScaleToZero."


def _step(document: Mapping[str, Any], state: State, observation: Observation) -> PoolStep:
    spec = document["spec"]
    pool = pool_of(document, spec["scaleTargetRef"])
    current = current_replicas(state, pool)
    shares = [_share(metric, document, observation, current) for metric in spec.get("metrics", [])]
    return hpa_step(
        shares,
        pool,
        state,
        least=spec.get("minReplicas", 1),
        most=spec["maxReplicas"],
        behavior=spec.get("behavior") or {},
    )


def _share(
    metric: Mapping[str, Any], document: Mapping[str, Any], observation: Observation, current: int
) -> float:
    """Give desired / current by one metric, NaN where it is not seen."""
    source = metric.get(metric["type"][0].lower() + metric["type"][1:], {})
    named = source.get("metric", source)
    target = source.get("target", {})
    value = reading(observation, str(named.get("name", "")), document)
    if target.get("type") == "AverageValue" and metric["type"] != "Pods":
        return value / (quantity_value(target["averageValue"]) * current) if current else math.nan
    if target.get("type") == "Utilization":
        return 100.0 * value / float(target["averageUtilization"])
    return value / quantity_value(target.get("value", target.get("averageValue")))


def hpa_step(
    shares: list[float],
    pool: str,
    state: State,
    *,
    least: int,
    most: int,
    behavior: Mapping[str, Any],
) -> PoolStep:
    """Decide by the HPA's formula from desired / current of each metric (NaN: not seen)."""
    current = current_replicas(state, pool)
    up = DEFAULT_SCALE_UP | (behavior.get("scaleUp") or {})
    down = DEFAULT_SCALE_DOWN | (behavior.get("scaleDown") or {})
    desired = max((s for s in shares if not math.isnan(s)), default=math.nan) * current
    if current == 0:  # scaling is switched off
        return pool_step(0, desired, 0, 0)
    if not least <= current <= most:
        bounded = min(max(current, least), most)
        return pool_step(current, desired, bounded, bounded)
    proposals = [_proposal(share, current, up, down) for share in shares if not math.isnan(share)]
    wanted = max(proposals, default=current)
    if wanted < current and len(proposals) < len(shares):
        wanted = current  # a metric that is not seen forbids a scale-in
    past = state.history.get(pool, ())
    oldest = state.now_seconds - up["stabilizationWindowSeconds"]
    least_wanted = min([wanted, *(int(p.wanted) for p in past if p.at_seconds > oldest)])
    oldest = state.now_seconds - down["stabilizationWindowSeconds"]
    most_wanted = max([wanted, *(int(p.wanted) for p in past if p.at_seconds > oldest)])
    stable = min(max(current, least_wanted), most_wanted)
    if stable > current:
        stable = max(current, min(stable, _limit(up, pool, state, current, direction=1)))
    elif stable < current:
        stable = min(current, max(stable, _limit(down, pool, state, current, direction=-1)))
    return pool_step(current, desired, wanted, min(max(stable, least), most))


def _proposal(share: float, current: int, up: Mapping[str, Any], down: Mapping[str, Any]) -> int:
    out = quantity_value(up.get("tolerance", DEFAULT_TOLERANCE_RATIO))
    into = quantity_value(down.get("tolerance", DEFAULT_TOLERANCE_RATIO))
    return current if 1.0 - into <= share <= 1.0 + out else math.ceil(share * current - 1e-9)


def _limit(
    rules: Mapping[str, Any], pool: str, state: State, current: int, *, direction: int
) -> int:
    """Give how far step policies let the replicas go from what they were a period ago."""
    if rules["selectPolicy"] == "Disabled":
        return current
    limits: list[int] = []
    for one in rules["policies"]:
        begun = state.now_seconds - one["periodSeconds"]
        within = (p.before for p in state.history.get(pool, ()) if p.at_seconds > begun)
        start = int(next(within, current))
        if one["type"] == "Pods":
            limits.append(start + direction * int(one["value"]))
        elif direction > 0:
            limits.append(math.ceil(start * (1.0 + one["value"] / 100.0) - 1e-9))
        else:
            limits.append(math.floor(start * (1.0 - one["value"] / 100.0) + 1e-9))
    takes_largest_change = rules["selectPolicy"] == "Max"
    return max(limits) if takes_largest_change == (direction > 0) else min(limits)
