"""One grid of time for one service, and how samples come onto it.

Counts and rates are spread evenly over their intervals and summed by step; gauges are interpolated
linearly between their own samples; states hold until the next one. Gaps are masked, not filled.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

GAP_INTERVALS = 2.5  # an interval longer than this many usual ones is a gap (ingestion.md 2)
STATE_SECONDS = 300.0  # a state is believed this long, as Prometheus looks back
LARGEST_GRID = 400_000  # 46 days at 10 s
STRETCH_SECONDS = 86_400.0  # a recording that paused for longer is several
NICE_SECONDS = (
    0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 360.0, 600.0,
    900.0, 1800.0, 3600.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Samples:
    """One series: `time_seconds` ascending (m,), `values`, `interval_seconds` (0 for gauges)."""

    time_seconds: Floats
    values: Floats
    interval_seconds: Floats
    cadence_seconds: float


@dataclass(frozen=True, slots=True)
class Grid:
    """`time_seconds` (n,) are the ends of steps of `step_seconds`."""

    time_seconds: Floats
    step_seconds: float

    @property
    def size(self) -> int:
        """Number of steps."""
        return int(self.time_seconds.size)

    def step_of(self, seconds: Floats) -> NDArray[np.int64]:
        """Give the index of the step that holds each instant, -1 or n where none does."""
        first_start = self.time_seconds[0] - self.step_seconds
        # A millisecond of tolerance: an instant on the edge belongs to the step that ends there.
        index = np.ceil((seconds - first_start - 1e-3) / self.step_seconds).astype(np.int64) - 1
        return np.asarray(np.clip(index, -1, self.size), dtype=np.int64)

    def counts(self, seconds: Floats, weights: Floats) -> Floats:
        """Sum `weights` of events at `seconds` by step (n,)."""
        index = self.step_of(seconds)
        inside = (index >= 0) & (index < self.size)
        return np.bincount(index[inside], weights=weights[inside], minlength=self.size).astype(
            np.float64
        )


def nice_seconds(seconds: float) -> float:
    """Round a measured cadence to the configured one it must come from, where one is near."""
    for nice in NICE_SECONDS:
        if abs(seconds - nice) <= 0.1 * nice:
            return nice
    return float(f"{seconds:.3g}")


def make_grid(series: Sequence[Samples], step_seconds: float | None) -> tuple[Grid, str]:
    """Choose step and phase so that most samples stand on the grid as they are; give a note, too.

    The step is the median cadence of `series`, which is above 0; the phase the commonest one of
    their samples. A span too long for one grid is cut to its fullest stretch, then stepped coarser.
    """
    cadence = float(np.median([s.cadence_seconds for s in series]))
    step = step_seconds or nice_seconds(cadence)
    first = min(float(s.time_seconds[0]) for s in series)
    last = max(float(s.time_seconds[-1]) for s in series)
    note = ""
    if (last - first) / step > LARGEST_GRID:
        whole = last - first
        first, last = _fullest_stretch(np.concatenate([s.time_seconds for s in series]))
        if last - first < whole:
            note = (
                f"the samples span {whole / 86400.0:.0f} days with long pauses: only the stretch "
                f"with most of them, {(last - first) / 86400.0:.2g} days from {_date(first)} on, "
                "is studied"
            )
    while (last - first) / step > LARGEST_GRID:
        step *= 2.0
        note = f"the recording is very long: its step is {step:g} s"
    times = np.concatenate([s.time_seconds[:2000] for s in series])
    phases, votes = np.unique(np.round(np.mod(times, step), 3), return_counts=True)
    phase = float(phases[np.argmax(votes)])
    start = phase + np.ceil((first - phase) / step - 1e-6) * step
    steps = max(int(np.floor((last - start) / step + 1e-6)) + 1, 1)
    return Grid(start + step * np.arange(steps), step), note


def _fullest_stretch(seconds: Floats) -> tuple[float, float]:
    """Give first and last instant of the stretch without a long pause that holds most samples."""
    at = np.sort(seconds)
    cuts = np.flatnonzero(np.diff(at) > STRETCH_SECONDS) + 1
    begins, ends = np.append(0, cuts), np.append(cuts, at.size)
    best = int(np.argmax(ends - begins))
    return float(at[begins[best]]), float(at[ends[best] - 1])


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _gap_mask(samples: Samples, starts: Floats, ends: Floats, grid: Grid) -> Booleans:
    """Mark steps (ends at grid time) that overlap an interval too long to be believed (n,)."""
    longest = GAP_INTERVALS * samples.cadence_seconds
    bad = np.zeros(grid.size, dtype=np.bool_)
    long = (ends - starts > longest) if longest > 0 else np.zeros(ends.size, dtype=np.bool_)
    lows = np.searchsorted(grid.time_seconds, starts[long] + 1e-3, side="right")
    highs = np.searchsorted(grid.time_seconds, ends[long] + grid.step_seconds - 1e-3)
    for low, high in zip(lows, highs, strict=True):
        bad[low:high] = True
    return bad


def sum_of_counts(series: Sequence[Samples], grid: Grid) -> Floats:
    """Sum increments of many series by step (n,); NaN where one has a gap or none is there.

    Each increment is spread evenly over its interval: the cumulative count is interpolated
    linearly, so that phases of scrapes do not shift the result.
    """
    total = np.zeros(grid.size)
    alive = np.zeros(grid.size, dtype=np.bool_)
    bad = np.zeros(grid.size, dtype=np.bool_)
    edges = np.concatenate([grid.time_seconds[:1] - grid.step_seconds, grid.time_seconds])
    first = min(float(s.time_seconds[0] - s.interval_seconds[0]) for s in series)
    last = max(float(s.time_seconds[-1]) for s in series)
    for samples in series:
        starts = samples.time_seconds - samples.interval_seconds
        known = np.concatenate([starts[:1], samples.time_seconds])
        cumulative = np.concatenate([[0.0], np.cumsum(samples.values)])
        total += np.diff(np.interp(edges, known, cumulative))
        lives = (edges[1:] > known[0] + 1e-3) & (edges[:-1] < known[-1] - 1e-3)
        alive |= lives
        bad |= _gap_mask(samples, starts, samples.time_seconds, grid)
        # At the rim of the recording a step that a series covers in part is not known.
        if known[0] - first < 2 * samples.cadence_seconds:
            bad |= (edges[:-1] < known[0] - 1e-3) & (edges[1:] > first)
        if last - known[-1] < 2 * samples.cadence_seconds:
            bad |= edges[1:] > known[-1] + 1e-3
    return np.where(alive & ~bad, total, np.nan)


def _interpolated(samples: Samples, grid: Grid) -> tuple[Floats, Booleans, Booleans]:
    """Give values on the grid, where the series lives, and where it has a gap."""
    at, time = grid.time_seconds, samples.time_seconds
    values = np.interp(at, time, samples.values)
    lives = (at >= time[0] - 1e-3) & (at <= time[-1] + 1e-3)
    longest = GAP_INTERVALS * samples.cadence_seconds
    if time.size < 2:
        return values, lives, np.zeros(grid.size, dtype=np.bool_)
    place = np.minimum(np.searchsorted(time, at - 1e-3), time.size - 1)
    after = np.maximum(place, 1)
    width = time[after] - time[after - 1]
    on_sample = np.abs(time[place] - at) < 2e-3
    return values, lives, lives & (width > longest) & ~on_sample


def combine_gauges(series: Sequence[Samples], grid: Grid, *, total: bool) -> Floats:
    """Sum (total) or average the series on the grid (n,); NaN where none is there or one gaps."""
    added = np.zeros(grid.size)
    count = np.zeros(grid.size)
    bad = np.zeros(grid.size, dtype=np.bool_)
    first = min(float(s.time_seconds[0]) for s in series)
    last = max(float(s.time_seconds[-1]) for s in series)
    for samples in series:
        values, lives, gaps = _interpolated(samples, grid)
        added += np.where(lives, values, 0.0)
        count += lives
        bad |= gaps
        start, end = samples.time_seconds[0], samples.time_seconds[-1]
        if total and start - first < 2 * samples.cadence_seconds:
            bad |= (grid.time_seconds < start - 1e-3) & (grid.time_seconds >= first - 1e-3)
        if total and last - end < 2 * samples.cadence_seconds:
            bad |= grid.time_seconds > end + 1e-3
    with np.errstate(invalid="ignore", divide="ignore"):
        combined = added if total else added / count
    return np.where((count > 0) & ~bad, combined, np.nan)


def live_count(series: Sequence[Samples], grid: Grid) -> Floats:
    """Count the series that live at each grid time (n,), NaN outside the span of them all.

    Nor is the number known before the scrapes have been round once, and after the last round:
    a replica whose turn comes a few seconds later has not just started.
    """
    count = np.zeros(grid.size)
    for samples in series:
        _, lives, gaps = _interpolated(samples, grid)
        count += lives & ~gaps
    starts = np.array([s.time_seconds[0] for s in series])
    ends = np.array([s.time_seconds[-1] for s in series])
    turn = np.array([s.cadence_seconds for s in series])
    first = float(starts[starts - starts.min() <= turn].max())
    last = float(ends[ends.max() - ends <= turn].min())
    inside = (grid.time_seconds >= first - 1e-3) & (grid.time_seconds <= last + 1e-3)
    return np.where(inside, count, np.nan)


def hold_state(samples: Samples, grid: Grid) -> Floats:
    """Hold each value until the next (n,); NaN before the first and where the last is too old."""
    index = np.searchsorted(samples.time_seconds, grid.time_seconds + 1e-3, side="right") - 1
    held = samples.values[np.clip(index, 0, None)]
    age = grid.time_seconds - samples.time_seconds[np.clip(index, 0, None)]
    believed = max(STATE_SECONDS, 3 * samples.cadence_seconds)
    return np.where((index >= 0) & (age <= believed), held, np.nan)


def rolling_sum(values: Floats, steps: int) -> Floats:
    """Sum the last `steps` values at each step, along the last axis; unknown ones count as nothing.

    Near the start the sum holds what there is.
    """
    cumulative = np.cumsum(np.nan_to_num(values), axis=-1)
    summed = cumulative.copy()
    summed[..., steps:] -= cumulative[..., :-steps]
    return summed


def centred_sum(values: Floats, steps: int) -> Floats:
    """Sum the values (n,) within `steps` // 2 steps of each; unknown ones count as nothing.

    Near either end the sum holds what there is.
    """
    cumulative = np.concatenate(([0.0], np.cumsum(np.nan_to_num(values))))
    at, half = np.arange(values.size), steps // 2
    first, last = np.maximum(at - half, 0), np.minimum(at + half + 1, values.size)
    return np.asarray(cumulative[last] - cumulative[first])
