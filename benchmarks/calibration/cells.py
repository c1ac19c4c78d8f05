"""The cells of the calibration, and records drawn from them whose right answers are known.

A record is drawn as arrays, without requests or files, so that hundreds a minute can be judged.
Demand, lag and smear live on a grid ten times finer than the steps that are recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import lfilter

from signalstudy.evidence.evidence import SignalView
from signalstudy.synthetic.traffic import autoregression

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FINE = 10
DAY_SECONDS = 86400.0
LAGS_IN_STEPS = (0.3, 1.4, 2.6, 3.7)
MEAN_DEMAND = 1000.0
DAY_SWING = 0.6
NOISE_SECONDS = 60.0
HIT_SECONDS = 1800.0
REDEPLOY_SECONDS = 3.0 * 3600.0
OUTAGE_STEPS = 6.0
SIGNALS = ("work", "gauge", "prompt", "level", "spare")
"""`work`: total, in proportion. `gauge`: per replica, an offset and a bend. `prompt`: total, work
over (1 - hit ratio), which the prefix cache distorts. In cells with `more_signals`: `level`, a
total that saturates, and `spare`, per replica, which falls as demand rises."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of record. `smear_seconds`: time constant after the dead time, 0 for a pure delay.

    `noise_ratio`: standard deviation of the signals' noise over their mean. `noise_seconds`: of how
    long memory, 0 for white; the sum of several where there are several. `heavy_spread`: standard
    deviation of the logarithm of bursts of 20 minutes. `replicas`: of the fleet, three quarters to
    one and a half times as many where it is redeployed. `missing_ratio`: of the signal's steps, in
    outages.
    """

    days: float
    step_seconds: float
    noise_ratio: float
    is_redeployed: bool
    smear_seconds: float
    is_bursty: bool
    noise_seconds: tuple[float, ...] = (NOISE_SECONDS,)
    heavy_spread: float = 0.0
    replicas: int = 4
    missing_ratio: float = 0.0
    more_signals: bool = False

    @property
    def name(self) -> str:
        """Say in a few words what the cell is."""
        return ", ".join(
            (
                f"{self.days:g} d at {self.step_seconds:g} s",
                f"noise {self.noise_ratio:g}",
                "redeployed" if self.is_redeployed else "fixed fleet",
                f"smeared {self.smear_seconds:g} s" if self.smear_seconds else "pure delay",
                "bursty" if self.is_bursty else "smooth",
                *([f"heavy bursts {self.heavy_spread:g}"] if self.heavy_spread else []),
                *([f"noise of {self._memories} s"] if self.noise_seconds != (60.0,) else []),
                *([f"{self.replicas} replicas"] if self.replicas != 4 else []),
                *([f"{self.missing_ratio:.0%} missing"] if self.missing_ratio else []),
            )
        )

    @property
    def work(self) -> float:
        """How many values a record holds: what it costs to judge grows with that."""
        signals = len(SIGNALS) if self.more_signals else 3
        return signals * (5000.0 + self.days * DAY_SECONDS / self.step_seconds)

    @property
    def _memories(self) -> str:
        return " + ".join(f"{seconds:g}" for seconds in self.noise_seconds)

    def lag_seconds(self, number: int) -> float:
        """Give the dead time of record `number` of this cell."""
        return LAGS_IN_STEPS[number % len(LAGS_IN_STEPS)] * self.step_seconds


@dataclass(frozen=True, slots=True)
class Drawn:
    """One signal of one record, and what it would be without noise."""

    noisy: SignalView
    without_noise: SignalView


def well_posed_cells() -> tuple[Cell, ...]:
    """Give half of all combinations of two levels, each third of them 1, 3 and 7 days long.

    Every pair of levels meets four times, so each factor's effect can be told from the others'.
    """
    halves = [levels for levels in product((0, 1), repeat=5) if sum(levels) % 2 == 0]
    return tuple(
        Cell(
            days=(1.0, 3.0, 7.0)[place % 3],
            step_seconds=(10.0, 30.0)[step],
            noise_ratio=(0.02, 0.3)[noise],
            is_redeployed=bool(fleet),
            smear_seconds=(0.0, 30.0)[smear],
            is_bursty=bool(bursts),
        )
        for place, (step, noise, fleet, smear, bursts) in enumerate(halves)
    )


def other_cells() -> tuple[Cell, ...]:
    """Give cells beyond the factorial design: what differs between fleets, one or two at a time."""
    plain = Cell(2.0, 15.0, 0.1, False, 0.0, False, more_signals=True)
    return (
        replace(plain, noise_seconds=(0.0,)),
        replace(plain, noise_seconds=(15.0, 120.0, 1000.0)),
        replace(plain, days=4.0, noise_seconds=(1800.0,)),
        replace(plain, heavy_spread=0.7, is_bursty=True),
        replace(plain, is_redeployed=True, replicas=40),
        replace(plain, is_redeployed=True, replicas=3, missing_ratio=0.05),
        replace(plain, days=1.0, missing_ratio=0.2),
        replace(plain, days=7.0, step_seconds=60.0, is_redeployed=True),
        replace(plain, days=4.0, step_seconds=60.0, is_bursty=True, missing_ratio=0.1),
    )


def draw_record(cell: Cell, number: int, seed: int) -> Iterator[Drawn]:
    """Draw record `number` of a cell, signal by signal. Equal numbers and seeds, equal records."""
    rng = np.random.default_rng((seed, number))
    steps = round(cell.days * DAY_SECONDS / cell.step_seconds)
    demand, work = _demand_and_work(cell, steps, cell.lag_seconds(number), rng)
    replicas = _replicas(cell, steps, rng)
    hits = 0.4 + 0.25 * np.tanh(autoregression(steps, cell.step_seconds, HIT_SECONDS, rng))
    share = work / replicas * cell.replicas / MEAN_DEMAND
    signals = [
        ("work", "total", work),
        ("gauge", "intensive", bent(share)),
        ("prompt", "total", work / (1.0 - hits)),
    ]
    if cell.more_signals:
        signals += [
            ("level", "total", np.tanh(0.8 * work / MEAN_DEMAND)),
            ("spare", "intensive", 1.0 / (1.0 + 0.7 * share)),
        ]
    for name, kind, clean in signals:
        noise = _noise(cell, steps, rng)
        seen = np.where(_outages(cell, steps, rng), np.nan, clean)
        noisy = SignalView(
            pool="decode",
            name=name,
            kind=kind,
            time_seconds=cell.step_seconds * np.arange(1.0, steps + 1.0),
            step_seconds=cell.step_seconds,
            signal=seen + cell.noise_ratio * float(clean.mean()) * noise,
            demand=demand,
            reference=demand if kind == "total" else demand / replicas,
            replicas=replicas,
            hit_ratio=hits,
            averaged_seconds=cell.step_seconds,
            scrape_seconds=cell.step_seconds,
        )
        yield Drawn(noisy, replace(noisy, signal=seen))


def _noise(cell: Cell, steps: int, rng: np.random.Generator) -> Floats:
    """Draw noise of variance 1 and the cell's memories (n,)."""
    parts = [
        autoregression(steps, cell.step_seconds, seconds, rng)
        if seconds
        else rng.standard_normal(steps)
        for seconds in cell.noise_seconds
    ]
    return np.asarray(np.sum(parts, axis=0) / len(parts) ** 0.5, dtype=np.float64)


