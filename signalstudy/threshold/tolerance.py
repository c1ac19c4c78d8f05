"""How much a signal trembles at the speed at which a scaler reads it, and what to make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WINDOW_SECONDS = 60.0
DAY_SECONDS = 86_400.0
LEAST_TOLERANCE_RATIO = 0.05
MOST_DEVIATIONS = 6.0
FALSE_CROSSINGS_PER_DAY = 1.0
"""How often noise alone may ask for replicas (methods, section 9)."""


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


def usual_replicas(ready: Floats) -> float | None:
    """Give the median of ready replicas (n,), None where they are never known."""
    known = ready[np.isfinite(ready)]
    return float(np.median(known)) if known.size else None


def tolerance_ratio(
    noise: float | None, replicas: float | None, *, window_seconds: float = WINDOW_SECONDS
) -> float:
    """Give the tolerance that noise alone crosses once a day at most, and at least 0.05.

    After a decision desired / current rests anywhere in (1 - 1/N, 1], because replicas are rounded
    up. From there Gaussian noise of standard deviation `noise` crosses 1 + d in one window with
    probability N noise (L(d / noise) - L((d + 1/N) / noise)), L(z) = phi(z) - z (1 - Phi(z)); a day
    has 86400 / w windows, whose noise is taken as independent. `noise` is a share of the level
    (`noise_ratio`); `replicas` N of the pool, None: as if every decision came out even, which
    crosses with probability 1 - Phi(d / noise).
    """
    if not noise or noise <= 0.0:
        return LEAST_TOLERANCE_RATIO
    windows = DAY_SECONDS / window_seconds

    def excess(deviations: float) -> float:
        if replicas is None:
            crossing = float(norm.sf(deviations))
        else:
            width = 1.0 / (max(replicas, 1.0) * noise)
            crossing = (_loss(deviations) - _loss(deviations + width)) / width
        return windows * crossing - FALSE_CROSSINGS_PER_DAY

    if excess(0.0) <= 0.0:
        return LEAST_TOLERANCE_RATIO
    return max(LEAST_TOLERANCE_RATIO, noise * float(brentq(excess, 0.0, MOST_DEVIATIONS)))


def _loss(deviations: float) -> float:
    """Mean of what a standard normal exceeds `deviations` by (unit normal loss)."""
    return float(norm.pdf(deviations) - deviations * norm.sf(deviations))
