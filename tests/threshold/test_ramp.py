"""Twin of threshold/ramp.py."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.threshold.ramp import estimate_headroom, estimate_horizon, rise_ahead


@pytest.fixture
def service(build):
    def make(demand, role="production"):
        pools = {"decode": build.pool("decode", demand, np.ones(len(demand)), demand=demand)}
        return build.timeline(pools, [], step=60.0, role=role)

    return make


def headroom(timeline, horizon_seconds=180.0, **arguments):
    return estimate_headroom(timeline, timeline.pools["decode"], horizon_seconds, **arguments)


def test_the_rise_looks_ahead_and_not_at_the_present():
    demand = np.array([1.0, 2.0, 4.0, 1.0, 3.0])
    assert rise_ahead(demand, 2).tolist()[:3] == [4.0, 2.0, 0.75]
    assert np.isnan(rise_ahead(demand, 2)[3:]).all()


def test_steady_demand_needs_no_headroom(service):
    assert headroom(service(np.full(1440, 50.0))).value == 1.0


def test_growth_at_a_known_rate_gives_that_factor(service):
    demand = 100.0 * 1.05 ** np.tile(np.r_[np.arange(60), np.arange(60, 0, -1)], 12)
    estimate = headroom(service(demand))
    assert estimate.status == "ok"
    assert estimate.value == pytest.approx(1.05**3, rel=1e-6)
    assert estimate.low <= estimate.value <= estimate.high


def test_a_longer_horizon_never_needs_less(service):
    demand = 100.0 + 60.0 * np.abs(np.sin(np.arange(1440) / 40.0))
    timeline = service(demand)
    values = [headroom(timeline, h).value for h in (60.0, 300.0, 900.0)]
    assert values == sorted(values)


def test_ramps_from_a_low_night_do_not_count(service):
    demand = np.full(1440, 100.0)
    demand[::10] = 5.0
    assert headroom(service(demand)).value == pytest.approx(1.0)


def test_a_pressure_test_says_nothing_about_ramps(service):
    estimate = headroom(service(np.linspace(1, 100, 60), role="pressure-test"))
    assert estimate.status == "not_applicable"
    assert "1.25" in estimate.note


def test_a_few_minutes_are_too_few(service):
    assert headroom(service(np.full(10, 3.0))).status == "unidentified"


def test_unknown_demand_is_not_filled(service):
    demand = np.full(1440, 50.0)
    demand[100:1400] = np.nan
    assert headroom(service(demand)).value == 1.0
    assert headroom(service(np.full(1440, np.nan))).status == "unidentified"


def test_start_up_is_measured_where_it_was_seen():
    horizon = estimate_horizon([np.array([100.0, 110.0, 120.0, np.nan])], 30.0, 20.0, 15.0)
    assert horizon.value == pytest.approx(119.0 + 20.0 + 15.0)
    assert "95 % of 3 seen" in horizon.note


def test_start_up_is_else_as_configured_and_else_assumed_aloud():
    assert estimate_horizon([], 30.0, 20.0, 15.0).value == 65.0
    assumed = estimate_horizon([], None, None, 15.0)
    assert (assumed.value, assumed.status) == (135.0, "extrapolated")
    assert "assumed" in assumed.note
    assert "lag is not known" in assumed.note
