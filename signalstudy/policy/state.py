"""What a decision is made from, and the decision: State, Observation, Decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Numbers: TypeAlias = float | Floats | NDArray[np.int64]
"""One number, or draws of it that broadcast against those of the other inputs."""
LONGEST_MEMORY_SECONDS = 3600.0
"""The longest stabilization window of the Kubernetes HPA; no scaler looks further back."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a signal says now. `age_seconds`: how long ago it was measured.

    For a driving signal NaN means missing. For a guard NaN means that nothing finished in the
    window, so that nothing was late; a guard that could not be read is left out of the observation.
    """

    value: Numbers
    age_seconds: Numbers = 0.0


@dataclass(frozen=True, slots=True)
class Observation:
    """Readings by POOL.SIGNAL, with the pool and the name that the policy uses."""

    readings: Mapping[str, Reading] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Past:
    """One earlier decision about a pool: replicas before it, wanted before limits, asked for.

    `seen`: what the metrics said then, by the scaler's names, where it averages over a window.
    """

    at_seconds: float
    before: Numbers
    wanted: Numbers
    after: Numbers
    seen: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """What a scaler remembers.

    `now_seconds`: Unix time. `replicas`: what was asked for last, those still starting included.
    `scaled_out_at_seconds`, `scaled_in_at_seconds`: by pool, absent where it never happened.
    `history`: the decisions of the last hour by pool, oldest first, for scalers that look back.
    `placeable`: by pool, the most replicas that the cluster can give now; absent: no limit known.
    `watched`: by pool, replicas taken out of service within observationSeconds and still running,
    so that they serve again at once; absent: none. Putting them back ends one scale-in and is no
    scale-out: it counts as `scaled_in_at_seconds`, and the next scale-in waits its whole cool-down.
    """

    now_seconds: float
    replicas: Mapping[str, Numbers]
    scaled_out_at_seconds: Mapping[str, Numbers] = field(default_factory=dict)
    scaled_in_at_seconds: Mapping[str, Numbers] = field(default_factory=dict)
    history: Mapping[str, tuple[Past, ...]] = field(default_factory=dict)
    placeable: Mapping[str, Numbers] = field(default_factory=dict)
    watched: Mapping[str, Numbers] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PoolStep:
    """How one pool's number came about; every field may be an array of draws.

    `desired`: unrounded, NaN where it could not be told. `wanted`: after tolerance and guards.
    `tier_ratio`: the scale-out a guard asks for, 0 without a breach. `is_cooling`: a wanted change
    waits for its cool-down. `is_blocked`: a wanted scale-in is forbidden by a breach or by
    something that cannot be seen. `restored`: how many of `replicas` come back from being watched
    and serve at once. `observation_seconds`: how long what this step removes is watched, 0 where a
    removed replica is gone. `seen`: what a scaler has to remember of its metrics.
    """

    current: Floats
    desired: Floats
    wanted: Floats
    tier_ratio: Floats
    is_cooling: Bools
    is_blocked: Bools
    replicas: Floats
    is_short: Bools = field(default_factory=lambda: np.asarray(False))
    restored: Floats = field(default_factory=lambda: np.asarray(0.0))
    observation_seconds: float = 0.0
    seen: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """Replicas per pool, whole numbers. `reason`: a sentence per pool, "" for arrays of draws."""

    replicas: dict[str, int | NDArray[np.int64]]
    reason: str
    steps: dict[str, PoolStep]


def advance(state: State, decision: Decision, now_seconds: float) -> State:
    """Return the state after `decision` was carried out, at the time of the next one.

    What was asked for is taken to serve by the time it is removed again; who knows better says in
    `watched` how many are.
    """
    scaled_out_at, scaled_in_at, history, watched = {}, {}, {}, {}
    oldest = now_seconds - LONGEST_MEMORY_SECONDS
    for pool, step in decision.steps.items():
        out_at, in_at = last_scaled(state, pool)
        is_out, is_in = moves_of(step.current, step.replicas, step.restored)
        scaled_out_at[pool] = np.where(is_out, state.now_seconds, out_at)
        scaled_in_at[pool] = np.where(is_in, state.now_seconds, in_at)
        past = Past(state.now_seconds, step.current, step.wanted, step.replicas, step.seen)
        kept = (one for one in state.history.get(pool, ()) if one.at_seconds >= oldest)
        history[pool] = (*kept, past)
        if step.observation_seconds > 0.0:
            watched[pool] = _still_watched(history[pool], step, now_seconds)
    return State(
        now_seconds,
        dict(decision.replicas),
        scaled_out_at,
        scaled_in_at,
        history,
        watched=watched,
    )


def moves_of(before: Numbers, after: Numbers, restored: Numbers) -> tuple[Bools, Bools]:
    """Say whether a step counts as a scale-out, and whether as a scale-in or the end of one."""
    more = np.asarray(after, dtype=float) - before
    return np.asarray(more > restored), np.asarray((more < 0.0) | (np.asarray(restored) > 0.0))


def watched_replicas(state: State, pool: str) -> Floats:
    """Give how many removed replicas can be put back at once; none where nobody says."""
    told = np.asarray(state.watched.get(pool, 0.0), dtype=float)
    return np.where(told > 0.0, told, 0.0)


def _still_watched(history: tuple[Past, ...], step: PoolStep, now_seconds: float) -> Floats:
    """Give how many replicas are out of service now and not yet gone.

    The latest removed come back first, so it is the most that served within the time of watching,
    less what serves now.
    """
    most = np.asarray(step.replicas, dtype=float)
    for past in history:
        if now_seconds - past.at_seconds < step.observation_seconds:
            most = np.maximum(most, past.before)
    return np.asarray(most - step.replicas)


def last_scaled(state: State, pool: str) -> tuple[Floats, Floats]:
    """Give when the pool last scaled out and in; minus infinity where it never did."""
    return (
        np.asarray(state.scaled_out_at_seconds.get(pool, -np.inf), dtype=float),
        np.asarray(state.scaled_in_at_seconds.get(pool, -np.inf), dtype=float),
    )