def _outages(cell: Cell, steps: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Tell which steps are missing (n,): outages of one step and more, six on average."""
    if not cell.missing_ratio:
        return np.zeros(steps, dtype=np.bool_)
    begins = rng.random(steps) < -np.log(1.0 - cell.missing_ratio) / OUTAGE_STEPS
    lengths = np.where(begins, rng.geometric(1.0 / OUTAGE_STEPS, steps), 0)
    ends = np.maximum.accumulate(np.where(begins, np.arange(steps) + lengths, 0))
    return np.asarray(ends > np.arange(steps))


def bent(share: Floats) -> Floats:
    """Give a gauge that rests at a value and bends upwards (n,), of work over the mean's share."""
    return 20.0 + 5.0 * share + 8.0 * share**2


def daily_rhythm(steps: int, step_seconds: float) -> Floats:
    """Give a day's rhythm around 1 (n,): whole days, so that each record sees the same range."""
    centres = step_seconds * (np.arange(steps) + 0.5)
    rhythm: Floats = 1.0 + DAY_SWING * np.sin(2.0 * np.pi * centres / DAY_SECONDS)
    return rhythm


def _demand_and_work(
    cell: Cell, steps: int, lag_seconds: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Draw demand and the work that follows it, means over steps (n,) each."""
    fine = cell.step_seconds / FINE
    delay = round(lag_seconds / fine)
    lead = delay + round(8.0 * cell.smear_seconds / fine)
    size = lead + steps * FINE
    spread, memory = (0.4, 120.0) if cell.is_bursty else (0.15, 300.0)
    bursts = autoregression(size, fine, memory, rng)
    offered = MEAN_DEMAND * np.exp(spread * bursts - 0.5 * spread**2)
    if cell.is_bursty:
        offered *= rng.gamma(4.0, 0.25, size=size)
    if cell.heavy_spread:
        hours = autoregression(size, fine, 1200.0, rng)
        offered *= np.exp(cell.heavy_spread * hours - 0.5 * cell.heavy_spread**2)
    offered *= np.roll(daily_rhythm(size, fine), lead)
    done = offered
    if cell.smear_seconds:
        keep = np.exp(-fine / cell.smear_seconds)
        done = lfilter([1.0 - keep], [1.0, -keep], offered)
    return (
        offered[lead:].reshape(steps, FINE).mean(axis=1),
        done[lead - delay : size - delay].reshape(steps, FINE).mean(axis=1),
    )


def _replicas(cell: Cell, steps: int, rng: np.random.Generator) -> Floats:
    """Give ready replicas (n,): 4, or redrawn from 3 to 6 every few hours whatever demand does."""
    if not cell.is_redeployed:
        return np.full(steps, float(cell.replicas))
    changes = rng.random(steps) < cell.step_seconds / REDEPLOY_SECONDS
    least, most = round(0.75 * cell.replicas), round(1.5 * cell.replicas) + 1
    sizes = rng.integers(least, most, size=int(changes.sum()) + 1).astype(np.float64)
    return sizes[np.cumsum(changes)]
