"""KEDA ScaledObject, 2.21: one per pool, latency guards in a formula.

Without guards a trigger is a plain target and KEDA hands it to an HPA. With guards the formula
gives the wanted replicas itself (target 1): the tolerance stands inside it, since the HPA's own
would swallow a guard's first step, and the HPA keeps steps, windows and bounds.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from signalstudy.scalers.formula import evaluate, names
from signalstudy.scalers.hpa import behavior, hpa_step
from signalstudy.scalers.keda_activity import fallback_replicas, held_to_activity, is_active
from signalstudy.scalers.manifest import (
    Manifest,
    current_replicas,
    decision,
    manifest_yaml,
    metadata,
    plain_number,
    pool_of,
    read_manifest,
    reading,
)
from signalstudy.scalers.plan import need_queries, need_totals, object_name, plan
from signalstudy.scalers.said import FLOORS, GUARDS, what_is_left_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from signalstudy.policy.policy import Policy
    from signalstudy.policy.rules import FloorRule
    from signalstudy.policy.state import Decision, Observation, PoolStep, State
    from signalstudy.scalers.plan import Plan, PoolPlan

SERVER = "http://prometheus:9090"
REPLICAS = "replicas"
"""The trigger that tells a formula how many replicas there are."""
DEFAULT_MOST = 100


def write(policy: Policy) -> str:
    """Write one ScaledObject per pool."""
    whole = plan(policy)
    need_queries([*whole.pools, *whole.guards], "keda")
    need_totals(whole, "keda")
    sentences = [
        f"serverAddress {SERVER} is an example: put your Prometheus in.",
        *what_is_left_out(whole, can={GUARDS, FLOORS}),
        *_approximations(whole),
    ]
    documents = [_object(whole, pool) for pool in whole.pools]
    return manifest_yaml(whole, "KEDA ScaledObjects", sentences, documents)


def read(text: str, place: str = "the manifest") -> Manifest:
    """Read ScaledObjects."""
    return read_manifest(text, "keda", place)


def decide(manifest: Manifest, state: State, observation: Observation) -> Decision:
    """Say what KEDA and the HPA it drives would ask for."""
    return decision(
        {
            pool_of(document, document["spec"]["scaleTargetRef"]): _step(
                document, state, observation
            )
            for document in manifest.documents
        }
    )


def replicas_query(whole: Plan, pool: PoolPlan) -> str:
    """Give the query of a pool's wanted replicas; of the HPA that KEDA makes where no better."""
    if pool.replicas_query:
        return pool.replicas_query
    namespace = pool.target_ref.get("namespace")
    matchers = f'horizontalpodautoscaler="{object_name(whole, pool)}"'
    if namespace:
        matchers = f"namespace={json.dumps(namespace)},{matchers}"
    return f"max(kube_horizontalpodautoscaler_status_desired_replicas{{{matchers}}})"


def formula(whole: Plan, pool: PoolPlan) -> str:
    """Write the decision of the policy: tolerance, and beside it what a breached guard asks for.

    A guard of another pool asks for what there is: it forbids the scale-in and no more.
    """
    rules = whole.rules
    shares = [f"{one.name} / {plain_number(one.target)}" for one in pool.metrics]
    asks = shares[0] if len(shares) == 1 else f"max({', '.join(shares)})"
    asks = asks if pool.is_total else f"{REPLICAS} * {asks}"
    out = f"{asks} > {REPLICAS} * {plain_number(1.0 + rules.scale_out_tolerance)}"
    into = f"{asks} < {REPLICAS} * {plain_number(1.0 - rules.scale_in_tolerance)}"
    tiers = [
        (1.0 + ratio if guard.pool == pool.pool else 1.0, guard.name, above)
        for guard in whole.guards
        for above, ratio in (guard.tiers if guard.pool == pool.pool else guard.tiers[:1])
    ]
    guarded = "0.0"  # a float like the others: expr wants one type
    for factor, name, above in sorted(tiers):
        raised = REPLICAS if factor == 1.0 else f"{REPLICAS} * {plain_number(factor)}"
        guarded = f"{name} > {plain_number(above)} ? {raised} : {guarded}"
    return f"max({out} || {into} ? {asks} : {REPLICAS}, {guarded})"


