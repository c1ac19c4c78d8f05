"""Noise: what of the signal demand does not explain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.blocks import bootstrapped
from signalstudy.evidence.series import demand_must_vary, signal_must_vary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.prepared import Prepared
    from signalstudy.vocabulary.estimate import Estimate

    Floats = NDArray[np.float64]

LEAST_UNEXPLAINED = 1e-6
"""R2 is held below 1 by this much: a signal that demand fixes gets 10^6, not infinity."""


def signal_to_noise_ratio(prepared: Prepared) -> Estimate:
    """Variance of the signal that demand explains over the variance that it does not.

    R2 / (1 - R2) of a monotone curve fitted on other blocks of time (methods, section 4), so that
    a flexible curve cannot cheat; 0 where it predicts no better than the mean.
    """
    signal_must_vary(prepared.signal)
    demand_must_vary(prepared.reference)
    spread = np.nanstd(prepared.signal)
    scaled = (prepared.signal - np.nanmean(prepared.signal)) / spread
    residual = prepared.noise / spread
    known = np.isfinite(residual).astype(np.float64)
    moments = np.column_stack((known, known * scaled, known * scaled**2, residual**2))
    sums = prepared.blocks.sums(moments)
    value = float(_ratio(sums.sum(axis=0)[None, :])[0])
    return bootstrapped(
        value,
        _ratio(prepared.blocks.weights @ sums),
        method=f"held-out isotonic R2/(1-R2), bootstrap of {prepared.blocks.count} blocks",
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
    sums = prepared.blocks.sums(np.column_stack((np.isfinite(residual), residual**2)))
    count, square = (prepared.blocks.weights @ sums).T
    sigma = np.sqrt(np.maximum(square / np.maximum(count, 1.0), least))
    low, high = response.ends(response.resampled_fits)
    at_low, at_high = response.ends(response.fit)
    noise = np.sqrt(max(float(np.nanmean(residual**2)), least))
    return bootstrapped(
        float(np.abs(at_high - at_low) / noise),
        np.where(count > 0, np.abs(high - low) / sigma, np.nan),
        method=f"monotone curve over held-out residuals, bootstrap of {prepared.blocks.count}"
        " blocks",
        note=f"noise of {noise:.3g} at steps of {prepared.view.step_seconds:g} s",
    )


def _ratio(moments: Floats) -> Floats:
    """R2/(1-R2) from rows of n, sum, sum of squares, sum of squared residuals: (rows,)."""
    n, total, square, residual = np.moveaxis(moments, 1, 0)
    spread = square - total**2 / np.maximum(n, 1.0)
    defined = (n > 0) & (spread > 1e-12)
    explained = 1.0 - residual / np.where(defined, spread, 1.0)
    explained = np.clip(explained, 0.0, 1.0 - LEAST_UNEXPLAINED)
    return np.where(defined, explained / (1.0 - explained), np.nan)
