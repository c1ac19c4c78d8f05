"""How often 95 % intervals hold the right answer, how wide they are, how often there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.calibration.cells import draw_record
from benchmarks.calibration.truth import LONG_DAYS, truth_of
from signalstudy.evidence.measures import MEASURES
from signalstudy.evidence.prepared import Prepared
from signalstudy.evidence.shared import Shared
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.calibration.cells import Cell


@dataclass(frozen=True, slots=True)
class Coverage:
    """What became of one measure of one signal over the records of a cell.

    `covered_ratio`: of the records that got an interval. `below_ratio`: of them, whose interval
    lies below the truth. `unidentified_ratio`: of all. `median_width`, `rmse`, `bias`: in the
    measure's unit. `truth`: its mean over the records.
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
    return [
        _summarise(cell.name, signal, measure, rows) for (signal, measure), rows in answers.items()
    ]


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
    cell: str, signal: str, measure: str, rows: Sequence[tuple[float, float, float, float]]
) -> Coverage:
    truth, value, low, high = np.array(rows).T
    known = np.isfinite(value)
    truth, value, low, high = truth[known], value[known], low[known], high[known]
    # An interval that ends at its bound to rounding holds it.
    margin = 1e-9 * np.maximum(np.abs(truth), 1.0)
    is_below, is_above = high < truth - margin, low > truth + margin
    some = bool(known.any())
    return Coverage(
        cell=cell,
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
