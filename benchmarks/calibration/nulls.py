"""How often signals that know nothing of demand are said to follow it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom, false_discovery_control

from benchmarks.calibration.cells import daily_rhythm
from signalstudy.evidence.blocks import cut_blocks
from signalstudy.evidence.crosscovariance import SIGNIFICANCE, choose_window, search_lag
from signalstudy.evidence.fast_part import fast_part_of
from signalstudy.synthetic.traffic import autoregression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SIGNALS = 12
STEP_SECONDS = 10.0
STEPS = 8640
MEMORIES_SECONDS = (60.0, 300.0, 1800.0)


@dataclass(frozen=True, slots=True)
class FalsePositives:
    """Of independent autocorrelated signals: shares said to follow demand.

    `per_signal`: at p <= 0.05. `by_pearson`: by a naive p-value of Pearson's r, for comparison.
    `per_family`: of services with any of 12 signals so; `per_family_controlled`: after Benjamini
    and Hochberg. `undecided`: signals of which the record cannot tell. `excess_probability`: of so
    many or more, were they 5 % a signal (binomial).
    """

    memory_seconds: float
    has_rhythm: bool
    services: int
    per_signal: float
    by_pearson: float
    per_family: float
    per_family_controlled: float
    undecided: float
    excess_probability: float


def judge_nulls(services: int, *, seed: int) -> list[FalsePositives]:
    """Judge families of signals of three memories, beside demand with and without a daily rhythm.

    With a rhythm the signals have one of their own, at another hour: a common driver that is none.
    """
    return [
        _judge_null(services, memory, has_rhythm, np.random.default_rng((seed, place, has_rhythm)))
        for place, memory in enumerate(MEMORIES_SECONDS)
        for has_rhythm in (False, True)
    ]


def _judge_null(
    services: int, memory: float, has_rhythm: bool, rng: np.random.Generator
) -> FalsePositives:
    families = [_family(memory, has_rhythm=has_rhythm, rng=rng) for _ in range(services)]
    probabilities = np.array([[p for p, _ in family] for family in families])
    naive = np.array([[r for _, r in family] for family in families])
    known = np.isfinite(probabilities)
    found = np.where(known, probabilities, 1.0) <= SIGNIFICANCE
    controlled = [
        bool((false_discovery_control(np.where(np.isfinite(p), p, 1.0)) <= 0.05).any())
        for p in probabilities
    ]
    return FalsePositives(
        memory_seconds=memory,
        has_rhythm=has_rhythm,
        services=services,
        per_signal=float(found[known].mean()) if known.any() else 0.0,
        by_pearson=float(naive.mean()),
        per_family=float(found.any(axis=1).mean()),
        per_family_controlled=float(np.mean(controlled)),
        undecided=float((~known).mean()),
        excess_probability=float(binom.sf(found[known].sum() - 1, known.sum(), SIGNIFICANCE)),
    )


def _family(
    memory: float, *, has_rhythm: bool, rng: np.random.Generator
) -> list[tuple[float, bool]]:
    """Draw one demand and 12 signals: p of each, and whether Pearson alone would believe it."""
    demand = _series(memory, 0.0, has_rhythm=has_rhythm, rng=rng)
    blocks = cut_blocks(STEPS, STEP_SECONDS, 0)
    fast = fast_part_of(demand, choose_window(STEPS, STEP_SECONDS).high_pass)
    family = []
    for _ in range(SIGNALS):
        signal = _series(memory, rng.uniform(3.0, 9.0), has_rhythm=has_rhythm, rng=rng)
        search = search_lag(signal, demand, STEP_SECONDS, blocks, fast)
        r = float(np.corrcoef(signal, demand)[0, 1])
        p = search.probability if search.can_tell_chance else np.nan
        family.append((p, abs(r) * STEPS**0.5 > 1.96))
    return family


def _series(
    memory: float, hours_late: float, *, has_rhythm: bool, rng: np.random.Generator
) -> Floats:
    rhythm = daily_rhythm(STEPS, STEP_SECONDS) if has_rhythm else np.ones(STEPS)
    late = round(hours_late * 3600.0 / STEP_SECONDS)
    walk = autoregression(STEPS, STEP_SECONDS, memory, rng)
    return np.asarray(1000.0 * np.roll(rhythm, late) + 150.0 * walk)
