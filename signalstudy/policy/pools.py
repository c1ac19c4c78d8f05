"""The section of one pool: replica bounds, cool-downs, step limits (methods section 9)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from signalstudy.policy.rounding import significant, whole_tens
from signalstudy.policy.trail import trail_entry
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from signalstudy.policy.inputs import PoolInput, ProvisioningInput, TargetRef

ASSUMED_STARTUP_SECONDS = 240.0
"""Cold start of an 8B model on one GPU as seen elsewhere; used, and said, where none is known."""
LEAST_SCALE_IN_COOLDOWN_SECONDS = 300.0
SCALE_OUT_STEP_RATIO = 1.0
SCALE_IN_STEP_RATIO = 0.1
LEAST_OBSERVATION_SECONDS = 120.0
PEAK_ALLOWANCE = 1.5
"""maxReplicas: half as much again as the highest peak seen asks for."""


@dataclass(frozen=True, slots=True)
class PoolSection:
    """One pool of spec.pools, the evidence of its numbers, and what is to be said of them."""

    pool: str
    section: dict[str, Any]
    evidence: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def draft_pool(
    pool: PoolInput,
    provisioning: ProvisioningInput,
    *,
    peak_replicas: Estimate | None,
    seen_lag: Estimate | None,
    window_seconds: float,
    most_by_ratio: int = 0,
) -> PoolSection:
    """Draft everything of a pool but its signal.

    `peak_replicas`: how many replicas the highest demand seen asks for, None where not known.
    `most_by_ratio`: how many the ratio asks for while the other pool is at the user's maximum.
    """
    path = f"pools.{pool.pool}"
    notes: list[str] = []
    evidence: list[dict[str, Any]] = []
    least, most = _bounds(pool, peak_replicas, most_by_ratio, evidence, notes)
    startup = provisioning.startup_seconds.get(pool.pool)
    if startup is None or startup.value is None:
        notes.append(
            f"{pool.pool}: the start-up time is not known; the scale-out cool-down assumes "
            f"{ASSUMED_STARTUP_SECONDS:g} s. Set [provisioning] startup_seconds."
        )
    else:
        evidence.append(trail_entry(f"{path}.startupSeconds", startup))
    cool_out = scale_out_cooldown(startup, seen_lag, window_seconds)
    cool_in = scale_in_cooldown(cool_out, pool.recovery_seconds)
    evidence.append(trail_entry(f"{path}.scaleOut.cooldownSeconds", cool_out))
    evidence.append(trail_entry(f"{path}.scaleIn.cooldownSeconds", cool_in))
    section = {
        "minReplicas": least,
        "maxReplicas": most,
        "gpusPerReplica": provisioning.gpus_per_replica.get(pool.pool),
        "startupSeconds": None
        if startup is None or startup.value is None
        else significant(startup.value),
        "targetRef": None if pool.target_ref is None else _target_ref(pool.target_ref),
        "scaleOut": {
            "cooldownSeconds": int(cool_out.value or 0),
            "maxStepRatio": SCALE_OUT_STEP_RATIO,
        },
        "scaleIn": {
            "cooldownSeconds": int(cool_in.value or 0),
            "maxStepRatio": SCALE_IN_STEP_RATIO,
            "observationSeconds": whole_tens(max(LEAST_OBSERVATION_SECONDS, 2 * window_seconds)),
        },
    }
    known = {key: value for key, value in section.items() if value is not None}
    return PoolSection(pool.pool, known, evidence, notes)


def scale_out_cooldown(
    startup: Estimate | None, seen_lag: Estimate | None, window_seconds: float
) -> Estimate:
    """Give `T_prov(p95) + t90(signal) + w/2`: do not act twice on one error (methods section 9).

    t90 is the upper bound of the lag at which a controller sees the signal.
    """
    start = startup if startup is not None and startup.value is not None else None
    lag = 0.0
    if seen_lag is not None and seen_lag.value is not None:
        lag = max(0.0, seen_lag.value if seen_lag.high is None else seen_lag.high)
    seconds = ASSUMED_STARTUP_SECONDS if start is None or start.value is None else start.value
    settle = lag + window_seconds / 2.0
    low = high = None
    if start is not None and start.low is not None and start.high is not None:
        low, high = float(whole_tens(start.low + settle)), float(whole_tens(start.high + settle))
    return Estimate(
        float(whole_tens(seconds + settle)),
        low,
        high,
        status="ok" if start is not None else "extrapolated",
        note="" if start is not None else "The start-up time is assumed, not measured.",
        method="start-up + seen lag + window/2, in whole tens of seconds",
    )


def scale_in_cooldown(cool_out: Estimate, recovery: Estimate | None) -> Estimate:
    """Give `max(300 s, Q_0.9 of the time until demand is back, scale-out cool-down)`.

    The last so that a scale-in never judges demand before the last scale-out has arrived.
    """
    returns = 0.0 if recovery is None or recovery.value is None else recovery.value
    seconds = max(LEAST_SCALE_IN_COOLDOWN_SECONDS, returns, cool_out.value or 0.0)
    return Estimate(
        float(whole_tens(seconds)),
        status=cool_out.status,
        note=cool_out.note,
        method="max(300 s, time until demand is back, scale-out cool-down)",
    )


def _bounds(
    pool: PoolInput,
    peak_replicas: Estimate | None,
    most_by_ratio: int,
    evidence: list[dict[str, Any]],
    notes: list[str],
) -> tuple[int, int]:
    """Give minReplicas and maxReplicas: the user's where given, else derived and said so."""
    least, most = pool.min_replicas, pool.max_replicas
    if most is None:
        derived = _most(pool, peak_replicas, least or 1, most_by_ratio)
        most = int(derived.value or 1)
        evidence.append(trail_entry(f"pools.{pool.pool}.maxReplicas", derived))
        notes.append(
            f"{pool.pool}: maxReplicas {most} is derived ({derived.method}); what the cluster can "
            f"give is yours to say: [policy.pools.{pool.pool}] max_replicas."
        )
    if least is None and pool.replayed_min_replicas is not None:
        least = min(pool.replayed_min_replicas, most)
        notes.append(
            f"{pool.pool}: minReplicas {least} costs less, replayed on this demand, than the room "
            f"that fewer replicas would need at all hours: [policy.pools.{pool.pool}] min_replicas "
            "overrules it."
        )
    if least is None:
        least = min(1, most)
        notes.append(
            f"{pool.pool}: minReplicas {least} is a default; two survive the loss of one: "
            f"[policy.pools.{pool.pool}] min_replicas."
        )
    return least, most


