"""Levels: the work that a pressure test asked for, without the chance in each bin of time."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HALF_WINDOWS_SECONDS = (60.0, 90.0, 120.0, 180.0, 240.0, 300.0, 360.0)
WINDOWS_OF_A_TEST = 10.0
"""Half a window is at most a tenth of the test: longer ones would round off the saturation."""

GAP_SECONDS = 75.0
"""Left out around each bin when windows are judged: what arrived together is served together."""

BREAK_SHARE = 0.25
BREAK_DEVIATIONS = 4.0
BREAK_BINS = 3
"""A new level begins where the mean of three bins differs from that of the three before by a
quarter of the larger, and by four standard deviations of the chance in such means."""


def planned_levels(work: Floats, bin_seconds: float) -> Floats:
    """Average work over time (n,), symmetrically, over as long as the test's plan stands still.

    A test offers levels; at a level the work of one bin is mostly chance, and breaches follow that
    chance. Read against the bin's own work, the share over the limit at a *constant* rate comes out
    too low and the knee 2 to 3 % too high, because the share is convex in work. The window is
    chosen by h-block cross-validation (Burman, Chow & Nolan 1994): each bin is predicted from those
    around it but for `GAP_SECONDS`, so that a slow ramp gets a long window and steps short ones.
    NaN splits the series and stays; at the ends of a stretch the window shrinks on both sides.
    """
    stretches = _stretches(work)
    span_seconds = work.size * bin_seconds
    wanted = [
        seconds for seconds in HALF_WINDOWS_SECONDS if seconds <= span_seconds / WINDOWS_OF_A_TEST
    ]
    gap = max(round(GAP_SECONDS / bin_seconds), 1)
    halves = sorted({max(round(seconds / bin_seconds), 1) for seconds in wanted})
    if not halves:
        return work
    errors = np.array([(_around(work, stretches, half, gap) - work) ** 2 for half in halves])
    known = np.isfinite(errors).all(axis=0)
    best = halves[int(np.argmin(errors[:, known].mean(axis=1)))] if known.any() else halves[0]
    return _around(work, stretches, best, -1)


def _stretches(work: Floats) -> list[tuple[int, int]]:
    """Give (begin, end) of the runs of bins without an unknown one or a jump to another level."""
    known = np.isfinite(work)
    breaks = ~known[1:] | ~known[:-1] | _jumps(work)
    cuts = np.concatenate([[0], np.flatnonzero(breaks) + 1, [work.size]])
    return [(int(a), int(b)) for a, b in pairwise(cuts) if b > a and known[a]]


def _jumps(work: Floats) -> NDArray[np.bool_]:
    """Say between which neighbours (n - 1,) another level begins."""
    found = np.zeros(max(work.size - 1, 0), dtype=bool)
    bends = np.abs(np.diff(work, 2))
    bends = bends[np.isfinite(bends)]
    if bends.size == 0 or work.size < 2 * BREAK_BINS:
        return found
    # The median of |x[i-1] - 2 x[i] + x[i+1]| is 0.6745 sqrt(6) standard deviations of one bin.
    deviation = float(np.median(bends)) / (0.6745 * math.sqrt(6.0))
    means = np.convolve(work, np.full(BREAK_BINS, 1.0 / BREAK_BINS), mode="valid")
    before, after = means[:-BREAK_BINS], means[BREAK_BINS:]
    rise = np.nan_to_num(np.abs(after - before))
    chance = BREAK_DEVIATIONS * deviation * math.sqrt(2.0 / BREAK_BINS)
    is_jump = rise > np.maximum(chance, BREAK_SHARE * np.nan_to_num(np.maximum(before, after)))
    around = np.pad(rise, BREAK_BINS - 1)
    highest = np.lib.stride_tricks.sliding_window_view(around, 2 * BREAK_BINS - 1).max(axis=1)
    found[BREAK_BINS - 1 : BREAK_BINS - 1 + rise.size] = is_jump & (rise == highest)
    return found


def _around(work: Floats, stretches: list[tuple[int, int]], half: int, gap: int) -> Floats:
    """Average the bins that are more than `gap` and at most `gap` + `half` away (n,).

    With gap -1 the bin itself and `half` on each side. NaN where there is none.
    """
    found = np.full(work.size, np.nan)
    reach = half if gap < 0 else gap + half
    for begin, end in stretches:
        place = np.arange(end - begin)
        room = np.minimum(place, place[::-1])
        outer, inner = np.minimum(reach, room), np.minimum(gap, room)
        sums = np.concatenate([[0.0], np.cumsum(work[begin:end])])
        total = sums[place + outer + 1] - sums[place - outer]
        left_out = sums[place + inner + 1] - sums[place - inner] if gap >= 0 else 0.0
        count = (2 * outer + 1) - (2 * inner + 1 if gap >= 0 else 0)
        found[begin:end] = np.divide(
            total - left_out, count, out=np.full(place.size, np.nan), where=count > 0
        )
    return found
