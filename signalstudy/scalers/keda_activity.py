"""What KEDA does beside the HPA that it drives: 0 to 1 and back, idle replicas, and fallback.

A trigger is active above its activationThreshold (0), a formula above its activationTarget. Where
no trigger is, the object goes to 0 (or idleReplicaCount) once cooldownPeriod has passed since the
last one was; the first active one brings it to minReplicaCount, at least 1. A trigger that fails
failureThreshold times in a row counts as `fallback` says, without one it is missing.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalstudy.policy.state import PoolStep, State

DEFAULT_COOLDOWN_SECONDS = 300.0
ACTIVE, FAILED = "active", "failed"
"""What is remembered of each look."""


def fallback_replicas(spec: Mapping[str, Any], pool: str, state: State, current: int) -> float:
    """Give the replicas that a failing trigger stands for, NaN where it is missing."""
    said = spec.get("fallback")
    if not said:
        return math.nan
    streak = 1
    for past in reversed(state.history.get(pool, ())):
        if not past.seen.get(FAILED):
            break
        streak += 1
    if streak < int(said["failureThreshold"]):
        return math.nan
    replicas = float(said["replicas"])
    return {
        "static": replicas,
        "currentReplicas": float(current),
        "currentReplicasIfHigher": max(replicas, float(current)),
        "currentReplicasIfLower": min(replicas, float(current)),
    }.get(said.get("behavior", "static"), math.nan)


def is_active(spec: Mapping[str, Any], values: Mapping[str, float], composite: float) -> bool:
    """Say whether anything asks for replicas at all. `composite`: of a formula, NaN without."""
    modifiers = (spec.get("advanced") or {}).get("scalingModifiers") or {}
    if modifiers.get("formula"):
        return composite > float(modifiers.get("activationTarget", 0))
    return any(
        value > (1.0 if trigger["type"] == "cron" else float(_activation(trigger)))
        for trigger, value in zip(spec["triggers"], values.values(), strict=True)
    )


def _activation(trigger: Mapping[str, Any]) -> str:
    return str(trigger["metadata"].get("activationThreshold") or 0)


def held_to_activity(
    step: PoolStep,
    spec: Mapping[str, Any],
    pool: str,
    state: State,
    *,
    active: bool,
    failed: bool,
) -> PoolStep:
    """Put a step of the HPA to 0, to the idle number or on its feet; remember what was seen."""
    least = int(spec.get("minReplicaCount", 0))
    current, moved = int(step.current), int(step.replicas)
    idle = int(spec.get("idleReplicaCount", 0 if least == 0 else -1))
    if idle >= 0 and active and current <= idle:
        moved = max(least, 1)
    elif idle >= 0 and not active and not failed:
        cooldown = float(spec.get("cooldownPeriod", DEFAULT_COOLDOWN_SECONDS))
        past = state.history.get(pool, ())
        last = max((one.at_seconds for one in past if one.seen.get(ACTIVE)), default=-math.inf)
        begun = past[0].at_seconds if past else state.now_seconds
        is_over = state.now_seconds - max(last, begun) >= cooldown
        moved = idle if current <= idle or is_over else moved
    seen = {ACTIVE: float(active), FAILED: float(failed)}
    return replace(step, replicas=np.asarray(float(moved)), seen=seen)