def _most(
    pool: PoolInput, peak_replicas: Estimate | None, least: int, most_by_ratio: int
) -> Estimate:
    """Derive maxReplicas from the highest peak, the largest fleet seen, and the other pool's."""
    seen = math.ceil(pool.observed_max_replicas or 0.0)
    partner = ", and what the ratio asks at the other pool's maximum" if most_by_ratio else ""

    def allowed(replicas: float) -> float:
        needed = math.ceil(PEAK_ALLOWANCE * replicas - 1e-9)
        return float(max(least, seen, most_by_ratio, needed))

    if peak_replicas is not None and peak_replicas.value is not None:
        low, high = peak_replicas.low, peak_replicas.high
        return Estimate(
            allowed(peak_replicas.value),
            None if low is None else allowed(low),
            None if high is None else allowed(high),
            days=peak_replicas.days,
            method=f"{PEAK_ALLOWANCE:g} x peak demand / target, at least the largest fleet seen"
            + partner,
        )
    return Estimate(
        float(max(least, 2 * seen, most_by_ratio, 1)),
        status="extrapolated",
        note="The peak demand of the pool is not known.",
        method=f"twice the largest fleet seen{partner}",
    )


def _target_ref(target: TargetRef) -> dict[str, str]:
    ref = {"apiVersion": target.api_version, "kind": target.kind, "name": target.name}
    return {**ref, "namespace": target.namespace} if target.namespace else ref
