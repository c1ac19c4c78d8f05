"""Policies to export, one for each thing that a scaler may or may not be able to say."""

from __future__ import annotations

import copy
from typing import Any

from signalstudy.policy.policy import Policy
from signalstudy.policy.schema import validate_policy
from tests.policy.documents import document, pool, target

TOKENS_QUERY = 'sum(rate(vllm:generation_tokens_total{job="vllm-decode",service="chat"}[1m]))'
PROMPT_QUERY = 'sum(rate(vllm:prompt_tokens_total{job="vllm-prefill"}[1m]))'
TBT_QUERY = (
    "histogram_quantile(0.99, sum by (le) "
    '(rate(vllm:time_per_output_token_seconds_bucket{job="vllm-decode"}[1m])))'
)
TTFT_QUERY = (
    "histogram_quantile(0.99, sum by (le) "
    '(rate(vllm:time_to_first_token_seconds_bucket{job="gateway"}[1m])))'
)


def ref(name: str, kind: str = "Deployment", api_version: str = "apps/v1") -> dict[str, str]:
    return {"apiVersion": api_version, "kind": kind, "name": name, "namespace": "llm"}


def signal(name: str, query: str | None = None, kind: str = "total") -> dict[str, Any]:
    said = {"name": name, "kind": kind, "windowSeconds": 60}
    return said if query is None else {**said, "promql": query}


def guard(name: str, where: str, query: str | None, *tiers: tuple[float, float]) -> dict[str, Any]:
    return {
        "signal": name,
        "pool": where,
        "windowSeconds": 60,
        **({} if query is None else {"promql": query}),
        "tiers": [{"above": above, "scaleOutRatio": ratio} for above, ratio in tiers],
    }


GUARDS = [
    guard("ttft_p99_seconds", "prefill", TTFT_QUERY, (1.1, 0.1), (1.2, 0.2)),
    guard("tbt_p99_seconds", "decode", TBT_QUERY, (0.044, 0.1), (0.048, 0.2)),
]


def policy(spec: dict[str, Any] | None = None, **more: Any) -> Policy:
    """Give a joint P/D policy: 1890 tokens per second and decode replica, 1.29 prefill each."""
    whole = document(
        signal={**signal("decode_tokens_per_second", TOKENS_QUERY), "perReplicaOf": "decode"},
        proportional={
            "targetPerReplica": target(1890.0),
            "scaleOutTolerance": 0.1,
            "scaleInTolerance": 0.2,
        },
        ratio={"prefillPerDecode": 1.29, "min": 1.2, "max": 1.4},
        pools={
            "decode": pool(2, 40, 0.1, targetRef=ref("chat-decode"), gpusPerReplica=2),
            "prefill": pool(2, 52, 0.1, targetRef=ref("chat-prefill"), gpusPerReplica=2),
        },
    )
    whole["metadata"]["validUntil"] = "2026-02-11T08:30:00Z"
    for section in whole["spec"]["pools"].values():
        section["scaleOut"]["maxStepRatio"] = 1.0
        section["scaleIn"]["observationSeconds"] = 120
    whole["spec"] |= copy.deepcopy(spec or {}) | more
    validate_policy(whole, "test")
    return Policy("chat", whole)


def guarded(**more: Any) -> Policy:
    return policy(guards=copy.deepcopy(GUARDS), **more)


def two_signals(**more: Any) -> Policy:
    """Give each pool its own work, held to a band."""
    made = policy(**more)
    pools = made.document["spec"]["pools"]
    pools["decode"] |= {
        "signal": signal("decode_tokens_per_second", TOKENS_QUERY),
        "targetPerReplica": target(1890.0),
    }
    pools["prefill"] |= {
        "signal": signal("prefill_uncached_tokens_per_second", PROMPT_QUERY),
        "targetPerReplica": target(3100.0),
    }
    validate_policy(made.document, "test")
    return made


def unified(name: str, value: float, query: str | None, kind: str = "total") -> Policy:
    """Give one pool that follows one signal."""
    made = policy()
    spec = made.document["spec"]
    del spec["ratio"]
    spec["signal"] = {**signal(name, query, kind), "perReplicaOf": "unified"}
    spec["proportional"]["targetPerReplica"] = target(value)
    spec["pools"] = {"unified": {**spec["pools"]["decode"], "targetRef": ref("search")}}
    validate_policy(made.document, "test")
    return made


def of_the_planner() -> Policy:
    """Give each pool the signal that Dynamo's planner scales it on."""
    made = two_signals()
    pools = made.document["spec"]["pools"]
    pools["decode"] |= {
        "signal": signal("kv_cache_usage_ratio", None, "intensive"),
        "targetPerReplica": target(0.65),
    }
    pools["prefill"] |= {
        "signal": signal("inflight_tokens", None),
        "targetPerReplica": target(9000.0),
    }
    made.document["spec"]["signal"] = {
        **signal("kv_cache_usage_ratio", None, "intensive"),
        "perReplicaOf": "decode",
    }
    made.document["spec"]["proportional"]["targetPerReplica"] = target(0.65)
    made.document["spec"]["objectives"] = [
        {"signal": "ttft", "quantile": 0.99, "atMostSeconds": 1.0},
        {"signal": "tbt", "quantile": 0.99, "atMostSeconds": 0.04},
    ]
    validate_policy(made.document, "test")
    return made


FLOORS = [
    {"days": ["monday", "tuesday"], "from": "08:00", "to": "20:00", "replicas": {"decode": 6}},
    {"days": ["monday"], "from": "22:00", "to": "06:00", "replicas": {"decode": 4}},
]
