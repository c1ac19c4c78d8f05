"""The response of a signal to demand, as sums per block of time and bin of demand.

Resampled responses keep the demand that was visited and redraw what demand does not explain: the
range and the rhythm of demand are known, not chance. What the intervals say holds for that range.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.blocks import Blocks

    Floats = NDArray[np.float64]

LOW_QUANTILE, HIGH_QUANTILE = 0.05, 0.95
STEPS_PER_BIN = 100
FEWEST_BINS, MOST_BINS = 8, 20
FEWEST_LEVELS = 4
LEAST_OTHERS = 1.0 / 3.0
LEAST_SCALE = 0.25
LEAST_LINEAR = 0.8
LEAST_DEMAND_RANGE = float(np.exp(0.1))
"""Demand that varies by a smaller factor moves no signal visibly: nothing is told about shape."""
MOST_WIDENED = 3.0


# No slots: the fits are computed once, when first asked for.
@dataclass(frozen=True)
class Response:
    """Sums over the steps of each block and each quantile bin of demand, bins in rising order.

    `counts`, `sums`, `squares`, `residuals` (blocks, bins): number, sum and sum of squares of the
    signal, and sum of what the curve of the other blocks leaves of it.
    `levels` (bins,): mean demand of each bin. `inner` (bins,): the bin lies within the 5-95 % range
    of demand, `low_level` to `high_level`.
    """

    blocks: Blocks
    counts: Floats
    sums: Floats
    squares: Floats
    residuals: Floats
    levels: Floats
    inner: NDArray[np.bool_]
    low_level: float
    high_level: float

    @cached_property
    def demand_range(self) -> float:
        """Factor by which demand varies between its 5 % and 95 % quantiles; inf from zero up."""
        known = self.levels[self.inner]
        if known.size == 0:
            return 1.0
        return float(known[-1] / known[0]) if known[0] > 0.0 else np.inf

    @cached_property
    def means(self) -> Floats:
        """Mean signal of each bin (bins,)."""
        return np.asarray(self.sums.sum(axis=0) / self.counts.sum(axis=0), dtype=np.float64)

    @cached_property
    def weights(self) -> Floats:
        """Number of steps in each bin (bins,)."""
        return np.asarray(self.counts.sum(axis=0), dtype=np.float64)

    @cached_property
    def resampled_means(self) -> Floats:
        """Mean signal of each bin, its residuals redrawn by block (replicates, bins)."""
        redrawn = self.blocks.weights @ self.residuals - self.residuals.sum(axis=0)
        return np.asarray(self.means + redrawn / self.weights, dtype=np.float64)

    @cached_property
    def is_rising(self) -> bool:
        """Whether a rising step curve fits the bins better than a falling one."""
        errors = [
            float((self.weights * (self.means - monotone(self.means, self.weights, up)) ** 2).sum())
            for up in (True, False)
        ]
        return errors[0] <= errors[1]

    @cached_property
    def fit(self) -> Floats:
        """Best monotone curve through the bins (bins,)."""
        return monotone(self.means, self.weights, self.is_rising)

    @cached_property
    def resampled_fits(self) -> Floats:
        """Best monotone curve of each resampled record (replicates, bins), same direction."""
        return monotone(self.resampled_means, self.weights, self.is_rising)

    @cached_property
    def usual_residuals(self) -> Floats:
        """What each block would add to each bin if it erred by as much as blocks usually do.

        (blocks, bins). A block's error is taken as one share of a scale that follows the signal's
        spread from low to high demand, and its size from all blocks together.
        """
        error = np.abs(self.residuals) / np.maximum(self.counts, 1.0)
        half = self.levels.size // 2
        parts = (slice(half), slice(half, None))
        spreads = [np.sqrt(_mean(error[:, of] ** 2, self.counts[:, of])) for of in parts]
        places = [_mean(self.levels[of], self.weights[of]) for of in parts]
        slope = (spreads[1] - spreads[0]) / (places[1] - places[0])
        scale = spreads[0] + slope * (self.levels - places[0])
        scale = self.counts * np.maximum(scale, LEAST_SCALE * min(spreads))
        size = scale.sum(axis=1)
        shares = self.residuals.sum(axis=1) / np.where(size > 0.0, size, 1.0)
        return np.asarray(scale * np.sqrt(_mean(shares**2, size)), dtype=np.float64)

    def few_blocks_factor(self, replicates: Floats) -> float:
        """Give how much too narrow an interval is whose bins rest on few blocks, at least 1.

        Two blocks that happen to err alike make the ends of a curve look sure. Where the result is
        about linear in the bins' means, its variance can be had from what blocks usually add, too;
        the larger one counts.
        """
        known = np.isfinite(replicates)
        results = replicates[known] - replicates[known].mean()
        if known.all():
            shift, inverse = self._shift
        else:
            shift, inverse = _centred(self.resampled_means[known])
        gradient = inverse @ (shift.T @ results)
        left = float(((results - shift @ gradient) ** 2).sum())
        if left > (1.0 - LEAST_LINEAR) * float((results**2).sum()):
            return 1.0
        gradient = gradient / self.weights
        seen = float(((self.residuals @ gradient) ** 2).sum())
        usual = float(((self.usual_residuals @ gradient) ** 2).sum())
        return float(np.clip(np.sqrt(usual / seen), 1.0, MOST_WIDENED)) if seen > 0.0 else 1.0

    @cached_property
    def _shift(self) -> tuple[Floats, Floats]:
        return _centred(self.resampled_means)

    def ends(self, curve: Floats) -> tuple[Floats, Floats]:
        """Read curves (..., bins) off at the 5 % and the 95 % quantile of demand."""
        return self._at(curve, self.low_level), self._at(curve, self.high_level)

    def _at(self, curve: Floats, level: float) -> Floats:
        """Interpolate curves (..., bins) at one level of demand."""
        right = int(np.clip(np.searchsorted(self.levels, level), 1, self.levels.size - 1))
        left = right - 1
        share = (level - self.levels[left]) / (self.levels[right] - self.levels[left])
        share = float(np.clip(share, 0.0, 1.0))
        return np.asarray((1.0 - share) * curve[..., left] + share * curve[..., right])


@dataclass(frozen=True, slots=True)
class DemandBins:
    """Quantile bins of demand, and where each of the m known steps stands in them.

    `known` (n,): those steps. `cell` (m,): block times number of bins plus bin. `counts` (blocks,
    bins). `levels`, `inner`, `low_level`, `high_level`: see Response. `left`, `share` (m,): the
    level at or below a step's demand, and how far it stands on the way to the next: 0 to 1, less
    below the first level, more above the last.
    """

    blocks: Blocks
    known: NDArray[np.bool_]
    cell: NDArray[np.intp]
    counts: Floats
    levels: Floats
    inner: NDArray[np.bool_]
    low_level: float
    high_level: float
    left: NDArray[np.intp]
    share: Floats

    def sums(self, values: Floats) -> Floats:
        """Sum `values` (m,) by block and bin (blocks, bins)."""
        sums = np.bincount(self.cell, values, minlength=self.counts.size)
        return np.asarray(sums.reshape(self.counts.shape), dtype=np.float64)

    def between(self, heights: Floats) -> Floats:
        """Read a broken line through `heights` (bins,) at the levels off at each step (m,)."""
        rises = np.append(np.diff(heights), 0.0)
        return np.asarray(heights[self.left] + self.share * rises[self.left], dtype=np.float64)


def bin_demand(
    reference: Floats, known: NDArray[np.bool_], blocks: Blocks, every: int = 1
) -> DemandBins:
    """Bin `reference` (n,) where `known` (n,), which is at one of `every` so many steps.

    The lowest and the highest 5 % of demand have a bin of their own, the range between them 8 to
    20 of equal counts, at least 100 steps each where there are so many.
    """
    demand = reference[known]
    inner_bins = int(np.clip(every * demand.size // STEPS_PER_BIN, FEWEST_BINS, MOST_BINS))
    shares = np.concatenate(([0.0], np.linspace(LOW_QUANTILE, HIGH_QUANTILE, inner_bins + 1)))
    quantiles = np.quantile(demand, shares)
    edges = np.unique(quantiles)
    bin_of = np.searchsorted(edges[1:], demand, side="right")
    seen = np.bincount(bin_of, minlength=edges.size) > 0
    bin_of = (np.cumsum(seen) - 1)[bin_of]
    bins = int(seen.sum())
    cell = blocks.of_step[known] * bins + bin_of
    counts = np.bincount(cell, minlength=blocks.count * bins).reshape(-1, bins).astype(np.float64)
    levels = np.bincount(bin_of, demand) / counts.sum(axis=0)
    # Below the first and above the last level the line goes on as it began and ended.
    left = np.clip(bin_of - (demand < levels[bin_of]), 0, max(bins - 2, 0))
    reach = np.append(np.diff(levels), np.inf)
    low, high = float(quantiles[1]), float(quantiles[-1])
    return DemandBins(
        blocks=blocks,
        known=known,
        cell=cell,
        counts=counts,
        levels=levels,
        inner=(levels >= low) & (levels <= high),
        low_level=low,
        high_level=high,
        left=left,
        share=(demand - levels[left]) / reach[left],
    )


def tabulate(
    signal: Floats,
    reference: Floats,
    blocks: Blocks,
    *,
    fewest_levels: int = FEWEST_LEVELS,
    bins: DemandBins | None = None,
) -> Response:
    """Sum `signal` (n,) by block and by quantile bin of `reference` (n,), see `bin_demand`.

    `bins`: those of the reference where both are known, where they are at hand.
    """
    bins = bins or bin_demand(reference, np.isfinite(signal) & np.isfinite(reference), blocks)
    levels, counts = bins.levels, bins.counts
    if levels.size < fewest_levels:
        raise NotEnoughDataError(
            f"Demand visits only {levels.size} levels; the shape of the response takes at least "
            f"{fewest_levels}."
        )
    values = signal[bins.known]
    sums = bins.sums(values)
    # What is left of a line from bin to bin: within a bin, too, more demand is no surprise.
    means = sums.sum(axis=0) / counts.sum(axis=0)
    left = bins.sums(values - bins.between(means))
    return Response(
        blocks=blocks,
        counts=counts,
        sums=sums,
        squares=bins.sums(values**2),
        residuals=left_out_residuals(counts, left, levels),
        levels=levels,
        inner=bins.inner,
        low_level=bins.low_level,
        high_level=bins.high_level,
    )


def _centred(means: Floats) -> tuple[Floats, Floats]:
    """Give what rows differ from their mean by, x (rows, bins), and the inverse of x'x.

    Least squares by x'x, which is as small as the bins are few: a pseudoinverse of x itself would
    take half of an elasticity's time.
    """
    shift = means - means.mean(axis=0)
    return shift, np.linalg.pinv(shift.T @ shift, rcond=1e-13, hermitian=True)


def _mean(values: Floats, weights: Floats) -> float:
    return float((values * weights).sum() / max(float(weights.sum()), 1e-300))


def left_out_residuals(counts: Floats, sums: Floats, levels: Floats) -> Floats:
    """Give what each block adds beyond the mean of the other blocks, (blocks, bins) sums.

    Times sqrt(1 - share of the block), which makes them as large as the errors they stand for
    (HC2, MacKinnon and White 1985), however few the blocks. Where the other blocks hold less than
    a third of what the block holds, the mean is read off the line through their nearest bins.
    """
    total = counts.sum(axis=0)
    others = total - counts
    means = (sums.sum(axis=0) - sums) / np.maximum(others, 1.0)
    is_told = (others >= LEAST_OTHERS * counts) & (others > 0.0)
    for block in np.flatnonzero((~is_told & (counts > 0.0)).any(axis=1)):
        told = is_told[block]
        if told.sum() >= 2:
            means[block, ~told] = _on_line(levels[~told], levels[told], means[block, told])
        else:
            means[block] = sums.sum() / counts.sum()
    own_part = np.maximum(others / total, LEAST_OTHERS / (1.0 + LEAST_OTHERS))
    return np.asarray((sums - counts * means) * np.sqrt(own_part), dtype=np.float64)


def _on_line(at: Floats, levels: Floats, heights: Floats) -> Floats:
    """Read a broken line (levels, heights) off at some places, its ends drawn out straight."""
    right = np.clip(np.searchsorted(levels, at), 1, levels.size - 1)
    slope = (heights[right] - heights[right - 1]) / (levels[right] - levels[right - 1])
    return np.asarray(heights[right - 1] + slope * (at - levels[right - 1]), dtype=np.float64)


def monotone(means: Floats, weights: Floats, rising: bool) -> Floats:
    """Weighted isotonic regression of each row of `means` (..., bins), all rows at once.

    The min-max formula f_i = max over a <= i of min over b >= i of mean(a..b), which is exact and
    for a few dozen bins faster than one pool-adjacent-violators run a row. An empty bin lies on
    the curve of the others; a row of nothing but empty bins has no curve, and is NaN.
    """
    values = np.atleast_2d(means if rising else -means).T
    weight = np.atleast_2d(weights).T
    # Bins along the first axis: sums run over rows, and rows lie together in memory.
    totals, sums = np.cumsum(weight, axis=0), np.cumsum(weight * values, axis=0)
    is_whole = bool((weight > 0.0).all())
    fits = np.full(values.shape, -np.inf)
    room = np.empty(values.shape)
    for first in range(values.shape[0]):
        total = totals[first:] - (totals[first - 1] if first else 0.0)
        run_means = np.subtract(sums[first:], sums[first - 1] if first else 0.0, out=room[first:])
        if is_whole:
            run_means /= total
        else:
            # Runs of empty bins bound nothing.
            some = total > 0.0
            run_means = np.where(some, run_means / np.where(some, total, 1.0), np.inf)
        lowest = run_means[::-1]
        lowest = np.minimum.accumulate(lowest, axis=0, out=lowest)[::-1]
        if not is_whole:
            lowest = np.where(np.isinf(lowest), -np.inf, lowest)
        np.maximum(fits[first:], lowest, out=fits[first:])
    fits = np.where(totals[-1] > 0.0, fits, np.nan).T
    shaped = fits if rising else -fits
    return np.asarray(shaped.reshape(means.shape), dtype=np.float64)


def weighted_lines(design: Floats, values: Floats, weights: Floats) -> Floats:
    """Least squares of each row of `values` (rows, bins) on `design` (bins, p): (rows, p).

    Directions that a row's weights leave open get the coefficient of least norm.
    """
    gram = np.einsum("rk,kp,kq->rpq", weights, design, design, optimize=True)
    moment = np.einsum("rk,kp->rp", weights * values, design, optimize=True)
    return np.asarray(np.einsum("rpq,rq->rp", np.linalg.pinv(gram, hermitian=True), moment))
