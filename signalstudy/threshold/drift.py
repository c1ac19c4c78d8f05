"""Drift: whether a replica bears the same at all hours of the day, and in every regime."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from signalstudy.threshold.capacity import COUPLED_NOTE, fit_capacity
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from signalstudy.threshold.threshold import Threshold
    from signalstudy.timeline.timeline import Timeline
    from signalstudy.vocabulary.objectives import Objective

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

DAY_SECONDS = 86_400.0
PARTS_OF_A_DAY = 4
PART_OF_DAY, REGIME = "part of the day", "regime"
LOW_SIGMAS, HIGH_SIGMAS = 1.645, 1.960
"""`low` of a capacity is a one-sided 95 % bound, `high` a 97.5 % quantile (methods 8.3)."""

DRAWS = 10_000
FEW_SHARE = 0.75
"""A part with less than this share of another's replicas may bear less for that reason alone:
at equal work a replica P(TTFT > 1 s) was .074 with one and .011 with eight (methods 8.3)."""


@dataclass(frozen=True, slots=True)
class PartCapacity:
    """What a replica bears in one part of the record.

    `binding`: the objective that binds there. `replicas`: how many there were, the mean; of few,
    each bears less, because a burst finds no idle one.
    """

    part: str
    per_replica: Estimate
    binding: str
    replicas: float | None


@dataclass(frozen=True, slots=True)
class Drift:
    """What a replica of a pool bears, part by part.

    `over`: what the record is cut by. `spread`: the most that is borne in any part over the least,
    of the parts that visited their knee; 1 is no drift.
    """

    pool: str
    signal: str
    over: str
    parts: tuple[PartCapacity, ...]
    spread: Estimate

    @property
    def worst(self) -> PartCapacity | None:
        """The part that surely bears least, None where no part has an upper bound."""
        bounded = [one for one in self.parts if one.per_replica.high is not None]
        return min(bounded, key=lambda one: one.per_replica.high or 0.0, default=None)

    def sentence(self) -> str:
        """Say how much the capacity drifts, as far as these data tell."""
        spread = self.spread
        if spread.value is None or spread.low is None or spread.high is None:
            return f"Whether it drifts by {self.over} is not known: {spread.note}"
        interval = f"{spread.value:.3g} times ({spread.low:.3g} to {spread.high:.3g})"
        told = "it drifts" if spread.low > 1.0 else "no drift can be told"
        least, most = (_named(one) for one in self._extremes())
        between = f"from {least} to {most}"
        return f"By {self.over} {told}: by {interval} {between}. {spread.note}".strip()

    def _extremes(self) -> tuple[PartCapacity, PartCapacity]:
        """Give the parts that bear least and most, of those that visited their knee."""
        visited = sorted(_visited(self.parts), key=lambda one: one.per_replica.value or 0.0)
        return visited[0], visited[-1]

    def warning(self, target: Estimate) -> str:
        """Say where the target is above all that a part can bear; "" where it nowhere surely is."""
        worst = self.worst
        if worst is None or target.value is None:
            return ""
        most = worst.per_replica.high or 0.0
        if most >= target.value:
            return ""
        return (
            f"The target of {self.pool}, {target.value:.4g} {self.signal} a replica, is that of "
            f"the whole record and more than is borne in its worst {self.over}, {worst.part}: at "
            f"most {most:.4g}. {self._remedy(worst)}"
        )

    def _remedy(self, worst: PartCapacity) -> str:
        """Say what to do about a part that bears less: of few replicas each bears less."""
        replicas = max((one.replicas or 0.0 for one in self.parts), default=0.0)
        if worst.replicas is None or worst.replicas >= FEW_SHARE * replicas:
            return "Study that part by itself, or hold the target below it."
        return (
            f"It had {worst.replicas:.2g} replicas where another part had {replicas:.2g}: of few "
            "each bears less, because a burst finds no idle one. Raise minReplicas, or hold the "
            "target below it."
        )

    def as_dict(self) -> dict[str, Any]:
        """Give the form of study.json."""
        return {
            "pool": self.pool,
            "signal": self.signal,
            "over": self.over,
            "spread_ratio": self.spread.as_dict(),
            "parts": [
                {
                    "part": one.part,
                    "per_replica": one.per_replica.as_dict(),
                    "binding": one.binding,
                    "replicas": one.replicas,
                }
                for one in self.parts
            ],
        }


def measure_drifts(
    timeline: Timeline | None,
    threshold: Threshold,
    objectives: Sequence[Objective],
    regimes: Mapping[str, tuple[float, float]],
    *,
    seed: int,
) -> tuple[Drift, ...]:
    """Cut production by the hour and by regime, for the signal that drives and each pool's work.

    `regimes`: start and end of each in Unix seconds, by its name. Where nothing can be cut or no
    capacity is known there is no Drift.
    """
    if timeline is None or timeline.role != "production" or not objectives:
        return ()
    fitted = {
        (one.pool, one.signal): one.per_replica
        for one in threshold.capacities.values()
        if one.pool != threshold.pool
    }
    fitted = {(threshold.pool, threshold.signal): threshold.per_replica, **fitted}
    cuts = {PART_OF_DAY: parts_of_day(timeline), REGIME: _between(timeline, regimes)}
    return tuple(
        measure_drift(
            timeline,
            (pool, signal),
            objectives,
            over,
            parts,
            is_coupled=COUPLED_NOTE in estimate.note,
            seed=seed,
        )
        for (pool, signal), estimate in fitted.items()
        for over, parts in cuts.items()
        if len(parts) > 1 and estimate.is_known and pool in timeline.pools
    )


def drift_warnings(threshold: Threshold) -> dict[str, str]:
    """Say by pool where its target is above all that a part of the record can bear."""
    warnings: dict[str, list[str]] = {}
    for drift in threshold.drifts:
        target = threshold.target_of(drift.pool)
        if target is not None and (sentence := drift.warning(target)):
            warnings.setdefault(drift.pool, []).append(sentence)
    return {pool: " ".join(sentences) for pool, sentences in warnings.items()}


def measure_drift(
    timeline: Timeline,
    of: tuple[str, str],
    objectives: Sequence[Objective],
    over: str,
    parts: Mapping[str, Booleans],
    *,
    is_coupled: bool = False,
    seed: int = 0,
) -> Drift:
    """Fit what a replica bears in each part as in the whole record, and how far the parts differ.

    `of`: (pool, signal). `parts`: which steps (n,) belong to each, by name. The spread is the
    largest capacity over the smallest; with e_i the error of ln capacity in part i, as its
    interval tells it, ln spread is within range(e) of the truth, so that the interval is
    spread x exp(+-q), q the 95 % quantile of range(e): it holds for all parts at once.
    """
    pool, signal = of
    found = []
    for name, is_in in parts.items():
        alone = replace(timeline, usable=timeline.usable & is_in)
        capacity = fit_capacity(
            alone, pool, objectives, signal=signal, is_coupled=is_coupled, seed=seed
        )
        days = float(is_in.sum() * timeline.step_seconds / DAY_SECONDS)
        ready = timeline.pools[pool].ready_replicas[alone.usable]
        ready = ready[np.isfinite(ready)]
        found.append(
            PartCapacity(
                name,
                capacity.per_replica.with_days(days),
                capacity.binding,
                float(ready.mean()) if ready.size else None,
            )
        )
    return Drift(pool, signal, over, tuple(found), _spread(found, over, timeline.days, seed))


def parts_of_day(timeline: Timeline) -> dict[str, Booleans]:
    """Cut a record of a day or more into the four quarters of the day, in UTC."""
    if timeline.days < 1.0:
        return {}
    starts = timeline.time_seconds - timeline.step_seconds
    part = np.floor(starts % DAY_SECONDS / DAY_SECONDS * PARTS_OF_A_DAY).astype(int)
    hours = 24 // PARTS_OF_A_DAY
    return {
        f"{hours * one:02d}:00 to {hours * (one + 1):02d}:00 UTC": part == one
        for one in range(PARTS_OF_A_DAY)
    }


def _between(timeline: Timeline, regimes: Mapping[str, tuple[float, float]]) -> dict[str, Booleans]:
    at = timeline.time_seconds
    return {name: (at > start) & (at <= end) for name, (start, end) in regimes.items()}


def _visited(parts: Sequence[PartCapacity]) -> list[PartCapacity]:
    """List the parts in which a knee was visited."""
    return [one for one in parts if one.per_replica.status == "ok" and one.per_replica.high]


def _named(one: PartCapacity) -> str:
    with_replicas = "" if one.replicas is None else f", replicas {one.replicas:.2g}"
    return f"{one.per_replica.value:.4g} a replica ({one.part}{with_replicas})"


def _spread(parts: Sequence[PartCapacity], over: str, days: float, seed: int) -> Estimate:
    """Give the largest capacity over the smallest, of parts whose knee was visited."""
    if all(one.per_replica.status == "not_applicable" for one in parts):
        return not_applicable(parts[0].per_replica.note)
    visited = _visited(parts)
    unvisited = [one.part for one in parts if one not in visited]
    if len(visited) < 2:
        where = f"only in {visited[0].part}" if visited else "in none of them"
        return unidentified(f"of {len(parts)} parts the knee was visited {where}.")
    value, low, high = np.log(
        [[getattr(one.per_replica, end) for one in visited] for end in ("value", "low", "high")]
    )
    normal = np.random.default_rng(seed).standard_normal((DRAWS, len(visited)))
    error = normal * np.where(
        normal < 0.0, (value - low) / LOW_SIGMAS, (high - value) / HIGH_SIGMAS
    )
    q = float(np.quantile(np.ptp(error, axis=1), 0.95))
    spread = float(np.ptp(value))
    notes = [f"Without {', '.join(unvisited)}: no knee was visited."] if unvisited else []
    if over == PART_OF_DAY and days < 2.0:
        notes.append("The record is of one day: its hours may differ for reasons of that day.")
    return Estimate(
        math.exp(spread),
        math.exp(max(spread - q, 0.0)),
        math.exp(spread + q),
        note=" ".join(notes),
        effective_observations=float(
            sum(one.per_replica.effective_observations or 0.0 for one in visited)
        ),
        days=days,
        method=f"largest over smallest of {len(visited)} capacities; simultaneous 95 % interval "
        "from theirs",
    )
