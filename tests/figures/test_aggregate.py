from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from signalstudy.figures.aggregate import MOST_POINTS, density, monotone_fit, reduced, steps, summed

VALUES = arrays(
    np.float64,
    st.integers(1, 3000),
    elements=st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))),
)


@given(VALUES)
def test_no_reduced_series_or_outline_exceeds_what_a_trace_may_hold(values):
    few = reduced(np.arange(values.size, dtype=float), values)
    across, up = few.outline
    assert few.mean.size <= 600
    assert across.size == up.size <= MOST_POINTS


@given(VALUES)
def test_the_band_holds_the_mean_and_the_extremes_survive(values):
    few = reduced(np.arange(values.size, dtype=float), values)
    known = np.isfinite(few.mean)
    slack = 1e-6 * (1 + np.abs(few.mean[known]))
    assert np.all(few.low[known] <= few.mean[known] + slack)
    assert np.all(few.high[known] >= few.mean[known] - slack)
    if np.isfinite(values).any():
        assert np.nanmax(few.high) == np.nanmax(values)
        assert np.nanmin(few.low) == np.nanmin(values)


def test_a_short_series_is_drawn_as_it_is():
    values = np.array([1.0, np.nan, 3.0])
    few = reduced(np.array([10.0, 20.0, 30.0]), values)
    np.testing.assert_array_equal(few.mean, values)
    np.testing.assert_array_equal(few.time_milliseconds, [10e3, 20e3, 30e3])


def test_a_gap_parts_the_band_in_two_closed_outlines():
    few = reduced(np.arange(5.0), np.array([1.0, 2.0, np.nan, 4.0, 5.0]))
    across, _ = few.outline
    np.testing.assert_array_equal(across / 1e3, [0, 1, 1, 0, np.nan, 3, 4, 4, 3, np.nan])


def test_an_empty_series_reduces_to_nothing():
    assert reduced(np.empty(0), np.empty(0)).mean.size == 0
    assert summed(np.empty(0), 10).size == 0


def test_summing_in_bins_keeps_the_total():
    assert summed(np.ones(1003), 300).sum() == 1003
    assert summed(np.ones(1003), 300).size == 300


def test_steps_keep_only_changes_and_both_ends():
    x, y = steps(np.arange(6.0), np.array([2.0, 2.0, 3.0, 3.0, np.nan, np.nan]))
    np.testing.assert_array_equal(x / 1e3, [0, 2, 4, 5])
    np.testing.assert_array_equal(y, [2.0, 3.0, np.nan, np.nan])


def test_steps_that_change_always_are_thinned():
    x, _ = steps(np.arange(9000.0), np.arange(9000.0))
    assert x.size <= MOST_POINTS


def test_density_counts_every_point_once_and_gathers_those_above_in_the_last_row():
    across, up = np.array([0.5, 0.5, 0.9]), np.array([0.1, 99.0, 0.5])
    cells = density(across, up, 1.0, (0.0, 1.0))
    assert np.nansum(cells.counts) == 3
    assert np.nansum(cells.counts[-1]) == 1


def test_a_monotone_fit_follows_a_falling_curve_down():
    x = np.linspace(0, 10, 500)
    fit_x, fit_y = monotone_fit(x, 20.0 - x)
    assert np.all(np.diff(fit_y) <= 0)
    np.testing.assert_allclose(fit_y, 20.0 - fit_x, atol=0.1)


def test_a_monotone_fit_shows_the_cliff():
    x = np.linspace(0, 1, 2000)
    y = np.where(x < 0.9, 1.0, 1.0 + 100 * (x - 0.9))
    fit_x, fit_y = monotone_fit(x, y)
    assert fit_y[fit_x < 0.85].max() == 1.0
    assert fit_y[-1] > 9.0
