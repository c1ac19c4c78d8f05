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
SIGNALS = ("work", "gauge", "prompt")
"""`work`: total, in proportion. `gauge`: per replica, an offset and a bend. `prompt`: total, work
over (1 - hit ratio), which the prefix cache distorts."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of record. `smear_seconds`: time constant after the dead time, 0 for a pure delay.

    `noise_ratio`: standard deviation of the signals' noise over their mean.
    """

    days: float
    step_seconds: float
    noise_ratio: float
    is_redeployed: bool
    smear_seconds: float
    is_bursty: bool

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
            )
        )

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


def draw_record(cell: Cell, number: int, seed: int) -> Iterator[Drawn]:
    """Draw record `number` of a cell, signal by signal. Equal numbers and seeds, equal records."""
    rng = np.random.default_rng((seed, number))
    steps = round(cell.days * DAY_SECONDS / cell.step_seconds)
    demand, work = _demand_and_work(cell, steps, cell.lag_seconds(number), rng)
    replicas = _replicas(cell, steps, rng)
    hits = 0.4 + 0.25 * np.tanh(autoregression(steps, cell.step_seconds, HIT_SECONDS, rng))
    for name, kind, clean in (
        ("work", "total", work),
        ("gauge", "intensive", bent(work / replicas)),
        ("prompt", "total", work / (1.0 - hits)),
    ):
        noise = autoregression(steps, cell.step_seconds, NOISE_SECONDS, rng)
        noisy = SignalView(
            pool="decode",
            name=name,
            kind=kind,
            time_seconds=cell.step_seconds * np.arange(1.0, steps + 1.0),
            step_seconds=cell.step_seconds,
            signal=clean + cell.noise_ratio * float(clean.mean()) * noise,
            demand=demand,
            reference=demand if kind == "total" else demand / replicas,
            replicas=replicas,
            hit_ratio=hits,
            averaged_seconds=cell.step_seconds,
            scrape_seconds=cell.step_seconds,
        )
        yield Drawn(noisy, replace(noisy, signal=clean))


def bent(per_replica: Floats) -> Floats:
    """Give a gauge that rests at a value and bends upwards (n,)."""
    relative = 4.0 * per_replica / MEAN_DEMAND
    return 20.0 + 5.0 * relative + 8.0 * relative**2


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
        return np.full(steps, 4.0)
    changes = rng.random(steps) < cell.step_seconds / REDEPLOY_SECONDS
    sizes = rng.integers(3, 7, size=int(changes.sum()) + 1).astype(np.float64)
    return sizes[np.cumsum(changes)]
