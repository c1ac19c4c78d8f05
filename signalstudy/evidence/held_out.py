"""Predict a signal from demand by a monotone curve that has not seen the same hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.blocks import Blocks

    Floats = NDArray[np.float64]

FOLDS = 6


def fold_of_steps(blocks: Blocks) -> NDArray[np.intp]:
    """Deal the blocks of time to folds (n,), in turn, and each day's in another order.

    Dealt in turn alone, days of twelve blocks would keep one hour of all days from the training.
    """
    folds = min(FOLDS, blocks.count)
    return (blocks.of_step + blocks.of_step // folds) % folds


def residuals_of(signal: Floats, reference: Floats, blocks: Blocks) -> Floats:
    """Give what a monotone curve of `reference` (n,) leaves of `signal` (n,), neither too well fit.

    A curve errs too little where it was fitted and about as much too much where it was not. So
    these are the held-out residuals, scaled to the mean square of both kinds: within a hundredth of
    the noise's own where the held-out ones alone stand 13 % off (benchmarks/calibration).
    """
    held_out = signal - predict_held_out(signal, reference, blocks)
    known = np.isfinite(held_out)
    order = np.flatnonzero(known)[np.argsort(reference[known], kind="stable")]
    levels, curve = _curve(reference[order], signal[order])
    fitted = signal[order] - np.interp(reference[order], levels, curve)
    outside, inside = float(np.nansum(held_out**2)), float((fitted**2).sum())
    return held_out * np.sqrt((1.0 + inside / outside) / 2.0) if outside > 0.0 else held_out


def predict_held_out(signal: Floats, reference: Floats, blocks: Blocks) -> Floats:
    """Predict `signal` (n,) from `reference` (n,) by isotonic regression on other blocks of time.

    Blocks are dealt to six folds. The curve rises or falls as the training part does; it
    is read off linearly between the levels it was fitted at. NaN where either is unknown.
    """
    known = np.isfinite(signal) & np.isfinite(reference)
    prediction = np.full(signal.shape, np.nan)
    fold_of = fold_of_steps(blocks)
    order = np.argsort(reference, kind="stable")
    order = order[known[order]]
    for fold in np.unique(fold_of[known]):
        held_out = order[fold_of[order] == fold]
        training = order[fold_of[order] != fold]
        if not training.size:
            continue
        levels, curve = _curve(reference[training], signal[training])
        prediction[held_out] = np.interp(reference[held_out], levels, curve)
    return prediction


def _curve(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Fit a monotone curve to y (n,) over ascending x (n,): its levels and heights."""
    rises = float(((x - x.mean()) * (y - y.mean())).sum()) >= 0.0
    levels, first = np.unique(x, return_index=True)
    counts = np.diff(np.append(first, x.size)).astype(np.float64)
    means = np.add.reduceat(y, first) / counts
    return levels, np.asarray(isotonic_regression(means, weights=counts, increasing=rises).x)
