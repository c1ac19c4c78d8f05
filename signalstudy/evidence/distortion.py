"""Cache distortion: does the prefix cache bend the relation to work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.blocks import bootstrapped
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate, not_applicable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.prepared import Prepared

    Floats = NDArray[np.float64]

LEAST_MOVEMENT_RATIO = 0.05
TERCILES = 3
HISTOGRAM_BINS = 100
LEAST_WORK_QUANTILE = 0.05
FEWEST_STEPS = 60


def cache_distortion_ratio(prepared: Prepared) -> Estimate:
    """Range over median of signal per unit of work across terciles of the cache hit ratio.

    The median of signal / work in each tercile, (max - min) / median of the three; work is the
    reference, uncached tokens where they are known (methods 7.1). 0: the cache does not matter.
    """
    hits = prepared.smooth_shared(prepared.view.hit_ratio)
    if not np.isfinite(hits).any():
        return not_applicable("The prefix-cache hit ratio is not in the data.")
    work = prepared.smooth_shared(prepared.view.reference)
    signal = prepared.smooth(prepared.signal)
    thirds = prepared.shared.once(
        "thirds", lambda: _thirds(hits, work), hits, work, known=prepared.known
    )
    known, group, low, high = thirds.known, thirds.group, thirds.low, thirds.high
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
    histogram, centres = _histogram(prepared, per_work, group, known)
    medians = np.array(
        [float(np.median(per_work[group == k])) for k in range(int(group.max()) + 1)]
    )
    middle = float(np.median(medians))
    if middle == 0.0:
        raise NotEnoughDataError("The signal is zero most of the time, whatever the cache does.")
    flat = histogram.reshape(histogram.shape[0], -1)
    resampled = (prepared.blocks.weights @ flat).reshape(-1, *histogram.shape[1:])
    return bootstrapped(
        float(np.ptp(medians)) / abs(middle),
        _distortion(_medians(resampled, centres)),
        prepared.blocks,
        bounds=(0.0, np.inf),
        reflected=True,
        method="tercile medians of signal per work, block bootstrap",
        note=f"signal per work of {', '.join(f'{m:.4g}' for m in medians)} from the lowest to the "
        f"highest third of hit ratios ({low:.2f} to {high:.2f}), {prepared.shape_note}",
    )


@dataclass(frozen=True, slots=True)
class _Thirds:
    """Where hits and work are `known` (n,), the third of hits of each of those steps (m,).

    `low`, `high`: 10 % and 90 % quantile of the hits, 0 and 0 where there are too few steps.
    """

    known: NDArray[np.bool_]
    group: NDArray[np.intp]
    low: float
    high: float


def _thirds(hits: Floats, work: Floats) -> _Thirds:
    """Part the steps that hold hits and work (n,) into thirds, low hits first."""
    known = np.isfinite(hits) & np.isfinite(work)
    # Night hours without work would make the ratio a matter of a few requests.
    least = float(np.quantile(work[known], LEAST_WORK_QUANTILE)) if known.any() else 0.0
    known &= np.where(known, work, 0.0) > max(least, 0.0)
    if known.sum() < FEWEST_STEPS:
        return _Thirds(known, np.empty(0, dtype=np.intp), 0.0, 0.0)
    low, high = np.quantile(hits[known], (0.1, 0.9)).tolist()
    return _Thirds(known, _third_of(hits[known]), low, high)


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


def _histogram(
    prepared: Prepared, per_work: Floats, group: NDArray[np.intp], known: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Count steps by block, third and quantile bin of signal per work; and the bins' medians."""
    order = np.argsort(per_work)
    ordered = per_work[order]
    places = (np.arange(HISTOGRAM_BINS) + 0.5) / HISTOGRAM_BINS * (ordered.size - 1)
    left = places.astype(np.intp)
    right = np.minimum(left + 1, ordered.size - 1)
    centres = np.unique(ordered[left] + (places - left) * (ordered[right] - ordered[left]))
    edges = (centres[1:] + centres[:-1]) / 2.0
    above = np.zeros(ordered.size + 1, dtype=np.intp)
    np.add.at(above, np.searchsorted(ordered, edges, side="right"), 1)
    shape = (prepared.blocks.count, int(group.max()) + 1, centres.size)
    cell = (prepared.blocks.of_step[known] * shape[1] + group)[order]
    cell = cell * centres.size + np.cumsum(above[:-1])
    counts = np.bincount(cell, minlength=int(np.prod(shape)))
    return counts.reshape(shape).astype(np.float64), centres


def _medians(histogram: Floats, centres: Floats) -> Floats:
    """Weighted medians of histograms (replicates, thirds, bins), NaN where one is empty."""
    running = histogram.cumsum(axis=2)
    total = running[:, :, -1:]
    place = (running < total / 2.0).sum(axis=2)
    found = centres[np.minimum(place, centres.size - 1)]
    return np.where(total[:, :, 0] > 0.0, found, np.nan)


def _distortion(medians: Floats) -> Floats:
    """Range over middle of rows of medians, NaN where a third is empty or the middle is 0."""
    middle = np.abs(np.median(medians, axis=1))
    spread = medians.max(axis=1) - medians.min(axis=1)
    defined = np.isfinite(spread) & (np.where(np.isfinite(middle), middle, 0.0) > 0.0)
    return np.where(defined, spread / np.where(defined, middle, 1.0), np.nan)
