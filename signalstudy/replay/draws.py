"""Draws: what a study does not know exactly, drawn from its intervals; the same for every run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.replay.relations import find_series
from signalstudy.threshold.tolerance import WINDOW_SECONDS, noise_ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.replay.grounds import Grounds
    from signalstudy.threshold.threshold import Capacity
    from signalstudy.vocabulary.estimate import Estimate

    Floats = NDArray[np.float64]

SAFE_Z, TWO_SIDED_Z = 1.645, 1.96
"""The low end of a capacity is a one-sided 95 % bound, the high end that of a 95 % interval."""
LEAST_CAPACITY_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Draws:
    """Lanes to run: lane 0 is the study's estimate, the others are draws.

    `capacity` (what a replica bears within the objectives) and `saturation` (the most it serves) by
    pool, and `startup_seconds`, (lanes,). `z` (lanes,): the normal score of the lag. `first_lane`:
    which of all lanes stands first, so that a part of them has the noise it has in the whole.
    `same_noise`: all lanes have that of lane 0, so that nothing but what they are given differs.
    """

    capacity: dict[str, Floats]
    saturation: dict[str, Floats]
    startup_seconds: Floats
    z: Floats
    seed: int
    first_lane: int = 0
    same_noise: bool = False

    @property
    def lanes(self) -> int:
        """How many lanes there are."""
        return self.startup_seconds.size

    def part(self, lanes: slice) -> Draws:
        """Give some of the lanes."""
        capacity = {pool: values[lanes] for pool, values in self.capacity.items()}
        saturation = {pool: values[lanes] for pool, values in self.saturation.items()}
        first = self.first_lane + (lanes.start or 0)
        return replace(
            self,
            capacity=capacity,
            saturation=saturation,
            startup_seconds=self.startup_seconds[lanes],
            z=self.z[lanes],
            first_lane=first,
        )

    def repeated(self, lanes: int) -> Draws:
        """Give lane 0 so many times over, its noise included."""
        return Draws(
            {pool: np.repeat(values[:1], lanes) for pool, values in self.capacity.items()},
            {pool: np.repeat(values[:1], lanes) for pool, values in self.saturation.items()},
            np.repeat(self.startup_seconds[:1], lanes),
            np.repeat(self.z[:1], lanes),
            self.seed,
            same_noise=True,
        )


def draw(grounds: Grounds, draws: int, seed: int) -> Draws:
    """Draw capacities and start-up times within the study's intervals.

    A capacity is normal on either side of its estimate; where no high end is known (a lower bound)
    it stays at the estimate. Saturation moves with it. Start-ups are those seen, one a lane.
    """
    rng = np.random.default_rng(seed)
    capacity, saturation = {}, {}
    for name, pool in grounds.pools.items():
        capacity[name] = _two_sided(pool.capacity.per_replica, _scores(rng, draws))
        saturation[name] = capacity[name] * _beyond(pool.capacity)
    seen = grounds.startup_seconds
    startup = np.concatenate([[np.median(seen)], rng.choice(seen, draws)])
    return Draws(capacity, saturation, startup, _scores(rng, draws), seed)


def _beyond(capacity: Capacity) -> float:
    """Give saturation / capacity: the most work seen in a bin of the fitted curves, at least 1."""
    seen = [float(curve.work_per_replica[-1]) for curve in capacity.curves]
    return max([1.0, *(work / (capacity.per_replica.value or work) for work in seen)])


def _scores(rng: np.random.Generator, draws: int) -> Floats:
    return np.concatenate([[0.0], rng.standard_normal(draws)])


def _two_sided(estimate: Estimate, z: Floats) -> Floats:
    value = estimate.value or 0.0
    down = value - (value if estimate.low is None else estimate.low)
    up = (value if estimate.high is None else estimate.high) - value
    drawn = value + z * np.where(z < 0.0, down / SAFE_Z, up / TWO_SIDED_Z)
    return np.asarray(np.maximum(drawn, LEAST_CAPACITY_SHARE * value))


def lags(grounds: Grounds, pool: str, signal: str, z: Floats) -> Floats:
    """Give the lag of a signal by lane in seconds: as measured, less what the model makes itself.

    The model spreads a request's work over its residence, whose centre is half of it late.
    """
    measured = None
    for place in (pool, "gateway"):
        for ranked in grounds.studied.ranking.signals:
            if measured is None and (ranked.pool, ranked.signal) == (place, signal):
                measured = ranked.measures.get("lag_seconds")
    if measured is None or measured.value is None:
        return np.zeros(z.size)
    low = measured.value if measured.low is None else measured.low
    high = measured.value if measured.high is None else measured.high
    spread = np.where(z < 0.0, measured.value - low, high - measured.value) / TWO_SIDED_Z
    own = grounds.pools[pool].residence_seconds / 2.0
    return np.asarray(np.maximum(measured.value + z * spread - own, 0.0))


def noise(grounds: Grounds, pool: str, signal: str, draws: Draws) -> Floats:
    """Give what a signal is multiplied by, step by step (lanes, n): noise of its own.

    Its size is the noise of its own over a minute, as white noise of the steps.
    """
    minute = noise_of_a_minute(grounds, pool, signal)
    if not minute:
        return np.ones((1, 1))
    per_step = minute * np.sqrt(max(WINDOW_SECONDS / grounds.step_seconds, 1.0))
    key = f"{pool}.{signal}".encode()
    lanes = [0] if draws.same_noise else range(draws.first_lane, draws.first_lane + draws.lanes)
    drawn = np.stack([
        np.random.default_rng([draws.seed, lane, *key]).standard_normal(
            grounds.time_seconds.size, dtype=np.float32
        )
        for lane in lanes
    ])  # fmt: skip
    drawn = np.broadcast_to(drawn, (draws.lanes, grounds.time_seconds.size))
    return np.asarray(np.maximum(1.0 + per_step * drawn, 0.0))


def noise_of_a_minute(grounds: Grounds, pool: str, signal: str) -> float:
    """Give a signal's own relative noise as the mean of a minute has it.

    It is the noise of the recorded signal, less what demand itself trembles (which drives the
    replay anyway).
    """
    series = find_series(grounds.whole, pool, signal)
    own = None if series is None else noise_ratio(series.values, grounds.step_seconds)
    of_demand = noise_ratio(grounds.pools[pool].work, grounds.step_seconds) or 0.0
    return float(np.sqrt(max((own or 0.0) ** 2 - of_demand**2, 0.0)))
