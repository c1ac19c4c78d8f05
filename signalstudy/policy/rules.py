"""The rules of a policy, taken out of its document once so that deciding is only arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalstudy.policy.policy import Policy
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SCALE_OUT_TOLERANCE, SCALE_IN_TOLERANCE = 0.1, 0.2
WINDOW_SECONDS = 60.0
LEAST_REPLICAS = 1
STALE_AFTER_WINDOWS = 2.0
"""A reading older than this many of its own windows shares no sample with the present one."""


@dataclass(frozen=True, slots=True)
class SignalRule:
    """One signal to follow. `key` is its name in an observation: POOL.SIGNAL."""

    key: str
    is_total: bool
    target_per_replica: float
    stale_after_seconds: float


@dataclass(frozen=True, slots=True)
class GuardRule:
    """One latency that raises `pool`. `tiers`: (above, scale-out ratio), in rising order."""

    key: str
    pool: str
    stale_after_seconds: float
    tiers: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class PoolRule:
    """What holds for one pool; `signal` is its own one, None where the ratio sizes it."""

    pool: str
    min_replicas: int
    max_replicas: int
    scale_out_cooldown_seconds: float
    scale_out_step_ratio: float
    scale_in_cooldown_seconds: float
    scale_in_step_ratio: float
    observation_seconds: float
    signal: SignalRule | None


@dataclass(frozen=True, slots=True)
class FloorRule:
    """A periodic floor: weekdays (Monday is 0), seconds of the day in UTC, replicas by pool."""

    weekdays: frozenset[int]
    from_seconds: float
    to_seconds: float
    replicas: dict[str, int]


@dataclass(frozen=True, slots=True)
class Rules:
    """A whole policy, ready to decide.

    `driver`: the pool whose replicas the signal is counted on. `follower_ratio`: replicas of the
    other pool per replica of the driver, None where no ratio sizes it. `band`: (min, max) of
    prefill per decode where each pool has a signal of its own, else None. `ratio_band`: the same
    wherever the policy has a ratio, for when a pool cannot be placed.
    """

    driver: str
    pools: tuple[PoolRule, ...]
    scale_out_tolerance: float
    scale_in_tolerance: float
    follower_ratio: float | None
    band: tuple[float, float] | None
    ratio_band: tuple[float, float] | None
    guards: tuple[GuardRule, ...]
    floors: tuple[FloorRule, ...]


def compile_policy(policy: Policy | Mapping[str, Any]) -> Rules:
    """Take the rules out of a policy document, a whole one or the little that somebody wrote.

    What is absent: tolerances 0.1 outwards and 0.2 inwards, no cool-downs, no step limits, no soft
    scale-in, windows of a minute, one replica at least, no guards, no floors. ConfigurationError
    names what is missing and cannot be guessed: signal, target, the largest number of replicas.
    """
    document = policy.document if isinstance(policy, Policy) else policy
    spec = _needed(document, "spec", "")
    driver = _driver(spec)
    pools = tuple(
        _pool_rule(name, pool, spec, driver)
        for name, pool in _needed(spec, "pools", "spec").items()
    )
    proportional = _needed(spec, "proportional", "spec")
    ratio = spec.get("ratio")
    have_own = len(pools) > 1 and all(pool.signal is not None for pool in pools)
    follower_ratio = band = None
    if ratio is not None and have_own:
        band = _ratio_band(ratio)
    elif ratio is not None:
        per_decode = _number(ratio, "prefillPerDecode", "spec.ratio")
        follower_ratio = per_decode if driver == "decode" else 1.0 / per_decode
    return Rules(
        driver=driver,
        pools=pools,
        scale_out_tolerance=float(proportional.get("scaleOutTolerance", SCALE_OUT_TOLERANCE)),
        scale_in_tolerance=float(proportional.get("scaleInTolerance", SCALE_IN_TOLERANCE)),
        follower_ratio=follower_ratio,
        band=band,
        ratio_band=_ratio_band(ratio),
        guards=tuple(_guard_rule(guard) for guard in spec.get("guards") or []),
        floors=tuple(_floor_rule(window) for window in spec.get("schedule") or []),
    )


def _driver(spec: Mapping[str, Any]) -> str:
    """Say which pool's replicas the signal is counted on: the only one where nobody says."""
    signal, pools = _needed(spec, "signal", "spec"), _needed(spec, "pools", "spec")
    if "perReplicaOf" not in signal and len(pools) == 1:
        return str(next(iter(pools)))
    driver = str(_needed(signal, "perReplicaOf", "spec.signal"))
    if driver not in pools:
        known = ", ".join(sorted(pools))
        raise ConfigurationError(
            f"spec.signal.perReplicaOf: there is no pool {driver!r} in spec.pools. Known: {known}."
        )
    return driver


