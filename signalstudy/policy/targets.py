"""Which signal sizes which pool, at what target, and what the P/D ratio adds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalstudy.policy.rounding import significant, significant_or_none
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalstudy.policy.inputs import PoolInput
    from signalstudy.ranking.ranking import RankedSignal, Ranking
    from signalstudy.threshold.threshold import HardwareCapacity, PdRatio, Threshold


@dataclass(frozen=True, slots=True)
class PoolTarget:
    """A signal, how it divides, and its target per replica of `pool`."""

    pool: str
    signal: str
    kind: str
    target: Estimate
    binding: str
    max_observed: float | None
    by_hardware: tuple[HardwareCapacity, ...] = ()

    def as_document(self) -> dict[str, Any]:
        """Give the form of targetPerReplica; the same per hardware type where several serve."""
        document = _as_document(self.target, self.binding, self.max_observed)
        known = [one for one in self.by_hardware if one.target.is_known]
        if known:
            document["byHardware"] = [
                {"hardware": one.hardware}
                | _as_document(
                    _with_worse_status(one.target, one.per_replica), one.binding, one.max_observed
                )
                for one in known
            ]
        return document


def _as_document(target: Estimate, binding: str, max_observed: float | None) -> dict[str, Any]:
    return {
        "value": significant(target.value or 0.0),
        "low": significant_or_none(target.low),
        "high": significant_or_none(target.high),
        "status": target.status,
        "binding": binding,
        "maxObserved": significant_or_none(max_observed),
    }


def _hardware_of(threshold: Threshold, pool: str, signal: str) -> tuple[HardwareCapacity, ...]:
    """Give what each hardware type of a pool bears, in units of the signal that drives it."""
    return tuple(one for one in threshold.by_hardware if one.pool == pool and one.signal == signal)


def driving_target(
    threshold: Threshold, ranking: Ranking, pools: Mapping[str, PoolInput]
) -> PoolTarget:
    """Give the signal that drives, or raise NotEnoughDataError with why none can."""
    if ranking.best is None:
        raise NotEnoughDataError(f"No policy: {ranking.summary}")
    if not threshold.target.is_known:
        raise NotEnoughDataError(f"No policy: {threshold.target.note}")
    name = f"{threshold.pool}.{threshold.signal}"
    if threshold.pool not in pools:
        known = ", ".join(sorted(pools)) or "none"
        raise NotEnoughDataError(
            f"No policy: {name} is not counted per replica of a pool that scales ({known})."
        )
    ranked = find_ranked(ranking, threshold.signal, threshold.pool)
    if ranked is None:
        raise NotEnoughDataError(f"No policy: {name} has a threshold but no place in the ranking.")
    if ranked.verdict != "proportional":
        raise NotEnoughDataError(
            f"No policy: {name} has a threshold, but its verdict is {ranked.verdict}: "
            f"{ranked.reason}"
        )
    kind = "intensive" if ranked.kind == "intensive" else "total"
    return PoolTarget(
        threshold.pool,
        threshold.signal,
        kind,
        _with_worse_status(threshold.target, threshold.per_replica),
        threshold.binding,
        threshold.max_observed,
        _hardware_of(threshold, threshold.pool, threshold.signal),
    )


def own_targets(
    driver: PoolTarget, threshold: Threshold, pd_ratio: PdRatio, ranking: Ranking
) -> tuple[dict[str, PoolTarget], list[str]]:
    """Give each pool its own target where one ratio does not serve; empty where it does.

    Empty as well, with the sentence, where the other pool's capacity is not known.
    """
    if pd_ratio.ratio.is_known and not pd_ratio.moves_too_much:
        return {}, []
    other = "prefill" if driver.pool == "decode" else "decode"
    capacity, target = threshold.capacities.get(other), threshold.pool_targets.get(other)
    if capacity is None or target is None or not target.is_known:
        why = "" if target is None else f" {target.note}"
        return {}, [
            f"{other} has no signal of its own: its capacity per replica is not known.{why}"
        ]
    ranked = find_ranked(ranking, capacity.signal, other)
    if ranked is None or ranked.verdict in ("unavailable", "rejected", "guard"):
        why = "it is not in the ranking" if ranked is None else ranked.reason
        return {}, [f"{other} has no signal of its own: {capacity.signal} does not serve: {why}"]
    own = PoolTarget(
        other,
        capacity.signal,
        "intensive" if ranked.kind == "intensive" else "total",
        _with_worse_status(target, capacity.per_replica),
        capacity.binding,
        capacity.max_observed,
        _hardware_of(threshold, other, capacity.signal),
    )
    return {driver.pool: driver, other: own}, []


def find_ranked(ranking: Ranking, signal: str, pool: str) -> RankedSignal | None:
    """Find a signal in the ranking: of the pool itself, else of the gateway, else anywhere."""
    found = {ranked.pool: ranked for ranked in ranking.signals if ranked.signal == signal}
    order = [place for place in (pool, "gateway", *sorted(found)) if place in found]
    return found[order[0]] if order else None


def _with_worse_status(target: Estimate, capacity: Estimate) -> Estimate:
    """Give the target the status of its capacity, for it is no surer than that."""
    if target.status != "ok" or capacity.status in ("ok", "unidentified", "not_applicable"):
        return target
    return Estimate(
        target.value,
        target.low,
        target.high,
        status=capacity.status,
        note=target.note or capacity.note,
        effective_observations=target.effective_observations,
        days=target.days,
        method=target.method,
    )


def ratio_section(pd_ratio: PdRatio) -> dict[str, Any] | None:
    """Give the form of spec.ratio, None where the ratio is not known.

    The band to hold in operation contains the ratio itself.
    """
    value = pd_ratio.ratio.value
    if value is None or value <= 0.0:
        return None
    lowest = value if pd_ratio.band_low is None else min(pd_ratio.band_low, value)
    highest = value if pd_ratio.band_high is None else max(pd_ratio.band_high, value)
    return {
        "prefillPerDecode": significant(value),
        "min": significant(lowest),
        "max": significant(highest),
        "low": significant_or_none(pd_ratio.ratio.low),
        "high": significant_or_none(pd_ratio.ratio.high),
    }


def peak_replicas(
    driver: PoolTarget,
    own: Mapping[str, PoolTarget],
    ratio: Mapping[str, Any] | None,
    pools: Mapping[str, PoolInput],
) -> dict[str, Estimate]:
    """Say how many replicas the highest demand seen asks for, by pool, where that is known."""
    peaks = {}
    for target in {driver.pool: driver, **own}.values():
        peak = pools[target.pool].peak_demand_per_second
        if peak is not None and target.kind == "total" and target.target.value:
            peaks[target.pool] = divided(peak, target.target)
        elif target.kind != "total" and (by_work := pools[target.pool].peak_replicas_by_work):
            peaks[target.pool] = by_work
    if ratio is not None and not own and driver.pool in peaks:
        per_decode = (ratio["min"], ratio["prefillPerDecode"], ratio["max"])
        follows = per_decode if driver.pool == "decode" else tuple(1 / x for x in per_decode[::-1])
        lead = peaks[driver.pool]
        other = "prefill" if driver.pool == "decode" else "decode"
        peaks[other] = Estimate(
            (lead.value or 0.0) * follows[2],
            None if lead.low is None else lead.low * follows[0],
            None if lead.high is None else lead.high * follows[2],
            days=lead.days,
        )
    return peaks


def most_by_ratio(
    ratio: Mapping[str, Any] | None, pools: Mapping[str, PoolInput]
) -> dict[str, int]:
    """Say how many replicas the ratio asks of a pool while the other is at the user's maximum."""
    if ratio is None:
        return {}
    decode, prefill = pools["decode"].max_replicas, pools["prefill"].max_replicas
    most = {}
    if decode is not None:
        most["prefill"] = math.ceil(decode * ratio["max"] - 1e-9)
    if prefill is not None:
        most["decode"] = math.ceil(prefill / ratio["min"] - 1e-9)
    return most


def divided(peak: float, target: Estimate) -> Estimate:
    """Give the replicas that a peak asks for at a target per replica, which must be known."""
    value = target.value or 0.0
    return Estimate(
        peak / value,
        peak / target.high if target.high else None,
        peak / target.low if target.low else None,
        days=target.days,
    )
