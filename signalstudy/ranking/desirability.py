"""Which of two equally good signals an operator would rather have.

The clearer, the sooner, the straighter, and the nearer to proportion.
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
"""A signal this late is worth half: it is the order of a start-up's shortest, a minute."""


def merits(signals: Sequence[SignalEvidence]) -> Floats:
    """Give clarity, promptness, straightness and proportion, 0..1 (signals, 4); unknown is 0.

    Clarity is the share of variance that demand explains, R2 = snr / (1 + snr); promptness is
    1 / (1 + lag / 60 s); straightness is R2 of a line over R2 of a monotone curve; proportion is
    1 / (1 + abs(ln elasticity)), which is 1 where doubling demand doubles the signal.
    """
    table = np.zeros((len(signals), 4))
    for row, signal in zip(table, signals, strict=True):
        snr = measure_of(signal, "signal_to_noise_ratio").value
        lag = measure_of(signal, "lag_seconds").value
        linearity = measure_of(signal, "linearity_ratio").value
        elasticity = measure_of(signal, "demand_elasticity").value
        row[0] = 0.0 if snr is None else max(snr, 0.0) / (1.0 + max(snr, 0.0))
        row[1] = 0.0 if lag is None else 1.0 / (1.0 + abs(lag) / HALF_WORTH_LAG_SECONDS)
        row[2] = 0.0 if linearity is None else min(max(linearity, 0.0), 1.0)
        if elasticity is not None and elasticity > 0.0:
            row[3] = 1.0 / (1.0 + abs(math.log(elasticity)))
    return table


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
    """Give the geometric mean of the merits (Derringer and Suich 1980), 0..1 (signals,)."""
    geometric_mean: Floats = np.prod(table, axis=1) ** (1.0 / table.shape[1])
    return geometric_mean
