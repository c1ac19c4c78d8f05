import numpy as np
import pytest

from signalstudy.evidence.noise import peak_separation, signal_to_noise_ratio
from signalstudy.vocabulary.errors import NotEnoughDataError
from tests.evidence.planted import autoregression, day_of_demand, prepared


@pytest.mark.parametrize("planted", [0.5, 2.0, 10.0])
def test_a_planted_ratio_lies_within_the_interval(planted):
    demand = day_of_demand()
    curve = np.tanh(demand / 1500.0)
    noise = np.random.default_rng(0).normal(0, np.sqrt(curve.var() / planted), demand.size)
    estimate = signal_to_noise_ratio(prepared(curve + noise, demand))
    assert estimate.value == pytest.approx(planted, rel=0.15)
    assert estimate.low <= planted <= estimate.high


def test_noise_alone_has_no_signal_in_it():
    signal = autoregression(np.random.default_rng(3), 8640, 12, 1.0)
    assert signal_to_noise_ratio(prepared(signal, day_of_demand())).value < 0.1


def test_a_function_of_demand_has_a_large_and_finite_ratio():
    demand = day_of_demand()
    assert 1e3 < signal_to_noise_ratio(prepared(2.0 * demand, demand)).value <= 1e6


def test_a_falling_signal_is_explained_as_well_as_a_rising_one():
    demand = day_of_demand()
    noise = np.random.default_rng(0).normal(0, 100, demand.size)
    up, down = (signal_to_noise_ratio(prepared(s * demand + noise, demand)) for s in (1, -1))
    assert down.value == pytest.approx(up.value, rel=0.05)


def test_separation_is_counted_in_noise():
    demand = day_of_demand()
    near, far = np.quantile(demand, (0.05, 0.95))
    noise = np.random.default_rng(0).normal(0, 100, demand.size)
    estimate = peak_separation(prepared(demand + noise, demand))
    assert estimate.value == pytest.approx((far - near) / 100.0, rel=0.1)
    assert estimate.low <= estimate.value <= estimate.high


def test_constants_have_neither():
    demand = day_of_demand(steps=500)
    for measure in (signal_to_noise_ratio, peak_separation):
        with pytest.raises(NotEnoughDataError):
            measure(prepared(np.ones(500), demand))
