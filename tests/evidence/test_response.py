import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import isotonic_regression

from signalstudy.evidence.blocks import cut_blocks
from signalstudy.evidence.response import (
    left_out_residuals,
    monotone,
    tabulate,
    weighted_lines,
)
from signalstudy.vocabulary.errors import NotEnoughDataError

MEANS = arrays(float, (3, 9), elements=st.floats(-100, 100))
WEIGHTS = arrays(float, (3, 9), elements=st.integers(1, 50))


@settings(deadline=None)
@given(MEANS, WEIGHTS, st.booleans())
def test_monotone_fits_are_those_of_pool_adjacent_violators(means, weights, rising):
    fits = monotone(means, weights, rising)
    for row in range(3):
        known = isotonic_regression(means[row], weights=weights[row], increasing=rising).x
        assert fits[row] == pytest.approx(known, abs=1e-9)


def test_empty_bins_bend_no_monotone_fit():
    means = np.array([[1.0, 99.0, 2.0, 3.0, -7.0]])
    weights = np.array([[4.0, 0.0, 4.0, 4.0, 0.0]])
    fit = monotone(means, weights, rising=True)[0]
    assert fit[[0, 2, 3]] == pytest.approx([1.0, 2.0, 3.0])
    assert np.isfinite(fit).all()


def test_the_table_holds_every_step_and_keeps_the_tails_apart():
    rng = np.random.default_rng(0)
    demand = rng.uniform(0.0, 1.0, 4000)
    table = tabulate(3.0 * demand, demand, cut_blocks(4000, 10.0, 0))
    assert table.counts.sum() == 4000
    assert table.inner.sum() == 20
    assert table.weights[0] == pytest.approx(200, abs=1)
    assert table.means == pytest.approx(3.0 * table.levels)
    low, high = table.ends(table.fit)
    assert (low, high) == (pytest.approx(0.15, abs=0.01), pytest.approx(2.85, abs=0.01))


def test_resampling_with_weights_of_one_gives_the_table_itself():
    rng = np.random.default_rng(0)
    demand = rng.uniform(1.0, 2.0, 960)
    table = tabulate(demand**2, demand, cut_blocks(960, 10.0, 0))
    noisy = tabulate(demand**2 + rng.normal(size=960), demand, table.blocks)
    assert table.residuals.std() < 0.05 * noisy.residuals.std()
    assert table.resampled_means.mean(axis=0) == pytest.approx(table.means, rel=0.02)


def test_a_falling_response_is_fitted_falling():
    demand = np.linspace(1.0, 2.0, 500)
    table = tabulate(-demand, demand, cut_blocks(500, 10.0, 0))
    assert not table.is_rising
    assert (np.diff(table.fit) <= 0.0).all()


def test_demand_of_a_few_levels_is_refused_with_their_number():
    demand = np.tile([1.0, 2.0], 100)
    with pytest.raises(NotEnoughDataError, match="only 2 levels"):
        tabulate(demand, demand, cut_blocks(200, 10.0, 0))


def test_weighted_lines_find_their_coefficients_row_by_row():
    x = np.linspace(0.0, 1.0, 8)
    design = np.column_stack((np.ones(8), x))
    values = np.array([1.0 + 2.0 * x, 5.0 - x])
    weights = np.tile([0.0, 1.0, 2.0, 1.0], (2, 2))
    assert weighted_lines(design, values, weights) == pytest.approx(np.array([[1, 2], [5, -1]]))


def test_a_resample_without_a_single_step_has_no_curve_and_warns_of_nothing():
    means, weights = (
        np.array([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]]),
        np.array([[3.0, 3.0, 3.0], [0.0] * 3]),
    )
    for rising in (True, False):
        fits = monotone(means, weights, rising)
        assert np.isfinite(fits[0]).all()
        assert np.isnan(fits[1]).all()


def test_a_block_is_compared_with_what_the_others_say():
    counts = np.array([[4.0, 1.0], [4.0, 3.0]])
    sums = np.array([[4.0, 5.0], [12.0, 3.0]])
    left = left_out_residuals(counts, sums, np.array([1.0, 2.0]))
    assert left[0] == pytest.approx([(4.0 - 4 * 3.0) * 0.5**0.5, (5.0 - 1.0) * 0.75**0.5])
    assert left[1, 0] == pytest.approx((12.0 - 4 * 1.0) * 0.5**0.5)


def test_a_bin_of_one_block_is_compared_with_the_line_of_the_others():
    counts = np.array([[9.0, 9.0, 0.0], [9.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    sums = 9.0 * np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 5.0]])
    left = left_out_residuals(counts, sums, np.array([1.0, 2.0, 3.0]))
    assert left[2] == pytest.approx([0.0, 0.0, 9.0 * (5.0 - 3.0) * 0.5])


def test_a_straight_line_leaves_nothing_in_the_outermost_bins_either():
    rng = np.random.default_rng(0)
    demand = 1000.0 * np.exp(0.5 * rng.normal(size=4000).cumsum() / 60.0)
    blocks = cut_blocks(4000, 10.0, 0)
    straight = tabulate(20.0 + 3.0 * demand, demand, blocks)
    assert np.abs(straight.residuals).max() < 1e-6 * straight.sums.max()
