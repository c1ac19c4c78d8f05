import numpy as np
import pytest

from signalstudy.evidence.blocks import cut_blocks
from signalstudy.evidence.held_out import predict_held_out, residuals_of
from tests.evidence.planted import day_of_demand


def test_a_function_of_demand_is_predicted_on_blocks_it_has_not_seen():
    rng = np.random.default_rng(0)
    demand = rng.uniform(1.0, 2.0, 2000)
    signal = np.exp(demand)
    error = signal - predict_held_out(signal, demand, cut_blocks(2000, 10.0, 0))
    assert np.abs(error).max() < 0.1


def test_noise_is_not_predicted():
    rng = np.random.default_rng(0)
    signal, demand = rng.normal(size=(2, 2000))
    error = signal - predict_held_out(signal, demand, cut_blocks(2000, 10.0, 0))
    assert np.var(error) > 0.98 * np.var(signal)


def test_unknown_steps_stay_unknown_and_the_others_do_not():
    demand = np.linspace(1.0, 2.0, 400)
    signal = demand.copy()
    signal[100:150] = np.nan
    prediction = predict_held_out(signal, demand, cut_blocks(400, 10.0, 0))
    assert (np.isnan(prediction) == np.isnan(signal)).all()


@pytest.mark.parametrize("noise", [60.0, 300.0])
def test_residuals_are_as_large_as_the_noise(noise):
    sizes = []
    for seed in range(8):
        demand = day_of_demand(seed, steps=2880, step_seconds=30.0)
        planted = np.random.default_rng(seed).normal(0.0, noise, demand.size)
        left = residuals_of(demand + planted, demand, cut_blocks(demand.size, 30.0, 0))
        sizes.append(np.mean(left**2) / np.mean(planted**2))
    assert np.mean(sizes) == pytest.approx(1.0, abs=0.03)
