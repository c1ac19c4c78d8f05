"""How Dynamo's planner decides with `optimization_target: load` (its load thresholds).

Every load_adjustment_interval_seconds: one worker more where queued prompt tokens of a prefill
worker, or the KV occupancy of decode, reach scale_up; one fewer where they are at or below
scale_down, never under min_endpoint; nothing while workers are still starting or draining. The
planner asks whether *any* worker is above and *all* are below; observations here are means over
workers, which are the same where requests are spread evenly. max_gpu_budget shrinks both pools in
proportion.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from signalstudy.scalers.manifest import current_replicas, pool_step, reading
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalstudy.policy.state import Observation, PoolStep, State

QUEUE, OCCUPANCY = "inflight_tokens", "kv_cache_usage_ratio"
"""The canonical signals that are the planner's own: prompt tokens queued, KV-cache share in use."""
POOLS = {
    "disagg": ("prefill", "decode"),
    "prefill": ("prefill",),
    "decode": ("decode",),
    "agg": ("unified",),
}
DEFAULT_MODE = "disagg"
DEFAULT_INTERVAL_SECONDS = 5.0
READY = "ready_replicas"


def decide_planner(
    document: Mapping[str, Any], state: State, observation: Observation
) -> dict[str, PoolStep]:
    """Decide for the pools of one planner. POOL.ready_replicas, where observed, tells who starts.

    Between two of its intervals it holds, where `state.history` says when it decided last.
    """
    said = document["spec"]["features"]["planner"]
    target = said.get("optimization_target", "throughput")
    if target != "load":
        raise ConfigurationError(
            f"optimization_target {target!r}: what the planner does then hangs on its own model of "
            "the engine. Only load, with its thresholds, can be decided here."
        )
    pools = POOLS[said.get("mode", DEFAULT_MODE)]
    waits = any(_is_moving(pool, state, observation) for pool in pools)
    waits = waits or any(_is_early(pool, said, state) for pool in pools)
    values = {pool: _value(pool, document, state, observation) for pool in pools}
    wanted = {
        pool: current_replicas(state, pool) if waits else _wanted(pool, values[pool], said, state)
        for pool in pools
    }
    placed = wanted if waits else _within_budget(wanted, said)
    return {
        pool: pool_step(
            current_replicas(state, pool),
            math.nan if math.isnan(values[pool]) else float(wanted[pool]),
            wanted[pool],
            placed[pool],
        )
        for pool in pools
    }


def _value(pool: str, document: Mapping[str, Any], state: State, observation: Observation) -> float:
    """Give queued prompt tokens per worker, or KV occupancy in percent."""
    if pool == "prefill":
        queued = reading(observation, f"{pool}_{QUEUE}", document)
        return queued / max(1, current_replicas(state, pool))
    return 100.0 * reading(observation, f"{pool}_{OCCUPANCY}", document)


def _wanted(pool: str, value: float, said: Mapping[str, Any], state: State) -> int:
    is_prefill = pool == "prefill"
    place, unit = ("prefill", "queue_tokens") if is_prefill else ("decode", "kv_rate")
    above, below = said[f"{place}_scale_up_{unit}"], said[f"{place}_scale_down_{unit}"]
    current, least = current_replicas(state, pool), int(said.get("min_endpoint", 1))
    if value >= above:
        return max(least, current + 1)
    if value <= below and current > 1:
        return max(least, current - 1)
    return max(least, current)


def _is_moving(pool: str, state: State, observation: Observation) -> bool:
    ready = observation.readings.get(f"{pool}.{READY}")
    return ready is not None and float(ready.value) != current_replicas(state, pool)


def _is_early(pool: str, said: Mapping[str, Any], state: State) -> bool:
    interval = float(said.get("load_adjustment_interval_seconds", DEFAULT_INTERVAL_SECONDS))
    past = state.history.get(pool, ())
    return bool(past) and state.now_seconds - past[-1].at_seconds < interval - 1e-6


def _within_budget(wanted: Mapping[str, int], said: Mapping[str, Any]) -> dict[str, int]:
    """Shrink what exceeds max_gpu_budget, prefill first, each pool keeping min_endpoint."""
    budget, least = int(said.get("max_gpu_budget", -1)), int(said.get("min_endpoint", 1))
    engines = {pool: said.get(f"{_engine(pool)}_engine_num_gpu") for pool in wanted}
    if budget < 0 or None in engines.values():
        return dict(wanted)
    gpus = {pool: int(number) for pool, number in engines.items() if number is not None}
    total = sum(wanted[pool] * gpus[pool] for pool in wanted)
    if total <= budget:
        return dict(wanted)
    placed, left = {}, budget
    for number, pool in enumerate(wanted):
        others = sum(least * gpus[other] for other in list(wanted)[number + 1 :])
        share = math.floor(wanted[pool] * budget / total) if others else left // gpus[pool]
        placed[pool] = max(least, min((left - others) // gpus[pool], share, wanted[pool]))
        left -= placed[pool] * gpus[pool]
    return placed


def _engine(pool: str) -> str:
    return "prefill" if pool == "prefill" else "decode"
