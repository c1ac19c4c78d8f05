import numpy as np
import pytest

from signalstudy.evidence.autocorrelation import effective_count
from signalstudy.evidence.blocks import cut_blocks
from signalstudy.evidence.crosscovariance import choose_window, identified_range, search_lag
from signalstudy.evidence.fast_part import FastPart, Products
from signalstudy.vocabulary.errors import NotEnoughDataError
from tests.evidence.planted import autoregression, day_of_demand


def plain_sums(x, y, lag):
    pairs = [(x[t], y[t + lag]) for t in range(x.size) if 0 <= t + lag < x.size]
    known = [a * b for a, b in pairs if np.isfinite(a * b)]
    return sum(known), len(known)


@pytest.mark.parametrize("gaps", [0, 7])
@pytest.mark.parametrize("steps", [50, 96, 101])
def test_sums_at_lags_are_those_of_plain_loops_with_gaps_or_without(steps, gaps):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, steps))
    for values in (x, y):
        values[rng.choice(steps, gaps, replace=False)] = np.nan
    pair = Products(FastPart(x), FastPart(y))
    by_block = [sums.sum(axis=0) for sums in pair.by_block(cut_blocks(steps, 10.0, 0), 5)]
    for lag in range(-5, 6):
        expected = plain_sums(x, y, lag)
        # Transforms are of single precision.
        assert [sums[lag + 5] for sums in by_block] == pytest.approx(expected, abs=1e-4)
        assert [sums[lag + 5] for sums in pair.within(5)] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("steps", "step_seconds", "high_pass", "lag"),
    [(8640, 10.0, 360, 60), (40320, 60.0, 60, 10), (241, 360.0, 20, 4), (840, 0.5, 210, 35)],
)
def test_the_search_window_fits_step_and_span(steps, step_seconds, high_pass, lag):
    window = choose_window(steps, step_seconds)
    assert (window.high_pass, window.lag) == (high_pass, lag)


def test_effective_observations_of_white_noise_are_all_of_them():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 4000))
    assert effective_count(x, y) == pytest.approx(4000, rel=0.05)


def test_effective_observations_of_autoregressions_follow_the_shortcut():
    rng = np.random.default_rng(1)
    keep = np.exp(-1.0 / 10.0)
    counts = [
        effective_count(autoregression(rng, 8000, 10, 1.0), autoregression(rng, 8000, 10, 1.0))
        for _ in range(5)
    ]
    assert np.mean(counts) == pytest.approx(8000 * (1 - keep**2) / (1 + keep**2), rel=0.2)


def test_a_daily_rhythm_is_worth_a_handful_of_observations():
    demand = day_of_demand()
    assert 4.0 <= effective_count(demand, demand) < 40.0


def independent_pair(rng, steps, decorrelation_steps, step_seconds):
    place = np.arange(steps) * step_seconds
    return (
        2.0 * np.sin(2 * np.pi * place / 86400.0 + rng.uniform(0, 6))
        + autoregression(rng, steps, decorrelation_steps, 1.0)
        for _ in range(2)
    )


@pytest.mark.parametrize(
    ("steps", "step_seconds", "decorrelation_steps"), [(8640, 10.0, 30), (360, 10.0, 6)]
)
def test_independent_pairs_seldom_follow_each_other(steps, step_seconds, decorrelation_steps):
    rng = np.random.default_rng(11)
    blocks = cut_blocks(steps, step_seconds, 0)
    below = 0
    for _ in range(60):
        signal, demand = independent_pair(rng, steps, decorrelation_steps, step_seconds)
        below += search_lag(signal, demand, step_seconds, blocks).probability <= 0.05
    assert below <= 0.12 * 60


def test_a_follower_is_told_from_chance_even_on_a_short_record():
    rng = np.random.default_rng(5)
    demand = 10.0 + autoregression(rng, 240, 4, 1.0)
    signal = demand + rng.normal(0, 0.5, 240)
    search = search_lag(signal, demand, 10.0, cut_blocks(240, 10.0, 0))
    assert search.probability < 0.01
    assert search.correlation > 0.5


def test_one_wild_sample_does_not_decide_the_lag():
    demand = day_of_demand()
    signal = np.roll(demand, 4)
    signal[3000] = 1e9
    search = search_lag(signal, demand, 10.0, cut_blocks(demand.size, 10.0, 0))
    assert search.peak_steps == pytest.approx(4.0, abs=0.1)


def test_too_few_pairs_are_refused_with_their_number():
    with pytest.raises(NotEnoughDataError, match="Only 12 steps"):
        search_lag(np.arange(12.0), np.arange(12.0), 10.0, cut_blocks(12, 10.0, 0))
    with pytest.raises(NotEnoughDataError, match="Only 12 steps"):
        effective_count(np.arange(12.0), np.arange(12.0))


@pytest.mark.parametrize("late_steps", [-150, 100, 150])
def test_a_lag_out_of_reach_is_not_taken_for_one_within(late_steps):
    admitted = 0
    for seed in range(10):
        demand = day_of_demand(seed)
        signal = np.roll(demand, late_steps)
        search = search_lag(signal, demand, 10.0, cut_blocks(demand.size, 10.0, 0))
        try:
            identified_range(search, 10.0)
        except NotEnoughDataError:
            admitted += 1
    assert admitted == 10


def test_a_lag_within_reach_has_nothing_stronger_beyond():
    demand = day_of_demand()
    search = search_lag(np.roll(demand, 30), demand, 10.0, cut_blocks(demand.size, 10.0, 0))
    assert search.stronger_beyond_steps == 0
