"""Twin of threshold/isotonic.py."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from signalstudy.threshold.isotonic import (
    bin_by_work,
    last_safe_bin,
    last_supported_bin,
    share_over,
)

cells = st.lists(
    st.tuples(st.integers(1, 500), st.floats(0, 1)).map(lambda c: (c[0], round(c[0] * c[1]))),
    min_size=1,
    max_size=30,
)


@given(cells, st.sampled_from([0.1, 0.05, 0.01]))
def test_cumulative_sums_find_the_same_bin_as_the_isotonic_fit(counts, allowed):
    observed, over = np.array(counts, dtype=float).T
    fitted = share_over(observed, over)
    within = np.flatnonzero(fitted <= allowed + 1e-12)
    expected = int(within[-1]) if within.size else -1
    found = int(last_safe_bin(observed, over, allowed))
    # They may differ only over bins that sit exactly on the allowance.
    between = fitted[min(found, expected) + 1 : max(found, expected) + 1]
    assert np.allclose(between, allowed, atol=1e-9)


@given(cells)
def test_the_fit_rises_and_keeps_the_total(counts):
    observed, over = np.array(counts, dtype=float).T
    fitted = share_over(observed, over)
    assert (np.diff(fitted) >= -1e-12).all()
    assert np.isclose((fitted * observed).sum(), over.sum())


def test_bins_without_requests_borrow_from_the_bin_below():
    fitted = share_over(np.array([10.0, 0.0, 10.0]), np.array([1.0, 0.0, 5.0]))
    assert fitted.tolist() == [0.1, 0.1, 0.5]


def test_many_replicates_are_judged_at_once():
    observed = np.array([[100.0, 100.0], [100.0, 100.0]])
    over = np.array([[0.0, 50.0], [50.0, 50.0]])
    assert last_safe_bin(observed, over, 0.05).tolist() == [0, -1]


def test_few_breaches_at_low_work_do_not_hide_the_knee_above():
    observed = np.array([50.0, 1000.0, 1000.0, 1000.0])
    over = np.array([20.0, 0.0, 0.0, 900.0])
    assert last_safe_bin(observed, over, 0.05) == 2


def test_a_p99_needs_three_hundred_requests_at_or_above_a_bin():
    observed = np.array([1000.0, 290.0, 20.0])
    assert last_supported_bin(observed, 0.01) == 1
    assert last_supported_bin(observed, 0.2) == 2
    assert last_supported_bin(np.array([10.0]), 0.01) == -1


@given(st.integers(2, 400), st.floats(0.1, 1e4))
def test_every_bin_of_work_has_requests_enough(rows, scale):
    generator = np.random.default_rng(rows)
    work = generator.uniform(0, scale, rows)
    observed = generator.integers(1, 40, rows).astype(float)
    bins = bin_by_work(work, observed)
    held = bins.sums(observed)
    assert held.sum() == observed.sum()
    assert held.size == 1 or held.min() >= 50.0
    assert (np.diff(bins.work) > 0).all()


def test_constant_work_makes_one_bin():
    bins = bin_by_work(np.full(10, 7.0), np.ones(10))
    assert bins.work.tolist() == [7.0]
    assert bins.of_row.tolist() == [0] * 10
