import numpy as np
import pytest

from signalstudy.evidence.coverage import coverage_ratio
from signalstudy.vocabulary.errors import NotEnoughDataError
from tests.evidence.planted import day_of_demand, prepared


def test_coverage_counts_steps_where_both_are_known():
    demand = day_of_demand(steps=100)
    signal = demand.copy()
    signal[:20] = np.nan
    demand[10:30] = np.nan
    assert coverage_ratio(prepared(signal, demand)).value == pytest.approx(0.7)


def test_excluded_steps_are_not_missed():
    demand = day_of_demand(steps=100)
    demand[:50] = np.nan
    assert coverage_ratio(prepared(demand, demand, excluded_steps=50)).value == 1.0


def test_without_demand_the_signal_alone_is_counted_and_the_note_says_so():
    signal = day_of_demand(steps=100)
    estimate = coverage_ratio(prepared(signal, np.full(100, np.nan)))
    assert estimate.value == 1.0
    assert "no demand" in estimate.note


def test_a_record_that_is_excluded_altogether_is_refused():
    nothing = np.full(10, np.nan)
    with pytest.raises(NotEnoughDataError, match="excluded"):
        coverage_ratio(prepared(nothing, nothing, excluded_steps=10))
