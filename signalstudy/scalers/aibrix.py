"""AIBrix PodAutoscaler: one per pool, the signal through external.metrics.k8s.io.

A total is divided by the target (KPA); an intensive signal multiplies the replicas (APA). AIBrix
has no PromQL source, so the rules of an external-metrics adapter come along.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from signalstudy.scalers.aibrix_strategies import DAYS, PREFIX, decide_pool
from signalstudy.scalers.hpa import adapter_rules, metric_name
from signalstudy.scalers.manifest import (
    Manifest,
    decision,
    manifest_yaml,
    metadata,
    plain_number,
    pool_of,
    read_manifest,
    seconds_text,
)
from signalstudy.scalers.plan import need_queries, need_totals, object_name, plan
from signalstudy.scalers.said import FLOORS, what_is_left_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from signalstudy.policy.policy import Policy
    from signalstudy.policy.rules import FloorRule
    from signalstudy.policy.state import Decision, Observation, State
    from signalstudy.scalers.plan import Plan, PoolPlan

ADAPTER = (
    "AIBrix reads no PromQL: the ConfigMap at the end holds what prometheus-adapter needs to "
    "serve the external metrics; merge its externalRules into your adapter's configuration."
)
OBSERVE_SECONDS = 30
"""Short, and the same for panic: the query has averaged already."""
WITHOUT_LIMIT = 1e6
DAY_SECONDS = 86400.0
LAST_MINUTE_SECONDS = DAY_SECONDS - 60.0


def write(policy: Policy) -> str:
    """Write one PodAutoscaler per pool, and the rules of the metrics they read."""
    whole = plan(policy)
    need_queries(whole.pools, "aibrix")
    need_totals(whole, "aibrix")
    sentences = [
        ADAPTER,
        *what_is_left_out(whole, can={FLOORS}),
        *_approximations(whole),
    ]
    documents = [_object(whole, pool) for pool in whole.pools]
    return manifest_yaml(
        whole, "AIBrix PodAutoscalers", sentences, [*documents, adapter_rules(whole)]
    )


def read(text: str, place: str = "the manifest") -> Manifest:
    """Read PodAutoscalers."""
    return read_manifest(text, "aibrix", place)


def decide(manifest: Manifest, state: State, observation: Observation) -> Decision:
    """Say what AIBrix would ask for."""
    steps = {}
    for document in manifest.documents:
        ref = document["spec"]["scaleTargetRef"]
        pool = pool_of(document, ref)
        steps[pool] = decide_pool(document, pool, state, observation)
    return decision(steps)


def _object(whole: Plan, pool: PoolPlan) -> dict[str, Any]:
    ref, rule, rules = pool.target_ref, pool.rule, whole.rules
    made = metadata(whole, object_name(whole, pool), pool.pool, ref.get("namespace"))
    made["annotations"] = {
        f"{PREFIX}max-scale-up-rate": plain_number(1.0 + rule.scale_out_step_ratio),
        f"{PREFIX}max-scale-down-rate": _shrink_rate(rule.scale_in_step_ratio),
        f"{PREFIX}scale-up-tolerance": plain_number(rules.scale_out_tolerance),
        f"{PREFIX}scale-down-tolerance": plain_number(rules.scale_in_tolerance),
        f"{PREFIX}scale-up-cooldown-window": "0s",
        f"{PREFIX}scale-down-cooldown-window": seconds_text(rule.scale_in_cooldown_seconds),
        f"{PREFIX}scale-to-zero": "true" if rule.min_replicas == 0 else "false",
    }
    spec: dict[str, Any] = {
        "scaleTargetRef": {key: ref[key] for key in ("apiVersion", "kind", "name")}
    }
    if ref["kind"] == "StormService":
        made["annotations"][f"{PREFIX}storm-service-mode"] = "pool"
        spec["subTargetSelector"] = {"roleName": pool.pool}
    spec |= {
        "minReplicas": rule.min_replicas,
        "maxReplicas": rule.max_replicas,
        "scalingStrategy": "KPA" if pool.is_total else "APA",
        "observeWindowSeconds": OBSERVE_SECONDS,
        "panicWindowSeconds": OBSERVE_SECONDS,
    }
    schedules = _schedules(pool, whole.rules.floors)
    if schedules:
        spec["schedules"] = schedules
    spec["metricsSources"] = [
        {
            "metricSourceType": "external",
            "targetMetric": metric_name(whole, one),
            "targetValue": plain_number(one.target),
        }
        for one in pool.metrics
    ]
    return {
        "apiVersion": "autoscaling.aibrix.ai/v1alpha1",
        "kind": "PodAutoscaler",
        "metadata": made,
        "spec": spec,
    }


def _shrink_rate(step_ratio: float) -> str:
    """Give r of floor(n / r), the least replicas after a step; downwards, so n / r is enough."""
    rate = WITHOUT_LIMIT if step_ratio >= 1.0 else 1.0 / (1.0 - step_ratio)
    return f"{math.floor(rate * 1e9) / 1e9:.9f}".rstrip("0").rstrip(".")


def _schedules(pool: PoolPlan, floors: Sequence[FloorRule]) -> list[dict[str, Any]]:
    """Cut the floors into windows within a day that do not overlap, the highest floor in each."""
    found: dict[tuple[float, float, int], list[str]] = {}
    for day, name in enumerate(DAYS):
        spans = [
            (start, end, min(floor.replicas.get(pool.pool, 0), pool.rule.max_replicas))
            for floor in floors
            for start, end in _spans(floor, day)
        ]
        edges = sorted({edge for start, end, _ in spans for edge in (start, end)})
        for start, end in pairwise(edges):
            most = max((n for a, b, n in spans if a <= start and end <= b), default=0)
            if most > pool.rule.min_replicas:
                found.setdefault((start, end, most), []).append(name)
    return [
        {
            "name": f"floor-{number}",
            "timezone": "UTC",
            "daysOfWeek": days,
            "startTime": _clock(start),
            "endTime": _clock(min(end, LAST_MINUTE_SECONDS)),
            "minReplicas": most,
            "maxReplicas": pool.rule.max_replicas,
        }
        for number, ((start, end, most), days) in enumerate(sorted(found.items()))
    ]


def _spans(floor: FloorRule, day: int) -> list[tuple[float, float]]:
    """Give when a floor holds on one day, as seconds of that day."""
    if floor.from_seconds < floor.to_seconds:
        return [(floor.from_seconds, floor.to_seconds)] if day in floor.weekdays else []
    evening = [(floor.from_seconds, DAY_SECONDS)] if day in floor.weekdays else []
    morning = [(0.0, floor.to_seconds)] if (day - 1) % 7 in floor.weekdays else []
    return evening + [span for span in morning if span[1] > 0.0]


def _clock(second: float) -> str:
    return f"{int(second) // 3600:02d}:{int(second) % 3600 // 60:02d}"


def _approximations(whole: Plan) -> Iterable[str]:
    yield (
        "NOT EXPRESSED: the scale-out cool-down. AIBrix's scale-up-cooldown-window is a "
        "stabilization window that would delay every scale-out by that long; max-scale-up-rate "
        "limits the step instead."
    )
    yield (
        "AIBrix up to September 2026 took the most eager recommendation of a cool-down window, not "
        "the calmest (vllm-project/aibrix 2821), so that a scale-in waited for nothing there."
    )
    if any(not pool.is_total for pool in whole.pools):
        yield "APA with an external metric is not checked against a live AIBrix."
    if any(pool.target_ref["kind"] == "StormService" for pool in whole.pools):
        yield "subTargetSelector names the role after the pool: correct it if your roles differ."
    if whole.rules.floors:
        yield (
            "APPROXIMATED: periodic floors that run past midnight or overlap are cut into windows "
            "of one day, which end at 23:59."
        )