def _ratio_band(ratio: Mapping[str, Any] | None) -> tuple[float, float] | None:
    """Give (min, max) of the ratio; where one is absent the ratio itself is that end."""
    if ratio is None:
        return None
    middle = ratio.get("prefillPerDecode")
    ends = ratio.get("min", middle), ratio.get("max", middle)
    if ends[0] is None or ends[1] is None:
        return None
    return float(ends[0]), float(ends[1])


def _pool_rule(
    name: str, pool: Mapping[str, Any], spec: Mapping[str, Any], driver: str
) -> PoolRule:
    place = f"spec.pools.{name}"
    own, signal = pool.get("signal"), None
    if own is not None:
        signal = _signal_rule(name, own, _needed(pool, "targetPerReplica", place), place)
    elif name == driver:
        target = _needed(
            _needed(spec, "proportional", "spec"), "targetPerReplica", "spec.proportional"
        )
        signal = _signal_rule(name, spec["signal"], target, "spec")
    out, back = pool.get("scaleOut") or {}, pool.get("scaleIn") or {}
    return PoolRule(
        pool=name,
        min_replicas=int(pool.get("minReplicas", LEAST_REPLICAS)),
        max_replicas=int(_number(pool, "maxReplicas", place)),
        scale_out_cooldown_seconds=float(out.get("cooldownSeconds", 0.0)),
        scale_out_step_ratio=float(out.get("maxStepRatio", math.inf)),
        scale_in_cooldown_seconds=float(back.get("cooldownSeconds", 0.0)),
        scale_in_step_ratio=float(back.get("maxStepRatio", 1.0)),
        observation_seconds=float(back.get("observationSeconds", 0.0)),
        signal=signal,
    )


def _signal_rule(pool: str, signal: Mapping[str, Any], target: Any, place: str) -> SignalRule:
    kind = signal.get("kind", "total")
    if kind not in ("total", "intensive"):
        raise ConfigurationError(
            f"{place}.signal.kind: {kind!r} is not possible. Known: intensive, total."
        )
    value = target if isinstance(target, int | float) else target.get("value")
    if value is None or not value > 0.0:
        raise ConfigurationError(
            f"{place}: targetPerReplica needs a value above zero; it holds {value!r}."
        )
    return SignalRule(
        key=f"{pool}.{_needed(signal, 'name', f'{place}.signal')}",
        is_total=kind == "total",
        target_per_replica=float(value),
        stale_after_seconds=STALE_AFTER_WINDOWS
        * float(signal.get("windowSeconds", WINDOW_SECONDS)),
    )


def _guard_rule(guard: Mapping[str, Any]) -> GuardRule:
    pool = _needed(guard, "pool", "spec.guards")
    tiers = _needed(guard, "tiers", "spec.guards")
    return GuardRule(
        key=f"{pool}.{_needed(guard, 'signal', 'spec.guards')}",
        pool=pool,
        stale_after_seconds=STALE_AFTER_WINDOWS * float(guard.get("windowSeconds", WINDOW_SECONDS)),
        tiers=tuple(sorted((float(tier["above"]), float(tier["scaleOutRatio"])) for tier in tiers)),
    )


def _needed(mapping: Mapping[str, Any], key: str, place: str) -> Any:
    """Give what a policy cannot do without, or say where it is missing."""
    if key not in mapping or mapping[key] is None:
        path = f"{place}.{key}" if place else key
        raise ConfigurationError(f"the policy has no {path}, and cannot decide without it.")
    return mapping[key]


def _number(mapping: Mapping[str, Any], key: str, place: str) -> float:
    value = _needed(mapping, key, place)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{place}.{key}: {value!r} is not a number.")
    return float(value)


def _floor_rule(window: Mapping[str, Any]) -> FloorRule:
    return FloorRule(
        weekdays=frozenset(WEEKDAYS.index(day) for day in window["days"]),
        from_seconds=_seconds_of_day(window["from"]),
        to_seconds=_seconds_of_day(window["to"]),
        replicas=dict(window["replicas"]),
    )


def _seconds_of_day(text: str) -> float:
    hours, minutes = text.split(":")
    return 3600.0 * int(hours) + 60.0 * int(minutes)
