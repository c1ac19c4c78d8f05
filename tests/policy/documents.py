"""Small policy documents with round numbers, and the states and readings to try them on."""

from __future__ import annotations

from typing import Any

from signalstudy.policy.schema import validate_policy
from signalstudy.policy.state import Observation, Reading, State

TOKENS, TTFT, TBT = (
    "decode.decode_tokens_per_second",
    "prefill.ttft_p99_seconds",
    "decode.tbt_p99_seconds",
)
UNCACHED = "prefill.prefill_uncached_tokens_per_second"


def pool(least: int = 1, most: int = 100, step_in: float = 1.0, **more: Any) -> dict[str, Any]:
    return {
        "minReplicas": least,
        "maxReplicas": most,
        "scaleOut": {"cooldownSeconds": 180, "maxStepRatio": 10.0},
        "scaleIn": {"cooldownSeconds": 600, "maxStepRatio": step_in},
        **more,
    }


def target(value: float) -> dict[str, Any]:
    return {"value": value, "status": "ok"}


def document(**spec: Any) -> dict[str, Any]:
    """Give a P/D policy of 1000 tokens per second and decode replica, 1.5 prefill each."""
    whole = {
        "apiVersion": "signalstudy.dev/v1alpha1",
        "kind": "ScalingPolicy",
        "metadata": {"name": "chat", "service": "chat"},
        "spec": {
            "objectives": [],
            "signal": {
                "name": "decode_tokens_per_second",
                "kind": "total",
                "perReplicaOf": "decode",
                "windowSeconds": 60,
            },
            "proportional": {
                "targetPerReplica": target(1000.0),
                "scaleOutTolerance": 0.1,
                "scaleInTolerance": 0.2,
            },
            "ratio": {"prefillPerDecode": 1.5, "min": 1.2, "max": 1.8},
            "pools": {"decode": pool(), "prefill": pool()},
            **spec,
        },
    }
    validate_policy(whole, "test")
    return whole


def guarded(**spec: Any) -> dict[str, Any]:
    tiers = [{"above": 0.044, "scaleOutRatio": 0.1}, {"above": 0.048, "scaleOutRatio": 0.2}]
    guards = [{"signal": "tbt_p99_seconds", "pool": "decode", "windowSeconds": 60, "tiers": tiers}]
    return document(guards=guards, **spec)


def intensive() -> dict[str, Any]:
    whole = document()
    whole["spec"]["signal"] |= {
        "name": "gpu_utilization_ratio",
        "kind": "intensive",
        "perReplicaOf": "unified",
    }
    whole["spec"]["proportional"]["targetPerReplica"] = target(0.6)
    whole["spec"]["pools"] = {"unified": pool(2, 20)}
    del whole["spec"]["ratio"]
    validate_policy(whole, "test")
    return whole


def two_drivers() -> dict[str, Any]:
    """Give each pool its own work: 1000 decode, 2000 uncached prompt tokens per second."""
    decode = {"name": "decode_tokens_per_second", "kind": "total", "windowSeconds": 60}
    prefill = {"name": "prefill_uncached_tokens_per_second", "kind": "total", "windowSeconds": 60}
    return document(
        pools={
            "decode": pool(signal=decode, targetPerReplica=target(1000.0)),
            "prefill": pool(signal=prefill, targetPerReplica=target(2000.0)),
        }
    )


def seen(age_seconds: float = 0.0, **values: Any) -> Observation:
    names = {"tokens": TOKENS, "tbt": TBT, "uncached": UNCACHED}
    readings = {names.get(key, key): Reading(value, age_seconds) for key, value in values.items()}
    return Observation(readings)


def have(decode: Any = 4, prefill: Any = 6, **more: Any) -> State:
    return State(1_000_000.0, {"decode": decode, "prefill": prefill}, **more)
