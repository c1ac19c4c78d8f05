"""Known changes of what is asked: when the mix of prompt and output tokens changed for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.blocks import cut_blocks
from signalstudy.evidence.regimes import BRIDGE_QUANTILE, FEWEST_BLOCKS_A_SIDE, largest_change

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEAST_CHANGE = 0.25
"""A mix that moves by less moves with the hour."""


def mix_changes(
    time_seconds: Floats, token_mix: Floats, step_seconds: float
) -> tuple[tuple[float, str], ...]:
    """Say when prompt tokens per output token (n,) changed for good, by a quarter and more.

    CUSUM of the means of their logarithm by blocks of time, as in `regime_shift_ratio`.
    """
    known = np.isfinite(token_mix) & (token_mix > 0.0)
    if not known.any():
        return ()
    blocks = cut_blocks(token_mix.size, step_seconds, 0)
    counts = blocks.sums(known.astype(np.float64))
    used = np.flatnonzero(counts >= counts.max() / 2.0)
    if used.size < 2 * FEWEST_BLOCKS_A_SIDE:
        return ()
    logs = np.log(np.where(known, token_mix, 1.0))
    means = blocks.sums(np.where(known, logs, np.nan))[used] / counts[used]
    split, reach = largest_change(means)
    before, after = (float(np.exp(part.mean())) for part in (means[:split], means[split:]))
    if reach <= BRIDGE_QUANTILE or abs(np.log(after / before)) < np.log1p(LEAST_CHANGE):
        return ()
    at = float(time_seconds[used[split] * blocks.size]) - step_seconds
    return ((at, f"prompt tokens per output token went from {before:.2g} to {after:.2g}"),)
