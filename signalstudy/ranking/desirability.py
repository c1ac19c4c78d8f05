"""Which of two equally good signals an operator would rather have.

A driver: the clearer, the sooner, the straighter, the nearer to proportion and the surer to fall
when replicas are added. A guard: the clearer, the sooner, the steeper at high demand and the more
breaches it announces.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.ranking.gates import measure_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from signalstudy.evidence.evidence import SignalEvidence

    Floats = NDArray[np.float64]

HALF_WORTH_LAG_SECONDS = 60.0
"""A signal this late is worth half: about the shortest start-up of a replica."""
WEIGHT_DRAWS = 1000
LEAST_MERIT = 1e-6
EQUAL_WORTH = 1e-3
UNTESTED_RESPONSE = 0.7
"""Worth of a signal of which nobody saw that it falls when replicas are added. The work per replica
does so by arithmetic; a utilization may, or may stay where it is (methods.md, blocking check 3)."""


def driver_merits(signals: Sequence[SignalEvidence]) -> Floats:
    """Give clarity, promptness, straightness, proportion and response, 0..1 (signals, 5).

    What is unknown counts as 0. Straightness is R2 of a line over R2 of a monotone curve;
    proportion is 1 / (1 + abs(ln elasticity)), which is 1 where doubling demand doubles the
    signal; response is whether the signal per replica is known to fall as replicas are added.
    """
    rows = []
    for signal in signals:
        straightness = measure_of(signal, "linearity_ratio").value or 0.0
        elasticity = measure_of(signal, "demand_elasticity").value or 0.0
        proportion = 1.0 / (1.0 + abs(math.log(elasticity))) if elasticity > 0.0 else 0.0
        straight = min(max(straightness, 0.0), 1.0)
        rows.append(
            [_clarity(signal), _promptness(signal), straight, proportion, _response(signal)]
        )
    return np.array(rows).reshape(len(rows), 5)


def _response(signal: SignalEvidence) -> float:
    is_tested = measure_of(signal, "capacity_elasticity").is_known
    return 1.0 if is_tested or signal.kind == "total" else UNTESTED_RESPONSE


def guard_merits(signals: Sequence[SignalEvidence]) -> Floats:
    """Give clarity, promptness, steepness and recall, 0..1 (signals, 4); unknown is 0.

    Steepness is 1 - 1 / gain: a guard should be quiet until it matters. Recall is the share of
    breaches it would have warned of.
    """
    rows = []
    for signal in signals:
        gain = measure_of(signal, "gain_ratio").value or 1.0
        recall = measure_of(signal, "breach_recall_ratio").value or 0.0
        steepness = max(0.0, 1.0 - 1.0 / gain) if gain > 0.0 else 0.0
        rows.append([_clarity(signal), _promptness(signal), steepness, recall])
    return np.array(rows).reshape(len(rows), 4)


def _clarity(signal: SignalEvidence) -> float:
    """Share of the signal's variance that demand explains, R2 = snr / (1 + snr)."""
    snr = max(measure_of(signal, "signal_to_noise_ratio").value or 0.0, 0.0)
    return snr / (1.0 + snr)


def _promptness(signal: SignalEvidence) -> float:
    """1 / (1 + lag / 60 s); a signal that runs ahead of demand is no better than one on time."""
    lag = measure_of(signal, "lag_seconds").value
    return 0.0 if lag is None else 1.0 / (1.0 + max(lag, 0.0) / HALF_WORTH_LAG_SECONDS)


def weight_support(table: Floats, is_contending: NDArray[np.bool_]) -> Floats:
    """Give the share of all weights of the merits under which each signal would come first (k,).

    Weights are drawn evenly from the simplex (Dirichlet) and fixed by seed; the desirability is the
    weighted geometric mean. Those that are equal share a first place; who does not contend, has
    none.
    """
    known = table[:, table.any(axis=0)]
    if not is_contending.any() or not known.size:
        return np.zeros(len(table))
    weights = np.random.default_rng(0).dirichlet(np.ones(known.shape[1]), WEIGHT_DRAWS)
    worth = np.log(np.maximum(known, LEAST_MERIT)) @ weights.T
    worth = np.where(is_contending[:, None], worth, -np.inf)
    is_first = worth >= worth.max(axis=0) - EQUAL_WORTH
    support: Floats = (is_first / is_first.sum(axis=0)).mean(axis=1)
    return support


def pareto_fronts(table: Floats) -> NDArray[np.int64]:
    """Sort a table of merits (signals, merits) into Pareto fronts: front 0 is beaten by none.

    A signal beats another if it is nowhere worse and somewhere better.
    """
    at_least = np.asarray((table[:, None, :] >= table[None, :, :]).all(axis=2))
    beats = at_least & ~at_least.T
    fronts = np.full(len(table), -1, dtype=np.int64)
    front = 0
    while (fronts < 0).any():
        standing = fronts < 0
        is_beaten = beats[standing].any(axis=0)
        fronts[standing & ~is_beaten] = front
        front += 1
    return fronts


def desirability(table: Floats) -> Floats:
    """Give the geometric mean of the merits (Derringer and Suich 1980), 0..1 (signals,).

    A merit that is unknown for all signals leaves the others to decide.
    """
    known = table[:, table.any(axis=0)]
    geometric_mean: Floats = np.prod(known, axis=1) ** (1.0 / max(known.shape[1], 1))
    return geometric_mean
