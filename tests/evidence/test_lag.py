import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from signalstudy.evidence.lag import lag_seconds, seen_lag_seconds
from signalstudy.vocabulary.errors import NotEnoughDataError
from tests.evidence.planted import autoregression, day_of_demand, prepared

SPAN, MARGIN = 86400, 200


def simulate(seed, noise):
    """Methods, section 13: sampled every 10 s at random phases, interpolated to one grid."""
    rng = np.random.default_rng(seed)
    second = np.arange(-MARGIN, SPAN + MARGIN)
    demand = 1000.0 * (1.0 + 0.5 * np.sin(2 * np.pi * second / SPAN))
    demand += autoregression(rng, second.size, 120, 120) + autoregression(
        rng, second.size, 1800, 80
    )
    lag = rng.uniform(5.0, 90.0)
    signal = np.interp(second - lag, second, demand)
    if noise == "clean":
        signal += autoregression(rng, second.size, 5, 20)
    elif noise == "noisy":
        signal += autoregression(rng, second.size, 60, 200)
        signal += 150.0 * np.sin(2 * np.pi * second / SPAN + 2.0)
    else:
        keep = np.exp(-1.0 / 30.0)
        signal = 1000.0 + lfilter([1.0 - keep], [1.0, -keep], signal - 1000.0)
    grid = np.arange(100.0, SPAN - 100.0, 10.0)
    sampled = [
        np.interp(grid, times, np.interp(times, second, series))
        for series in (signal, demand)
        for times in [np.arange(0.0, SPAN, 10.0) + rng.uniform(0, 10)]
    ]
    return lag, lag_seconds(prepared(*sampled))


@pytest.mark.parametrize(("noise", "most"), [("clean", 1.0), ("noisy", 2.0)])
def test_planted_lags_are_found_to_about_a_second(noise, most):
    runs = [simulate(seed, noise) for seed in range(6)]
    errors = np.array([estimate.value - lag for lag, estimate in runs])
    assert np.sqrt((errors**2).mean()) < most
    assert sum(estimate.low <= lag <= estimate.high for lag, estimate in runs) >= 5


def test_a_smeared_response_says_so_and_holds_dead_time_and_part_of_the_rise():
    lag, smeared = simulate(0, "smeared")
    assert "smeared" in smeared.note
    assert smeared.high - smeared.low <= 10.0
    assert 10.0 < smeared.value - lag < 30.0


@settings(max_examples=15, deadline=None)
@given(st.integers(-20, 20))
def test_shifting_a_signal_by_steps_shifts_its_lag_by_as_many(steps):
    rng = np.random.default_rng(1)
    demand = day_of_demand()[:4000]
    signal = demand + rng.normal(0, 50, demand.size)
    moved = np.roll(signal, steps)
    first = lag_seconds(prepared(signal, demand)).value
    assert lag_seconds(prepared(moved, demand)).value - first == pytest.approx(
        10.0 * steps, abs=1.0
    )


def test_later_is_positive_and_a_falling_signal_has_a_lag_too():
    demand = day_of_demand()
    assert lag_seconds(prepared(np.roll(demand, 5), demand)).value == pytest.approx(50.0, abs=0.5)
    assert lag_seconds(prepared(-np.roll(demand, 5), demand)).value == pytest.approx(50.0, abs=0.5)


def test_known_delays_are_no_part_of_the_own_lag_but_of_the_seen_one():
    demand = day_of_demand()
    ready = prepared(
        np.roll(demand, 5),
        demand,
        centre_offset_seconds=-5.0,
        averaged_seconds=20.0,
        window_seconds=60.0,
        refresh_seconds=6.0,
        scrape_seconds=10.0,
    )
    own, seen = lag_seconds(ready), seen_lag_seconds(ready)
    assert own.value == pytest.approx(50.0 - 5.0 - 30.0 - 3.0, abs=0.5)
    assert seen.value == pytest.approx(own.value + 10.0 + 30.0 + 3.0 + 5.0)
    assert seen.high - seen.low == pytest.approx(own.high - own.low)
    for part in ("averaging", "rate window", "exporter refresh", "scrape"):
        assert part in seen.note


def test_no_lag_is_made_of_noise():
    signal = autoregression(np.random.default_rng(3), 8640, 12, 1.0)
    for measure in (lag_seconds, seen_lag_seconds):
        with pytest.raises(NotEnoughDataError, match="no better than chance"):
            measure(prepared(signal, day_of_demand()))


def test_a_lag_beyond_the_search_is_not_identified():
    demand = day_of_demand()
    with pytest.raises(NotEnoughDataError, match="longest lag searched"):
        lag_seconds(prepared(np.roll(demand, 62), demand))


def test_two_lags_at_once_are_not_identified():
    rng = np.random.default_rng(0)
    demand = 100.0 + autoregression(rng, 8640, 3, 10.0)
    late = (np.arange(8640) // 360) % 2 == 1
    signal = np.where(late, np.roll(demand, 25), demand)
    with pytest.raises(NotEnoughDataError, match="not identified"):
        lag_seconds(prepared(signal, demand))


def test_gaps_do_not_move_the_lag():
    demand = day_of_demand()
    signal = np.roll(demand, 5)
    signal[2000:2600] = np.nan
    demand[5000:5300] = np.nan
    assert lag_seconds(prepared(signal, demand)).value == pytest.approx(50.0, abs=1.0)
