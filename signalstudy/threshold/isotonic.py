"""Isotonic: the share over the limit may only rise with work; find where it is too much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

WORK_BINS = 200
FEWEST_REQUESTS = 50.0
"""A bin of work holds at least so many requests, else it is joined to its neighbour below."""

RULE_OF_THREE = 3.0
"""n requests without a breach bound the share by 3/n at 95 % (Hanley & Lippman-Hand 1983)."""


@dataclass(frozen=True, slots=True)
class WorkBins:
    """Bins of work: `of_row` (rows,) gives each row's bin, `work` (bins,) the mean work."""

    of_row: Integers
    work: Floats

    def sums(self, values: Floats) -> Floats:
        """Sum one value a row into bins (bins,)."""
        counted = np.bincount(self.of_row, weights=values, minlength=self.work.size)
        return np.asarray(counted, dtype=float)


def bin_by_work(work: Floats, observed: Floats) -> WorkBins:
    """Cut the range of work into equal bins, joined until each holds enough requests.

    Equal widths rather than equal counts: the knee lies where data are scarce, and quantile bins
    are widest just there. Joining starts at the top, so that the last bin is sound as well.
    Bins do not depend on the objective: a looser one can never give a lower capacity.
    """
    spread = float(work.max() - work.min())
    if spread <= 0.0:
        return WorkBins(np.zeros(work.size, dtype=np.int64), work[:1].astype(float))
    fine = np.minimum(((work - work.min()) / spread * WORK_BINS).astype(np.int64), WORK_BINS - 1)
    requests = np.bincount(fine, weights=observed, minlength=WORK_BINS)
    joined = np.zeros(WORK_BINS, dtype=np.int64)
    label, held = 0, 0.0
    for index in range(WORK_BINS - 1, -1, -1):
        if held >= FEWEST_REQUESTS:
            label, held = label + 1, 0.0
        joined[index] = label
        held += requests[index]
    if held < FEWEST_REQUESTS and label > 0:  # too few at the bottom: give them to the next bin up
        joined[joined == label] = label - 1
    of_row = joined.max() - joined[fine]
    weights = np.bincount(of_row, weights=observed)
    return WorkBins(of_row, np.bincount(of_row, weights=observed * work) / weights)


def share_over(observed: Floats, over: Floats) -> Floats:
    """Fit k/n, weighted by n, as a rising function (bins,); bins without requests borrow."""
    held = observed > 0
    fitted = np.full(observed.size, np.nan)
    fitted[held] = isotonic_regression(over[held] / observed[held], weights=observed[held]).x
    index = np.maximum.accumulate(np.where(held, np.arange(observed.size), -1))
    return np.where(index >= 0, fitted[np.maximum(index, 0)], 0.0)


def last_safe_bin(observed: Floats, over: Floats, allowed_share: float) -> Integers:
    """Find the last bin whose isotonic share is within the allowance (...,); -1: none is.

    The bins up to j are those where the fit is at most a, exactly when j minimises the sum over
    bins 0..j of (k - a n) (level sets of isotonic regression, Robertson, Wright & Dykstra 1988,
    1.4): one cumulative sum a replicate instead of one fit. Takes (..., bins).
    """
    excess = np.cumsum(over - allowed_share * observed, axis=-1)
    # Sums of whole counts and multiples of a: what is below a millionth of a request is rounding.
    excess = np.round(excess, 6)
    nothing = np.zeros((*excess.shape[:-1], 1))
    return np.asarray(np.argmin(np.concatenate([nothing, excess], axis=-1), axis=-1) - 1)


def last_supported_bin(observed: Floats, allowed_share: float) -> Integers:
    """Find the last bin at or above which enough requests ran to tell the allowance (...,).

    Enough is 3 / allowance (rule of three); -1: there are not so many in all.
    """
    at_or_above = np.cumsum(observed[..., ::-1], axis=-1)[..., ::-1]
    return np.asarray((at_or_above >= RULE_OF_THREE / allowed_share - 1e-9).sum(axis=-1) - 1)
