import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.evidence.dependence import demand_correlation
from signalstudy.evidence.noise import peak_separation, signal_to_noise_ratio
from signalstudy.evidence.shape import (
    demand_elasticity,
    dynamic_range_ratio,
    gain_ratio,
    linearity_ratio,
)
from signalstudy.vocabulary.errors import NotEnoughDataError
from tests.evidence.planted import day_of_demand, prepared

DEMAND = day_of_demand()


def noisy(signal, share=0.05, seed=0):
    return signal * np.random.default_rng(seed).normal(1.0, share, signal.size)


@pytest.mark.parametrize("planted", [-0.5, 0.28, 1.0, 1.6])
def test_a_planted_elasticity_lies_within_the_interval(planted):
    estimate = demand_elasticity(prepared(noisy(DEMAND**planted), DEMAND))
    assert estimate.value == pytest.approx(planted, abs=0.03)
    assert estimate.low - 0.01 <= planted <= estimate.high + 0.01


def test_noise_in_demand_does_not_flatten_a_proportional_signal():
    counted = np.random.default_rng(0).poisson(DEMAND / 50.0) * 50.0
    estimate = demand_elasticity(prepared(DEMAND, counted))
    assert estimate.value == pytest.approx(1.0, abs=0.05)


def test_an_intensive_signal_is_judged_against_demand_per_replica():
    replicas = np.ceil(DEMAND / 300.0)
    signal = noisy(DEMAND / replicas / 400.0, 0.02)
    estimate = demand_elasticity(prepared(signal, DEMAND, kind="intensive", replicas=replicas))
    assert estimate.value == pytest.approx(1.0, abs=0.05)


def test_a_signal_that_is_zero_most_of_the_time_has_no_elasticity():
    with pytest.raises(NotEnoughDataError, match="zero or negative"):
        demand_elasticity(prepared(np.maximum(DEMAND - 1500.0, 0.0), DEMAND))


def test_demand_that_hardly_varies_has_no_logarithmic_slope():
    demand = 1000.0 + 10.0 * np.sin(np.arange(2000) / 50.0)
    with pytest.raises(NotEnoughDataError, match="factor of only"):
        demand_elasticity(prepared(demand, demand))


def test_a_line_is_linear_and_a_cliff_is_not():
    line = linearity_ratio(prepared(noisy(3.0 * DEMAND + 100.0), DEMAND))
    assert line.value > 0.99
    cliff = linearity_ratio(prepared(noisy(1.0 + np.exp(DEMAND / 150.0)), DEMAND))
    assert cliff.high < 0.8


def test_what_demand_does_not_explain_has_no_shape():
    signal = np.random.default_rng(0).normal(size=DEMAND.size)
    with pytest.raises(NotEnoughDataError, match="explains only"):
        linearity_ratio(prepared(signal, DEMAND))


@pytest.mark.parametrize(("high_slope", "planted"), [(3.0, 3.0), (1.0, 1.0), (0.2, 0.2)])
def test_a_planted_gain_lies_within_the_interval(high_slope, planted):
    low, high = np.quantile(DEMAND, (0.075, 0.925))
    middle = (low + high) / 2.0
    signal = np.minimum(DEMAND, middle) + high_slope * np.maximum(DEMAND - middle, 0.0)
    noise = np.random.default_rng(0).normal(0, 100, DEMAND.size)
    estimate = gain_ratio(prepared(signal + noise, DEMAND))
    assert estimate.value == pytest.approx(planted, rel=0.1, abs=0.05)
    assert estimate.low * 0.9 <= planted <= estimate.high * 1.1


def test_a_fold_back_has_a_negative_gain():
    signal = noisy(2000.0 - np.abs(DEMAND - 1000.0))
    assert gain_ratio(prepared(signal, DEMAND)).high < 0.0


def test_a_cliff_from_nothing_has_a_gain_of_at_least():
    signal = np.maximum(DEMAND - 1200.0, 0.0)
    signal = signal + np.random.default_rng(0).normal(0, 50, DEMAND.size)
    estimate = gain_ratio(prepared(signal, DEMAND))
    assert estimate.status in ("lower_bound", "ok")
    assert estimate.value > 3.0


def test_a_flat_signal_has_no_gain():
    with pytest.raises(NotEnoughDataError, match="Neither"):
        gain_ratio(prepared(np.random.default_rng(0).normal(5, 1, DEMAND.size), DEMAND))


def test_the_dynamic_range_is_a_share_of_the_top_with_its_sign():
    low, high = np.quantile(DEMAND, (0.05, 0.95))
    rising = dynamic_range_ratio(prepared(noisy(DEMAND), DEMAND))
    assert rising.value == pytest.approx((high - low) / high, abs=0.02)
    falling = dynamic_range_ratio(prepared(noisy(4000.0 - DEMAND), DEMAND))
    assert falling.value == pytest.approx(-(high - low) / (4000.0 - low), abs=0.02)


@pytest.mark.parametrize("height", [0.0, 0.1, 7.0])
def test_a_constant_has_no_range(height):
    estimate = dynamic_range_ratio(prepared(np.full(DEMAND.size, height), DEMAND))
    assert (estimate.value, estimate.low, estimate.high) == (0.0, 0.0, 0.0)


@settings(max_examples=4, deadline=None)
@given(st.floats(1e-6, 1e6))
def test_the_unit_of_a_signal_changes_no_dimensionless_measure(scale):
    demand = DEMAND[:1000]
    signal = noisy(demand**0.8)
    for measure in (
        demand_correlation,
        signal_to_noise_ratio,
        peak_separation,
        linearity_ratio,
        demand_elasticity,
        gain_ratio,
        dynamic_range_ratio,
    ):
        plain, scaled = measure(prepared(signal, demand)), measure(prepared(signal * scale, demand))
        numbers = [plain.value, plain.low, plain.high]
        assert [scaled.value, scaled.low, scaled.high] == pytest.approx(numbers, rel=1e-6, abs=1e-9)
