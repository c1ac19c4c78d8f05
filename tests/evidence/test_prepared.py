import numpy as np
import pytest

from signalstudy.vocabulary.errors import NotEnoughDataError
from tests.evidence.planted import day_of_demand, prepared


def test_the_signal_is_moved_back_to_the_demand_that_it_answers():
    demand = day_of_demand()
    ready = prepared(np.roll(demand, 3), demand)
    assert ready.alignment[0] == 3
    assert np.nanmax(np.abs(ready.signal - ready.reference)[10:-10]) == 0.0


def test_a_lag_told_from_nothing_moves_the_signal_by_known_delays_only():
    rng = np.random.default_rng(1)
    ready = prepared(rng.normal(size=8640), day_of_demand(), window_seconds=60.0)
    assert ready.alignment[0] == 3
    assert "chance" in ready.alignment[1]


def test_an_unidentified_lag_is_guessed_small_and_not_negative():
    demand = day_of_demand()
    ready = prepared(np.roll(demand, 75), demand)
    steps, why = ready.alignment
    assert 0 <= steps <= 15
    assert "not identified" in why


def test_shapes_are_judged_on_minutes():
    demand = day_of_demand()
    assert prepared(demand, demand).shape_width == 30
    assert prepared(demand[:480], demand[:480]).shape_width == 10


def test_too_few_common_steps_are_refused():
    demand = day_of_demand(steps=200)
    signal = np.full(200, np.nan)
    signal[:10] = 1.0
    with pytest.raises(NotEnoughDataError, match="Only 10 steps"):
        _ = prepared(signal, demand).known
