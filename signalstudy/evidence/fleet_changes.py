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
    # Before and after each change: (changes, 2, width).
    steps = at[:, None, None] + np.arange(-width, width).reshape(2, width)
    with np.errstate(invalid="ignore"):
        known = (signal[steps] > 0.0) & (demand[steps] > 0.0)
    known &= np.isfinite(signal[steps]) & np.isfinite(demand[steps])
    told = known.sum(axis=2)

    def jump(values: Floats) -> Floats:
        sums = np.where(known, values[steps], 0.0).sum(axis=2)
        before, after = np.maximum(sums / np.maximum(told, 1), 1e-300).T
        return np.asarray(np.log(after / before))

    enough = told.min(axis=1) >= LEAST_KNOWN * width
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
