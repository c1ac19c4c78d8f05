"""Twin of threshold/bootstrap.py."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from signalstudy.threshold.bootstrap import choose_blocks, decorrelation_seconds


def rows(days, step):
    return np.arange(1, int(days * 86_400 / step) + 1) * step


def test_days_are_the_blocks_from_five_days_on():
    time_seconds = rows(6, 600.0)
    blocks = choose_blocks(time_seconds, 600.0, np.zeros(time_seconds.size), role="production")
    assert (blocks.name, blocks.count) == ("days", 6)


def test_a_single_day_is_cut_into_ten_minutes_when_residuals_forget_fast():
    time_seconds = rows(1, 30.0)
    noise = np.random.default_rng(1).standard_normal(time_seconds.size)
    blocks = choose_blocks(time_seconds, 30.0, noise, role="production")
    assert (blocks.name, blocks.count) == ("blocks of 10 min", 144)


def test_residuals_that_remember_make_blocks_longer():
    time_seconds = rows(1, 30.0)
    slow = np.sin(np.arange(time_seconds.size) / 60.0)
    blocks = choose_blocks(time_seconds, 30.0, slow, role="production")
    assert blocks.count < 144


def test_a_pressure_test_has_circular_blocks_of_a_few_minutes():
    time_seconds = rows(1 / 24, 30.0)
    noise = np.random.default_rng(1).standard_normal(time_seconds.size)
    blocks = choose_blocks(time_seconds, 30.0, noise, role="pressure-test")
    assert blocks.circular_rows in {4, 5, 6}
    assert blocks.count == -(-120 // blocks.circular_rows)


@pytest.mark.parametrize("role", ["production", "pressure-test"])
def test_each_draw_takes_as_many_blocks_as_there_are(role):
    time_seconds = rows(0.1, 30.0)
    blocks = choose_blocks(time_seconds, 30.0, np.zeros(time_seconds.size), role=role)
    weights = blocks.weights(50, np.random.default_rng(3))
    each = blocks.count * max(1, blocks.circular_rows)
    assert (weights.sum(axis=1) == each).all()
    if blocks.circular_rows:
        assert weights.shape == (50, time_seconds.size)
        assert (np.abs(weights.mean(axis=0) - 1.0) < 0.8).all()


def test_sums_of_units_add_up_to_the_whole():
    time_seconds = rows(0.1, 30.0)
    size = time_seconds.size
    for role in ("production", "pressure-test"):
        blocks = choose_blocks(time_seconds, 30.0, np.zeros(size), role=role)
        bins = np.arange(size) % 3
        sums = blocks.sums(np.ones(size), bins, 3)
        assert sums.sum(axis=0).tolist() == np.bincount(bins).tolist()


def test_decorrelation_time_of_an_autoregression_is_half_its_integral_scale():
    generator = np.random.default_rng(5)
    keep = 0.9
    values = lfilter([1.0], [1.0, -keep], generator.standard_normal(20_000))
    expected = (1 + keep) / (1 - keep) / 2 * 30.0
    assert decorrelation_seconds(values, 30.0) == pytest.approx(expected, rel=0.25)
    assert decorrelation_seconds(np.zeros(50), 30.0) == 30.0


def test_counting_noise_on_top_does_not_shorten_the_memory():
    generator = np.random.default_rng(5)
    slow = lfilter([1.0], [1.0, -0.95], generator.standard_normal(20_000))
    noisy = slow + 3.0 * generator.standard_normal(slow.size)
    still = decorrelation_seconds(slow, 30.0)
    assert decorrelation_seconds(noisy, 30.0) == pytest.approx(still, rel=0.4)
