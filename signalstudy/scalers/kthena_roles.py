"""How Kthena decides, by its documentation: roles one by one, then the band of their ratio.

Per role ceil(total / target), kept within tolerance, the largest of several metrics; then the
stabilization window and the step of the way it goes, or panicPolicy while a recommendation is that
far above what there is; last the ratio, whose repair raises the role that is short. A role without
any metric holds all of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from signalstudy.scalers.manifest import (
    current_replicas,
    go_seconds,
    pool_step,
    quantity_value,
    reading,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalstudy.policy.state import Observation, Past, PoolStep, State

DEFAULT_TOLERANCE_PERCENT = 10
DEFAULT_PERCENT, DEFAULT_PANIC_PERCENT = 100, 1000
DEFAULT_PERIOD = "15s"


def decide_roles(
    document: Mapping[str, Any], state: State, observation: Observation
) -> dict[str, PoolStep]:
    """Decide for every role of an AutoscalingPolicy."""
    spec = document["spec"]
    if "disaggregatedTarget" in spec:
        target = spec["disaggregatedTarget"]
        roles = {
            role: _step(role, section, document, state, observation)
            for role, section in target["roles"].items()
        }
        if any(math.isnan(step.desired) for step in roles.values()):
            return {role: _held(step) for role, step in roles.items()}
        return _held_to_ratio(roles, target)
    target = spec["homogeneousTarget"]
    name = (
        next(iter(state.replicas))
        if len(state.replicas) == 1
        else target["target"]["targetRef"]["name"]
    )
    return {name: _step(name, target, document, state, observation)}


def _step(
    role: str,
    section: Mapping[str, Any],
    document: Mapping[str, Any],
    state: State,
    observation: Observation,
) -> PoolStep:
    spec, current = document["spec"], current_replicas(state, role)
    least, most = section["minReplicas"], section["maxReplicas"]
    tolerance = spec.get("tolerancePercent", DEFAULT_TOLERANCE_PERCENT) / 100.0
    asked = [
        reading(observation, metric["name"], document) / quantity_value(metric["targetValue"])
        for metric in section.get("metrics") or spec.get("metrics", [])
    ]
    known = [one for one in asked if not math.isnan(one)]
    desired = max(known, default=math.nan)
    if least == most > 0 or not least <= current <= most:
        bounded = min(max(current, least), most)
        return pool_step(current, float(bounded), bounded, bounded)
    wanted = max(
        (
            current if current and abs(one / current - 1.0) <= tolerance else math.ceil(one - 1e-9)
            for one in known
        ),
        default=current,
    )
    wanted = min(max(wanted, least), most)
    moved = _limited(wanted, current, spec.get("behavior") or {}, role, state)
    return pool_step(current, desired, wanted, min(max(moved, least), most))


def _held(step: PoolStep) -> PoolStep:
    """Keep a role as it is."""
    current = int(step.current)
    return pool_step(current, float(step.desired), current, current)


def _limited(
    wanted: int, current: int, behavior: Mapping[str, Any], role: str, state: State
) -> int:
    """Give what windows and steps leave of a wanted number."""
    past = state.history.get(role, ())
    up = behavior.get("scaleUp") or {}
    panic = up.get("panicPolicy") or {}
    if _is_panicking(wanted, current, panic, past, state.now_seconds):
        start = min(_replicas_within(panic.get("period"), past, state.now_seconds, current))
        most_percent = start * int(panic.get("percent", DEFAULT_PANIC_PERCENT)) // 100
        return max(current, min(wanted, start + most_percent) if start > 0 else wanted)
    is_out = wanted > current
    said = up.get("stablePolicy") if is_out else behavior.get("scaleDown")
    if not said or wanted == current:
        return wanted
    oldest = state.now_seconds - go_seconds(said.get("stabilizationWindow", "0s"))
    lately = [int(one.wanted) for one in past if one.at_seconds > oldest]
    counts = _replicas_within(said.get("period"), past, state.now_seconds, current)
    start = min(counts) if is_out else max(counts)
    most_instances = int(said.get("instances", 1))
    most_percent = start * int(said.get("percent", DEFAULT_PERCENT)) // 100
    takes_larger = said.get("selectPolicy", "Or") == "Or"
    step = max(most_instances, most_percent) if takes_larger else min(most_instances, most_percent)
    if is_out:
        return max(current, min(wanted, *lately, start + step))
    return min(current, max(wanted, *lately, start - step))


def _is_panicking(
    wanted: int,
    current: int,
    panic: Mapping[str, Any],
    past: tuple[Past, ...],
    now_seconds: float,
) -> bool:
    """Say whether a recommendation passes the threshold now, or did within panicModeHold."""
    threshold = panic.get("panicThresholdPercent")
    hold_seconds = go_seconds(panic.get("panicModeHold", "0s"))
    if threshold is None or hold_seconds <= 0.0:
        return False
    within = [(p.before, p.wanted) for p in past if p.at_seconds >= now_seconds - hold_seconds]
    return any(100 * then >= threshold * before for before, then in [*within, (current, wanted)])


def _replicas_within(
    period: str | None, past: tuple[Past, ...], now_seconds: float, current: int
) -> list[int]:
    """List the replicas that a role had within a period, those of now included."""
    begun = now_seconds - go_seconds(period or DEFAULT_PERIOD)
    return [current, *(int(one.before) for one in past if one.at_seconds > begun)]


def _held_to_ratio(roles: dict[str, PoolStep], target: Mapping[str, Any]) -> dict[str, PoolStep]:
    """Repair a pair outside the band: the nearest whole pair that takes nothing away, if any."""
    said = target.get("ratioConstraint")
    if said is None:
        return roles
    above, below = said["numeratorRole"], said["denominatorRole"]
    lowest, highest = quantity_value(said["minRatio"]), quantity_value(said["maxRatio"])
    bounds = {role: (s["minReplicas"], s["maxReplicas"]) for role, s in target["roles"].items()}
    pair = int(roles[above].replicas), int(roles[below].replicas)
    if not any(pair):
        return roles
    wanted = max(1, pair[0]), max(1, pair[1])
    if lowest <= wanted[0] / wanted[1] <= highest:
        found: tuple[int, int] | None = wanted
    else:
        found = _nearest(wanted, (bounds[above], bounds[below]), (lowest, highest))
    if found is None:
        return roles
    for role, replicas in zip((above, below), found, strict=True):
        step = roles[role]
        roles[role] = pool_step(int(step.current), float(step.desired), int(step.wanted), replicas)
    return roles


def _nearest(
    wanted: tuple[int, int],
    bounds: tuple[tuple[int, int], tuple[int, int]],
    band: tuple[float, float],
) -> tuple[int, int] | None:
    """Search denominators upwards from where the numerator need not shrink, then downwards."""
    (numerator, denominator), (lowest, highest), slack = wanted, band, 1e-9
    numerator_bounds, denominator_bounds = bounds
    first = max(1, denominator_bounds[0])
    last = denominator_bounds[1]
    start = min(max(denominator, math.ceil(numerator / highest - slack), first), last)
    for candidate in [*range(start, last + 1), *range(start - 1, first - 1, -1)]:
        least = max(numerator_bounds[0], math.ceil(lowest * candidate - slack))
        most = min(numerator_bounds[1], math.floor(highest * candidate + slack))
        if least <= most:
            return min(max(numerator, least), most), candidate
    return None
