"""Noise: what of the signal demand does not explain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.blocks import GROWTH, bootstrapped
from signalstudy.evidence.series import demand_must_vary, signal_must_vary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.prepared import Prepared
    from signalstudy.vocabulary.estimate import Estimate

    Floats = NDArray[np.float64]

LEAST_UNEXPLAINED = 1e-6
"""R2 is held below 1 by this much: a signal that demand fixes gets 10^6, not infinity."""


CURVE_COST = 0.015
"""Least half width, as a share of the ratio: the curve is itself estimated, and costs about as
much of the ratio on a day of steps of 10 s."""


def signal_to_noise_ratio(prepared: Prepared) -> Estimate:
    """Variance of the signal that demand explains over the variance that it does not.

    R2 / (1 - R2) of a monotone curve fitted on other blocks of time (methods, section 4), so that
    a flexible curve cannot cheat; 0 where it predicts no better than the mean.
    """
    signal_must_vary(prepared.signal)
    demand_must_vary(prepared.reference)
    spread = np.nanstd(prepared.signal)
    centred = (prepared.signal - np.nanmean(prepared.signal)) / spread
    residual = prepared.noise / spread
    known = np.isfinite(residual)
    predicted = np.where(known, centred - residual, np.nan)
    total = float((centred[known] ** 2).sum() - centred[known].sum() ** 2 / known.sum())
    unexplained = float((residual[known] ** 2).sum())
    crossed = 2.0 * prepared.blocks.sums(predicted * residual)
    explained = total - unexplained
    weights = prepared.blocks.weights
    value = _ratio(np.array([explained]), np.array([unexplained]), total)[0]
    return bootstrapped(
        float(value),
        _ratio(
            explained + weights @ crossed - crossed.sum(),
            prepared.redrawn_squares / spread**2,
            total,
        ),
        prepared.blocks,
        bounds=(0.0, np.inf),
        scale=GROWTH,
        floor=CURVE_COST * float(value),
        method="held-out isotonic R2/(1-R2), its residuals redrawn by "
        f"{prepared.blocks.drawn.size} blocks",
        note=f"demand explains {value / (1.0 + value):.0%} of the variance at steps of "
        f"{prepared.view.step_seconds:g} s, {prepared.alignment[1]}",
    )


def peak_separation(prepared: Prepared) -> Estimate:
    """Distance between the signal at high and at low demand, in standard deviations of noise.

    d' = |s(d95) - s(d05)| / sigma, s from the monotone curve and sigma from its held-out residuals
    (methods, section 4).
    """
    signal_must_vary(prepared.signal)
    response = prepared.response
    residual = prepared.noise
    least = LEAST_UNEXPLAINED * float(np.nanvar(prepared.signal))
    count = int(np.isfinite(residual).sum())
    sigma = np.sqrt(np.maximum(prepared.redrawn_squares / count, least))
    low, high = response.ends(response.resampled_fits)
    at_low, at_high = response.ends(response.fit)
    noise = np.sqrt(max(float(np.nanmean(residual**2)), least))
    return bootstrapped(
        float(np.abs(at_high - at_low) / noise),
        np.abs(high - low) / sigma,
        prepared.blocks,
        floor=CURVE_COST / 2.0 * float(np.abs(at_high - at_low) / noise),
        bounds=(0.0, np.inf),
        scale=GROWTH,
        method=f"monotone curve over held-out residuals, bootstrap of {prepared.blocks.drawn.size}"
        " blocks",
        note=f"noise of {noise:.3g} at steps of {prepared.view.step_seconds:g} s",
    )


def _ratio(explained: Floats, unexplained: Floats, total: float) -> Floats:
    """Explained over unexplained squares (rows,), which is R2/(1-R2); within 0 and 10^6."""
    least = LEAST_UNEXPLAINED * total
    held = np.maximum(unexplained, least)
    return np.asarray(np.clip(explained / held, 0.0, 1.0 / LEAST_UNEXPLAINED), dtype=np.float64)
