"""NVIDIA Dynamo planner, as a DynamoGraphDeploymentRequest: its own load thresholds, or a refusal.

The planner scales prefill on queued prompt tokens per worker and decode on KV-cache occupancy. A
policy on other signals carries what these come to at its targets as evidence, where the data tell;
where they do not, a guess would be one more guessed number.
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
from signalstudy.scalers.said import RATIO, what_is_left_out
from signalstudy.threshold.planner import CACHE_DOWN, CACHE_UP, QUEUE_DOWN, QUEUE_UP
from signalstudy.vocabulary.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalstudy.policy.policy import Policy
    from signalstudy.policy.state import Decision, Observation, PoolStep, State
    from signalstudy.scalers.plan import Plan, PoolPlan

MODEL = "your/model"
WARNINGS = (
    f"model {MODEL} and image are yours to set.",
    "advisory: true only reports what the planner would do; watch it, then remove it.",
    "The planner block is passed on without validation: a misspelt key is silently ignored.",
)
BY_TARGETS = (
    "APPROXIMATED: thresholds stand at target x (1 + tolerance) and target x (1 - tolerance); the "
    "planner moves one worker at a time between them, so that step limits, cool-downs and the "
    "target itself are not in it. max_gpu_budget bounds both pools together."
)
BY_EVIDENCE = (
    "APPROXIMATED: the planner does not follow this policy's signal. Its thresholds are what its "
    "own signals come to at the policy's targets, as the evidence of the policy says; it moves one "
    "worker at a time, so that step limits and cool-downs are not in it. max_gpu_budget bounds all "
    "pools together."
)
ALONE = (
    "NOT EXPRESSED: the ratio and its band, and bounds by pool: each pool moves on its own "
    "thresholds, and min_endpoint holds for both."
)
THRESHOLDS = {
    "prefill_scale_up_queue_tokens": ("prefill", QUEUE, QUEUE_UP),
    "prefill_scale_down_queue_tokens": ("prefill", QUEUE, QUEUE_DOWN),
    "decode_scale_up_kv_rate": ("decode", OCCUPANCY, CACHE_UP),
    "decode_scale_down_kv_rate": ("decode", OCCUPANCY, CACHE_DOWN),
}
"""The planner's keys: the pool, its signal, and the name of the number in a policy's evidence."""


def write(policy: Policy) -> str:
    """Write a request whose planner scales on load, or say which threshold is not known."""
    whole = plan(policy)
    pools = {pool.pool: pool for pool in whole.pools}
    is_own = all(
        pool in pools and pools[pool].key == f"{pool}.{signal}"
        for pool, signal, _ in THRESHOLDS.values()
    )
    found = _own(whole, pools) if is_own else _told(policy, pools)
    sentences = [
        *WARNINGS,
        *what_is_left_out(whole, can={RATIO}, names_objects=False),
        BY_TARGETS if is_own else BY_EVIDENCE,
        *([ALONE] if len(whole.pools) > 1 else []),
    ]
    if not is_own:
        sentences += [f"{key}: {how}" for key, (_, how) in found.items() if how]
    values = _without_return({key: value for key, (value, _) in found.items()}, _fewest(pools))
    return manifest_yaml(whole, "Dynamo planner", sentences, [_object(whole, pools, values)])


def _own(whole: Plan, pools: Mapping[str, PoolPlan]) -> dict[str, tuple[float, str]]:
    """Give thresholds around the targets of a policy on the planner's own signals."""
    out, into = 1.0 + whole.rules.scale_out_tolerance, 1.0 - whole.rules.scale_in_tolerance
    return {
        key: (_in_its_unit(key, pools[pool].target * (out if "_up_" in key else into)), "")
        for key, (pool, _, _) in THRESHOLDS.items()
    }


def _told(policy: Policy, pools: Mapping[str, PoolPlan]) -> dict[str, tuple[float, str]]:
    """Take the thresholds from the evidence; ExportError says which is not there, and why."""
    told = {one["number"]: one for one in policy.document["spec"].get("evidence", [])}
    found, lacking = {}, []
    for key, (pool, _, number) in THRESHOLDS.items():
        if pool not in pools and not (pool == "decode" and "unified" in pools):
            continue
        entry = told.get(number, {})
        if entry.get("value") is None:
            why = entry.get("note") or "it was drafted without"
            lacking.append(f"{key} ({why.rstrip('.')})")
        else:
            found[key] = (_in_its_unit(key, float(entry["value"])), entry.get("method", ""))
    if lacking:
        raise ExportError(
            "dynamo's planner takes thresholds on queued prompt tokens per prefill worker and on "
            f"KV-cache occupancy of decode. There is no evidence in the policy for "
            f"{'; '.join(lacking)}. Run the study on data that hold prefill's TTFT and "
            f"{OCCUPANCY}; or let KEDA or an HPA scale the DynamoGraphDeploymentScalingAdapters."
        )
    return found


def _fewest(pools: Mapping[str, PoolPlan]) -> int:
    return max(1, min(pool.rule.min_replicas for pool in pools.values()))


def _without_return(thresholds: Mapping[str, float], fewest: int) -> dict[str, float]:
    """Lower the scale-in of decode where those left would scale out at once, rounding included.

    The planner scales out at its threshold, not above it: of fewest + 1 workers at `down`, fewest
    are left, at down (fewest + 1) / fewest.
    """
    up, down = "decode_scale_up_kv_rate", "decode_scale_down_kv_rate"
    if up not in thresholds or down not in thresholds:
        return dict(thresholds)
    limit = thresholds[up] * fewest / (fewest + 1)
    below = (math.ceil(1000.0 * limit - 1e-6) - 1) / 1000.0
    return {**thresholds, down: min(thresholds[down], below)}


def _in_its_unit(key: str, value: float) -> float:
    """Give whole tokens, or percent of the cache."""
    return float(math.floor(value)) if "queue" in key else min(100.0, round(100.0 * value, 3))


def read(text: str, place: str = "the manifest") -> Manifest:
    """Read DynamoGraphDeploymentRequests."""
    return read_manifest(text, "dynamo", place)


def decide(manifest: Manifest, state: State, observation: Observation) -> Decision:
    """Say what the planner would ask for."""
    steps: dict[str, PoolStep] = {}
    for document in manifest.documents:
        steps |= decide_planner(document, state, observation)
    return decision(steps)


def _object(
    whole: Plan, pools: Mapping[str, PoolPlan], thresholds: Mapping[str, float]
) -> dict[str, Any]:
    limits = {one["signal"]: 1000.0 * one["atMostSeconds"] for one in whole.objectives}
    engines = {
        f"{'prefill' if pool.pool == 'prefill' else 'decode'}_engine_num_gpu": pool.gpus_per_replica
        for pool in pools.values()
    }
    planner = {
        "mode": _mode(pools),
        "backend": "vllm",
        "environment": "kubernetes",
        "optimization_target": "load",
        **{key: int(value) if "queue" in key else value for key, value in thresholds.items()},
        "min_endpoint": _fewest(pools),
        **engines,
        "max_gpu_budget": sum(
            pool.rule.max_replicas * pool.gpus_per_replica for pool in pools.values()
        ),
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


def _mode(pools: Mapping[str, PoolPlan]) -> str:
    """Name the planner's mode by the pools that it is to scale."""
    if len(pools) > 1:
        return "disagg"
    only = next(iter(pools))
    return "agg" if only == "unified" else only
