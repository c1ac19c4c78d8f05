import numpy as np
import pytest
from scipy.signal import lfilter

from signalstudy.evidence.hysteresis import hysteresis_ratio
from signalstudy.vocabulary.errors import NotEnoughDataError
from tests.evidence.planted import autoregression, day_of_demand, prepared

DEMAND = day_of_demand(steps=3 * 8640)
RHYTHM = np.cos(2 * np.pi * np.arange(DEMAND.size) / 8640.0)


@pytest.mark.parametrize("planted", [-0.2, 0.1])
def test_a_planted_loop_lies_within_the_interval(planted):
    low, high = np.quantile(DEMAND, (0.05, 0.95))
    loop = planted * (high - low) / 2.0 * np.sign(RHYTHM)
    noise = 40.0 * autoregression(np.random.default_rng(7), DEMAND.size, 6.0, 1.0)
    estimate = hysteresis_ratio(prepared(DEMAND + loop + noise, DEMAND))
    assert estimate.value == pytest.approx(planted, abs=0.04)
    assert estimate.low - 0.02 <= planted <= estimate.high + 0.02


@pytest.mark.parametrize("lag", [0, 6, 30])
def test_a_lag_is_no_loop(lag):
    noise = 40.0 * autoregression(np.random.default_rng(1), DEMAND.size, 6.0, 1.0)
    estimate = hysteresis_ratio(prepared(np.roll(DEMAND, lag) + noise, DEMAND))
    assert estimate.low <= 0.0 <= estimate.high
    assert abs(estimate.value) < 0.02


def test_demand_that_only_rises_shows_no_loop():
    rising = np.linspace(100.0, 1000.0, 3000)
    with pytest.raises(NotEnoughDataError, match="hardly rises or hardly falls"):
        hysteresis_ratio(prepared(rising, rising))


@pytest.mark.parametrize("late", [0.4, 3.4])
def test_a_lag_between_two_steps_is_no_loop_and_costs_little(late):
    fine = day_of_demand(steps=30 * 8640, step_seconds=1.0)
    steps, moved = fine.reshape(-1, 10).mean(axis=1), np.roll(fine, round(10.0 * late))
    estimate = hysteresis_ratio(prepared(moved.reshape(-1, 10).mean(axis=1) ** 2, steps))
    assert estimate.low <= 0.0 <= estimate.high
    assert abs(estimate.value) < 0.002
    assert estimate.high - estimate.low < 0.012


def test_a_smeared_answer_is_no_loop():
    keep = np.exp(-1.0 / 3.0)
    smeared = lfilter([1.0 - keep], [1.0, -keep], DEMAND)
    noise = 10.0 * autoregression(np.random.default_rng(3), DEMAND.size, 6.0, 1.0)
    ready = prepared(smeared + noise, DEMAND)
    assert ready.lag_search.is_smeared
    estimate = hysteresis_ratio(ready)
    assert estimate.low <= 0.0 <= estimate.high
