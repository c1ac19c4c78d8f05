"""Regimes: does the signal answer demand the same way over the whole record.

A deploy, other hardware, another mix of adapters or of lengths changes what a signal shows at equal
demand. A curve through both regimes describes neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.blocks import bootstrapped
from signalstudy.evidence.series import demand_must_vary, signal_must_vary
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.prepared import Prepared

    Floats = NDArray[np.float64]

FEWEST_BLOCKS_A_SIDE = 4
FEWEST_HOURS = 6.0
BRIDGE_QUANTILE = 1.358
"""95 % of Brownian bridges stay within this distance of zero (Kolmogorov)."""
MOST_CARRY_OVER = 0.8


def regime_shift_ratio(prepared: Prepared) -> Estimate:
    """Largest lasting change of the signal at equal demand, as a share of its usual height.

    Where the CUSUM of block means of what demand does not explain leaves a Brownian bridge
    (Csorgo and Horvath 1997; long-run variance from neighbouring blocks, either side of the
    change): the difference of the means after and before, over the mean signal. 0 where the record
    shows no such change.
    """
    signal_must_vary(prepared.signal)
    demand_must_vary(prepared.reference)
    hours = prepared.view.time_seconds.size * prepared.view.step_seconds / 3600.0
    if hours < FEWEST_HOURS:
        raise NotEnoughDataError(
            f"A record of {hours:.1f} h does not tell a lasting change from a queue that fills or "
            f"a cache that warms; at least {FEWEST_HOURS:g} h do."
        )
    blocks = prepared.blocks
    known = np.isfinite(prepared.noise)
    counts = blocks.sums(known.astype(np.float64))
    usual = float(np.nanmean(np.abs(prepared.signal)))
    used = np.flatnonzero(counts >= counts.max() / 2.0)
    if used.size < 2 * FEWEST_BLOCKS_A_SIDE:
        raise NotEnoughDataError(
            f"Only {used.size} blocks of time hold the signal and demand; at least "
            f"{2 * FEWEST_BLOCKS_A_SIDE} are needed to tell a lasting change."
        )
    means = blocks.sums(prepared.noise)[used] / counts[used] / usual
    split, reach = _largest_change(means)
    method = "CUSUM of what demand does not explain, by blocks of time"
    if reach <= BRIDGE_QUANTILE:
        return Estimate(0.0, method=method, note="no lasting change at equal demand")
    first, second = means[:split], means[split:]
    before, after = (float(part.mean()) for part in (first, second))
    direction = 1.0 if after > before else -1.0
    weights = blocks.weights[:, used]
    resampled = _weighted(weights[:, split:], second) - _weighted(weights[:, :split], first)
    at = float(prepared.view.time_seconds[used[split] * blocks.size])
    start = float(prepared.view.time_seconds[0] - prepared.view.step_seconds)
    return bootstrapped(
        abs(after - before),
        direction * resampled,
        blocks,
        bounds=(0.0, np.inf),
        method=method,
        note=f"{direction * 100.0 * abs(after - before):+.0f} % of its usual height at equal "
        f"demand, {(at - start) / 3600.0:.1f} h after the start",
    )


def _largest_change(means: Floats) -> tuple[int, float]:
    """Find the split (first block after it) and how far the CUSUM leaves its bridge there."""
    m = means.size
    path = np.cumsum(means - means.mean())[:-1]
    inner = slice(FEWEST_BLOCKS_A_SIDE - 1, m - FEWEST_BLOCKS_A_SIDE)
    split = int(np.abs(path[inner]).argmax()) + FEWEST_BLOCKS_A_SIDE
    left = np.concatenate(
        (means[:split] - means[:split].mean(), means[split:] - means[split:].mean())
    )
    power = float((left**2).sum())
    if power <= 0.0:
        return split, np.inf if np.abs(path).max() > 0.0 else 0.0
    rho = float((left[1:] * left[:-1]).sum()) / power
    rho = float(np.clip(rho + (1.0 + 3.0 * rho) / m, 0.0, MOST_CARRY_OVER))
    deviation = np.sqrt(power / (m - 2) * (1.0 + rho) / (1.0 - rho))
    return split, float(np.abs(path[split - 1]) / (deviation * np.sqrt(m)))


def _weighted(weights: Floats, means: Floats) -> Floats:
    """Mean of some blocks in each resampled record (replicates,), NaN where none is drawn."""
    total = weights.sum(axis=1)
    return np.where(total > 0.0, (weights @ means) / np.maximum(total, 1.0), np.nan)
