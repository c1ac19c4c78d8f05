"""Fit: from a service's timeline and objectives to its Threshold and P/D ratio."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.threshold.capacity import OUTPUT, fit_capacity, how_telling
from signalstudy.threshold.joint import fit_jointly
from signalstudy.threshold.pd_ratio import fit_pd_ratio, measure_token_mix
from signalstudy.threshold.points import fit_points
from signalstudy.threshold.ramp import DEFAULT_HEADROOM_RATIO, estimate_headroom, estimate_horizon
from signalstudy.threshold.threshold import Capacity, HardwareCapacity, PdRatio, Threshold
from signalstudy.threshold.tolerance import tolerance_ratio, usual_replicas
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from signalstudy.timeline.points import OperatingPoints
    from signalstudy.timeline.timeline import HardwarePart, Timeline
    from signalstudy.vocabulary.objectives import Objective

WORK_POOLS = ("prefill", "decode", "unified")


@dataclass(frozen=True, slots=True)
class _Sources:
    """Where a capacity can come from."""

    timeline: Timeline | None
    pressure_test: Timeline | None
    points: OperatingPoints | None

    @property
    def recorded(self) -> list[Timeline]:
        """Production first: its traffic is the real one."""
        return [part for part in (self.timeline, self.pressure_test) if part is not None]

    @property
    def pools(self) -> list[str]:
        """The pools that do work, in any of the recordings."""
        return [name for name in WORK_POOLS if any(name in part.pools for part in self.recorded)]


def fit_threshold(
    timeline: Timeline | None,
    ranking_best: tuple[str, str] | None,
    objectives: Sequence[Objective],
    *,
    pressure_test: Timeline | None = None,
    points: OperatingPoints | None = None,
    startup_seconds: float | None = None,
    seen_lag_seconds: float | None = None,
    noise_ratio: float | None = None,
    evaluation_seconds: float = 15.0,
    seed: int = 0,
) -> tuple[Threshold, PdRatio]:
    """Fit what a replica bears in units of one signal, the target from it, and the P/D ratio.

    Parameters
    ----------
    objectives
        All must hold; the one whose safe bound is smallest binds.
    timeline
        Production; None where there are only a pressure test or points.
    ranking_best
        (pool, signal) of the best proportional signal. None: decode tokens/s, the paper's choice.
    pressure_test
        A deliberate ramp; its capacity is used where production never visited the knee.
    points
        Steady states at fixed concurrency, used where no recording gives a capacity.
    startup_seconds
        As configured; start-ups seen in the recordings come first.
    seen_lag_seconds, noise_ratio
        Of the signal: upper bound of the lag a controller sees, and noise over level.
    evaluation_seconds
        How often the controller decides.
    seed
        Of every resampling; the same seed gives the same numbers.

    """
    sources = _Sources(timeline, pressure_test, points)
    capacity, capacities = _capacities(sources, ranking_best, objectives, seed)
    if note := _mix_note(timeline or pressure_test):
        capacity = _with_note(capacity, note)
        capacities = {name: _with_note(one, note) for name, one in capacities.items()}
    horizon = estimate_horizon(
        [part.startup_seconds for part in sources.recorded],
        startup_seconds,
        seen_lag_seconds,
        evaluation_seconds,
    )
    headrooms = _headrooms(timeline, {capacity.pool, *capacities}, horizon, seed)
    tolerance = tolerance_ratio(noise_ratio, _usual_replicas(sources, capacity.pool))
    threshold = Threshold(
        signal=capacity.signal,
        pool=capacity.pool,
        per_replica=capacity.per_replica,
        target=draft_target(capacity.per_replica, headrooms[capacity.pool], tolerance),
        binding=capacity.binding,
        max_observed=capacity.max_observed,
        headroom_ratio=headrooms[capacity.pool],
        horizon_seconds=horizon,
        tolerance_ratio=tolerance,
        capacities=capacities,
        by_hardware=_by_hardware(sources, objectives, headrooms, tolerance, seed),
        pool_targets={
            name: draft_target(bears.per_replica, headrooms[name], tolerance)
            for name, bears in capacities.items()
        },
        pool_headrooms=headrooms,
    )
    return threshold, _pd_ratio(timeline or pressure_test, threshold)


def _mix_note(timeline: Timeline | None) -> str:
    """Say at which token mix capacities hold, where it moves too much for one ratio."""
    mix = None if timeline is None else measure_token_mix(timeline)
    if mix is None or not mix.moves_too_much:
        return ""
    return (
        f"At the mix seen, {mix.low:.3g} to {mix.high:.3g} uncached prompt tokens per output token "
        "(5 to 95 %): at another a replica bears another amount."
    )


def _with_note(capacity: Capacity, note: str) -> Capacity:
    bears = capacity.per_replica
    if not bears.is_known:
        return capacity
    return replace(capacity, per_replica=replace(bears, note=f"{bears.note} {note}".strip()))


def with_headrooms(
    threshold: Threshold,
    headrooms: Mapping[str, Estimate],
    timeline: Timeline | None,
    *,
    tolerance_ratio: float | None = None,
) -> tuple[Threshold, PdRatio]:
    """Give targets and P/D ratio as they are with other ramp factors, by pool.

    `timeline`: production, else the pressure test, whose token mix the ratio takes.
    `tolerance_ratio`: that of another window; None: it stays.
    """
    ramps = {**threshold.pool_headrooms, **headrooms}
    tolerance = threshold.tolerance_ratio if tolerance_ratio is None else tolerance_ratio
    moved = replace(
        threshold,
        target=draft_target(threshold.per_replica, ramps[threshold.pool], tolerance),
        headroom_ratio=ramps[threshold.pool],
        tolerance_ratio=tolerance,
        by_hardware=tuple(
            replace(one, target=draft_target(one.per_replica, ramps[one.pool], tolerance))
            for one in threshold.by_hardware
        ),
        pool_targets={
            name: draft_target(bears.per_replica, ramps[name], tolerance)
            for name, bears in threshold.capacities.items()
        },
        pool_headrooms=ramps,
    )
    return moved, _pd_ratio(timeline, moved)


def _capacities(
    sources: _Sources,
    best: tuple[str, str] | None,
    objectives: Sequence[Objective],
    seed: int,
) -> tuple[Capacity, dict[str, Capacity]]:
    """Fit the signal that drives, and every pool's own work."""
    pool, signal = _pool_and_signal(sources, best)
    capacities = {name: _capacity(sources, name, None, objectives, seed) for name in sources.pools}
    own = capacities.get(pool)
    capacity = own if own is not None and signal in {None, own.signal} else None
    if capacity is None:
        capacity = _capacity(sources, pool, signal, objectives, seed)
    if objectives and capacity.per_replica.status == "not_applicable":
        capacity = _capacity(sources, pool, signal, objectives, seed, is_coupled=True)
    if sources.points is not None and not capacities:
        capacities = {capacity.pool: capacity}
    return capacity, capacities


