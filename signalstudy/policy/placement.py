"""Placement: what of a decision can be had, and the ratio kept when one pool cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.policy.state import watched_replicas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalstudy.policy.rules import PoolRule, Rules
    from signalstudy.policy.state import Floats, PoolStep, State


def placed(rules: Rules, state: State, steps: Mapping[str, PoolStep]) -> dict[str, PoolStep]:
    """Hold scale-outs to what can be placed, and the other pool to the band of the ratio with it.

    More decode replicas than the prefill that can be had will feed are paid for nothing, and the
    other way round (HeteroScale scales both pools or neither). Replicas that serve stay, and the
    bounds hold. What is still watched has its place. The limit depends on the state alone, so that
    more demand never means fewer.
    """
    if not state.placeable:
        return dict(steps)
    most = {pool.pool: _most(pool, rules, state, steps) for pool in rules.pools}
    return {pool.pool: _held(pool, steps[pool.pool], most[pool.pool]) for pool in rules.pools}


def _most(pool: PoolRule, rules: Rules, state: State, steps: Mapping[str, PoolStep]) -> Floats:
    """Give the most replicas that can be placed, or that serve beside the other pool's most."""
    own = _can_be_had(pool.pool, state, steps)
    other = "prefill" if pool.pool == "decode" else "decode"
    if rules.ratio_band is None or other not in state.placeable:
        return own
    theirs = _can_be_had(other, state, steps)
    lowest, highest = rules.ratio_band
    beside = theirs / lowest if pool.pool == "decode" else theirs * highest
    return np.asarray(np.minimum(own, np.ceil(beside - 1e-9)))


def _can_be_had(pool: str, state: State, steps: Mapping[str, PoolStep]) -> Floats:
    """Give the most replicas a pool can have: what can be placed, at least what runs already."""
    runs = steps[pool].current + watched_replicas(state, pool)
    return np.asarray(np.maximum(state.placeable.get(pool, np.inf), runs))


def _held(pool: PoolRule, step: PoolStep, most: Floats) -> PoolStep:
    """Cut a scale-out down to `most`; nothing that serves is taken away for it."""
    limit = np.maximum(np.maximum(most, step.current), pool.min_replicas)
    replicas = np.minimum(step.replicas, limit)
    return replace(step, replicas=replicas, is_short=replicas < step.replicas)
