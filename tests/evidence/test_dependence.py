import numpy as np
import pytest

from signalstudy.evidence.dependence import (
    demand_correlation,
    effective_observations,
    independence_probability,
)
from signalstudy.vocabulary.errors import NotEnoughDataError
from tests.evidence.planted import autoregression, day_of_demand, prepared


def test_correlation_is_pearsons_at_the_lag():
    demand = day_of_demand()
    signal = np.roll(demand, 3) + np.random.default_rng(0).normal(0, 300, demand.size)
    estimate = demand_correlation(prepared(signal, demand))
    expected = np.corrcoef(demand[:-3], signal[3:])[0, 1]
    assert estimate.value == pytest.approx(expected, abs=1e-9)
    assert estimate.low < expected < estimate.high
    assert "follows demand" in estimate.note


def test_a_signal_that_falls_with_demand_correlates_negatively():
    demand = day_of_demand()
    noise = np.random.default_rng(0).normal(0, 0.01, demand.size)
    ready = prepared(0.9 - demand / 5000.0 + noise, demand)
    assert demand_correlation(ready).high < -0.9
    assert independence_probability(ready).value < 0.01


def test_noise_does_not_follow_demand():
    rng = np.random.default_rng(2)
    ready = prepared(5.0 + autoregression(rng, 8640, 12, 1.0), day_of_demand())
    assert independence_probability(ready).value > 0.05
    assert "not told from chance" in demand_correlation(ready).note


def test_under_quiet_demand_a_weak_correlation_is_censored():
    rng = np.random.default_rng(5)
    quiet = 3000.0 * (1.0 + 0.01 * autoregression(rng, 8640, 12, 1.0))
    estimate = demand_correlation(prepared(60.0 + rng.normal(0, 3.0, 8640), quiet))
    assert estimate.status == "censored"
    assert "demand varied by a factor of only 1.0" in estimate.note
    assert demand_correlation(prepared(day_of_demand(), day_of_demand())).status == "ok"


def test_a_shared_daily_rhythm_alone_is_not_following():
    place = 2 * np.pi * np.arange(8640) / 8640
    rng = np.random.default_rng(4)
    signal = 100 * np.sin(place) + autoregression(rng, 8640, 12, 12.0)
    ready = prepared(signal, day_of_demand())
    assert demand_correlation(ready).value > 0.8
    assert independence_probability(ready).value > 0.05


def test_effective_observations_are_far_fewer_than_steps():
    demand = day_of_demand()
    estimate = effective_observations(prepared(demand, demand))
    assert 4.0 <= estimate.value < 100.0
    assert "8640 steps" in estimate.note


def test_a_record_without_room_for_shifts_cannot_tell():
    place = np.arange(40.0)
    demand = np.sin(place / 6.0)
    with pytest.raises(NotEnoughDataError, match="too short"):
        independence_probability(prepared(demand, demand))
    assert demand_correlation(prepared(demand, demand)).value == pytest.approx(1.0)


def test_constant_signals_correlate_with_nothing():
    demand = day_of_demand(steps=500)
    for measure in (demand_correlation, effective_observations, independence_probability):
        with pytest.raises(NotEnoughDataError, match="same value"):
            measure(prepared(np.full(500, 0.3), demand))