def _by_hardware(
    sources: _Sources,
    objectives: Sequence[Objective],
    headrooms: dict[str, Estimate],
    tolerance: float,
    seed: int,
) -> tuple[HardwareCapacity, ...]:
    """Fit each hardware type of a mixed pool, in the recording that tells most of it."""
    found: dict[tuple[str, str], list[tuple[HardwarePart, Capacity]]] = {}
    for timeline in sources.recorded:
        for part in timeline.hardware_parts:
            name = part.pool.pool
            alone = replace(
                timeline,
                pools={**timeline.pools, name: part.pool},
                slo_counts=part.slo_counts,
            )
            capacity = fit_capacity(alone, name, objectives, seed=seed)
            found.setdefault((name, part.hardware), []).append((part, capacity))
    told = {key: min(pairs, key=lambda pair: _preference(pair[1])) for key, pairs in found.items()}
    return tuple(
        HardwareCapacity(
            hardware=hardware,
            pool=pool,
            signal=capacity.signal,
            replicas=float(np.nansum(part.pool.ready_replicas) / part.pool.ready_replicas.size),
            per_replica=capacity.per_replica,
            target=draft_target(capacity.per_replica, headrooms[pool], tolerance),
            binding=capacity.binding,
            max_observed=capacity.max_observed,
        )
        for (pool, hardware), (part, capacity) in told.items()
    )


def _headrooms(
    timeline: Timeline | None, pools: set[str], horizon: Estimate, seed: int
) -> dict[str, Estimate]:
    """Estimate the ramp factor of each pool's demand."""
    known = {} if timeline is None else timeline.pools
    seconds = horizon.value or 0.0
    return {
        name: estimate_headroom(timeline, known.get(name), seconds, seed=seed)
        for name in sorted(pools)
    }


