"""Response to capacity by events: what the signal did when replicas changed.

Just before against just after each change, so that nothing slower than minutes matters: no cache
that warms, no mix that drifts, no hour of the day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FEWEST_CHANGES = 8
LEAST_KNOWN = 0.5


def elasticity_by_changes(
    signal: Floats, demand: Floats, replicas: Floats, width: int
) -> tuple[float, float, float, int] | None:
    """Give value, low, high and number of changes; None where fewer than eight stand alone.

    Least squares, without a constant, of the change of ln s on those of ln d and ln N, each between
    means over `width` steps before and after a change with no other within them; Student's 95 %
    interval. All (n,), aligned, signal per replica; NaN where unknown.
    """
    n = signal.size
    moved = np.flatnonzero(np.diff(replicas) != 0.0) + 1
    moved = moved[np.isfinite(replicas[moved]) & np.isfinite(replicas[moved - 1])]
    gaps = np.diff(np.concatenate(([-n], moved, [2 * n])))
    alone = (gaps[:-1] >= width) & (gaps[1:] >= width) & (moved >= width) & (moved + width <= n)
    at = moved[alone]
    if at.size < FEWEST_CHANGES:
        return None
    known = np.isfinite(signal) & np.isfinite(demand) & (signal > 0.0) & (demand > 0.0)
    counts = np.concatenate(([0], np.cumsum(known)))

    def jump(values: Floats) -> Floats:
        sums = np.concatenate(([0.0], np.cumsum(np.where(known, values, 0.0))))
        after = (sums[at + width] - sums[at]) / np.maximum(counts[at + width] - counts[at], 1)
        before = (sums[at] - sums[at - width]) / np.maximum(counts[at] - counts[at - width], 1)
        return np.asarray(np.log(np.maximum(after, 1e-300) / np.maximum(before, 1e-300)))

    told = np.minimum(counts[at + width] - counts[at], counts[at] - counts[at - width])
    enough = told >= LEAST_KNOWN * width
    if enough.sum() < FEWEST_CHANGES:
        return None
    y, x = jump(signal)[enough], jump(demand)[enough]
    ln_n = np.log(replicas[at] / replicas[at - 1])[enough]
    design = np.column_stack((x, ln_n))
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ design.T @ y
    freedom = y.size - 2
    left = float(((y - design @ coefficients) ** 2).sum()) / freedom
    reach = float(stdtrit(freedom, 0.975)) * float(np.sqrt(left * inverse[1, 1]))
    value = float(coefficients[1])
    return value, value - reach, value + reach, int(y.size)
