"""How a signal and demand move together at every lag: peak, its resamples, and the null."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.special import stdtr

from signalstudy.evidence.autocorrelation import count_pairs, worth_of
from signalstudy.evidence.blocks import central_range
from signalstudy.evidence.fast_part import FastPart, Products, fast_part_of
from signalstudy.evidence.series import demand_must_vary, signal_must_vary
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.blocks import Blocks

    Floats = NDArray[np.float64]

HIGH_PASS_SECONDS = 3600.0
HIGH_PASS_STEPS = 20
"""At coarse steps an hour holds too few of them; the high-pass is then 20 steps."""
LONGEST_LAG_SECONDS = 600.0
FEWEST_LAG_STEPS = 4
SIGNIFICANCE = 0.05
EDGE_SHARE = 0.025
GUESS_SHARE = 4
"""A lag that cannot be identified is guessed within a quarter of what was searched."""
LEAST_PROBABILITY = 1e-4
"""Smaller ones would be a statement about the tail of a distribution, not about the record."""
DECORRELATION_TIMES_APART = 5
FEWEST_INDEPENDENT_SHIFTS = 8
BEYOND = 3
STRONGER = 1.1
SMEAR = 0.1
"""A cross-correlation this far from demand's own, shifted, is more than a pure delay."""


@dataclass(frozen=True, slots=True)
class SearchWindow:
    """How far to look, in steps, chosen from the step and the span of the record.

    `high_pass`: min(1 h or 20 steps, span / 4). `lag`: a 24th of the span, at least 4 steps, at
    most 10 min (or 4 steps where those are longer).
    """

    high_pass: int
    lag: int


@dataclass(frozen=True, slots=True)
class LagSearch:
    """The peak of the cross-correlation of the high-passed pair.

    `peak_steps`: its place below a step's resolution, in steps, positive where the signal is
    later. `guess_steps`: the best small lag, not negative, for callers that must align where the
    lag is not identified. `resampled_steps` (replicates,): the same in each block resample.
    `correlation`: its height, signed. `probability`: of a peak at least this high without any
    relation, from circular shifts. `independent_shifts`: how many of those are worth one each.
    `stronger_beyond_steps`: a lag up to three times the longest searched at which the correlation
    is higher still, 0 where there is none. `block_products`, `block_pairs` (blocks, 2 lag + 1):
    sums and pairs at each lag, of which every covariance above is made. `own_covariance`: of
    demand with itself, lag 0 in the middle.
    """

    window: SearchWindow
    peak_steps: float
    guess_steps: int
    resampled_steps: Floats
    correlation: float
    probability: float
    independent_shifts: float
    is_smeared: bool
    stronger_beyond_steps: int
    block_products: Floats
    block_pairs: Floats
    own_covariance: Floats

    @property
    def can_tell_chance(self) -> bool:
        """Whether the record holds enough independent shifts for a null to compare with."""
        return self.independent_shifts >= FEWEST_INDEPENDENT_SHIFTS