def _usual_replicas(sources: _Sources, pool: str) -> float | None:
    """Give the median of ready replicas in the first recording that knows it, or None."""
    for part in sources.recorded:
        usual = usual_replicas(part.pools[pool].ready_replicas) if pool in part.pools else None
        if usual is not None:
            return usual
    return None


def draft_target(capacity: Estimate, headroom: Estimate, tolerance_ratio: float) -> Estimate:
    """Give target = low / (R (1 + tolerance)): demand may rest at (1 + tolerance) x target.

    `low` and `high` are what the intervals of capacity and ramp factor leave of it.
    """
    if capacity.status == "not_applicable":
        return not_applicable(f"No target without a capacity. {capacity.note}")
    if capacity.low is None:
        return unidentified(f"No target without a safe bound of the capacity. {capacity.note}")
    ramp = headroom.value or DEFAULT_HEADROOM_RATIO
    value = capacity.low / (ramp * (1.0 + tolerance_ratio))
    least = capacity.low / ((headroom.high or ramp) * (1.0 + tolerance_ratio))
    most = (capacity.value or capacity.low) / ((headroom.low or ramp) * (1.0 + tolerance_ratio))
    assumed = "" if headroom.is_known else f"Ramp factor {ramp:g} assumed: {headroom.note}"
    return Estimate(
        value,
        low=min(least, value),
        high=max(most, value),
        status=capacity.status,
        note=" ".join(part for part in (capacity.note, assumed) if part),
        effective_observations=capacity.effective_observations,
        days=capacity.days,
        method=f"capacity's safe bound / (ramp factor {ramp:.3g} x {1.0 + tolerance_ratio:.3g})",
    )


def _pool_and_signal(sources: _Sources, best: tuple[str, str] | None) -> tuple[str, str | None]:
    """Choose what to fit: the best signal where a recording has its pool, else decode's work."""
    known = sources.pools
    if best is not None and best[0] in known:
        return best
    for name in ("decode", "unified", "prefill"):
        if name in known:
            return name, None
    return "unified", None


def _capacity(
    sources: _Sources,
    pool: str,
    signal: str | None,
    objectives: Sequence[Objective],
    seed: int,
    *,
    is_coupled: bool = False,
) -> Capacity:
    """Fit a pool in every recording, jointly where they agree; else keep what tells most."""
    recorded = [
        (
            part,
            fit_capacity(part, pool, objectives, signal=signal, is_coupled=is_coupled, seed=seed),
        )
        for part in sources.recorded
        if pool in part.pools
    ]
    if len(recorded) > 1:
        joint = fit_jointly(recorded, objectives, is_coupled=is_coupled, seed=seed)
        if joint is not None:
            return joint
    found = [
        replace(fitted, per_replica=_with_origin(fitted.per_replica, part, sources))
        for part, fitted in recorded
    ]
    is_open = not any(capacity.per_replica.low is not None for capacity in found)
    if sources.points is not None and is_open and pool == "unified" and signal in {None, OUTPUT}:
        found.append(fit_points(sources.points, objectives))
    if not found:
        nothing = not_applicable(
            "There is no recording and no measured point to fit a capacity to."
        )
        return Capacity(pool, signal or OUTPUT, nothing, "", None)
    return min(found, key=_preference)


def _preference(capacity: Capacity) -> tuple[int, float]:
    return how_telling(capacity.per_replica)


def _with_origin(estimate: Estimate, part: Timeline, sources: _Sources) -> Estimate:
    """Say which recording a capacity comes from, where there is a choice."""
    if len(sources.recorded) < 2:
        return estimate
    return replace(estimate, note=f"{estimate.note} From {part.role} data.".strip())


def _pd_ratio(timeline: Timeline | None, threshold: Threshold) -> PdRatio:
    """Fit the ratio on the token mix of a recording."""
    capacities = threshold.capacities
    ramps = {
        name: one.value or DEFAULT_HEADROOM_RATIO for name, one in threshold.pool_headrooms.items()
    }
    drives = threshold.pool == "decode" and threshold.signal == OUTPUT
    target = threshold.target if drives else threshold.pool_targets.get("decode")
    return fit_pd_ratio(
        timeline,
        capacities.get("decode"),
        capacities.get("prefill"),
        decode_headroom_ratio=ramps.get("decode", 1.0),
        prefill_headroom_ratio=ramps.get("prefill", 1.0),
        decode_target=target.value if target is not None else None,
    )