def _object(whole: Plan, pool: PoolPlan) -> dict[str, Any]:
    namespace, rule, rules = pool.target_ref.get("namespace"), pool.rule, whole.rules
    by_formula = bool(whole.guards)
    triggers = [
        _trigger(
            one.name,
            one.query,
            "1" if by_formula else plain_number(one.target),
            is_total=by_formula or pool.is_total,
        )
        for one in pool.metrics
    ]
    modifiers: dict[str, Any] = {}
    if by_formula:
        triggers += [_trigger(guard.name, guard.query, "1") for guard in whole.guards]
        triggers.append(_trigger(REPLICAS, replicas_query(whole, pool), "1"))
        text = formula(whole, pool)
        modifiers = {"target": "1", "metricType": "AverageValue", "formula": text}
    floors = [floor for floor in rules.floors if floor.replicas.get(pool.pool, 0) > 0]
    schedule = [cron for i, floor in enumerate(floors) for cron in _crons(pool.pool, floor, i)]
    if by_formula and schedule:
        # a cron trigger is worth its replicas within its window and 1 outside
        modifiers["formula"] = (
            f"max({', '.join(c['name'] for c in schedule)}, {modifiers['formula']})"
        )
    tolerances = (0.0, 0.0) if by_formula else (rules.scale_out_tolerance, rules.scale_in_tolerance)
    steps = behavior(pool, out_tolerance=tolerances[0], in_tolerance=tolerances[1])
    advanced: dict[str, Any] = {
        "restoreToOriginalReplicaCount": False,
        "horizontalPodAutoscalerConfig": {"name": object_name(whole, pool), "behavior": steps},
    }
    spec = {
        "scaleTargetRef": {key: pool.target_ref[key] for key in ("apiVersion", "kind", "name")},
        "minReplicaCount": rule.min_replicas,
        "maxReplicaCount": rule.max_replicas,
        "fallback": {
            "failureThreshold": 3,
            "replicas": max(1, rule.min_replicas),
            "behavior": "currentReplicas",
        },
        "advanced": advanced | ({"scalingModifiers": modifiers} if modifiers else {}),
        "triggers": triggers + schedule,
    }
    if not (by_formula or pool.is_total):
        del spec["fallback"]  # it knows AverageValue only
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata(whole, object_name(whole, pool), pool.pool, namespace),
        "spec": spec,
    }


def _trigger(name: str, query: str, threshold: str, *, is_total: bool = True) -> dict[str, Any]:
    return {
        "type": "prometheus",
        "name": name,
        "metricType": "AverageValue" if is_total else "Value",
        "metadata": {
            "serverAddress": SERVER,
            "threshold": threshold,
            "ignoreNullValues": "false",
            "query": query,
        },
    }


def _crons(pool: str, floor: FloorRule, number: int) -> Iterable[dict[str, Any]]:
    """Give a floor as cron triggers, whose weekdays count from Sunday."""
    runs_past_midnight = floor.from_seconds >= floor.to_seconds
    for day in sorted(floor.weekdays):
        first = (day + 1) % 7
        last = (first + 1) % 7 if runs_past_midnight else first
        yield {
            "type": "cron",
            "name": f"floor{number}_{day}",
            "metadata": {
                "timezone": "Etc/UTC",
                "start": _cron_time(floor.from_seconds, first),
                "end": _cron_time(floor.to_seconds, last),
                "desiredReplicas": str(floor.replicas[pool]),
            },
        }


def _cron_time(second: float, weekday: int) -> str:
    return f"{int(second % 3600) // 60} {int(second) // 3600} * * {weekday}"


