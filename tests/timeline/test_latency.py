"""Quantiles by Prometheus's rules, and counts over a limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.timeline.latency import (
    histogram_quantile,
    is_top_bucket,
    over_edge,
    window_quantiles,
)

EDGES = np.array([0.1, 0.2, 0.5, 1.0, np.inf])


def quantile(counts, q, edges=EDGES):
    return float(histogram_quantile(np.asarray(edges), np.array([counts], float).T, q)[0])


@pytest.mark.parametrize(
    ("counts", "q", "expected"),
    [
        ([0, 10, 10, 10, 10], 0.5, 0.15),  # linear inside a bucket
        ([10, 10, 10, 10, 10], 0.5, 0.05),  # the lowest from 0
        ([0, 0, 0, 0, 10], 0.5, 1.0),  # in +Inf: the last finite edge
        ([5, 5, 5, 5, 10], 0.9, 1.0),
        ([2, 4, 6, 8, 10], 0.2, 0.1),  # on an edge
        ([2, 4, 6, 8, 10], 0.7, 0.75),
        ([4, 3, 8, 8, 8], 0.5, 0.1),  # falling counts are made monotone
        ([0, 0, 10, 10, 10], 1.0, 0.5),
    ],
)
def test_a_quantile_follows_the_rules_of_prometheus(counts, q, expected):
    assert quantile(counts, q) == pytest.approx(expected)


def test_nothing_observed_gives_no_quantile():
    assert np.isnan(quantile([0, 0, 0, 0, 0], 0.5))


def test_without_inf_or_with_one_bucket_there_is_no_quantile():
    assert np.isnan(quantile([1, 2], 0.5, [0.1, 0.2]))
    assert np.isnan(quantile([1], 0.5, [np.inf]))


def test_a_lowest_edge_that_is_not_above_zero_is_flat():
    assert quantile([5, 10, 10], 0.3, [-1.0, 2.0, np.inf]) == -1.0
    assert quantile([5, 10, 10], 0.3, [0.0, 2.0, np.inf]) == 0.0


@settings(max_examples=80, deadline=None)
@given(
    increments=st.lists(st.integers(0, 30), min_size=5, max_size=5),
    low=st.floats(0.01, 0.99),
    high=st.floats(0.01, 0.99),
)
def test_quantiles_rise_with_their_order_and_stay_within_the_edges(increments, low, high):
    counts = np.cumsum(increments)
    if counts[-1] == 0:
        return
    low, high = sorted((low, high))
    assert 0 <= quantile(counts, low) <= quantile(counts, high) + 1e-12 <= 1.0 + 1e-9


def test_steps_are_computed_side_by_side():
    counts = np.array([[0, 10, 10, 10, 10], [0, 0, 0, 0, 10]], float).T
    np.testing.assert_allclose(histogram_quantile(EDGES, counts, 0.5), [0.15, 1.0])
    assert is_top_bucket(EDGES, counts, 0.5).tolist() == [False, True]


@settings(max_examples=80, deadline=None)
@given(
    values=st.lists(st.floats(0.001, 3.0), min_size=1, max_size=60),
    limit=st.sampled_from([0.05, 0.1, 0.2, 0.3, 0.5, 0.9, 1.0, 2.5]),
)
def test_counts_over_a_limit_are_exact_on_an_edge_and_bracket_the_truth_between(values, limit):
    latencies = np.array(values)
    counts = np.array([[(latencies <= edge).sum()] for edge in EDGES], float)
    below, above, over_below, over_above = over_edge(EDGES, counts, limit)
    truth = (latencies > limit).sum()
    if limit in EDGES:
        assert below == above == limit
        assert over_below[0] == over_above[0] == truth
    else:
        assert below < limit < above
        assert over_above[0] <= truth <= over_below[0]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), window=st.integers(1, 30))
def test_window_quantiles_are_those_of_the_single_observations(seed, window):
    random = np.random.default_rng(seed)
    size = 50
    steps = random.integers(-2, size + 2, 400)
    values = random.lognormal(-2, 1, 400)
    found = window_quantiles(steps, values, size, window)
    for step in (0, 10, size - 1):
        mine = values[(steps > step - window) & (steps <= step) & (steps >= 0)]
        if mine.size < 5:
            assert np.isnan(found["p50"][step])
            continue
        assert found["mean"][step] == pytest.approx(mine.mean())
        expected = np.quantile(mine, 0.5, method="inverted_cdf")
        assert found["p50"][step] == pytest.approx(expected, rel=0.025)


@pytest.mark.parametrize("value", [0.0, 1e-6, 0.05, 300.0])
def test_constant_latencies_have_that_quantile(value):
    found = window_quantiles(np.zeros(50, np.int64), np.full(50, value), 1, 1)
    assert found["p99"][0] == pytest.approx(value, rel=0.025, abs=1e-4)


def test_zeros_among_long_waits_stay_zeros():
    values = np.array([0.0] * 60 + [2.0] * 40)
    found = window_quantiles(np.zeros(100, np.int64), values, 1, 1)
    assert found["p50"][0] < 1e-3
    assert found["p99"][0] == pytest.approx(2.0, rel=0.025)


def test_windows_reach_over_what_is_laid_out_at_once():
    size = 5000
    steps = np.repeat(np.arange(size), 2)
    values = np.where(steps < 2045, 0.1, 0.4)
    found = window_quantiles(steps, values, size, 10)
    assert found["mean"][2048] == pytest.approx(0.1 * 0.6 + 0.4 * 0.4)
    assert found["p50"][4999] == pytest.approx(0.4, rel=0.025)
    assert np.isfinite(found["p50"][2:]).all()
