"""What a policy, an HPA and a ScaledObject have in common: metrics, targets, bounds, motion."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from signalstudy.policy.rules import compile_policy
from signalstudy.scalers.hpa import DEFAULT_SCALE_DOWN, DEFAULT_SCALE_UP, DEFAULT_TOLERANCE_RATIO
from signalstudy.scalers.manifest import POOL_LABEL, quantity_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalstudy.policy.policy import Policy

Division = Literal["total", "replicas", "pods", "formula"]
"""What the target divides: a total; a value that multiplies replicas, of a query or as the mean
over pods that the scaler takes itself; or it asks for replicas."""
POOLS = ("prefill", "decode", "unified")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric that sizes a fleet. `query` is "" where the file does not hold it."""

    where: str
    name: str
    query: str
    division: Division
    target: float


@dataclass(frozen=True, slots=True)
class Motion:
    """How far and how fast one way. `steps`: (is percent, value, period in seconds)."""

    tolerance_ratio: float
    window_seconds: float
    steps: tuple[tuple[bool, float, float], ...]


@dataclass(frozen=True, slots=True)
class Sized:
    """One fleet and what sizes it. `formula` and `values` only where a formula does.

    `scales`: namespace, kind, name and role of what a manifest scales, () for a policy.
    """

    where: str
    pool: str
    least: int
    most: int
    metrics: tuple[Metric, ...]
    out: Motion
    into: Motion
    formula: str = ""
    values: tuple[Metric, ...] = ()
    scales: tuple[str, ...] = ()


def of_hpa(document: Mapping[str, Any], where: str) -> Sized:
    """Take a HorizontalPodAutoscaler that its schema has passed."""
    spec, metrics = document["spec"], []
    behavior = spec.get("behavior") or {}
    for number, metric in enumerate(spec.get("metrics", [])):
        kind = metric["type"]
        source = metric.get(kind[0].lower() + kind[1:], {})
        target = source.get("target", {})
        is_whole = kind in ("External", "Object")
        is_total = target.get("type") == "AverageValue" and is_whole
        value = target.get("averageValue", target.get("value", target.get("averageUtilization")))
        metrics.append(
            Metric(
                f"{where} spec.metrics[{number}]",
                str(source.get("metric", source).get("name", kind)),
                "",
                "total" if is_total else "replicas" if is_whole else "pods",
                quantity_value(value),
            )
        )
    return Sized(
        where=where,
        pool=pool_named(document, spec["scaleTargetRef"].get("name", "")),
        least=spec.get("minReplicas", 1),
        most=spec["maxReplicas"],
        metrics=tuple(metrics),
        out=_motion(DEFAULT_SCALE_UP, behavior.get("scaleUp")),
        into=_motion(DEFAULT_SCALE_DOWN, behavior.get("scaleDown")),
        scales=what_is_scaled(document, spec["scaleTargetRef"]),
    )


def of_keda(document: Mapping[str, Any], where: str) -> Sized:
    """Take a ScaledObject that its schema has passed."""
    spec = document["spec"]
    advanced = spec.get("advanced") or {}
    modifiers = advanced.get("scalingModifiers") or {}
    metrics = []
    for number, trigger in enumerate(spec["triggers"]):
        if trigger["type"] != "prometheus":
            continue
        is_total = trigger.get("metricType", "AverageValue") == "AverageValue"
        division: Division = "formula" if modifiers else "total" if is_total else "replicas"
        said = trigger["metadata"]
        metrics.append(
            Metric(
                f"{where} spec.triggers[{number}]",
                str(trigger.get("name") or f"s{number}"),
                str(said["query"]),
                division,
                quantity_value(said["threshold"]),
            )
        )
    behavior = (advanced.get("horizontalPodAutoscalerConfig") or {}).get("behavior") or {}
    return Sized(
        where=where,
        pool=pool_named(document, spec["scaleTargetRef"].get("name", "")),
        least=spec.get("minReplicaCount", 0),
        most=spec.get("maxReplicaCount", 100),
        metrics=tuple(metrics),
        formula=str(modifiers.get("formula", "")),
        values=tuple(metrics) if modifiers else (),
        out=_motion(DEFAULT_SCALE_UP, behavior.get("scaleUp")),
        into=_motion(DEFAULT_SCALE_DOWN, behavior.get("scaleDown")),
        scales=what_is_scaled(document, spec["scaleTargetRef"]),
    )


def of_policy(policy: Policy, where: str) -> list[Sized]:
    """Take the pools of a policy that follow a signal of their own."""
    spec, rules = policy.document["spec"], compile_policy(policy)
    found = []
    for rule in rules.pools:
        if rule.signal is None:
            continue
        own = spec["pools"][rule.pool].get("signal")
        path = f"{where} spec.pools.{rule.pool}.signal" if own else f"{where} spec.signal"
        said = own or spec["signal"]
        found.append(
            Sized(
                where=f"{where} spec.pools.{rule.pool}",
                pool=rule.pool,
                least=rule.min_replicas,
                most=rule.max_replicas,
                metrics=(
                    Metric(
                        path,
                        said["name"],
                        said.get("promql", ""),
                        "total" if rule.signal.is_total else "replicas",
                        rule.signal.target_per_replica,
                    ),
                ),
                out=Motion(
                    rules.scale_out_tolerance,
                    0.0,
                    ((True, 100.0 * rule.scale_out_step_ratio, rule.scale_out_cooldown_seconds),),
                ),
                into=Motion(
                    rules.scale_in_tolerance,
                    rule.scale_in_cooldown_seconds,
                    ((True, 100.0 * rule.scale_in_step_ratio, rule.scale_in_cooldown_seconds),),
                ),
            )
        )
    return found


def what_is_scaled(
    document: Mapping[str, Any], ref: Mapping[str, Any], role: str = ""
) -> tuple[str, ...]:
    """Name what an object scales, so that two that scale the same are noticed."""
    namespace = str(document["metadata"].get("namespace", ""))
    return namespace, str(ref.get("kind", "Deployment")), str(ref.get("name", "")), role


def pool_named(document: Mapping[str, Any], target: str) -> str:
    """Tell the pool from our label, else from the words of the names, else ""."""
    labels = document.get("metadata", {}).get("labels") or {}
    if labels.get(POOL_LABEL):
        return str(labels[POOL_LABEL])
    words = re.split(r"[^a-z]+", f"{target} {document['metadata'].get('name', '')}".lower())
    return next((pool for pool in POOLS if pool in words), "")


def _motion(default: Mapping[str, Any], given: Mapping[str, Any] | None) -> Motion:
    said = {**default, **(given or {})}
    tolerance = quantity_value(said.get("tolerance", DEFAULT_TOLERANCE_RATIO))
    steps = tuple(
        (one["type"] == "Percent", float(one["value"]), float(one["periodSeconds"]))
        for one in said["policies"]
    )
    return Motion(
        DEFAULT_TOLERANCE_RATIO if math.isnan(tolerance) else tolerance,
        float(said["stabilizationWindowSeconds"]),
        () if said["selectPolicy"] == "Disabled" else steps,
    )
