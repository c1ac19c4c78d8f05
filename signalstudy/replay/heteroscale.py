"""HeteroScale as a rival, by its published algorithms and its re-implementation's defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.replay.controller import Controller, Reads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.policy.state import Observation, State
    from signalstudy.replay.grounds import Grounds

    Floats = NDArray[np.float64]

THETA = 0.1
COOLDOWN_OUT_SECONDS, COOLDOWN_IN_SECONDS = 180.0, 600.0
SHARES_OF_CAPACITY, USUAL_SHARE = (0.5, 0.6, 0.7, 0.8), 0.7
"""Targets to choose from; 0.7 of saturation is what its re-implementation advises."""
BREACHES = ((1.2, 1.2), (1.1, 1.1))
"""(times the limit, factor on the replicas), the severe one first."""
WINDOW_SECONDS = 60.0
"""Defaults of HeteroScale's re-implementation (arXiv:2508.19559, Algorithms 2 and 3)."""


def heteroscale(grounds: Grounds, share: float = USUAL_SHARE) -> tuple[Controller, str]:
    """HeteroScale: decode work sizes both pools at a fixed ratio; latencies push in tiers.

    Scale out where expected / current > 1 + theta, in where < 1 - theta; decode = round(expected),
    prefill = round(decode x P/D). A TBT breach comes first and raises both pools, a TTFT breach
    raises prefill. Cool-downs of decode hold for both. `share`: target / capacity.
    """
    driver = "decode" if "decode" in grounds.pools else next(iter(grounds.pools))
    capacity = grounds.pools[driver].capacity
    target = share * (capacity.per_replica.value or 1.0)
    ratio = _ratio(grounds) if "prefill" in grounds.pools and driver == "decode" else None
    reads = Reads(driver, capacity.signal, True, WINDOW_SECONDS)
    most = {pool: grounds.most_replicas(pool) for pool in grounds.pools}
    limits = {one.objective.signal: one.objective.at_most_seconds for one in grounds.objectives}

    def ask(state: State, observation: Observation) -> dict[str, Floats]:
        current = {pool: np.asarray(state.replicas[pool], dtype=float) for pool in grounds.pools}
        expected = np.asarray(observation.readings[reads.key].value) / target
        of_current = expected / current[driver]
        is_out, is_in = of_current > 1.0 + THETA, of_current < 1.0 - THETA
        decode = np.where(is_out | is_in, np.floor(expected + 0.5), current[driver])
        factor = {
            latency: _factor(np.asarray(observation.readings[f"service.{latency}"].value), limit)
            for latency, limit in limits.items()
        }
        panic = np.maximum(factor.get("tbt", 1.0), factor.get("e2e", 1.0))
        decode = np.where(panic > 1.0, np.ceil(current[driver] * panic), decode)
        moved = _cooled(state, driver, current[driver], np.clip(decode, 1, most[driver]))
        asked = {driver: moved}
        if ratio is not None:
            follows = np.where(
                moved == current["decode"], current["prefill"], np.floor(moved * ratio + 0.5)
            )
            push = factor.get("ttft", 1.0)
            pushed = np.maximum(follows, np.ceil(current["prefill"] * push))
            follows = np.where(
                push > 1.0, _cooled(state, "prefill", current["prefill"], pushed), follows
            )
            asked["prefill"] = np.clip(follows, 1, most["prefill"])
        return asked

    said = f"target {target:.4g} ({share:g} x capacity)"
    said += f", P/D {ratio:.3g}" if ratio is not None else ""
    bounds = {pool: (1, count) for pool, count in most.items()}
    latencies = {f"service.{latency}": latency for latency in limits}
    return Controller("heteroscale", (reads,), latencies, bounds, {}, ask), f"{said}, theta 0.1"


def _ratio(grounds: Grounds) -> float:
    """Give the study's P/D ratio, else that of the work at both capacities."""
    known = grounds.studied.pd_ratio.ratio.value
    if known:
        return known
    need = [
        grounds.pools[pool].work.sum() / (grounds.pools[pool].capacity.per_replica.value or 1.0)
        for pool in ("prefill", "decode")
    ]
    return float(need[0] / need[1]) if need[1] else 1.0


def _factor(latency: Floats, limit: float) -> Floats:
    factor = np.ones_like(latency)
    for times, grows in reversed(BREACHES):
        factor = np.where(latency >= times * limit, grows, factor)
    return factor


def _cooled(state: State, pool: str, current: Floats, wanted: Floats) -> Floats:
    """Hold a wanted number until the cool-down of its direction has passed."""
    out_at = np.asarray(state.scaled_out_at_seconds[pool])
    in_at = np.asarray(state.scaled_in_at_seconds[pool])
    last = np.maximum(out_at, in_at)
    waits = np.where(wanted > current, COOLDOWN_OUT_SECONDS, COOLDOWN_IN_SECONDS)
    return np.where(state.now_seconds - last < waits, current, wanted)
