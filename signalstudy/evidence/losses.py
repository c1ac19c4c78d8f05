"""How well the replicas needed a little later are predicted from the signal now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

from signalstudy.evidence.held_out import fold_of_steps
from signalstudy.evidence.series import ascending, moving_mean, shifted, varies

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.prepared import Prepared

    Floats = NDArray[np.float64]

PINBALL_QUANTILE = 0.9
"""A replica too few costs nine times one too many."""
PREDICTOR_BINS = 20
FEWEST_STEPS = 60
FEWEST_TRAINING = 30
FEWEST_BLOCKS = 6
LEAST_BLOCK_COVERAGE = 0.5
LONGEST_HORIZON_SHARE = 1.0 / 8.0


def block_losses(prepared: Prepared, horizon_seconds: float) -> Floats | None:
    """Mean pinball loss per block (blocks,) of the replicas needed, predicted from the signal.

    In shares of the fleet: 0.01 is one replica in a hundred. Needed at t + H is demand there over
    its mean. Predicted from what is there at t, not lag-aligned: the pool's total (an
    intensive signal times its replicas) through a monotone 90 % quantile curve fitted on other
    blocks (methods 7.3). Blocks are those of the record, the same for all signals of a pool; NaN
    where less than half of a block is known; None where nothing can be judged. H is at most an
    eighth of the record.
    """
    view = prepared.view
    if view.circular:
        return None
    n = view.time_seconds.size
    steps = min(
        max(1, round(horizon_seconds / view.step_seconds)), max(1, int(n * LONGEST_HORIZON_SHARE))
    )
    target = prepared.shared.once(
        "replicas needed",
        lambda: shifted(_fleet_needed(view.demand, prepared.shape_width), steps),
        view.demand,
    )
    predictor = view.signal
    if view.kind != "total" and np.isfinite(view.replicas).any():
        predictor = view.signal * view.replicas
    known = np.isfinite(target) & np.isfinite(predictor)
    if known.sum() < FEWEST_STEPS or not varies(target[known]):
        return None
    loss = _held_out_pinball(predictor, target, known, prepared)
    judged = prepared.cut.sums(np.isfinite(loss).astype(np.float64))
    present = prepared.cut.sums(np.isfinite(target).astype(np.float64))
    covered = (judged > 0.0) & (judged >= LEAST_BLOCK_COVERAGE * present)
    if covered.sum() < FEWEST_BLOCKS:
        return None
    totals = prepared.cut.sums(loss)
    return np.where(covered, totals / np.maximum(judged, 1.0), np.nan)


def _fleet_needed(demand: Floats, width: int) -> Floats:
    """Replicas needed over the mean number needed (n,): work is proportional to replicas."""
    usual = float(np.nanmean(demand)) if np.isfinite(demand).any() else 0.0
    if usual <= 0.0:
        return np.full(demand.shape, np.nan)
    return moving_mean(demand, width) / usual


def _held_out_pinball(
    predictor: Floats, target: Floats, known: NDArray[np.bool_], prepared: Prepared
) -> Floats:
    """Pinball loss at each step (n,) of a curve fitted on the other folds of blocks."""
    loss = np.full(target.shape, np.nan)
    fold_of = fold_of_steps(prepared.cut)
    # The target is a mean over minutes: steps in between train no curve better.
    steps = np.flatnonzero(known)[:: prepared.shape_every]
    steps = steps[ascending(predictor[steps])]
    x, y, fold_of_step = predictor[steps], target[steps], fold_of[steps]
    for fold in range(int(fold_of.max()) + 1):
        held_out, training = np.flatnonzero(known & (fold_of == fold)), fold_of_step != fold
        if not held_out.size or training.sum() < FEWEST_TRAINING:
            continue
        curve = _quantile_curve(x[training], y[training])
        short = target[held_out] - np.interp(predictor[held_out], *curve)
        loss[held_out] = np.maximum(PINBALL_QUANTILE * short, (PINBALL_QUANTILE - 1.0) * short)
    return loss


def _quantile_curve(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Levels and heights of a monotone curve through 90 % quantiles of y in equal bins of x.

    `x` in ascending order.
    """
    bins = min(PREDICTOR_BINS, max(2, x.size // PREDICTOR_BINS))
    # The few steps that equal bins leave over are the lowest: they matter least.
    left_over = x.size % bins
    levels = x[left_over:].reshape(bins, -1).mean(axis=1)
    heights = _row_quantiles(y[left_over:].reshape(bins, -1), PINBALL_QUANTILE)
    rises = float(((levels - levels.mean()) * (heights - heights.mean())).sum()) >= 0.0
    curve = isotonic_regression(heights, increasing=rises).x
    distinct, first = np.unique(levels, return_index=True)
    return distinct, np.asarray(curve[first], dtype=np.float64)


def _row_quantiles(rows: Floats, share: float) -> Floats:
    """Give one quantile of each row of (rows, m), linearly between values: (rows,)."""
    place = share * (rows.shape[1] - 1)
    left = int(place)
    right = min(left + 1, rows.shape[1] - 1)
    parted = np.partition(rows, (left, right), axis=1)
    low, high = parted[:, left], parted[:, right]
    return np.asarray(low + (place - left) * (high - low), dtype=np.float64)
