"""Predict a signal from demand by a monotone curve that has not seen the same hours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.blocks import Blocks

    Floats = NDArray[np.float64]

FOLDS = 6
LEVELS = 2000
"""Demand is told apart at this many levels of equal counts and as many of equal width."""


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
    table = _tabulated(signal, reference, blocks)
    held_out = np.full(signal.shape, np.nan)
    held_out[table.steps] = signal[table.steps] - table.predicted
    x, y = reference[table.steps], signal[table.steps]
    fitted = y - np.interp(x, *table.curve_without(None))
    outside, inside = float(np.nansum(held_out**2)), float((fitted**2).sum())
    return held_out * np.sqrt((1.0 + inside / outside) / 2.0) if outside > 0.0 else held_out


def predict_held_out(signal: Floats, reference: Floats, blocks: Blocks) -> Floats:
    """Predict `signal` (n,) from `reference` (n,) by isotonic regression on other blocks of time.

    Blocks are dealt to six folds. The curve, through the means at many levels of the reference,
    rises or falls as the training part does; it is read off linearly between them. NaN where
    either is unknown.
    """
    table = _tabulated(signal, reference, blocks)
    prediction = np.full(signal.shape, np.nan)
    prediction[table.steps] = table.predicted
    return prediction


@dataclass(frozen=True, slots=True)
class _Table:
    """Both series by fold and level of the reference, steps in ascending order of it.

    `steps` (m,): those where both are known. `fold_of`, `x` (m,): fold and reference of each.
    `counts`, `x_sums`, `y_sums` (folds, levels).
    """

    steps: NDArray[np.intp]
    fold_of: NDArray[np.intp]
    x: Floats
    counts: Floats
    x_sums: Floats
    y_sums: Floats

    @property
    def predicted(self) -> Floats:
        """The signal as the other folds predict it (m,), NaN where there is no other."""
        prediction = np.full(self.steps.size, np.nan)
        for fold in range(self.counts.shape[0]):
            held_out = self.fold_of == fold
            if held_out.any() and not held_out.all():
                prediction[held_out] = np.interp(self.x[held_out], *self.curve_without(fold))
        return prediction

    def curve_without(self, fold: int | None) -> tuple[Floats, Floats]:
        """Fit a monotone curve to all folds but one: its levels and heights."""
        counts, x, y = (
            sums.sum(axis=0) - (0.0 if fold is None else sums[fold])
            for sums in (self.counts, self.x_sums, self.y_sums)
        )
        seen = counts > 0.0
        counts, levels, means = counts[seen], x[seen] / counts[seen], y[seen] / counts[seen]
        middle = float(np.average(means, weights=counts))
        rises = float((counts * levels * (means - middle)).sum()) >= 0.0
        curve = isotonic_regression(means, weights=counts, increasing=rises).x
        return levels, np.asarray(curve, dtype=np.float64)


def _tabulated(signal: Floats, reference: Floats, blocks: Blocks) -> _Table:
    """Sum both series by fold and by level of the reference, equal values together.

    Levels end at two thousand quantiles, and at as many equal distances: in the tails, where steps
    are few and far between, quantiles alone would be far apart, too.
    """
    steps = np.flatnonzero(np.isfinite(signal) & np.isfinite(reference))
    steps = steps[np.argsort(reference[steps])]
    fold_of, x, y = fold_of_steps(blocks)[steps], reference[steps], signal[steps]
    places = np.linspace(0, steps.size, min(LEVELS, steps.size), endpoint=False).astype(np.intp)
    edges = np.concatenate((x[places], np.linspace(x[0], x[-1], LEVELS)))
    starts = np.zeros(steps.size, dtype=np.intp)
    starts[np.searchsorted(x, edges)] = 1
    level_of = np.cumsum(starts) - 1
    folds, levels = int(fold_of.max()) + 1, int(level_of[-1]) + 1
    cell = fold_of * levels + level_of
    counts, x_sums, y_sums = (
        np.bincount(cell, weights, folds * levels).reshape(folds, levels).astype(np.float64)
        for weights in (None, x, y)
    )
    return _Table(steps, fold_of, x, counts, x_sums, y_sums)
