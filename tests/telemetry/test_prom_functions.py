"""Prometheus's own test cases, in our words; README.md beside this file lists them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalstudy.telemetry.chunks import STALE_BITS
from signalstudy.telemetry.prom_functions import (
    VERSION_2,
    VERSION_3,
    histogram_quantile,
    increase,
    latest,
    rate,
    resets,
    rules_of,
    without_stale,
)

MINUTE = 60_000


def series(values, every_ms=5 * MINUTE):
    values = np.array(values, dtype=float)
    return np.arange(values.size) * every_ms, values


def climb(start, step, count):
    """Start, and `count` steps more."""
    return [start + step * i for i in range(count + 1)]


def at(minutes):
    return np.array([round(minutes * MINUTE)], dtype=np.int64)


# function, samples, instant in minutes, window in minutes, expected in version 3
COUNTERS = {
    "increase over a whole climb": (increase, climb(0, 10, 10), 50, 50, 100),
    "increase over a reset": (increase, climb(0, 18, 5) + climb(0, 18, 5), 50, 50, 160),
    "increase from above zero": (increase, climb(10, 10, 10), 50, 50, 100),
    "increase of a window wider than the series": (increase, climb(0, 10, 10), 50, 100, 100),
    "the same over a reset": (increase, climb(0, 18, 5) + climb(0, 18, 5), 50, 100, 162),
    "extended by half a distance": (increase, climb(10, 10, 10), 50, 100, 105),
    "extended to the counter's zero": (increase, climb(1, 10, 10), 50, 100, 101),
    "a reset that is not to zero": (increase, [0, 1, 2, 3, 2, 3, 4], 30, 30, 7),
    "rate over a reset in the middle": (rate, climb(0, 27, 4) + climb(0, 27, 5), 50, 50, 0.08),
    "rate of two samples and a reset": (rate, [*climb(0, 10, 9), 0, 10], 50, 6, 0),
    "rate of one sample": (rate, [*climb(0, 10, 9), 0, 10], 50, 5, np.nan),
    "rate a second": (rate, climb(0, 80, 10), 50, 50, 4 / 15),
    "rate of a window with an offset": (rate, climb(0, 20, 10), 45, 10, 1 / 15),
    "resets in a window of one": (resets, [1, 2, 3, 0, 1, 0, 0, 1, 2, 0], 50, 10, 0),
    "resets in twenty minutes": (resets, [1, 2, 3, 0, 1, 0, 0, 1, 2, 0], 50, 20, 1),
    "resets in more": (resets, [1, 2, 3, 0, 1, 0, 0, 1, 2, 0], 50, 32, 2),
    "resets in all": (resets, [1, 2, 3, 0, 1, 0, 0, 1, 2, 0], 50, 50, 3),
    "one reset": (resets, [1, 2, 3, 4, 5, 1, 2, 3, 4, 5], 50, 50, 1),
    "no reset": (resets, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1], 50, 50, 0),
    "resets of nothing": (resets, [1, 2, 3, 0, 1, 0, 0, 1, 2, 0], 50, 5, np.nan),
}


@pytest.mark.parametrize("name", COUNTERS)
def test_counters_are_those_of_prometheus(name):
    function, values, minutes, window, expected = COUNTERS[name]
    found = function(*series(values), at(minutes), window * MINUTE)
    assert found == pytest.approx([expected], rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("start", range(6))
def test_the_left_edge_stops_at_zero_by_the_rules_of_each_version(start):
    """Samples every 4 minutes, of a counter that was zero `start` minutes before the first."""
    found = {
        rules: rate(*series(climb(60.0 * start, 240, 10), 4 * MINUTE), at(10), 20 * MINUTE, rules)[
            0
        ]
        for rules in (VERSION_2, VERSION_3)
    }
    assert found[VERSION_3] == pytest.approx([0.5, 0.55, 0.6, 0.6, 0.6, 0.6][start])
    assert found[VERSION_2] == pytest.approx([0.5, 0.55, 0.6, 0.65, 0.7, 0.6][start])
    later = rate(*series(climb(60.0 * start, 240, 10), 4 * MINUTE), at(50), 20 * MINUTE)
    assert later == pytest.approx([0.6])


def test_windows_are_closed_in_version_2_and_open_on_the_left_in_version_3():
    counter = series(climb(0, 10, 10))
    both = increase(*counter, at(50), 5 * MINUTE, VERSION_2)
    assert both == pytest.approx([10.0])
    assert np.isnan(increase(*counter, at(50), 5 * MINUTE, VERSION_3)).all()
    assert rules_of("2.42.0+ds") == rules_of("v2.9") == VERSION_2
    assert rules_of("3.1.0") == rules_of("") == VERSION_3


GONE = [0.0, 1.0, None, 2.0]


def marked(values, every_ms=10_000):
    times = np.arange(len(values)) * every_ms
    bits = [STALE_BITS if v is None else int(np.float64(v).view(np.uint64)) for v in values]
    return times, np.array(bits, dtype=np.uint64)


def test_a_series_is_stale_after_its_marker_and_after_five_minutes():
    seconds = np.array([-1, 0, 10, 19, 20, 29, 30, 40, 329, 330, 331])
    nothing = np.nan
    expected = [nothing, 0, 1, 1, nothing, nothing, 2, 2, 2]
    found = latest(*marked(GONE), seconds * 1000)
    assert found == pytest.approx([*expected, nothing, nothing], nan_ok=True)
    found = latest(*marked(GONE), seconds * 1000, VERSION_2)
    assert found == pytest.approx([*expected, 2, nothing], nan_ok=True)


def test_ranges_hold_no_markers():
    times, values = without_stale(*marked(GONE))
    assert times.tolist() == [0, 10_000, 30_000]
    assert values.tolist() == [0.0, 1.0, 2.0]


POSITIVE = ([0.1, 0.2, 1.0, np.inf], [50, 70, 110, 120])
NEGATIVE = ([-0.2, -0.1, 0.3, np.inf], [10, 20, 20, 30])
EVEN = ([0, 2, 4, 6, np.inf], [0, 1, 2, 3, 3])
FULL = ([0, 0.1, 0.2, 1.0, np.inf], [0, 50, 70, 110, 110])
BELOW = ([-0.25, -0.2, -0.1, 0.3, np.inf], [0, 10, 20, 20, 20])
QUANTILES = [
    *((POSITIVE, q, v) for q, v in ((-0.1, -np.inf), (0, 0), (0.2, 0.048), (0.5, 0.15), (0.8, 0.72), (1, 1), (1.01, np.inf), (np.nan, np.nan))),  # noqa: E501
    *((NEGATIVE, q, v) for q, v in ((-0.1, -np.inf), (0, -0.2), (0.2, -0.2), (0.5, -0.15), (0.8, 0.3), (1, 0.3), (1.01, np.inf))),  # noqa: E501
    *((EVEN, q / 6, v) for q, v in ((1, 1), (3, 3), (5, 5))),
    *((FULL, q, v) for q, v in ((0, 0), (0.25, 0.055), (0.5, 0.125), (0.75, 0.45), (1, 1))),
    *((BELOW, q, v) for q, v in ((0, -0.25), (0.25, -0.225), (0.5, -0.2), (0.75, -0.15))),
    (BELOW, 1, -0.1),
    (([0.1, 0.2, np.inf], [10, 27, 34]), 0.3, 0.1011764705882353),
    (([0.1, np.inf], [0, 0]), 0.5, np.nan),
    (([np.inf], [3]), 0.5, np.nan),
    (([0.1, 0.2], [1, 3]), 0.5, np.nan),
    (([0.1, 0.2, 0.2, 0.2, np.inf], [1, 1, 1, 1, 4]), 0.5, 0.15),
    (([0.1, 0.2, 0.3, np.inf], [3, 2, 4, 4]), 0.5, 0.1 * 2 / 3),
]  # fmt: skip


@pytest.mark.parametrize(("histogram", "quantile", "expected"), QUANTILES)
def test_quantiles_of_classic_histograms_are_those_of_prometheus(histogram, quantile, expected):
    edges, counts = (np.array(column, dtype=float) for column in histogram)
    found = histogram_quantile(quantile, edges, counts[:, None])
    assert found == pytest.approx([expected], rel=1e-12, abs=1e-15, nan_ok=True)


@given(
    increments=st.lists(st.integers(0, 1000), min_size=3, max_size=60),
    resets_at=st.sets(st.integers(1, 58)),
)
def test_increases_of_whole_windows_are_the_sum_of_increments(increments, resets_at):
    """On a closed window whose edges are samples nothing is extrapolated."""
    total, values, expected = 0.0, [], 0.0
    for i, step in enumerate(increments):
        total = float(step) if i in resets_at else total + step
        if i:
            expected += total - values[-1] if total >= values[-1] else total
        values.append(total)
    last = np.array([(len(values) - 1) * 10_000])
    found = increase(*series(values, 10_000), last, int(last[0]), VERSION_2)
    assert found == pytest.approx([expected])
