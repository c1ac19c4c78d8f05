"""How much a signal trembles at the speed at which a scaler reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WINDOW_SECONDS = 60.0


def noise_ratio(
    values: Floats, step_seconds: float, *, window_seconds: float = WINDOW_SECONDS
) -> float | None:
    """Give the noise of a signal (n,) averaged over a window, relative to its busy level.

    sigma^2 = 2 / (3 (m - 2)) sum (x[i-1]/2 - x[i] + x[i+1]/2)^2 over window means, which a trend
    does not enter (Gasser, Sroka and Jennen-Steinmetz 1986); the level is the mean of the windows
    above the median, where a scaler acts. None where there are too few windows.
    """
    steps = max(round(window_seconds / step_seconds), 1)
    whole = values[: values.size // steps * steps].reshape(-1, steps)
    means = whole.mean(axis=1)
    bends = 0.5 * means[:-2] - means[1:-1] + 0.5 * means[2:]
    bends = bends[np.isfinite(bends)]
    known = means[np.isfinite(means)]
    if bends.size < 8:
        return None
    level = float(known[known >= np.median(known)].mean())
    if level <= 0:
        return None
    return float(np.sqrt(2.0 / 3.0 * np.mean(bends**2))) / level
