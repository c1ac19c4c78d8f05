"""How a signal and demand move together at every lag: peak, its resamples, and the null."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import maximum_filter1d
from scipy.signal import fftconvolve
from scipy.special import stdtr

from signalstudy.evidence.blocks import central_range
from signalstudy.evidence.series import demand_must_vary, high_pass, signal_must_vary
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.blocks import Blocks

    Floats = NDArray[np.float64]

FEWEST_PAIRS = 20
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
OUTLIER_DEVIATIONS = 10.0
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


def search_lag(signal: Floats, reference: Floats, step_seconds: float, blocks: Blocks) -> LagSearch:
    """Find by how many steps `signal` (n,) follows `reference` (n,), in absolute correlation.

    Detrended cross-correlation with a parabolic peak, resampled through per-block cross-covariance
    (methods 2.3 to 2.5).
    """
    pairs = int((np.isfinite(signal) & np.isfinite(reference)).sum())
    if pairs < FEWEST_PAIRS:
        raise NotEnoughDataError(
            f"Only {pairs} steps hold both the signal and demand; at least {FEWEST_PAIRS} are "
            "needed."
        )
    signal_must_vary(signal)
    demand_must_vary(reference)
    window = choose_window(signal.size, step_seconds)
    fast_signal = _prepare_fast_part(signal, window.high_pass)
    fast_reference = _prepare_fast_part(reference, window.high_pass)
    products = _lagged_block_sums(fast_reference, fast_signal, blocks, window.lag)
    pair_counts = _lagged_block_sums(
        np.isfinite(fast_reference).astype(np.float64),
        np.isfinite(fast_signal).astype(np.float64),
        blocks,
        window.lag,
    )
    covariance = covariance_of(products.sum(axis=0), pair_counts.sum(axis=0))
    scale = float(np.nanstd(fast_signal) * np.nanstd(fast_reference))
    if scale <= 0.0:
        raise NotEnoughDataError("Signal or demand do not vary at the speed a lag can be seen at.")
    resampled = covariance_of(blocks.weights @ products, blocks.weights @ pair_counts)
    peak = _peak(covariance[None, :])
    near = max(1, window.lag // GUESS_SHARE)
    soon = covariance[window.lag : window.lag + near + 1]
    probability, shifts = circular_shift_probability(fast_signal, fast_reference, window.lag)
    own = _covariance_at(fast_reference, fast_reference, 2 * window.lag)
    far = _covariance_at(fast_signal, fast_reference, BEYOND * window.lag)
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


def _covariance_at(signal: Floats, reference: Floats, limit: int) -> Floats:
    """Covariance at lags from -limit to limit (2 limit + 1,), as far as the record reaches."""
    n = signal.size
    limit = min(limit, n // 3)
    size = next_fast_len(n + limit)
    sums = []
    for x, y in (
        (np.nan_to_num(reference), np.nan_to_num(signal)),
        (np.isfinite(reference).astype(float), np.isfinite(signal).astype(float)),
    ):
        products = irfft(np.conj(rfft(x, size)) * rfft(y, size), size)
        sums.append(np.concatenate((products[size - limit :], products[: limit + 1])))
    return covariance_of(sums[0], sums[1])


def _stronger_beyond(covariance: Floats, limit: int) -> int:
    """Find a lag beyond `limit` with a larger covariance than any within, else 0."""
    middle = covariance.size // 2
    size = np.abs(covariance)
    best = int(size.argmax()) - middle
    within = size[max(0, middle - limit) : middle + limit + 1].max()
    return best if abs(best) > limit and size.max() > STRONGER * within else 0


def _prepare_fast_part(values: Floats, width: int) -> Floats:
    """High-pass, centre, and clip what lies 10 robust deviations out (n,), NaN kept.

    One wild sample would otherwise outweigh the rest of the record; a clipped one still counts.
    """
    fast = high_pass(values, width)
    fast = fast - np.nanmean(fast)
    deviation = 1.4826 * float(np.nanmedian(np.abs(fast)))
    if deviation > 0.0:
        fast = np.clip(fast, -OUTLIER_DEVIATIONS * deviation, OUTLIER_DEVIATIONS * deviation)
    return np.asarray(fast, dtype=np.float64)


def _lagged_block_sums(x: Floats, y: Floats, blocks: Blocks, limit: int) -> Floats:
    """Sum x(t) y(t + k) over each block, k from -limit to limit: (blocks, 2 limit + 1).

    Each block of x meets y beyond the block's ends, so that no pair is lost and the blocks add up
    to the cross-covariance of the whole record.
    """
    padded = blocks.count * blocks.size
    x_filled = np.zeros(padded)
    x_filled[: x.size] = np.where(np.isfinite(x), x, 0.0)
    y_filled = np.zeros(padded + 2 * limit)
    y_filled[limit : limit + y.size] = np.where(np.isfinite(y), y, 0.0)
    x_blocks = x_filled.reshape(blocks.count, blocks.size)
    y_blocks: Floats = np.lib.stride_tricks.sliding_window_view(y_filled, blocks.size + 2 * limit)[
        :: blocks.size
    ]
    sums = fftconvolve(y_blocks, x_blocks[:, ::-1], mode="valid", axes=1)
    return np.asarray(sums, dtype=np.float64)


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


def circular_shift_probability(
    signal: Floats, reference: Floats, lag_steps: int
) -> tuple[float, float]:
    """Probability of so high a peak within +-`lag_steps` if the two had nothing in common.

    Every circular shift by more than 5 decorrelation times keeps both series as they are and
    breaks their relation; one FFT gives all of them (methods, section 3). Counted where some shift
    reaches the peak. Where none does, the tail of a Student t with as many degrees of freedom as
    there are independent shifts, times the independent lags searched: a sum over a record is
    nearly normal, and counting alone could not get below one in a few dozen on a short one.

    Both series are fast parts: mean 0, NaN where unknown. Returns the probability and the number
    of independent shifts (1 and 0 where the record has no room for any).
    """
    n = signal.size
    x = np.where(np.isfinite(reference), reference, 0.0)
    y = np.where(np.isfinite(signal), signal, 0.0)
    products = irfft(np.conj(rfft(x)) * rfft(y), n)
    known_x = np.isfinite(reference).astype(np.float64)
    known_y = np.isfinite(signal).astype(np.float64)
    pair_counts = irfft(np.conj(rfft(known_x)) * rfft(known_y), n)
    standing = np.abs(products) / np.sqrt(np.maximum(pair_counts, 1.0))
    width = 2 * lag_steps + 1
    highest = maximum_filter1d(standing, width, mode="wrap")
    decorrelation = n / effective_count(signal, reference)
    apart = width + round(DECORRELATION_TIMES_APART * decorrelation)
    null = highest[apart : n - apart]
    if not null.size:
        return 1.0, 0.0
    independent = null.size / decorrelation
    counted = float((null >= highest[0]).mean())
    deviation = float(np.sqrt((standing[apart : n - apart] ** 2).mean()))
    if counted > 0.0 or deviation == 0.0:
        return max(counted, 1.0 / (1.0 + null.size)), independent
    lags = 1.0 + (width - 1.0) / decorrelation
    tail = 2.0 * lags * float(stdtr(independent, -float(highest[0]) / deviation))
    return max(LEAST_PROBABILITY, min(tail, 1.0 / (1.0 + independent / lags))), independent


def effective_count(x: Floats, y: Floats) -> float:
    """Count the independent pairs that two autocorrelated series (n,) are worth.

    n_eff = n / (1 + 2 sum (1 - k/n) rho_x(k) rho_y(k)), cut at the first lag where both
    autocorrelations are under 2/sqrt(n) and held within 4..n (Bartlett; Pyper & Peterman 1998).
    A straight trend is taken out first.
    """
    pairs = int((np.isfinite(x) & np.isfinite(y)).sum())
    if pairs < FEWEST_PAIRS:
        raise NotEnoughDataError(
            f"Only {pairs} steps hold both the signal and demand; at least {FEWEST_PAIRS} are "
            "needed."
        )
    first, second = _autocorrelation(x), _autocorrelation(y)
    small = (np.abs(first) < 2.0 / np.sqrt(pairs)) & (np.abs(second) < 2.0 / np.sqrt(pairs))
    small[0] = False
    cut = int(small.argmax()) if small.any() else small.size
    lags = np.arange(1, cut)
    excess = float(((1.0 - lags / x.size) * first[1:cut] * second[1:cut]).sum())
    return float(np.clip(pairs / max(1.0 + 2.0 * excess, 1e-9), 4.0, pairs))


def _autocorrelation(values: Floats) -> Floats:
    """Autocorrelation at lags 0..n/2 of a series with gaps, a straight trend taken out."""
    known = np.isfinite(values)
    place = np.linspace(-1.0, 1.0, values.size)
    design = np.column_stack((np.ones(values.size), place))
    trend = np.linalg.lstsq(design[known], values[known], rcond=None)[0]
    filled = np.where(known, values - design @ trend, 0.0)
    size = next_fast_len(2 * values.size)
    half = values.size // 2 + 1
    products = irfft(np.abs(rfft(filled, size)) ** 2, size)[:half]
    pair_counts = irfft(np.abs(rfft(known.astype(np.float64), size)) ** 2, size)[:half]
    covariance = products / np.maximum(np.round(pair_counts), 1.0)
    if covariance[0] <= 0.0:
        raise NotEnoughDataError("A series that never changes has no effective observations.")
    return np.asarray(np.clip(covariance / covariance[0], -1.0, 1.0), dtype=np.float64)
