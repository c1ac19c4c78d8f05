"""Sentences for the comments of a manifest: what the policy says that the scaler cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from signalstudy.scalers.plan import Plan


GUARDS, FLOORS, RATIO = "guards", "floors", "ratio"
"""What a scaler may be able to express."""


def what_is_left_out(
    whole: Plan, *, can: Collection[str] = (), names_objects: bool = True
) -> Iterator[str]:
    """Say what of this policy gets lost, each in one sentence."""
    for pool in whole.pools:
        if pool.is_guessed and names_objects:
            yield (
                f"The policy names no object for {pool.pool}: {pool.target_ref['kind']} "
                f"{pool.target_ref['name']} is a guess. Set [policy.pools.{pool.pool}] target."
            )
    for pool_name in whole.unsized:
        yield f"{pool_name} is not scaled: the policy has neither a signal nor a ratio for it."
    if whole.guards and GUARDS not in can:
        named = ", ".join(guard.key for guard in whole.guards)
        yield (
            f"NOT EXPRESSED: the guards on {named}. Metrics combine by max here, so that a latency "
            "beside the signal would multiply replicas by latency / limit instead of adding a "
            "fixed step, and would hold every scale-in; alert on them instead."
        )
    if whole.rules.floors and FLOORS not in can:
        yield "NOT EXPRESSED: the periodic floors of spec.schedule."
    if any(pool.is_follower for pool in whole.pools) and RATIO not in can:
        yield (
            "APPROXIMATED: the P/D ratio. Each pool reads the same total with a target of its own "
            "(T, and T by the ratio) and moves when its own tolerance is passed: exact up to "
            "rounding and tolerance, not in one step, and nobody waits for the other pool."
        )
    if whole.rules.band is not None and RATIO not in can:
        lowest, highest = whole.rules.band
        band = f"the band {lowest:g}..{highest:g} of prefill per decode"
        yield (
            f"NOT EXPRESSED: {band}; each pool follows its own signal."
            if any(pool.band is None for pool in whole.pools)
            else f"{band[0].upper()}{band[1:]} is kept by the other pool's signal beside the own "
            "one: the larger of both counts, as in the policy. Nobody waits for the other pool."
        )
    if any(pool.observation_seconds > 0.0 for pool in whole.rules.pools):
        yield (
            "NOT EXPRESSED: soft scale-in (observationSeconds). A removed replica is gone at once: "
            "demand that comes back waits for a cool-down and a start-up. Give it a preStop hook "
            "and a grace period long enough to drain."
        )
