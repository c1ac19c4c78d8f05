"""Samples onto a grid: nothing lost, nothing shifted, nothing filled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.timeline.grid import (
    LARGEST_GRID,
    Grid,
    Samples,
    centred_sum,
    combine_gauges,
    hold_state,
    live_count,
    make_grid,
    nice_seconds,
    rolling_sum,
    sum_of_counts,
)

START = 1_767_571_200.0


def gauge(times, values, cadence: float = 10.0) -> Samples:
    times = START + np.asarray(times, dtype=float)
    return Samples(times, np.asarray(values, dtype=float), np.zeros(times.size), cadence)


def counter(times, values, cadence: float = 10.0) -> Samples:
    """Give the increments of a counter without resets: the first sample says nothing."""
    times = START + np.asarray(times, dtype=float)
    return Samples(times[1:], np.diff(values), np.diff(times), cadence)


def grid(steps: int, step: float = 10.0, first_end: float = 10.0) -> Grid:
    return Grid(START + first_end + step * np.arange(steps), step)


@settings(max_examples=60, deadline=None)
@given(
    increments=st.lists(st.integers(0, 1000), min_size=3, max_size=60),
    phase=st.floats(0, 9.9),
    step=st.sampled_from([1.0, 7.0, 10.0, 30.0]),
)
def test_steps_add_up_to_last_minus_first(increments, phase, step):
    values = np.concatenate([[5.0], 5.0 + np.cumsum(increments)])
    times = phase + 10.0 * np.arange(values.size)
    whole = grid(int((times[-1] + 2 * step) // step), step, step)
    made = sum_of_counts([counter(times, values)], whole)
    known = np.isfinite(made)
    if not known.any():
        return
    inside = whole.time_seconds[known]
    cumulative = np.interp([inside[0] - step, inside[-1]], START + times, values)
    assert np.nansum(made) == pytest.approx(cumulative[1] - cumulative[0], abs=1e-6)
    # Only the rims, which samples cover in part, are not known.
    assert (~known).sum() * step <= times[0] + 4 * step + 1e-6


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(1, 38), shift=st.integers(-10_000_000, 10_000_000))
def test_splitting_a_series_or_shifting_time_changes_nothing_else(cut, shift):
    values = np.cumsum(np.arange(40) % 7)
    times = 3.0 + 10.0 * np.arange(40)
    one = counter(times, values)
    parts = [
        Samples(one.time_seconds[s], one.values[s], one.interval_seconds[s], 10.0)
        for s in (slice(None, cut), slice(cut, None))
    ]
    whole = grid(41)
    middle = slice(2, 37)
    expected = sum_of_counts([one], whole)
    # In parts, the step that holds the cut is covered by both.
    found = sum_of_counts(parts, whole)
    known = np.isfinite(found)
    np.testing.assert_allclose(found[known], expected[known])
    moved = Samples(one.time_seconds + shift, one.values, one.interval_seconds, 10.0)
    later = Grid(whole.time_seconds + shift, 10.0)
    np.testing.assert_allclose(sum_of_counts([moved], later)[middle], expected[middle], rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_replicas_scraped_at_random_phases_sum_to_the_known_rate_without_lag(seed):
    """A demand wave served by 12 replicas, each scraped on its own clock."""
    random = np.random.default_rng(seed)
    fine = np.arange(0, 4000.0, 0.1)
    rate = 100.0 + 60.0 * np.sin(2 * np.pi * fine / 400.0)
    done = np.concatenate([[0.0], np.cumsum(rate) * 0.1])
    clock = np.append(fine, 4000.0)
    series = []
    for _ in range(12):
        times = np.arange(random.uniform(0, 10.0), 4000.0, 10.0)
        series.append(counter(times, np.interp(times, clock, done)))
    at = grid(398)
    found = sum_of_counts(series, at) / 10.0
    ends = at.time_seconds - START
    known = np.isfinite(found)
    assert known.mean() > 0.98
    truth = 12 * (np.interp(ends, clock, done) - np.interp(ends - 10.0, clock, done)) / 10.0
    assert np.abs(found - truth)[known].max() < 0.01 * truth.max()
    # Lag: the phase of the wave in what was found, against the truth's.
    wave = np.exp(-2j * np.pi * ends / 400.0)
    lag = [
        np.angle(np.sum(np.where(known, v - v[known].mean(), 0.0) * wave)) for v in (truth, found)
    ]
    assert abs(lag[1] - lag[0]) / (2 * np.pi) * 400.0 < 0.5


def test_a_gap_is_masked_and_not_filled():
    times = np.concatenate([10.0 * np.arange(20), 400.0 + 10.0 * np.arange(20)])
    at = grid(60)
    counts = sum_of_counts([counter(times, times * 2.0)], at)
    values = combine_gauges([gauge(times, times)], at, total=True)
    lost = (at.time_seconds - START > 190.0) & (at.time_seconds - START < 400.0)
    assert np.isnan(counts[lost]).all()
    assert np.isnan(values[lost]).all()
    sound = (at.time_seconds - START <= 190.0) | (
        (at.time_seconds - START > 400.0) & (at.time_seconds - START <= 590.0)
    )
    np.testing.assert_allclose(counts[sound], 20.0)
    np.testing.assert_allclose(values[sound], (at.time_seconds - START)[sound])


def test_a_gap_of_one_replica_hides_the_total_and_not_the_others_mean():
    full, torn = 10.0 * np.arange(40), np.delete(10.0 * np.arange(40), slice(10, 16))
    at = grid(39)
    total = sum_of_counts([counter(full, full), counter(torn, torn)], at)
    assert np.isnan(total[10:15]).all()
    assert np.isfinite(total[20:]).all()


def test_two_missed_scrapes_are_no_gap():
    times = np.delete(10.0 * np.arange(20), 7)
    assert np.isfinite(sum_of_counts([counter(times, times)], grid(19))).all()


def test_a_replica_that_ends_or_begins_leaves_the_total_known():
    full, early, late = np.arange(0, 600.0, 10), np.arange(0, 300.0, 10), np.arange(300, 600.0, 10)
    at = grid(59)
    counts = sum_of_counts([counter(t, 5.0 * t) for t in (full, early, late)], at)
    assert np.isfinite(counts).all()
    assert counts[10] == counts[50] == pytest.approx(100.0)
    gauges = combine_gauges([gauge(t, np.ones(t.size)) for t in (full, early)], at, total=True)
    assert (gauges[5], gauges[50]) == (2.0, 1.0)
    mean = combine_gauges([gauge(full, full * 0 + 1), gauge(early, early * 0 + 3)], at, total=False)
    assert (mean[5], mean[50]) == (2.0, 1.0)


def test_live_replicas_are_counted_and_gaps_are_not_alive():
    full = np.arange(0, 600.0, 10)
    torn = np.concatenate([np.arange(0, 200.0, 10), np.arange(300, 400.0, 10)])
    found = live_count([gauge(t, t) for t in (full, torn)], grid(70))
    assert found[5] == 2
    assert found[24] == 1
    assert found[35] == 2
    assert found[50] == 1
    assert np.isnan(found[65])


def test_replicas_that_are_scraped_in_turn_have_not_just_started():
    first, second = np.arange(10, 600.0, 10), np.arange(17, 600.0, 10)
    late = np.arange(300, 600.0, 10)
    found = live_count([gauge(t, t) for t in (first, second, late)], grid(62))
    assert sorted(set(found[np.isfinite(found)])) == [2.0, 3.0]
    assert found[20] == 2


def test_a_state_holds_until_the_next_but_not_for_ever():
    state = gauge([20.0, 60.0], [3.0, 4.0])
    found = hold_state(state, grid(60))
    assert np.isnan(found[0])
    assert found[1:5].tolist() == [3.0] * 4
    assert found[5] == 4.0
    assert found[35] == 4.0  # 300 s later, as long as Prometheus looks back
    assert np.isnan(found[37])


@given(
    values=st.lists(st.floats(0, 1e6) | st.just(float("nan")), min_size=1, max_size=40),
    steps=st.integers(1, 50),
)
@settings(max_examples=60, deadline=None)
def test_rolling_sum_is_the_sum_of_the_last_steps(values, steps):
    array = np.array(values)
    found = rolling_sum(array, steps)
    for i in range(array.size):
        window = np.nan_to_num(array[max(i - steps + 1, 0) : i + 1])
        assert found[i] == pytest.approx(window.sum(), abs=1e-3)


@given(
    values=st.lists(st.floats(0, 1e6) | st.just(float("nan")), min_size=1, max_size=40),
    steps=st.integers(1, 50),
)
@settings(max_examples=60, deadline=None)
def test_centred_sum_is_the_sum_of_the_steps_around(values, steps):
    array = np.array(values)
    found = centred_sum(array, steps)
    for i in range(array.size):
        window = np.nan_to_num(array[max(i - steps // 2, 0) : i + steps // 2 + 1])
        assert found[i] == pytest.approx(window.sum(), abs=1e-3)


def test_events_belong_to_the_step_that_ends_at_or_after_them():
    at = grid(3)
    seconds = START + np.array([0.0, 0.01, 10.0, 10.01, 29.9, 30.0, 30.1])
    assert at.step_of(seconds).tolist() == [-1, 0, 0, 1, 2, 2, 3]
    assert at.counts(seconds, np.ones(7)).tolist() == [2.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("measured", "nice"), [(9.98, 10.0), (15.2, 15.0), (61.0, 60.0), (7.0, 7.0)]
)
def test_a_measured_cadence_is_rounded_to_the_configured_one(measured, nice):
    assert nice_seconds(measured) == nice


def test_most_samples_stand_on_the_grid():
    series = [gauge(3.25 + 10.0 * np.arange(50), np.zeros(50)) for _ in range(3)]
    series.append(gauge(7.0 + 10.0 * np.arange(20), np.zeros(20)))
    found, note = make_grid(series, None)
    assert found.step_seconds == 10.0
    assert np.mod(found.time_seconds[0], 10.0) == pytest.approx(3.25)
    assert note == ""
    assert make_grid(series, 30.0)[0].step_seconds == 30.0


def test_of_distant_stretches_the_fullest_is_taken():
    years = 20 * 365 * 86400.0
    times = np.concatenate([10.0 * np.arange(30), years + 10.0 * np.arange(100)])
    found, note = make_grid([gauge(times, times)], None)
    assert found.size == 100
    assert found.time_seconds[0] == START + years
    assert "only the stretch with most of them" in note


def test_a_very_long_recording_is_stepped_coarser():
    times = np.arange(0, 700 * 86400.0, 3600.0)
    found, note = make_grid([gauge(times, times, 10.0)], None)
    assert found.size <= LARGEST_GRID + 1
    assert found.time_seconds[-1] >= START + times[-1] - found.step_seconds
    assert "its step is" in note