def choose_window(steps: int, step_seconds: float) -> SearchWindow:
    """Choose high-pass and lag limits for a record of `steps` steps."""
    hour = max(HIGH_PASS_STEPS, round(HIGH_PASS_SECONDS / step_seconds))
    longest = max(FEWEST_LAG_STEPS, round(LONGEST_LAG_SECONDS / step_seconds))
    lag = max(1, min(longest, max(FEWEST_LAG_STEPS, steps // 24), steps // 8))
    return SearchWindow(high_pass=max(3, min(hour, steps // 4)), lag=lag)


def search_lag(
    signal: Floats,
    reference: Floats,
    step_seconds: float,
    blocks: Blocks,
    fast_reference: FastPart | None = None,
) -> LagSearch:
    """Find by how many steps `signal` (n,) follows `reference` (n,), in absolute correlation.

    Detrended cross-correlation with a parabolic peak, resampled through per-block cross-covariance
    (methods 2.3 to 2.5). `fast_reference`: the reference's fast part, where it is at hand.
    """
    count_pairs(signal, reference)
    signal_must_vary(signal)
    demand_must_vary(reference)
    window = choose_window(signal.size, step_seconds)
    late = fast_part_of(signal, window.high_pass)
    early = fast_reference or fast_part_of(reference, window.high_pass)
    pair = Products(early, late)
    products, pair_counts = pair.by_block(blocks, window.lag)
    covariance = covariance_of(products.sum(axis=0), pair_counts.sum(axis=0))
    scale = late.deviation * early.deviation
    if scale <= 0.0:
        raise NotEnoughDataError("Signal or demand do not vary at the speed a lag can be seen at.")
    resampled = covariance_of(blocks.weights @ products, blocks.weights @ pair_counts)
    peak = _peak(covariance[None, :])
    near = max(1, window.lag // GUESS_SHARE)
    soon = covariance[window.lag : window.lag + near + 1]
    probability, shifts = circular_shift_probability(pair, window.lag)
    own = covariance_of(*early.with_itself.within(2 * window.lag))
    far = covariance_of(*pair.within(BEYOND * window.lag))
    height = covariance[int(np.abs(covariance).argmax())] / scale
    return LagSearch(
        window=window,
        peak_steps=float(peak[0]) - window.lag,
        guess_steps=int(np.abs(soon).argmax()),
        resampled_steps=_peak(resampled) - window.lag,
        correlation=float(np.clip(height, -1.0, 1.0)),
        probability=probability,
        independent_shifts=shifts,
        is_smeared=_is_smeared(covariance, own, window.lag),
        stronger_beyond_steps=_stronger_beyond(far, window.lag),
        block_products=products,
        block_pairs=pair_counts,
        own_covariance=own,
    )


def identified_range(search: LagSearch, step_seconds: float) -> tuple[float, float]:
    """Give the 95 % range of the peak in steps, or raise with what keeps it from being identified.

    That is: too short a record, a peak no better than chance, one at the longest lag searched, or
    resamples that touch that lag, fall into two groups, or spread over half of what was searched.
    """
    peak, limit = search.peak_steps * step_seconds, search.window.lag * step_seconds
    if not search.can_tell_chance:
        raise NotEnoughDataError(
            "The record is too short for how slowly it changes: it holds only "
            f"{search.independent_shifts:.0f} independent shifts to tell following demand from "
            "chance."
        )
    if search.probability > SIGNIFICANCE:
        raise NotEnoughDataError(
            f"The lag is not identified: the best one, {peak:.1f} s, is no better than chance "
            f"(probability {search.probability:.2f} without any relation)."
        )
    resampled = np.sort(search.resampled_steps)
    at_edge = float((np.abs(resampled) >= search.window.lag).mean())
    if abs(search.peak_steps) >= search.window.lag or at_edge > EDGE_SHARE:
        raise NotEnoughDataError(
            f"The lag is not identified: the correlation is strongest at or near the longest lag "
            f"searched, {limit:g} s, so the lag is that long or longer, or there is none."
        )
    if search.stronger_beyond_steps:
        raise NotEnoughDataError(
            f"The lag is not identified: the correlation is stronger at "
            f"{search.stronger_beyond_steps * step_seconds:g} s, beyond the {limit:g} s searched."
        )
    low, high = central_range(resampled)
    middle = resampled[(resampled >= low) & (resampled <= high)]
    gaps = np.diff(middle)
    if gaps.size and gaps.max() > max(2.0, (high - low) / 2.0):
        first, second = middle[gaps.argmax()], middle[gaps.argmax() + 1]
        raise NotEnoughDataError(
            "The lag is not identified: resampled records disagree between "
            f"{first * step_seconds:.1f} and {second * step_seconds:.1f} s."
        )
    if high - low > search.window.lag:
        raise NotEnoughDataError(
            f"The lag is not identified: it could lie anywhere from {low * step_seconds:.1f} to "
            f"{high * step_seconds:.1f} s."
        )
    return low, high


def _stronger_beyond(covariance: Floats, limit: int) -> int:
    """Find a lag beyond `limit` with a larger covariance than any within, else 0."""
    middle = covariance.size // 2
    size = np.abs(covariance)
    best = int(size.argmax()) - middle
    within = size[max(0, middle - limit) : middle + limit + 1].max()
    return best if abs(best) > limit and size.max() > STRONGER * within else 0


def covariance_of(products: Floats, pair_counts: Floats) -> Floats:
    """Divide sums by how many pairs stand behind them; 0 where there is hardly a pair."""
    enough = pair_counts > 0.1 * pair_counts.max(axis=-1, keepdims=True)
    return np.where(enough, products / np.maximum(pair_counts, 0.5), 0.0)


def _peak(covariance: Floats) -> Floats:
    """Place of the largest absolute value of each row, with a parabola through its neighbours.

    delta = (c[-1] - c[+1]) / (2 (c[-1] - 2 c[0] + c[+1])).
    """
    rows = np.arange(covariance.shape[0])
    best = np.abs(covariance).argmax(axis=1)
    inside = np.clip(best, 1, covariance.shape[1] - 2)
    before, at, after = (covariance[rows, inside + k] for k in (-1, 0, 1))
    bend = before - 2.0 * at + after
    safe_bend = np.where(bend == 0.0, 1.0, bend)
    delta = np.where(bend == 0.0, 0.0, 0.5 * (before - after) / safe_bend)
    place = np.where(inside == best, best + np.clip(delta, -0.5, 0.5), best)
    return np.asarray(place, dtype=np.float64)


def _is_smeared(covariance: Floats, own: Floats, limit: int) -> bool:
    """Tell whether the cross-correlation is more than a shifted copy of demand's own."""
    middle = own.size // 2
    best = int(np.abs(covariance).argmax())
    reach = min(limit // 2, best, 2 * limit - best, middle)
    if reach < 1 or own[middle] <= 0.0 or covariance[best] == 0.0:
        return True
    shape = covariance[best - reach : best + reach + 1] / covariance[best]
    expected = own[middle - reach : middle + reach + 1] / own[middle]
    return bool(np.abs(shape - expected).max() > SMEAR)


def circular_shift_probability(pair: Products, lag_steps: int) -> tuple[float, float]:
    """Probability of so high a peak within +-`lag_steps` if the two had nothing in common.

    Every circular shift by more than 5 decorrelation times keeps both series as they are and
    breaks their relation; one FFT gives all of them (methods, section 3). Counted where some shift
    reaches the peak, the record itself among them: (k + 1) / (m + 1) of the m independent maxima
    (Phipson and Smyth 2010). Where none does, the tail of a Student t with as many degrees of
    freedom as there are independent shifts, times the independent lags searched: a sum over a
    record is nearly normal, and counting alone could not get below one in a few dozen on a short
    one.

    Returns the probability and the number of independent shifts (1 and 0 where the record has no
    room for any).
    """
    products, pair_counts = pair.circular
    n = products.size
    standing = np.abs(products) / np.sqrt(np.maximum(pair_counts, 1.0))
    width = 2 * lag_steps + 1
    highest = maximum_filter1d(standing, width, mode="wrap")
    decorrelation = n / worth_of(
        count_pairs(pair.x.values, pair.y.values),
        n,
        pair.x.autocorrelation,
        pair.y.autocorrelation,
    )
    apart = width + round(DECORRELATION_TIMES_APART * decorrelation)
    null = highest[apart : n - apart]
    if not null.size:
        return 1.0, 0.0
    independent = null.size / decorrelation
    counted = float((null >= highest[0]).mean())
    deviation = float(np.sqrt((standing[apart : n - apart] ** 2).mean()))
    lags = 1.0 + (width - 1.0) / decorrelation
    maxima = independent / lags
    probability = (counted * maxima + 1.0) / (maxima + 1.0)
    if counted > 0.0 or deviation == 0.0:
        return probability, independent
    tail = 2.0 * lags * float(stdtr(independent, -float(highest[0]) / deviation))
    return max(LEAST_PROBABILITY, min(tail, probability)), independent
