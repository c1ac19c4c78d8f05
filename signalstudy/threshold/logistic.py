"""Logistic: where straight log-odds of a breach reach the allowance, near the isotonic knee."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NEAR_FACTOR = 8.0
MOST_SHARE = 0.5
"""Bins count whose isotonic share is within a factor of 8 of the allowance and at most a half: the
law is local, and saturation would bend it."""

LEAST_REACH, MOST_REACH = 0.15, 0.5
"""At least the work down to 15 % below the knee counts, breaches or not, and none below half."""

STEPS = 25
LARGEST_STEP = 2.0
FARTHEST = 0.8
"""No crossing is read farther than this share of the knee away from it."""


def crossings(
    work: Floats, observed: Floats, over: Floats, fitted: Floats, allowed_share: float
) -> Floats:
    """Give the work at which logit P(over) = a + b work meets the allowance (draws,).

    `work`, `fitted` (bins,): mean work, and the isotonic share that says which bins are near;
    `observed`, `over` (draws, bins): counts, one row a resample. Maximum likelihood by Newton's
    method on all rows at once. NaN where the share does not rise with work or is broken throughout.
    """
    safe = max(int(np.searchsorted(fitted, allowed_share, side="right")) - 1, 0)
    knee = float(work[safe])
    most = max(min(MOST_SHARE, NEAR_FACTOR * allowed_share), 3.0 * allowed_share)
    near = (fitted >= allowed_share / NEAR_FACTOR) & (fitted <= most)
    near[[safe, min(safe + 1, work.size - 1)]] = True
    inside = np.flatnonzero(near)
    least = min(float(work[inside[0]]), (1.0 - LEAST_REACH) * knee)
    least = max(least, (1.0 - MOST_REACH) * knee)
    kept = (work >= least) & (work <= work[inside[-1]])
    scale = 0.1 * knee
    level, slope = _fit((work[kept] - knee) / scale, observed[..., kept], over[..., kept])
    held, broken = observed[..., kept].sum(axis=1), over[..., kept].sum(axis=1)
    away = np.divide(
        logit(allowed_share) - level, slope, out=np.full(slope.shape, np.nan), where=slope > 0.0
    )
    farthest = FARTHEST * knee / scale
    with np.errstate(invalid="ignore"):
        away[away < -farthest] = np.nan
        # Within the allowance all the way: whatever the slope, the crossing lies above.
        away[(broken <= allowed_share * held) & ~(away < farthest)] = farthest
    return np.asarray(knee + scale * np.minimum(away, farthest))


def _fit(x: Floats, observed: Floats, over: Floats) -> tuple[Floats, Floats]:
    """Fit level and slope of each row (draws,) by damped Newton steps."""
    level, slope = np.full(observed.shape[0], -2.0), np.full(observed.shape[0], 1.0)
    for _ in range(STEPS):
        share = expit(level[:, None] + slope[:, None] * x)
        weight = observed * share * (1.0 - share)
        rest = over - observed * share
        gradient, tilt = rest.sum(axis=1), rest @ x
        h0, h1, h2 = weight.sum(axis=1) + 1e-9, weight @ x, weight @ x**2 + 1e-9
        determinant = np.maximum(h0 * h2 - h1**2, 1e-12)
        steps = (h2 * gradient - h1 * tilt) / determinant, (h0 * tilt - h1 * gradient) / determinant
        largest = np.maximum(np.abs(steps[0]), np.abs(steps[1]))
        damped = np.minimum(1.0, LARGEST_STEP / np.maximum(largest, 1e-9))
        level, slope = level + damped * steps[0], slope + damped * steps[1]
        if float(largest.max(initial=0.0)) < 1e-6:
            break
    return level, slope
