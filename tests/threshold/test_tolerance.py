"""Tolerance: noise alone asks for replicas about once a day, whatever the fleet."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.threshold.tolerance import LEAST_TOLERANCE_RATIO, tolerance_ratio

WINDOWS_A_DAY = 1440


@pytest.mark.parametrize("noise", [0.04, 0.07, 0.15])
@pytest.mark.parametrize("replicas", [2, 5, 20])
def test_a_resting_fleet_is_crossed_by_noise_once_a_day(noise, replicas):
    """Many days, each at rest somewhere under the rounding; crossings are counted."""
    rng = np.random.default_rng(1)
    days = 4000
    rest = 1.0 - rng.random((days, 1)) / replicas
    tolerance = tolerance_ratio(noise, replicas)
    crossings = 0
    for at in rest:
        crossings += int((at + noise * rng.standard_normal(WINDOWS_A_DAY) > 1.0 + tolerance).sum())
    # at the floor of 0.05 noise may ask for less than that, never for more
    most = 1.15 if tolerance > LEAST_TOLERANCE_RATIO else 1.0
    assert crossings / days < most
    if tolerance > LEAST_TOLERANCE_RATIO:
        assert crossings / days > 0.85


def test_more_noise_and_more_replicas_ask_for_more_tolerance():
    by_noise = [tolerance_ratio(noise, 4.0) for noise in (0.0, 0.03, 0.06, 0.12)]
    assert by_noise == sorted(by_noise)
    by_replicas = [tolerance_ratio(0.07, replicas) for replicas in (1.0, 4.0, 40.0, None)]
    assert by_replicas == sorted(by_replicas)


@pytest.mark.parametrize("noise", [None, 0.0, 1e-4])
def test_without_noise_the_least_tolerance_stands(noise):
    assert tolerance_ratio(noise, 4.0) == LEAST_TOLERANCE_RATIO
