"""How often 95 % intervals hold the right answer, how wide they are, how often there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.calibration.cells import draw_record
from benchmarks.calibration.truth import LONG_DAYS, truth_of
from signalstudy.evidence.hysteresis import RESOLUTION as LOOP_RESOLUTION
from signalstudy.evidence.measures import MEASURES
from signalstudy.evidence.noise import CURVE_COST
from signalstudy.evidence.prepared import Prepared
from signalstudy.evidence.shape import elasticity_resolution
from signalstudy.evidence.shared import Shared
from signalstudy.evidence.smoothing import CURVE_COST as AVERAGED_CURVE_COST
from signalstudy.evidence.step_response import NINE_TENTHS, RESOLUTION_SHARE
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.calibration.cells import Cell


BOUNDS = {"linearity_ratio": 1.0, "cache_distortion_ratio": 0.0}
AT_BOUND = 0.002
FLOORS: dict[str, Callable[[float], float]] = {
    "demand_elasticity": elasticity_resolution,
    "hysteresis_ratio": lambda _: LOOP_RESOLUTION,
    "signal_to_noise_ratio": lambda truth: CURVE_COST * truth,
    "peak_separation": lambda truth: CURVE_COST / 2.0 * truth,
    "control_signal_to_noise_ratio": lambda truth: AVERAGED_CURVE_COST * truth,
}
"""Half widths that intervals have at least, in the measure's unit, by what is right."""
STEPS = {
    "dead_time_seconds": RESOLUTION_SHARE,
    "rise_time_seconds": RESOLUTION_SHARE * NINE_TENTHS,
}
"""The same in steps."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What became of one measure of one signal over the records of a cell.

    `covered_ratio`: of the records that got an interval. `below_ratio`: of them, whose interval
    lies below the truth. `unidentified_ratio`: of all. `median_width`, `rmse`, `bias`: in the
    measure's unit. `truth`: its mean over the records. `step_seconds`: of the cell.
    """

    cell: str
    signal: str
    measure: str
    records: int
    truth: float
    covered_ratio: float
    below_ratio: float
    unidentified_ratio: float
    median_width: float
    rmse: float
    bias: float
    step_seconds: float

    @property
    def is_at_floor(self) -> bool:
        """Whether a stated resolution makes half of the median width's square, or truth is a bound.

        Resolutions are added by squares. A lag's is met where the interval is at most one step
        wide. No interval of a ratio that is at its bound can miss it on more than one side.
        """
        if self.measure in ("lag_seconds", "seen_lag_seconds"):
            return self.median_width <= self.step_seconds
        if self.measure in BOUNDS and abs(self.truth - BOUNDS[self.measure]) < AT_BOUND:
            return True
        floor = STEPS.get(self.measure, 0.0) * self.step_seconds
        floor = FLOORS[self.measure](self.truth) if self.measure in FLOORS else floor
        return self.median_width <= 2.0 * 2.0**0.5 * floor


def judge_cell(
    cell: Cell, records: int, *, seed: int, long_days: float = LONG_DAYS
) -> list[Coverage]:
    """Ask every measure of every signal of `records` records of one cell.

    `long_days`: length of the record that the right answers are learned from.
    """
    answers: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}
    for number in range(records):
        shared = Shared()
        for drawn in draw_record(cell, number, seed):
            prepared = Prepared(drawn.noisy, shared)
            for name, right in truth_of(cell, number, drawn, prepared, long_days).items():
                row = (right, *_answer(name, prepared))
                answers.setdefault((drawn.noisy.name, name), []).append(row)
    return [_summarise(cell, signal, measure, rows) for (signal, measure), rows in answers.items()]


def _answer(name: str, prepared: Prepared) -> tuple[float, float, float]:
    """Give value, low and high; NaN where there is no interval."""
    nothing = (np.nan, np.nan, np.nan)
    try:
        estimate = MEASURES[name].function(prepared)
    except NotEnoughDataError:
        return nothing
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return nothing
    return estimate.value, estimate.low, estimate.high


def _summarise(
    cell: Cell, signal: str, measure: str, rows: Sequence[tuple[float, float, float, float]]
) -> Coverage:
    truth, value, low, high = np.array(rows).T
    known = np.isfinite(value)
    truth, value, low, high = truth[known], value[known], low[known], high[known]
    # An interval that ends at its bound to rounding holds it.
    margin = 1e-9 * np.maximum(np.abs(truth), 1.0)
    is_below, is_above = high < truth - margin, low > truth + margin
    some = bool(known.any())
    return Coverage(
        cell=cell.name,
        step_seconds=cell.step_seconds,
        signal=signal,
        measure=measure,
        records=len(rows),
        truth=float(truth.mean()) if some else float(rows[0][0]),
        covered_ratio=float((~is_below & ~is_above).mean()) if some else 0.0,
        below_ratio=float(is_below.mean()) if some else 0.0,
        unidentified_ratio=float((~known).mean()),
        median_width=float(np.median(high - low)) if some else 0.0,
        rmse=float(np.sqrt(((value - truth) ** 2).mean())) if some else 0.0,
        bias=float((value - truth).mean()) if some else 0.0,
    )
