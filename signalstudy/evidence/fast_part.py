"""The part of a series that is faster than an hour, and its products with another's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from signalstudy.evidence.autocorrelation import autocorrelation
from signalstudy.evidence.series import high_pass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.blocks import Blocks

    Floats = NDArray[np.float64]
    Series = NDArray[np.float32] | NDArray[np.float64]

OUTLIER_DEVIATIONS = 10.0


# No slots: transforms are made once, when first asked for.
@dataclass(frozen=True)
class FastPart:
    """A high-passed series of mean 0: `values` (n,), NaN where not known."""

    values: Floats

    @cached_property
    def known(self) -> Floats:
        """1 where the series is known, 0 where not (n,)."""
        return np.isfinite(self.values).astype(np.float64)

    @cached_property
    def is_whole(self) -> bool:
        """Whether no step is unknown."""
        return bool(self.known.all())

    @cached_property
    def filled(self) -> Floats:
        """The series, 0 where not known (n,)."""
        return self.values if self.is_whole else np.where(self.known > 0.0, self.values, 0.0)

    @cached_property
    def deviation(self) -> float:
        """Standard deviation of what is known."""
        return float(np.nanstd(self.values))

    @property
    def unit(self) -> float:
        """What transforms are scaled by: the deviation, or 1 where that is none."""
        return self.deviation or 1.0

    @cached_property
    def single(self) -> NDArray[np.float32]:
        """The filled series over `unit` (n,), as exact as transforms need it.

        Single precision leaves a millionth of the largest covariance, and takes half the time.
        """
        return np.asarray(self.filled / self.unit, dtype=np.float32)

    @cached_property
    def spectrum(self) -> NDArray[np.complex64]:
        """Fourier transform of `single` (n/2 + 1,)."""
        return np.asarray(rfft(self.single))

    @cached_property
    def known_spectrum(self) -> NDArray[np.complex64]:
        """Fourier transform of where it is known (n/2 + 1,)."""
        return np.asarray(rfft(self.known.astype(np.float32)))

    @cached_property
    def autocorrelation(self) -> Floats:
        """Its autocorrelation at lags 0..n/2."""
        return autocorrelation(self.values)

    @cached_property
    def with_itself(self) -> Products:
        """Its products with itself."""
        return Products(self, self)


@dataclass(frozen=True)
class Products:
    """Sums of products of two series at lags: y later than x by k steps."""

    x: FastPart
    y: FastPart

    @cached_property
    def circular(self) -> tuple[Floats, Floats]:
        """Sums of x(t) y(t + k) and of pairs for each circular shift k of the record (n,) each."""
        n = self.x.values.size
        products = self._unit * irfft(np.conj(self.x.spectrum) * self.y.spectrum, n)
        if self.x.is_whole and self.y.is_whole:
            return products, np.full(n, float(n))
        pairs = irfft(np.conj(self.x.known_spectrum) * self.y.known_spectrum, n)
        return products, np.round(pairs.astype(np.float64))

    @property
    def _unit(self) -> np.float64:
        return np.float64(self.x.unit * self.y.unit)

    def within(self, limit: int) -> tuple[Floats, Floats]:
        """Sum products and pairs at lags from -limit to limit, without wrapping around.

        As far as the record reaches: (2 limit + 1,) each, `limit` at most a third of the record.
        """
        limit = min(limit, self.x.values.size // 3)
        products, pairs = self.circular
        return (
            _unwrapped(products, self.x.filled, self.y.filled, limit),
            _unwrapped(pairs, self.x.known, self.y.known, limit),
        )

    def by_block(self, blocks: Blocks, limit: int) -> tuple[Floats, Floats]:
        """Sum products and pairs over each block: (blocks, 2 limit + 1) each.

        Each block of x meets y beyond the block's ends, so that no pair is lost and the blocks add
        up to the cross-covariance of the whole record.
        """
        products = self._unit * lagged_block_sums(self.x.single, self.y.single, blocks, limit)
        if self.x.is_whole and self.y.is_whole:
            return products, _pairs_in_blocks(blocks, limit)
        return products, np.round(lagged_block_sums(self.x.known, self.y.known, blocks, limit))


def fast_part_of(values: Floats, width: int) -> FastPart:
    """High-pass by `width` steps, centre, and clip what lies 10 robust deviations out (n,).

    One wild sample would otherwise outweigh the rest of the record; a clipped one still counts.
    """
    fast = high_pass(values, width)
    known = np.isfinite(fast)
    present = fast if known.all() else fast[known]
    fast = fast - present.mean()
    deviation = 1.4826 * float(np.median(np.abs(present - present.mean())))
    if deviation > 0.0:
        fast = np.clip(fast, -OUTLIER_DEVIATIONS * deviation, OUTLIER_DEVIATIONS * deviation)
    return FastPart(np.asarray(fast, dtype=np.float64))


def lagged_block_sums(x: Series, y: Series, blocks: Blocks, limit: int) -> Floats:
    """Sum x(t) y(t + k) over each block, k from -limit to limit: (blocks, 2 limit + 1).

    As exact as x and y (n,) are.
    """
    padded, reach = blocks.count * blocks.size, blocks.size + 2 * limit
    x_filled = np.zeros(padded, dtype=x.dtype)
    x_filled[: x.size] = x
    y_filled = np.zeros(padded + 2 * limit, dtype=y.dtype)
    y_filled[limit : limit + y.size] = y
    x_blocks = x_filled.reshape(blocks.count, blocks.size)
    y_blocks = np.lib.stride_tricks.sliding_window_view(y_filled, reach)[:: blocks.size]
    # What the transform wraps around lies beyond the longest lag.
    size = next_fast_len(reach, real=True)
    crossed = np.conj(rfft(x_blocks, size, axis=1)) * rfft(y_blocks, size, axis=1)
    return np.asarray(irfft(crossed, size, axis=1)[:, : 2 * limit + 1], dtype=np.float64)


def _pairs_in_blocks(blocks: Blocks, limit: int) -> Floats:
    """Count the steps t of each block for which t + k lies within the record."""
    starts = blocks.size * np.arange(blocks.count)[:, None]
    ends = np.minimum(starts + blocks.size, blocks.steps)
    lags = np.arange(-limit, limit + 1)
    first, last = np.maximum(starts, -lags), np.minimum(ends, blocks.steps - lags)
    return np.asarray(np.maximum(last - first, 0), dtype=np.float64)


def _unwrapped(circular: Floats, x: Floats, y: Floats, limit: int) -> Floats:
    """Take what wraps around the record's end off its circular sums, at lags -limit to limit."""
    n = x.size
    later, earlier = circular[: limit + 1].copy(), circular[n - limit :].copy()
    if limit:
        later[1:] -= np.convolve(x[n - limit :][::-1], y[:limit])[:limit]
        earlier -= np.convolve(y[n - limit :][::-1], x[:limit])[:limit][::-1]
    return np.asarray(np.concatenate((earlier, later)), dtype=np.float64)
