"""A decision in words: one sentence per pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalstudy.policy.rules import GuardRule, PoolRule, Rules
    from signalstudy.policy.state import Floats, PoolStep


def reason(rules: Rules, steps: Mapping[str, PoolStep], tiers: Mapping[GuardRule, Floats]) -> str:
    """Say why each pool gets its number; "" where the inputs are arrays of draws."""
    if any(step.replicas.ndim for step in steps.values()):
        return ""
    notes = _guard_notes(tiers)
    sentences = [_sentence(pool, rules, steps[pool.pool], notes) for pool in rules.pools]
    return " ".join(sentences)


def _guard_notes(tiers: Mapping[GuardRule, Floats]) -> list[str]:
    notes = [f"{guard.key} is above its guard" for guard, ratio in tiers.items() if ratio > 0.0]
    notes += [
        f"{guard.key} is missing or stale" for guard, ratio in tiers.items() if np.isnan(ratio)
    ]
    return notes


def _sentence(pool: PoolRule, rules: Rules, step: PoolStep, notes: list[str]) -> str:
    now, then = int(step.current), int(step.replicas)
    if then > now:
        head = f"{pool.pool} scales out from {now} to {then}"
    elif then < now:
        head = f"{pool.pool} scales in from {now} to {then}"
    else:
        head = f"{pool.pool} holds at {now}"
    return f"{head}: {'; '.join(_clauses(pool, rules, step, notes))}."


def _clauses(pool: PoolRule, rules: Rules, step: PoolStep, notes: list[str]) -> list[str]:
    clauses = [_basis(pool, rules, step)]
    if step.restored > 0.0:
        clauses.append(f"{int(step.restored)} of them still watched and put back at once")
    if step.tier_ratio > 0.0:
        clauses.append(f"a guard asks for {float(step.tier_ratio):.0%} more")
    if step.is_blocked:
        blind = notes or ["another signal is missing or stale"]
        clauses.append(f"no scale-in while {' and '.join(blind)}")
    elif step.is_cooling:
        clauses.append(f"{int(step.wanted)} wanted, but the cool-down has not passed")
    elif step.is_short:
        clauses.append(
            f"{int(step.wanted)} wanted, but no more can be placed in this pool, or beside the "
            "other one by the ratio"
        )
    elif step.replicas != step.wanted:
        limit = (
            "bounds" if step.replicas in (pool.min_replicas, pool.max_replicas) else "step limit"
        )
        clauses.append(f"{int(step.wanted)} wanted, held by the {limit}")
    return clauses


def _basis(pool: PoolRule, rules: Rules, step: PoolStep) -> str:
    """Say what the pool goes by, and what that asks for."""
    driver = next(one for one in rules.pools if one.pool == rules.driver)
    signal = pool.signal
    if signal is None and rules.follower_ratio is None:
        return "the policy has neither a signal nor a ratio for it"
    source = signal or driver.signal
    key = source.key if source is not None else rules.driver
    if np.isnan(step.desired):
        return f"{key} is missing or stale"
    by = f"{key}" if signal is not None else f"{key} by the ratio"
    within = ""
    if step.wanted == step.current and not step.tier_ratio > 0.0:
        within = ", within tolerance"
    return f"{by} asks for {float(step.desired):.3g}{within}"
