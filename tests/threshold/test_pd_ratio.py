"""Twin of threshold/pd_ratio.py."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.threshold.pd_ratio import fit_pd_ratio, measure_token_mix
from signalstudy.threshold.threshold import Capacity
from signalstudy.vocabulary.estimate import Estimate, unidentified

DAY = 1440


@pytest.fixture
def service(build):
    def make(mix):
        demand = 1000.0 * (1.5 + np.sin(np.arange(DAY) / 200.0))
        ready = np.ones(DAY)
        pools = {
            "prefill": build.pool("prefill", demand, ready),
            "decode": build.pool("decode", demand, ready, demand=demand),
        }
        return build.timeline(pools, [], mix=np.broadcast_to(mix, DAY).astype(float))

    return make


def capacity(pool, value, status="ok"):
    high = 1.05 * value if status == "ok" else None
    estimate = Estimate(value, low=0.95 * value, high=high, status=status)
    return Capacity(pool, "work", estimate, "", value)


def ratio(timeline, decode, prefill, *, ramps=(1.0, 1.0)):
    return fit_pd_ratio(
        timeline, decode, prefill,
        decode_headroom_ratio=ramps[0], prefill_headroom_ratio=ramps[1],
    )  # fmt: skip


def test_the_ratio_is_the_mix_times_both_capacities(service):
    found = ratio(service(3.0), capacity("decode", 2000.0), capacity("prefill", 6000.0))
    assert found.ratio.value == pytest.approx(1.0)
    assert found.ratio.status == "ok"
    assert found.ratio.low < 0.96
    assert found.ratio.high > 1.04
    assert not found.moves_too_much


def test_each_pool_is_derated_by_its_own_ramp(service):
    parts = capacity("decode", 2000.0), capacity("prefill", 6000.0)
    found = ratio(service(3.0), *parts, ramps=(1.5, 3.0))
    assert found.ratio.value == pytest.approx(2.0)


def test_a_mix_that_wanders_gives_a_band_and_still_serves(service):
    mix = np.linspace(2.5, 3.5, DAY)
    found = ratio(service(mix), capacity("decode", 2000.0), capacity("prefill", 6000.0))
    assert found.band_low < found.ratio.value < found.band_high
    assert found.band_high / found.band_low == pytest.approx(3.5 / 2.5, rel=0.1)
    assert not found.moves_too_much
    assert "one ratio serves" in found.note


def test_a_mix_that_turns_over_is_too_much_for_one_ratio(service):
    mix = np.where(np.arange(DAY) < DAY // 2, 2.7, 0.45)
    found = ratio(service(mix), capacity("decode", 2000.0), capacity("prefill", 6000.0))
    assert found.moves_too_much
    assert "Each pool should follow its own work" in found.note


def test_a_mix_is_the_ratio_of_sums_not_the_mean_of_ratios(service):
    timeline = service(3.0)
    timeline.token_mix[:60] = np.where(np.arange(60) % 2 == 0, 1.0, 9.0)
    timeline.pools["decode"].demand.per_second[:60:2] = 3000.0
    timeline.pools["decode"].demand.per_second[1:60:2] = 1000.0
    assert measure_token_mix(timeline).median == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("decode", "prefill", "status"),
    [
        ("lower_bound", "ok", "lower_bound"),
        ("ok", "lower_bound", "censored"),
        ("lower_bound", "lower_bound", "censored"),
    ],
)
def test_a_knee_not_visited_leaves_the_ratio_open(service, decode, prefill, status):
    found = ratio(
        service(3.0), capacity("decode", 2000.0, decode), capacity("prefill", 6000.0, prefill)
    )
    assert found.ratio.status == status
    assert found.ratio.note
    assert found.ratio.high is None


def test_an_unknown_capacity_leaves_no_ratio_but_the_mix(service):
    lost = Capacity("prefill", "work", unidentified("No counts."), "", None)
    found = ratio(service(3.0), capacity("decode", 2000.0), lost)
    assert found.ratio.status == "unidentified"
    assert "No counts." in found.ratio.note
    assert found.token_mix == pytest.approx(3.0)


def test_without_two_pools_or_a_mix_it_says_why(service):
    assert ratio(service(3.0), capacity("unified", 1.0), None).ratio.status == "not_applicable"
    blind = ratio(service(np.nan), capacity("decode", 1.0), capacity("prefill", 1.0))
    assert blind.ratio.status == "unidentified"
