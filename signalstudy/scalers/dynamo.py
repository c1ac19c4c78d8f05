"""NVIDIA Dynamo planner, as a DynamoGraphDeploymentRequest: its own load thresholds, or a refusal.

The planner scales prefill on queued prompt tokens per worker and decode on KV-cache occupancy. A
policy on other signals holds no evidence about those, and a guess would be one more guessed number.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from signalstudy.scalers.dynamo_planner import OCCUPANCY, QUEUE, decide_planner
from signalstudy.scalers.manifest import (
    Manifest,
    decision,
    manifest_yaml,
    read_manifest,
)
from signalstudy.scalers.plan import plan
from signalstudy.scalers.said import what_is_left_out
from signalstudy.vocabulary.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalstudy.policy.policy import Policy
    from signalstudy.policy.state import Decision, Observation, PoolStep, State
    from signalstudy.scalers.plan import Plan, PoolPlan

WANTED = {"prefill": (QUEUE, "total"), "decode": (OCCUPANCY, "intensive")}
MODEL = "your/model"
WARNINGS = (
    f"model {MODEL} and image are yours to set.",
    "advisory: true only reports what the planner would do; watch it, then remove it.",
    "The planner block is passed on without validation: a misspelt key is silently ignored.",
)
APPROXIMATION = (
    "APPROXIMATED: thresholds stand at target x (1 + tolerance) and target x (1 - tolerance); the "
    "planner moves one worker at a time between them, so that step limits, cool-downs and the "
    "target itself are not in it. max_gpu_budget bounds both pools together."
)


def write(policy: Policy) -> str:
    """Write a request whose planner scales on load, or say which threshold is not known."""
    whole = plan(policy)
    pools = {pool.pool: pool for pool in whole.pools}
    lacking = [
        f"{pool}.{signal} (the policy "
        + (f"follows {pools[pool].key} there)" if pool in pools else "has no such pool)")
        for pool, (signal, _) in WANTED.items()
        if pool not in pools or pools[pool].key != f"{pool}.{signal}"
    ]
    if lacking:
        raise ExportError(
            "dynamo's planner takes four thresholds, on queued prompt tokens per prefill worker "
            f"and on KV-cache occupancy of decode. There is no evidence for {'; '.join(lacking)}. "
            "Fit thresholds on those signals; or let KEDA or an HPA scale the "
            "DynamoGraphDeploymentScalingAdapters."
        )
    sentences = [
        *WARNINGS,
        *what_is_left_out(whole, names_objects=False),
        APPROXIMATION,
    ]
    return manifest_yaml(whole, "Dynamo planner", sentences, [_object(whole, pools)])


def read(text: str, place: str = "the manifest") -> Manifest:
    """Read DynamoGraphDeploymentRequests."""
    return read_manifest(text, "dynamo", place)


def decide(manifest: Manifest, state: State, observation: Observation) -> Decision:
    """Say what the planner would ask for."""
    steps: dict[str, PoolStep] = {}
    for document in manifest.documents:
        steps |= decide_planner(document, state, observation)
    return decision(steps)


def _object(whole: Plan, pools: Mapping[str, PoolPlan]) -> dict[str, Any]:
    rules = whole.rules
    up, down = 1.0 + rules.scale_out_tolerance, 1.0 - rules.scale_in_tolerance
    queue, occupancy = pools["prefill"].target, 100.0 * pools["decode"].target
    limits = {one["signal"]: 1000.0 * one["atMostSeconds"] for one in whole.objectives}
    gpus = sum(pool.rule.max_replicas * pool.gpus_per_replica for pool in pools.values())
    planner = {
        "mode": "disagg",
        "backend": "vllm",
        "environment": "kubernetes",
        "optimization_target": "load",
        "prefill_scale_up_queue_tokens": math.floor(queue * up),
        "prefill_scale_down_queue_tokens": math.floor(queue * down),
        "decode_scale_up_kv_rate": min(100.0, round(occupancy * up, 3)),
        "decode_scale_down_kv_rate": round(occupancy * down, 3),
        "min_endpoint": max(1, min(pool.rule.min_replicas for pool in pools.values())),
        "max_gpu_budget": gpus,
        "min_gpu_budget": -1,
        "advisory": True,
    }
    sla = {
        key: limits[signal]
        for key, signal in (("ttft", "ttft"), ("itl", "tbt"))
        if signal in limits
    }
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeploymentRequest",
        "metadata": {"name": whole.name},
        "spec": {
            "model": MODEL,
            "backend": "vllm",
            **({"sla": sla} if sla else {}),
            "features": {"planner": planner},
        },
    }
