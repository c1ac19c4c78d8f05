import numpy as np
import pytest

from signalstudy.evidence.noise import signal_to_noise_ratio
from signalstudy.evidence.series import trailing_mean
from signalstudy.evidence.smoothing import clear_lag_seconds, control_signal_to_noise_ratio
from tests.evidence.planted import autoregression, day_of_demand, prepared

DEMAND = day_of_demand(steps=3 * 8640)
SPREAD = float(DEMAND.std())


def white(share, seed=5):
    return share * SPREAD * np.random.default_rng(seed).standard_normal(DEMAND.size)


def test_averaging_takes_fast_noise_away_and_leaves_slow_noise():
    slow = SPREAD * autoregression(np.random.default_rng(1), DEMAND.size, 360.0, 1.0)
    fast_ready, slow_ready = prepared(DEMAND + white(1.0), DEMAND), prepared(DEMAND + slow, DEMAND)
    for ready in (fast_ready, slow_ready):
        assert signal_to_noise_ratio(ready).value == pytest.approx(1.0, rel=0.35)
    fast = control_signal_to_noise_ratio(fast_ready)
    # A mean over 14 steps leaves a fourteenth of white noise's variance.
    assert 10.0 < fast.value < 18.0
    assert fast.low < fast.value < fast.high
    assert control_signal_to_noise_ratio(slow_ready).value < 2.0


def test_a_clear_signal_is_read_as_it_comes():
    estimate = clear_lag_seconds(prepared(np.roll(DEMAND, 3) + white(0.1), DEMAND))
    assert estimate.low <= 30.0 <= estimate.high
    assert "at 10 s" in estimate.note


def test_a_noisy_signal_pays_for_clearness_with_half_a_window():
    # Signal to noise of 1 at a step takes nine steps and more: the window of 120 s.
    estimate = clear_lag_seconds(prepared(np.roll(DEMAND, 3) + white(1.0), DEMAND))
    assert estimate.status == "ok"
    assert estimate.value == pytest.approx(30.0 + 55.0, abs=5.0)


def test_slow_noise_is_never_clear():
    slow = SPREAD * autoregression(np.random.default_rng(2), DEMAND.size, 360.0, 1.0)
    estimate = clear_lag_seconds(prepared(DEMAND + slow, DEMAND))
    assert estimate.status == "lower_bound"
    assert "not clear over" in estimate.note


def test_what_noise_takes_from_the_curve_is_in_the_interval():
    day = DEMAND[:8640]
    held = 0
    for seed in range(60):
        noise = 2.2 * SPREAD * np.random.default_rng(seed).standard_normal(day.size)
        estimate = control_signal_to_noise_ratio(prepared(day + noise, day))
        width = round(float(estimate.note.split()[2]) / 10.0)
        truth = float(np.var(trailing_mean(day, width))) / (2.2**2 * SPREAD**2 / width)
        held += estimate.low <= truth <= estimate.high
    assert held >= 54
