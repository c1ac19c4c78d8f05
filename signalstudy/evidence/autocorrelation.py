"""Autocorrelation of a series, and how many independent pairs two such series are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FEWEST_PAIRS = 20
FEWEST_WORTH = 4.0
QUARTERS = 4
MOST_TOLD = 0.5
MOST_CARRY_OVER = 0.8
"""Correlation of neighbouring blocks above which a record of this length cannot tell how much."""


def effective_count(x: Floats, y: Floats) -> float:
    """Count the independent pairs that two autocorrelated series (n,) are worth."""
    pairs = count_pairs(x, y)
    return worth_of(pairs, x.size, autocorrelation(x), autocorrelation(y))


def count_pairs(x: Floats, y: Floats) -> int:
    """Count the steps at which both series (n,) are known, or raise where they are too few."""
    pairs = int((np.isfinite(x) & np.isfinite(y)).sum())
    if pairs < FEWEST_PAIRS:
        raise NotEnoughDataError(
            f"Only {pairs} steps hold both the signal and demand; at least {FEWEST_PAIRS} are "
            "needed."
        )
    return pairs


def worth_of(pairs: int, steps: int, first: Floats, second: Floats) -> float:
    """Count the independent pairs that `pairs` pairs of a record of `steps` steps are worth.

    n_eff = n / (1 + 2 sum (1 - k/n) rho_x(k) rho_y(k)), cut at the first lag where both
    autocorrelations (lags,) are under 2/sqrt(n) and held within 4..n (Bartlett; Pyper & Peterman
    1998).
    """
    least = 2.0 / np.sqrt(pairs)
    small = (np.abs(first) < least) & (np.abs(second) < least)
    small[0] = False
    cut = int(small.argmax()) if small.any() else small.size
    lags = np.arange(1, cut)
    excess = float(((1.0 - lags / steps) * first[1:cut] * second[1:cut]).sum())
    return float(np.clip(pairs / max(1.0 + 2.0 * excess, 1e-9), FEWEST_WORTH, pairs))


def carry_over(noise: Floats, size: int) -> float:
    """Correlation of means of `noise` (n,) over neighbouring blocks of `size` steps, 0 to 0.5.

    Neighbouring quarters of blocks tell it surer than the few blocks do: their correlation gives
    the memory of an Ornstein-Uhlenbeck process, and that the blocks'. With a = length / memory it
    is (1 - exp(-a))^2 / (2 (a - 1 + exp(-a))). Held at one half, a memory as long as a block: what
    lasts longer on a day is as much a curve that does not fit as it is noise.
    """
    quarter = max(1, size // QUARTERS)
    known = np.where(np.isfinite(noise), noise, 0.0)
    sums = np.add.reduceat(known, np.arange(0, noise.size, quarter))
    power = float(sums @ sums)
    near = float(sums[1:] @ sums[:-1]) / power if power > 0.0 else 0.0
    # The correlation of a short series is too small by about this much (Kendall 1954).
    near += (1.0 + 3.0 * near) / sums.size
    lengths = float(np.interp(near, NEIGHBOURS[::-1], LENGTHS[::-1])) * size / quarter
    return min(float(_neighbours(np.array(lengths))), MOST_TOLD)


def _neighbours(lengths: Floats) -> Floats:
    lost = -np.expm1(-lengths)
    return np.asarray(lost**2 / (2.0 * (lengths - lost)), dtype=np.float64)


LENGTHS = np.geomspace(1e-2, 1e4, 400)
NEIGHBOURS = _neighbours(LENGTHS)


def pairs_at_lags(known: NDArray[np.bool_]) -> Floats:
    """Count the pairs of `known` steps (n,) at lags 0..n/2."""
    lags = np.arange(known.size // 2 + 1)
    places = np.flatnonzero(known)
    if places.size and places[-1] - places[0] < places.size:
        return np.maximum(places.size - lags, 0).astype(np.float64)
    size = next_fast_len(known.size + lags.size, real=True)
    pairs = irfft(np.abs(rfft(known.astype(np.float64), size)) ** 2, size)[: lags.size]
    return np.asarray(np.round(pairs), dtype=np.float64)


def autocorrelation(values: Floats, pairs: Floats | None = None) -> Floats:
    """Autocorrelation at lags 0..n/2 of a series (n,) with gaps, a straight trend taken out.

    `pairs`: what `pairs_at_lags` counts of it, where that is at hand.
    """
    known = np.isfinite(values)
    filled = np.where(known, values - _trend(values, known), 0.0)
    lags = np.arange(values.size // 2 + 1)
    # What the transform wraps around lies beyond the longest lag.
    size = next_fast_len(values.size + lags.size, real=True)
    # Single precision is a millionth of the variance, and half the time.
    scaled = (filled / max(float(np.abs(filled).max()), 1e-300)).astype(np.float32)
    products = irfft(np.abs(rfft(scaled, size)) ** 2, size)[: lags.size].astype(np.float64)
    pairs = pairs_at_lags(known) if pairs is None else pairs
    covariance = products / np.maximum(pairs, 1.0)
    if covariance[0] <= 0.0:
        raise NotEnoughDataError("A series that never changes has no effective observations.")
    return np.asarray(np.clip(covariance / covariance[0], -1.0, 1.0), dtype=np.float64)


def _trend(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Give the least-squares line through the known values of a series (n,)."""
    place = np.linspace(-1.0, 1.0, values.size)
    x, y = place[known], values[known]
    middle = float(x.mean())
    spread = float(((x - middle) ** 2).sum())
    slope = float(((x - middle) * (y - y.mean())).sum()) / spread if spread > 0.0 else 0.0
    return np.asarray(y.mean() + slope * (place - middle), dtype=np.float64)
