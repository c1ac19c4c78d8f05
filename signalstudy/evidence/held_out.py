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
        x, y = reference[training], signal[training]
        rises = float(((x - x.mean()) * (y - y.mean())).sum()) >= 0.0
        levels, first = np.unique(x, return_index=True)
        counts = np.diff(np.append(first, x.size)).astype(np.float64)
        means = np.add.reduceat(y, first) / counts
        curve = isotonic_regression(means, weights=counts, increasing=rises).x
        prediction[held_out] = np.interp(reference[held_out], levels, curve)
    return prediction
