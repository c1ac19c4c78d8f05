"""Twin of threshold/rhythm.py: weeks whose rhythm is planted, and days too few to tell."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.threshold.rhythm import measure_rhythm

MONDAY_SECONDS = 1767571200.0  # 2026-01-05T00:00:00Z


@pytest.fixture
def week(build):
    def make(days, *, noise=0.05, swing=0.6, weekend=1.0, seed=0):
        step = 300.0
        at = MONDAY_SECONDS + step * np.arange(1, int(days * 86_400 / step) + 1)
        hour = ((at - step) % 86_400) / 3600.0
        day = ((at - step - MONDAY_SECONDS) // 86_400).astype(int)
        level = 1000.0 * (1.0 + swing * np.sin(2 * np.pi * (hour - 8.0) / 24.0))
        level = np.where(day % 7 >= 5, weekend, 1.0) * level
        wobble = np.exp(noise * np.random.default_rng(seed).standard_normal(day.max() + 1))
        demand = level * wobble[day]
        pool = build.pool("unified", demand, np.ones(at.size))
        timeline = build.timeline({"unified": pool}, [], step=step)
        object.__setattr__(timeline, "time_seconds", at)
        return timeline, pool

    return make


def test_a_daily_rhythm_is_strong_and_its_sure_demand_lies_below_its_mean(week):
    rhythm = measure_rhythm(*week(14))
    assert rhythm.strength.low > 0.85
    sure = rhythm.sure_per_second["workdays"]
    assert sure.argmax() in (13, 14)
    assert 0.85 * 1600 < sure.max() < 1600
    assert sure.min() == pytest.approx(400, rel=0.2)


def test_a_weekend_is_a_rhythm_of_its_own(week):
    rhythm = measure_rhythm(*week(14, weekend=0.3))
    assert rhythm.strength.low > 0.85
    assert rhythm.sure_per_second["weekend"].max() < 0.4 * rhythm.sure_per_second["workdays"].max()


def test_days_that_have_nothing_in_common_have_none(week):
    rhythm = measure_rhythm(*week(14, noise=0.8, swing=0.05))
    assert rhythm.strength.low < 0.3


def test_three_days_cannot_tell(week):
    rhythm = measure_rhythm(*week(3))
    assert rhythm.strength.status == "unidentified"
    assert "4 whole days" in rhythm.strength.note
    assert rhythm.sure_per_second == {}


def test_an_hour_that_was_not_recorded_takes_its_day_out(week):
    timeline, pool = week(6)
    timeline.usable[:24] = False
    assert measure_rhythm(timeline, pool).strength.days == 4
