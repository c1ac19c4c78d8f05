"""Pressure tests simulated request by request: bounds against knees from constant rates.

The short form of benchmarks/thresholds, whose page has 26 settings.
"""

from __future__ import annotations

import pytest

from benchmarks.thresholds.cells import CELLS
from benchmarks.thresholds.measure import measure

BY_NAME = {cell.name: cell for cell in CELLS}


@pytest.mark.parametrize("name", ["TTFT, steps of 2 min", "TBT, straight law"])
def test_the_bound_of_a_ramp_through_the_knee_is_safe_and_near(name):
    outcomes = measure(BY_NAME[name], 5, seed=3, truth_requests=12_000)
    assert {outcome.status for outcome in outcomes} == {"ok"}
    lows = sorted(outcome.low_over_truth for outcome in outcomes)
    assert lows[-2] <= 1.0, "at most one of five may be above the truth"
    assert lows[2] > 0.85


@pytest.mark.parametrize("name", ["TBT, knee never reached", "TTFT, decode saturates first",
                                  "TBT, prefill saturates first"])  # fmt: skip
def test_a_ramp_that_does_not_show_the_knee_says_so(name):
    outcomes = measure(BY_NAME[name], 3, seed=4, truth_requests=12_000)
    assert {outcome.status for outcome in outcomes} <= {"lower_bound", "censored"}
    assert all(outcome.low_over_truth < 1.0 for outcome in outcomes)
