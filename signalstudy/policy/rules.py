"""The rules of a policy, taken out of its document once so that deciding is only arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalstudy.policy.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
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
    prefill per decode where each pool has a signal of its own, else None.
    """

    driver: str
    pools: tuple[PoolRule, ...]
    scale_out_tolerance: float
    scale_in_tolerance: float
    follower_ratio: float | None
    band: tuple[float, float] | None
    guards: tuple[GuardRule, ...]
    floors: tuple[FloorRule, ...]


def compile_policy(policy: Policy | Mapping[str, Any]) -> Rules:
    """Take the rules out of a valid policy document."""
    document = policy.document if isinstance(policy, Policy) else policy
    spec = document["spec"]
    driver = spec["signal"]["perReplicaOf"]
    pools = tuple(_pool_rule(name, pool, spec) for name, pool in spec["pools"].items())
    ratio = spec.get("ratio")
    have_own = len(pools) > 1 and all(pool.signal is not None for pool in pools)
    follower_ratio = band = None
    if ratio is not None and have_own:
        band = (float(ratio["min"]), float(ratio["max"]))
    elif ratio is not None:
        per_decode = float(ratio["prefillPerDecode"])
        follower_ratio = per_decode if driver == "decode" else 1.0 / per_decode
    return Rules(
        driver=driver,
        pools=pools,
        scale_out_tolerance=float(spec["proportional"]["scaleOutTolerance"]),
        scale_in_tolerance=float(spec["proportional"]["scaleInTolerance"]),
        follower_ratio=follower_ratio,
        band=band,
        guards=tuple(_guard_rule(guard) for guard in spec.get("guards", [])),
        floors=tuple(_floor_rule(window) for window in spec.get("schedule", [])),
    )


def _pool_rule(name: str, pool: Mapping[str, Any], spec: Mapping[str, Any]) -> PoolRule:
    own = pool.get("signal")
    signal = None
    if own is not None:
        signal = _signal_rule(name, own, pool["targetPerReplica"])
    elif name == spec["signal"]["perReplicaOf"]:
        signal = _signal_rule(name, spec["signal"], spec["proportional"]["targetPerReplica"])
    return PoolRule(
        pool=name,
        min_replicas=pool["minReplicas"],
        max_replicas=pool["maxReplicas"],
        scale_out_cooldown_seconds=float(pool["scaleOut"]["cooldownSeconds"]),
        scale_out_step_ratio=float(pool["scaleOut"]["maxStepRatio"]),
        scale_in_cooldown_seconds=float(pool["scaleIn"]["cooldownSeconds"]),
        scale_in_step_ratio=float(pool["scaleIn"]["maxStepRatio"]),
        signal=signal,
    )


def _signal_rule(pool: str, signal: Mapping[str, Any], target: Mapping[str, Any]) -> SignalRule:
    return SignalRule(
        key=f"{pool}.{signal['name']}",
        is_total=signal["kind"] == "total",
        target_per_replica=float(target["value"]),
        stale_after_seconds=STALE_AFTER_WINDOWS * float(signal["windowSeconds"]),
    )


def _guard_rule(guard: Mapping[str, Any]) -> GuardRule:
    return GuardRule(
        key=f"{guard['pool']}.{guard['signal']}",
        pool=guard["pool"],
        stale_after_seconds=STALE_AFTER_WINDOWS * float(guard["windowSeconds"]),
        tiers=tuple(
            sorted((float(tier["above"]), float(tier["scaleOutRatio"])) for tier in guard["tiers"])
        ),
    )


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
