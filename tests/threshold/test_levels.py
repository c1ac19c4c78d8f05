"""Twin of threshold/levels.py: ramps, steps, drains and gaps whose plan is known."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.threshold.levels import planned_levels


def noisy(plan, *, noise=0.08, seed=0):
    return plan * np.exp(noise * np.random.default_rng(seed).standard_normal(plan.size))


def error(found, plan, inner=slice(12, -12)):
    return float(np.abs(found / plan - 1.0)[inner].mean())


def test_a_slow_ramp_is_read_without_its_noise():
    plan = np.linspace(100.0, 3000.0, 120)
    found = planned_levels(noisy(plan), 30.0)
    assert error(found, plan, slice(30, -12)) < 0.03 < error(noisy(plan), plan, slice(30, -12))


def test_levels_in_any_order_keep_their_middles():
    plan = np.repeat([2000.0, 500, 1500, 3000, 1000, 2500], 20)
    found = planned_levels(noisy(plan, noise=0.05), 30.0)
    middles = found.reshape(6, 20)[:, 8:12].mean(axis=1)
    assert middles == pytest.approx(plan[::20], rel=0.08)


def test_a_drain_does_not_lower_the_levels_before_it():
    plan = np.concatenate([np.linspace(100.0, 3000.0, 100), np.full(10, 50.0)])
    found = planned_levels(plan, 30.0)
    assert found[:100] == pytest.approx(plan[:100])


def test_what_is_not_known_stays_so_and_touches_nothing():
    plan = np.linspace(100.0, 3000.0, 100)
    plan[50] = np.nan
    found = planned_levels(plan, 30.0)
    assert np.isnan(found[50])
    known = np.arange(100) != 50
    assert found[known] == pytest.approx(plan[known])


def test_a_test_of_minutes_is_left_as_it_is():
    work = noisy(np.linspace(100.0, 300.0, 10))
    assert planned_levels(work, 30.0) == pytest.approx(work)
