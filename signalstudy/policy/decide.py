"""The reference decision: policy, state and observation in; replicas per pool and reason out.

Pure arithmetic on numbers or on arrays of draws that broadcast against each other, so that one
function gives a policy its meaning in production, in a replay and in a Monte-Carlo study.

In order (contract section 6, methods section 9):

1. `desired` of a pool = signal / target (total) or current x signal / target (intensive).
   A pool without a signal of its own follows: desired of the driver x ratio. Where each pool has
   its own signal, the one that lags is raised into the band of the ratio.
2. Desired, unrounded, is compared with current: above (1 + scaleOutTolerance) or below
   (1 - scaleInTolerance) it is rounded up and wanted; in between current is kept. When the driver
   acts its follower acts with it; when it does not, a follower out of tolerance is mended.
3. A guard above a tier wants at least current x (1 + scaleOutRatio) and forbids every scale-in.
4. A signal or guard that is missing or stale holds what it drives and forbids every scale-in.
5. Cool-downs (a scale-in waits after a scale-out as well), step limits (at least one replica), and
   last the bounds, which hold whatever came before. Soft scale-in: replicas that were taken out of
   service and are still watched come back first, past cool-down and step limit; a guard's breach
   takes all of its pool's back.
6. Where the state says that a pool cannot be placed, it gets what there is, and the other pool no
   more than the band of the ratio allows beside it.

Rounding is upwards: a scale-in leaves at most one target's worth of work on each replica, so it
cannot call the next scale-out.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from signalstudy.policy.placement import placed
from signalstudy.policy.reasons import reason
from signalstudy.policy.rules import Rules, compile_policy
from signalstudy.policy.state import Decision, PoolStep, last_scaled, watched_replicas
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from signalstudy.policy.policy import Policy
    from signalstudy.policy.rules import FloorRule, GuardRule, PoolRule, SignalRule
    from signalstudy.policy.state import Bools, Floats, Numbers, Observation, State

DAY_SECONDS = 86400.0
ROUNDING_SLACK = 1e-9
"""Keeps a product such as 1.1 x 10 = 11.000000000000002 from costing a whole replica."""


def decide(
    policy: Policy | Mapping[str, Any] | Rules, state: State, observation: Observation
) -> Decision:
    """Say how many replicas each pool should have now, and why."""
    rules = policy if isinstance(policy, Rules) else compile_policy(policy)
    current = {pool.pool: _current(pool.pool, state) for pool in rules.pools}
    desired = _desired(rules, current, observation)
    wanted = _wanted(rules, current, desired)
    tiers = {guard: _tier_ratio(guard, observation) for guard in rules.guards}
    is_held = np.asarray(False)
    for ratio in tiers.values():
        is_held = is_held | np.isnan(ratio) | (ratio > 0.0)
    for pool in rules.pools:
        if pool.signal is not None:
            is_held = is_held | np.isnan(desired[pool.pool])
    steps = {}
    for pool in rules.pools:
        name = pool.pool
        own = [np.nan_to_num(ratio) for guard, ratio in tiers.items() if guard.pool == name]
        tier_ratio = np.maximum.reduce(np.broadcast_arrays(0.0, *own))
        watched = watched_replicas(state, name)
        raised = np.maximum(_round_up(current[name] * (1.0 + tier_ratio)), current[name] + watched)
        raised = np.maximum(wanted[name], raised)
        steps[name] = _step(
            pool,
            state,
            current=current[name],
            desired=desired[name],
            wanted=np.where(tier_ratio > 0.0, raised, wanted[name]),
            tier_ratio=tier_ratio,
            is_held=is_held,
            floor=_floor(pool, rules.floors, state.now_seconds),
            watched=watched,
        )
    steps = {pool: _told(step, state, pool) for pool, step in placed(rules, state, steps).items()}
    return Decision(
        replicas={pool: _whole(step.replicas) for pool, step in steps.items()},
        reason=reason(rules, steps, tiers),
        steps=steps,
    )


def _current(pool: str, state: State) -> Floats:
    if pool not in state.replicas:
        known = ", ".join(sorted(state.replicas)) or "none"
        raise ConfigurationError(
            f"state.replicas: the policy scales {pool!r}, the state does not say how many replicas "
            f"it has. Given: {known}."
        )
    return np.asarray(state.replicas[pool], dtype=float)


def _desired(
    rules: Rules, current: Mapping[str, Floats], observation: Observation
) -> dict[str, Floats]:
    """Give the unrounded replicas of each pool, NaN where there is nothing to go by."""
    desired = {
        pool.pool: _from_signal(pool.signal, current[pool.pool], observation)
        for pool in rules.pools
        if pool.signal is not None
    }
    ratio = np.nan if rules.follower_ratio is None else rules.follower_ratio
    followed = desired[rules.driver] * ratio
    for pool in rules.pools:
        desired.setdefault(pool.pool, followed)
    if rules.band is not None:
        lowest, highest = rules.band
        prefill, decode = desired["prefill"], desired["decode"]
        # fmax: where one signal is missing, the other pool goes by its own.
        desired["prefill"] = np.where(np.isnan(prefill), prefill, np.fmax(prefill, decode * lowest))
        desired["decode"] = np.where(np.isnan(decode), decode, np.fmax(decode, prefill / highest))
    return desired


def _from_signal(signal: SignalRule, current: Floats, observation: Observation) -> Floats:
    """Divide what is measured by the target; NaN where it is missing, stale or impossible."""
    reading = observation.readings.get(signal.key)
    if reading is None:
        return np.full_like(current, np.nan)
    value = np.asarray(reading.value, dtype=float)
    is_usable = np.isfinite(value) & (value >= 0.0)
    is_usable = is_usable & (np.asarray(reading.age_seconds) <= signal.stale_after_seconds)
    share = np.where(is_usable, value, np.nan) / signal.target_per_replica
    return np.asarray(share if signal.is_total else current * share)


def _wanted(
    rules: Rules, current: Mapping[str, Floats], desired: Mapping[str, Floats]
) -> dict[str, Floats]:
    """Apply the tolerances; where there is nothing to go by, current is kept."""
    wanted = {}
    is_out, is_in = _is_outside(rules, desired[rules.driver], current[rules.driver])
    for pool in rules.pools:
        have, need = current[pool.pool], desired[pool.pool]
        own_out, own_in = _is_outside(rules, need, have)
        rounded = _round_up(need)
        want = np.where(own_out | own_in, rounded, have)
        if pool.signal is None and rules.follower_ratio is not None:
            # Never below what its own comparison keeps on the way out, nor above it on the way in:
            # otherwise more demand could mean fewer replicas.
            want = np.where(is_out, np.maximum(want, rounded), want)
            want = np.where(is_in, np.minimum(want, rounded), want)
        wanted[pool.pool] = want
    return wanted


def _is_outside(rules: Rules, desired: Floats, current: Floats) -> tuple[Bools, Bools]:
    """Say whether desired is above, and whether below, the tolerated span; NaN is neither."""
    return (
        np.asarray(desired > (1.0 + rules.scale_out_tolerance) * current),
        np.asarray(desired < (1.0 - rules.scale_in_tolerance) * current),
    )


def _tier_ratio(guard: GuardRule, observation: Observation) -> Floats:
    """Give the scale-out ratio of the highest tier breached, 0 for none, NaN for not known."""
    reading = observation.readings.get(guard.key)
    if reading is None:
        return np.asarray(np.nan)
    value = np.asarray(reading.value, dtype=float)
    ratio = np.zeros_like(value)
    for above, scale_out_ratio in guard.tiers:
        ratio = np.where(value > above, np.maximum(ratio, scale_out_ratio), ratio)
    is_stale = np.asarray(reading.age_seconds) > guard.stale_after_seconds
    return np.where(is_stale, np.nan, ratio)


def _step(
    pool: PoolRule,
    state: State,
    *,
    current: Floats,
    desired: Floats,
    wanted: Floats,
    tier_ratio: Floats,
    is_held: Bools,
    floor: Floats,
    watched: Floats,
) -> PoolStep:
    """Hold a wanted number to cool-downs, step limits and bounds; what is watched is past them."""
    out_at, in_at = last_scaled(state, pool.pool)
    is_out, is_in = wanted > current + watched, wanted < current
    is_cooling = np.where(
        is_out,
        state.now_seconds - out_at < pool.scale_out_cooldown_seconds,
        is_in & (state.now_seconds - np.maximum(out_at, in_at) < pool.scale_in_cooldown_seconds),
    )
    is_blocked = is_in & is_held
    waits = is_cooling | is_blocked
    added = np.where(waits, 0.0, _step_limit(current, pool.scale_out_step_ratio))
    taken = np.where(waits, 0.0, _step_limit(current, pool.scale_in_step_ratio))
    moved = np.clip(wanted, current - taken, current + watched + added)
    replicas = np.clip(moved, np.maximum(pool.min_replicas, floor), pool.max_replicas)
    return PoolStep(
        current,
        desired,
        wanted,
        tier_ratio,
        is_cooling,
        is_blocked,
        replicas,
        observation_seconds=pool.observation_seconds,
    )


def _told(step: PoolStep, state: State, pool: str) -> PoolStep:
    """Say how many of the added replicas come back from being watched."""
    more = np.maximum(step.replicas - step.current, 0.0)
    return replace(step, restored=np.minimum(more, watched_replicas(state, pool)))


def _step_limit(current: Floats, ratio: float) -> Floats:
    """Give how many replicas may change at once: at least one; all of them without a limit."""
    if math.isinf(ratio):
        return np.full_like(current, np.inf)
    return np.asarray(np.maximum(1.0, _round_up(current * ratio)))


def _floor(pool: PoolRule, floors: tuple[FloorRule, ...], now_seconds: Numbers) -> Floats:
    """Give the highest periodic floor that holds now (UTC), never above the pool's maximum."""
    now = np.asarray(now_seconds, dtype=float)
    highest = np.zeros_like(now)
    for floor in floors:
        replicas = floor.replicas.get(pool.pool, 0)
        highest = np.maximum(highest, np.where(_is_within(floor, now), replicas, 0))
    return np.asarray(np.minimum(highest, pool.max_replicas))


def _is_within(floor: FloorRule, now_seconds: Floats) -> Bools:
    days, second = np.divmod(now_seconds, DAY_SECONDS)
    weekday = (days + 3) % 7  # 1 January 1970 was a Thursday
    days_on = sorted(floor.weekdays)
    is_on, was_on = np.isin(weekday, days_on), np.isin((weekday - 1) % 7, days_on)
    if floor.from_seconds < floor.to_seconds:
        return is_on & (floor.from_seconds <= second) & (second < floor.to_seconds)
    return (is_on & (second >= floor.from_seconds)) | (was_on & (second < floor.to_seconds))


def _round_up(replicas: Floats) -> Floats:
    return np.asarray(np.ceil(replicas * (1.0 - ROUNDING_SLACK)))


def _whole(replicas: Floats) -> int | NDArray[np.int64]:
    return int(replicas) if replicas.ndim == 0 else replicas.astype(np.int64)
