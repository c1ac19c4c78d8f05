import numpy as np
import pytest

from signalstudy.evidence.regimes import regime_shift_ratio
from signalstudy.vocabulary.errors import NotEnoughDataError
from tests.evidence.planted import autoregression, day_of_demand, prepared

STEPS = 3 * 8640
DEMAND = day_of_demand(steps=STEPS)


def noisy(signal, seed=0):
    return signal + 50.0 * autoregression(np.random.default_rng(seed), signal.size, 30.0, 1.0)


@pytest.mark.parametrize("factor", [0.6, 1.5])
def test_a_deploy_that_changes_the_signal_at_equal_demand_is_found(factor):
    gain = np.where(np.arange(STEPS) < STEPS // 3, 1.0, factor)
    found = regime_shift_ratio(prepared(noisy(gain * DEMAND), DEMAND))
    planted = abs(factor - 1.0) / ((1.0 + 2.0 * factor) / 3.0)
    assert found.value == pytest.approx(planted, rel=0.25)
    assert 0.0 < found.low <= found.value <= found.high
    assert "24.0 h after the start" in found.note
    assert ("+" in found.note) == (factor > 1.0)


def test_a_steady_signal_shows_no_regimes():
    for seed in range(10):
        found = regime_shift_ratio(prepared(noisy(DEMAND, seed), DEMAND))
        assert found.value < 0.05


def test_slow_noise_is_seldom_taken_for_a_regime():
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        demand = day_of_demand(seed)
        drift = 1.0 + autoregression(rng, demand.size, 180.0, 0.2)
        found += regime_shift_ratio(prepared(drift * demand, demand)).value > 0.25
    assert found <= 6


def test_demand_that_doubles_is_no_regime_of_a_proportional_signal():
    demand = DEMAND * np.where(np.arange(STEPS) < STEPS // 2, 1.0, 2.0)
    assert regime_shift_ratio(prepared(noisy(demand), demand)).value < 0.05


def test_few_blocks_do_not_tell_a_lasting_change():
    signal = DEMAND.copy()
    signal[1800:] = np.nan
    with pytest.raises(NotEnoughDataError, match="lasting change"):
        regime_shift_ratio(prepared(signal, DEMAND))


def test_a_record_of_minutes_has_transients_and_no_regimes():
    demand = DEMAND[:200]
    gain = np.where(np.arange(200) < 60, 0.5, 1.0)
    with pytest.raises(NotEnoughDataError, match="queue that fills"):
        regime_shift_ratio(prepared(gain * demand, demand))
