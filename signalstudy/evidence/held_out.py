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
FITTED_SHARE = 1.0 / 3.0
LEVELS = 2000
"""Demand is told apart at this many levels of equal counts and as many of equal width."""


def fold_of_steps(blocks: Blocks) -> NDArray[np.intp]:
    """Deal the blocks of time to folds (n,), in turn, and each day's in another order.

    Dealt in turn alone, days of twelve blocks would keep one hour of all days from the training.
    """
    folds = min(FOLDS, blocks.count)
    return (blocks.of_step + blocks.of_step // folds) % folds


def residuals_of(
    signal: Floats, reference: Floats, blocks: Blocks, levels: Levels | None = None
) -> Floats:
    """Give what a monotone curve of `reference` (n,) leaves of `signal` (n,), neither too well fit.

    A monotone curve's squares are too small where it was fitted, and half as much too large where
    it was not: of white noise 2.2 % and 1.1 % (benchmarks/calibration). So these are the held-out
    residuals, scaled to a mean square of which a third is that of the fitted ones.
    `levels`: those of the reference where both are known, where they are at hand.
    """
    levels = levels or cut_levels(reference, np.isfinite(signal) & np.isfinite(reference), blocks)
    y = signal[levels.steps]
    sums = levels.sums(y)
    left = y - levels.predict(sums)
    fitted = y - np.interp(levels.x, *levels.curve(sums, None))
    outside, inside = float(np.nansum(left**2)), float((fitted**2).sum())
    residuals = np.full(signal.shape, np.nan)
    residuals[levels.steps] = left
    if outside > 0.0:
        residuals *= np.sqrt(1.0 + FITTED_SHARE * (inside / outside - 1.0))
    return residuals


def predict_held_out(signal: Floats, reference: Floats, blocks: Blocks) -> Floats:
    """Predict `signal` (n,) from `reference` (n,) by isotonic regression on other blocks of time.

    Blocks are dealt to six folds. The curve, through the means at many levels of the reference,
    rises or falls as the training part does; it is read off linearly between them. NaN where
    either is unknown.
    """
    levels = cut_levels(reference, np.isfinite(signal) & np.isfinite(reference), blocks)
    prediction = np.full(signal.shape, np.nan)
    prediction[levels.steps] = levels.predict(levels.sums(signal[levels.steps]))
    return prediction


@dataclass(frozen=True, slots=True)
class Levels:
    """A reference by fold and level, its m known steps in ascending order.

    `steps`, `x`, `cell` (m,): each step, its reference, its fold times number of levels plus level.
    `held_out`: the places of each fold's steps among them. `counts`, `x_sums` (folds, levels).
    """

    steps: NDArray[np.intp]
    x: Floats
    cell: NDArray[np.intp]
    held_out: tuple[NDArray[np.intp], ...]
    counts: Floats
    x_sums: Floats

    def sums(self, y: Floats) -> Floats:
        """Sum what is known at the steps (m,) by fold and level (folds, levels)."""
        sums = np.bincount(self.cell, y, self.counts.size).reshape(self.counts.shape)
        return np.asarray(sums, dtype=np.float64)

    def predict(self, y_sums: Floats) -> Floats:
        """Predict each step from the other folds (m,), NaN where there is no other."""
        prediction = np.full(self.steps.size, np.nan)
        for fold, places in enumerate(self.held_out):
            if 0 < places.size < self.steps.size:
                prediction[places] = np.interp(self.x[places], *self.curve(y_sums, fold))
        return prediction

    def curve(self, y_sums: Floats, without: int | None) -> tuple[Floats, Floats]:
        """Fit a monotone curve to all folds, or all but one: its levels and heights."""
        folds = [fold for fold in range(self.counts.shape[0]) if fold != without]
        counts, x, y = (sums[folds].sum(axis=0) for sums in (self.counts, self.x_sums, y_sums))
        seen = np.flatnonzero(counts)
        counts, x, y = counts[seen], x[seen] / counts[seen], y[seen] / counts[seen]
        middle = float(counts @ y) / float(counts.sum())
        rises = float((counts * x * (y - middle)).sum()) >= 0.0
        curve = isotonic_regression(y, weights=counts, increasing=rises).x
        return x, np.asarray(curve, dtype=np.float64)


def cut_levels(reference: Floats, known: NDArray[np.bool_], blocks: Blocks) -> Levels:
    """Cut `reference` (n,) into levels where `known` (n,), equal values together.

    Levels end at two thousand quantiles, and at as many equal distances: in the tails, where steps
    are few and far between, quantiles alone would be far apart, too.
    """
    steps = np.flatnonzero(known)
    steps = steps[np.argsort(reference[steps])]
    fold_of, x = fold_of_steps(blocks)[steps], reference[steps]
    places = np.linspace(0, steps.size, min(LEVELS, steps.size), endpoint=False).astype(np.intp)
    edges = np.concatenate((x[places], np.linspace(x[0], x[-1], LEVELS)))
    starts = np.zeros(steps.size, dtype=np.intp)
    starts[np.searchsorted(x, edges)] = 1
    level_of = np.cumsum(starts) - 1
    shape = (int(fold_of.max()) + 1, int(level_of[-1]) + 1)
    cell = fold_of * shape[1] + level_of
    size = shape[0] * shape[1]
    return Levels(
        steps=steps,
        x=x,
        cell=cell,
        held_out=tuple(np.flatnonzero(fold_of == fold) for fold in range(shape[0])),
        counts=np.bincount(cell, minlength=size).reshape(shape).astype(np.float64),
        x_sums=np.bincount(cell, x, size).reshape(shape).astype(np.float64),
    )
