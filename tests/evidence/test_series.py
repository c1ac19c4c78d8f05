import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from signalstudy.evidence.series import (
    demand_must_vary,
    high_pass,
    moving_mean,
    runs,
    shifted,
    signal_must_vary,
    trailing_mean,
    trailing_means,
    varies,
)
from signalstudy.vocabulary.errors import NotEnoughDataError

NUMBERS = st.one_of(st.just(np.nan), st.floats(-1e6, 1e6))


def test_a_moving_mean_of_five_is_the_mean_of_two_on_each_side():
    values = np.array([1.0, 2.0, 3.0, 4.0, 100.0])
    assert moving_mean(values, 5)[2] == pytest.approx(22.0)
    assert moving_mean(values, 5)[0] == pytest.approx(2.0)


def test_a_moving_mean_skips_gaps_and_does_not_fill_them():
    values = np.array([1.0, np.nan, 3.0])
    mean = moving_mean(values, 3)
    assert mean[0] == 1.0
    assert mean[2] == 3.0
    assert np.isnan(mean[1])


def test_zero_stays_exactly_zero_beside_a_spike():
    values = np.zeros(100)
    values[10] = 1e9 / 3.0
    assert (moving_mean(values, 7)[20:] == 0.0).all()


@settings(deadline=None)
@given(arrays(float, st.integers(1, 60), elements=NUMBERS), st.integers(1, 30))
def test_a_moving_mean_stays_within_its_values(values, width):
    mean = moving_mean(values, width)
    known = np.isfinite(values)
    assert (np.isfinite(mean) == known).all()
    if known.any():
        assert mean[known].min() >= values[known].min()
        assert mean[known].max() <= values[known].max()


def test_a_high_pass_takes_the_slow_part_away():
    place = np.arange(2000.0)
    slow, fast = np.sin(place / 300.0), np.sin(place / 2.0)
    left = high_pass(slow + fast, 101)
    assert np.corrcoef(left, fast)[0, 1] > 0.99


@settings(deadline=None)
@given(st.integers(-12, 12))
def test_shifting_reads_later_values_and_leaves_the_ends_open(steps):
    values = np.arange(10.0)
    result = shifted(values, steps)
    for place in range(10):
        source = place + steps
        if 0 <= source < 10:
            assert result[place] == source
        else:
            assert np.isnan(result[place])


@pytest.mark.parametrize(
    ("values", "answer"),
    [([1.0, 2.0], True), ([3.0, 3.0, np.nan], False), ([0.1 + 0.2, 0.3], False), ([np.nan], False)],
)
def test_rounding_is_no_variation(values, answer):
    assert varies(np.array(values)) is answer


def test_what_never_changes_is_refused_by_name():
    with pytest.raises(NotEnoughDataError, match="Demand is the same"):
        demand_must_vary(np.ones(5))
    with pytest.raises(NotEnoughDataError, match="The signal has the same value"):
        signal_must_vary(np.ones(5))


def test_a_trailing_mean_does_not_look_ahead():
    values = np.array([1.0, np.nan, 3.0, 5.0, 100.0])
    assert trailing_mean(values, 2) == pytest.approx([1.0, 1.0, 3.0, 4.0, 52.5])
    assert np.isnan(trailing_mean(np.array([np.nan, 1.0]), 3)[0])


def test_runs_are_found_at_both_ends():
    flags = np.array([True, True, False, True])
    assert runs(flags).tolist() == [[0, 2], [3, 4]]
    assert runs(np.zeros(3, dtype=bool)).shape == (0, 2)


@settings(deadline=None)
@given(arrays(float, st.integers(1, 60), elements=NUMBERS), st.integers(2, 30), st.integers(2, 7))
def test_means_at_some_steps_are_those_at_all_steps(values, width, every):
    whole, some = moving_mean(values, width), moving_mean(values, width, every)
    assert some[::every] == pytest.approx(whole[::every], nan_ok=True)
    if np.isfinite(values).any():
        assert np.isnan(np.delete(some, np.s_[::every])).all()
    [trailing] = trailing_means(values, [(width, every)])
    expected = trailing_mean(values, width)[::every]
    assert trailing == pytest.approx(expected, nan_ok=True, abs=1e-6)
