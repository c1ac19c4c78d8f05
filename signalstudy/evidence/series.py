"""Arithmetic on one series with gaps: moving mean, high-pass, whole-step shift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NO_VARIATION = 1e-9
"""A spread below this share of the largest value is the rounding of a constant."""
MEDIAN_OF = 4096
"""So many values are enough for a middle that only keeps running sums small."""


def moving_mean(values: Floats, width: int, every: int = 1) -> Floats:
    """Average what is known within `width` steps (made odd) around each known value (n,).

    Centred, so it adds no delay; unknown values stay unknown. Where only means at each `every`-th
    step are asked for, the others are NaN.
    """
    half = width // 2
    known = np.isfinite(values)
    if half == 0 or not known.any():
        return values
    present = values[known]
    middle = float(np.median(present[:: -(-present.size // MEDIAN_OF)]))
    filled = np.where(known, values - middle, 0.0)
    counts = _window_sums(known.astype(np.int64), half, every)
    means = middle + _window_sums(filled, half, every) / np.maximum(counts, 1)
    # Running sums leave rounding behind: no mean leaves the range, and constants stay constant.
    is_off = filled != 0.0
    if values.size - np.count_nonzero(is_off) > half:
        means[_window_sums(is_off.astype(np.int64), half, every) == 0] = middle
    np.clip(means, present.min(), present.max(), out=means)
    means[~known[::every]] = np.nan
    if every == 1:
        return np.asarray(means, dtype=np.float64)
    thinned = np.full(values.shape, np.nan)
    thinned[::every] = means
    return thinned


def _window_sums(values: NDArray[Any], half: int, every: int) -> NDArray[Any]:
    """Sum each `every`-th of n values with `half` neighbours on each side, fewer at the ends."""
    n = values.size
    # Running sums, drawn out flat beyond both ends of the record.
    running = np.zeros(n + 2 * half + 1, dtype=values.dtype)
    np.cumsum(values, out=running[half + 1 : half + 1 + n])
    running[half + 1 + n :] = running[half + n]
    return np.asarray(running[2 * half + 1 :: every] - running[:n:every])


def high_pass(values: Floats, width: int) -> Floats:
    """Subtract the centred moving mean of `width` steps: what is faster than that remains."""
    return values - moving_mean(values, width)


def shifted(values: Floats, steps: int) -> Floats:
    """Give at each step the value `steps` later, NaN where the record does not reach (n,)."""
    result = np.full(values.shape, np.nan)
    if abs(steps) >= values.size:
        return result
    if steps >= 0:
        result[: values.size - steps] = values[steps:]
    else:
        result[-steps:] = values[:steps]
    return result


def varies(values: Floats) -> bool:
    """Tell whether the known values are more than one value and its rounding."""
    if not values.size:
        return False
    # Both pass over NaN.
    low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    return high - low > NO_VARIATION * max(abs(low), abs(high), 1e-300)


def demand_must_vary(reference: Floats) -> None:
    """Raise unless the reference takes more than one value."""
    if not varies(reference):
        raise NotEnoughDataError(
            "Demand is the same at every step, so nothing can be learned of what follows it."
        )


def signal_must_vary(signal: Floats) -> None:
    """Raise unless the signal takes more than one value."""
    if not varies(signal):
        raise NotEnoughDataError("The signal has the same value at every step.")


def trailing_mean(values: Floats, width: int) -> Floats:
    """Average what is known of the last `width` steps, this one included (n,): no look ahead."""
    return next(trailing_means(values, [(width, 1)]))


def trailing_means(values: Floats, windows: Iterable[tuple[int, int]]) -> Iterator[Floats]:
    """Average what is known of the last steps (n,), over one width after the other.

    `windows`: widths, and at each how many steps a mean is asked for: (n / every,).
    """
    known = np.isfinite(values)
    counts = np.cumsum(known, dtype=np.float64)
    sums = np.cumsum(np.where(known, values, 0.0))
    for width, every in windows:
        count, means = counts[::every].copy(), sums[::every].copy()
        first = -(-width // every)
        before = slice(first * every - width, max(values.size - width, 0), every)
        count[first:] -= counts[before]
        means[first:] -= sums[before]
        nothing = count < 0.5
        if nothing.any():
            count[nothing], means[nothing] = 1.0, np.nan
        means /= count
        yield means


def runs(flags: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Give the first step and the step after the last of each run of True (m, 2)."""
    edges = np.diff(np.concatenate(([False], flags, [False])).astype(np.int8))
    return np.column_stack((np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)))


def ascending(values: Floats) -> NDArray[np.intp]:
    """Give the places of values (n,) in ascending order, equal values in the order of time."""
    order = np.argsort(values)
    # The fast sort mixes equals, and how it does depends on the machine.
    ordered = values[order]
    return np.argsort(values, kind="stable") if (ordered[1:] == ordered[:-1]).any() else order
