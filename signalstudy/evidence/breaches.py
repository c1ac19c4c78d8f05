"""Breaches of an objective, as events: runs of minutes in which too many requests were late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.series import runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from signalstudy.timeline.timeline import SloCounts

    Floats = NDArray[np.float64]
    Spans = NDArray[np.intp]

BIN_SECONDS = 60.0
FEWEST_BINS = 3
MERGE_SECONDS = 600.0
"""Breaches closer than this are one: scaling answers the first of them."""
CHANCE_DEVIATIONS = 2.0
"""Late requests of an event must exceed the allowed ones by this many standard deviations."""


def find_breaches(counts: Iterable[SloCounts], usable: int, step_seconds: float) -> Spans:
    """Find the breaches of any of the objectives: first step and the step after the last (m, 2).

    More than the allowed share of requests over the limit in each of three minutes in a row, more
    over all of them than chance explains, breaches closer than ten minutes merged (methods 6).
    `usable`: number of steps. Where a limit lies between bucket edges, only what is surely over.
    """
    size = max(1, round(BIN_SECONDS / step_seconds))
    found = [_of_one(slo, size) for slo in counts]
    spans = np.concatenate(found) if found else np.empty((0, 2), dtype=np.intp)
    return merged(np.minimum(spans, usable), round(MERGE_SECONDS / step_seconds))


def merged(spans: Spans, gap: int) -> Spans:
    """Join spans (m, 2) that overlap or stand at most `gap` steps apart, in order of time."""
    joined: list[list[int]] = []
    for first, last in sorted(spans.tolist()):
        if joined and first - joined[-1][1] <= gap:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    return np.array(joined, dtype=np.intp).reshape(-1, 2)


def _of_one(slo: SloCounts, size: int) -> Spans:
    """Find the breaches of one objective, in steps; bins of `size` steps."""
    starts = np.arange(0, slo.observed.size, size)
    observed = np.add.reduceat(np.nan_to_num(slo.observed), starts)
    over = np.add.reduceat(np.nan_to_num(slo.over_low), starts)
    allowed = slo.objective.allowed_share * observed
    candidates = runs(over > allowed)
    kept = [
        (first * size, last * size)
        for first, last in candidates.tolist()
        if last - first >= FEWEST_BINS
        and over[first:last].sum()
        > allowed[first:last].sum() + CHANCE_DEVIATIONS * np.sqrt(allowed[first:last].sum())
    ]
    return np.array(kept, dtype=np.intp).reshape(-1, 2)