def _approximations(whole: Plan) -> Iterable[str]:
    yield (
        "The HPA behind it has no cool-down: a scale-out cool-down became the period of the step "
        "policy, so that a guard that stays breached raises again at each evaluation, up to that "
        "limit; a scale-in cool-down became the stabilization window as well."
    )
    if whole.guards:
        yield (
            "The formula holds tolerance and guards, so the HPA's own tolerance is set to 0: that "
            "needs HPAConfigurableTolerance (on since Kubernetes 1.34). An older cluster swallows "
            "any step of a guard up to 10 %."
        )
        unknown = [pool.pool for pool in whole.pools if not pool.replicas_query]
        if unknown:
            yield (
                f"replicas of {', '.join(unknown)} are read from the HPA that KEDA makes; a better "
                "query is --query POOL.replicas=PROMQL."
            )
    else:
        yield (
            "tolerance needs HPAConfigurableTolerance (on since Kubernetes 1.34); an older cluster "
            "uses its own 10 % both ways."
        )
    yield (
        "A query that fails, of a guard as well, holds the replicas in both directions (fallback "
        "currentReplicas) while the object looks Ready: alert on keda_scaler_errors_total. "
        "ignoreNullValues stays false, or an outage would read as no demand. pollingInterval and "
        "cooldownPeriod do nothing here and are left out."
    )
    if whole.rules.floors:
        yield "APPROXIMATED: a periodic floor is reached in the steps of behavior, not at once."


def _step(document: Mapping[str, Any], state: State, observation: Observation) -> PoolStep:
    spec = document["spec"]
    pool = pool_of(document, spec["scaleTargetRef"])
    current = current_replicas(state, pool)
    advanced = spec.get("advanced") or {}
    modifiers = advanced.get("scalingModifiers") or {}
    values = {
        name: _value(trigger, name, document, observation, current)
        for i, trigger in enumerate(spec["triggers"])
        for name in [str(trigger.get("name") or f"s{i}")]
    }
    failed = any(math.isnan(value) for value in values.values())
    spare = fallback_replicas(spec, pool, state, current) if failed else math.nan
    composite = _composite(modifiers, values) if modifiers.get("formula") else math.nan
    if modifiers.get("formula"):
        shares = [_composite_share(modifiers, composite, current)]
    else:
        shares = [
            _plain_share(trigger, value, current)
            for trigger, value in zip(spec["triggers"], values.values(), strict=True)
        ]
    if current:
        shares = [spare / current if math.isnan(share) else share for share in shares]
    step = hpa_step(
        shares,
        pool,
        state,
        least=max(1, spec.get("minReplicaCount", 0)),
        most=spec.get("maxReplicaCount", DEFAULT_MOST),
        behavior=(advanced.get("horizontalPodAutoscalerConfig") or {}).get("behavior") or {},
    )
    active = is_active(spec, values, composite)
    return held_to_activity(step, spec, pool, state, active=active, failed=failed)


def _value(
    trigger: Mapping[str, Any],
    name: str,
    document: Mapping[str, Any],
    observation: Observation,
    current: int,
) -> float:
    """Give what a trigger says: a name stands for its signal, `replicas` for what there is."""
    seen = reading(observation, name, document)
    if math.isnan(seen) and name == REPLICAS:
        return float(current)
    if math.isnan(seen) and trigger["type"] == "cron":
        return 1.0  # outside its window; who replays a schedule gives its value
    return seen


def _composite(modifiers: Mapping[str, Any], values: Mapping[str, float]) -> float:
    text = str(modifiers["formula"])
    if any(math.isnan(values.get(name, math.nan)) for name in names(text)):
        return math.nan
    return evaluate(text, values)


def _composite_share(modifiers: Mapping[str, Any], result: float, current: int) -> float:
    target = float(modifiers.get("target", 1))
    is_value = modifiers.get("metricType") == "Value"
    return result / target if is_value else result / (target * current) if current else math.nan


def _plain_share(trigger: Mapping[str, Any], value: float, current: int) -> float:
    said = trigger["metadata"]
    if trigger["type"] in ("cpu", "memory"):
        is_share = trigger.get("metricType", said.get("type")) == "Utilization"
        return 100.0 * value / float(said["value"]) if is_share else value / float(said["value"])
    target = float(said.get("threshold") or said.get("desiredReplicas") or "nan")
    if trigger["type"] == "cron":
        target = 1.0
    if trigger.get("metricType") == "Value":
        return value / target
    return value / (target * current) if current else math.nan
