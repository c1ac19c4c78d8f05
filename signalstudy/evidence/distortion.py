"""Cache distortion: does the prefix cache bend the relation to work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.autocorrelation import carry_over
from signalstudy.evidence.blocks import bootstrapped, influence_of, widening
from signalstudy.evidence.response import left_out_residuals
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate, not_applicable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.blocks import Blocks
    from signalstudy.evidence.prepared import Prepared

    Floats = NDArray[np.float64]

LEAST_MOVEMENT_RATIO = 0.05
TERCILES = 3
HIT_BINS = 20
OUTLIER_DEVIATIONS = 10.0
LEAST_WORK_QUANTILE = 0.05
FEWEST_STEPS = 60


def cache_distortion_ratio(prepared: Prepared) -> Estimate:
    """Range over median of signal per unit of work across terciles of the cache hit ratio.

    The mean of signal / work in each tercile, (max - min) / median of the three; work is the
    reference, uncached tokens where they are known (methods 7.1). 0: the cache does not matter.
    Means, outliers held in, where methods has medians: noise moves the median of a skewed third,
    and its interval held the truth in 57 % of a week's records (benchmarks/calibration).
    The hit ratios that were visited are kept, as demand is for shapes: when the cache was warm is
    known, not chance.
    """
    hits = prepared.smooth_shared(prepared.view.hit_ratio)
    if not np.isfinite(hits).any():
        return not_applicable("The prefix-cache hit ratio is not in the data.")
    work = prepared.smooth_shared(prepared.view.reference)
    signal = prepared.smooth_signal
    thirds = prepared.shared.once(
        "thirds", lambda: _thirds(hits, work), hits, work, known=prepared.known
    )
    known, low, high = thirds.known, thirds.low, thirds.high
    if known.sum() < FEWEST_STEPS:
        raise NotEnoughDataError(
            f"Only {known.sum()} steps hold the signal, work and the cache hit ratio; at least "
            f"{FEWEST_STEPS} are needed."
        )
    if high - low < LEAST_MOVEMENT_RATIO:
        return not_applicable(
            f"The cache hit ratio hardly moves: {low:.2f} to {high:.2f} in 80 % of the time."
        )
    per_work = signal[known] / work[known]
    curve, left = _by_hits(per_work, thirds)
    unexplained = np.zeros(known.shape)
    unexplained[known] = left
    # What is left of a signal that is not in proportion lasts as long as demand does.
    blocks = replace(prepared.cut, carry_over=carry_over(unexplained, prepared.cut.size))
    means = np.bincount(thirds.group, curve + left) / np.bincount(thirds.group)
    middle = float(np.median(means))
    if middle == 0.0:
        raise NotEnoughDataError("The signal is zero most of the time, whatever the cache does.")
    value, strays = float(np.ptp(means)) / abs(middle), _strayed(blocks, left, thirds)
    resampled = _distortion(means + strays)
    found = bootstrapped(
        value,
        resampled,
        blocks,
        bounds=(0.0, np.inf),
        reflected=True,
        method="tercile means of signal per work; what hits do not explain redrawn by block",
        note=f"signal per work of {', '.join(f'{m:.4g}' for m in means)} from the lowest to the "
        f"highest third of hit ratios ({low:.2f} to {high:.2f}), {prepared.shape_note}",
    )
    # A range is never negative, and noise alone makes one: at most what it makes is taken off.
    by_noise = float(np.quantile(np.ptp(strays, axis=1), 0.95)) / abs(middle)
    least = max(value - widening(influence_of(resampled, blocks), blocks) * by_noise, 0.0)
    return replace(found, low=least if found.low is None else min(found.low, least))


@dataclass(frozen=True, slots=True)
class _Thirds:
    """Where hits and work are `known` (n,), the third of hits of each of those steps (m,).

    `levels` (thirds,): mean hits of each. `hits` (m,), and the quantile bin of each (m,). `low`,
    `high`: 10 % and 90 % quantile of the hits, 0 and 0 where there are too few steps.
    """

    known: NDArray[np.bool_]
    group: NDArray[np.intp]
    levels: Floats
    hits: Floats
    bins: NDArray[np.intp]
    low: float
    high: float


def _thirds(hits: Floats, work: Floats) -> _Thirds:
    """Part the steps that hold hits and work (n,) into thirds, low hits first."""
    known = np.isfinite(hits) & np.isfinite(work)
    # Night hours without work would make the ratio a matter of a few requests.
    least = float(np.quantile(work[known], LEAST_WORK_QUANTILE)) if known.any() else 0.0
    known &= np.where(known, work, 0.0) > max(least, 0.0)
    if known.sum() < FEWEST_STEPS:
        none = np.empty(0, dtype=np.intp)
        return _Thirds(known, none, np.empty(0), np.empty(0), none, 0.0, 0.0)
    found = hits[known]
    low, high = np.quantile(found, (0.1, 0.9)).tolist()
    group = _third_of(found)
    levels = np.bincount(group, found) / np.bincount(group)
    edges = np.unique(np.quantile(found, np.arange(1, HIT_BINS) / HIT_BINS))
    bins = np.unique(np.searchsorted(edges, found, side="right"), return_inverse=True)[1]
    return _Thirds(known, group, levels, found, np.asarray(bins, dtype=np.intp), low, high)


def _third_of(values: Floats) -> NDArray[np.intp]:
    """Assign each value (n,) to its third, by the middle of its rank.

    Equal values stay together; where there are so few that a third is empty, it is left out.
    """
    ordered = np.sort(values)
    firsts = np.flatnonzero(np.concatenate(([True], np.diff(ordered) > 0.0)))
    ends = np.append(firsts[1:], values.size)
    third = np.minimum(TERCILES * (firsts + ends) // (2 * values.size), TERCILES - 1)
    begins = ordered[firsts[1:][np.diff(third) > 0]]
    return np.asarray(np.searchsorted(begins, values, side="right"), dtype=np.intp)


def _by_hits(per_work: Floats, thirds: _Thirds) -> tuple[Floats, Floats]:
    """Part signal per work (m,) into what hits make of it and the rest, outliers held in.

    What hits make: the broken line through the means in bins of hits.
    """
    counts = np.bincount(thirds.bins)
    levels, means = (np.bincount(thirds.bins, of) / counts for of in (thirds.hits, per_work))
    curve = np.interp(thirds.hits, levels, means)
    left = per_work - curve
    most = OUTLIER_DEVIATIONS * 1.4826 * float(np.median(np.abs(left)))
    return curve, np.clip(left, -most, most) if most > 0.0 else left


def _strayed(blocks: Blocks, left: Floats, thirds: _Thirds) -> Floats:
    """Say how far each third's level strays in each resample (replicates, thirds).

    What hits leave (m,), summed by block and third, each block's part as large as the error it
    stands for (HC2).
    """
    shape = (blocks.count, thirds.levels.size)
    cell = blocks.of_step[thirds.known] * shape[1] + thirds.group
    steps, sums = (
        np.bincount(cell, of, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)
        for of in (None, left)
    )
    residuals = left_out_residuals(steps, sums, thirds.levels)
    redrawn = blocks.weights @ residuals - residuals.sum(axis=0)
    return np.asarray(redrawn / steps.sum(axis=0), dtype=np.float64)


def _distortion(means: Floats) -> Floats:
    """Range over middle of rows of means, NaN where a third is empty or the middle is 0."""
    middle = np.abs(np.median(means, axis=1))
    spread = means.max(axis=1) - means.min(axis=1)
    defined = np.isfinite(spread) & (np.where(np.isfinite(middle), middle, 0.0) > 0.0)
    return np.where(defined, spread / np.where(defined, middle, 1.0), np.nan)
