"""Twin of threshold/pd_ratio.py."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.threshold.pd_ratio import decode_per_replica, fit_pd_ratio, measure_token_mix
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


def test_a_fixed_ratio_is_warned_of_with_what_it_costs(service):
    mix = np.where(np.arange(DAY) < DAY // 2, 2.7, 0.45)
    found = ratio(service(mix), capacity("decode", 2000.0), capacity("prefill", 6000.0))
    best = decode_per_replica(np.array([0.9, 0.15]), np.array([2.7, 0.45]), 2000.0, 6000.0)
    held = decode_per_replica(found.ratio.value, np.array([2.7, 0.45]), 2000.0, 6000.0)
    lost = 1.0 - held / best
    assert found.fixed_cost.value == pytest.approx(lost.mean(), abs=0.1)
    assert found.fixed_cost.high == pytest.approx(lost.max(), abs=0.05)
    assert "Held at" in found.note
    assert "UTC" in found.note


def test_a_steady_mix_costs_nothing_and_is_not_warned_of(service):
    found = ratio(service(3.0), capacity("decode", 2000.0), capacity("prefill", 6000.0))
    assert found.fixed_cost.value == pytest.approx(0.0, abs=1e-9)
    assert "Held at" not in found.note


def test_the_target_says_up_to_which_mix_it_holds(service):
    found = fit_pd_ratio(
        service(np.linspace(2.5, 3.5, DAY)), capacity("decode", 2000.0),
        capacity("prefill", 6000.0), decode_headroom_ratio=1.2, prefill_headroom_ratio=1.2,
        decode_target=1500.0,
    )  # fmt: skip
    # r x_prefill / (R T): at that mix prefill works at its safe bound, decode at its target
    assert found.holds_to_mix == pytest.approx(found.ratio.value * 0.95 * 6000 / 1.2 / 1500)
    assert "holds at" in found.note


FIGURE_4 = {
    "A": ([137, 177, 197, 182, 189, 136], [21.0, 25.5, 26.7, 26.4, 26.3, 20.3], 7.4),
    "B": ([120, 146, 176, 194, 186, 150], [11.2, 13.8, 16.1, 18.2, 18.0, 14.9], 10.7),
}
"""HeteroScale (arXiv:2508.19559), figure 4: prefill and decode thousand tokens/s of 7P9D, 8P8D,
9P7D, 10P6D, 11P5D, 12P4D, and prefill per decode token at the optimum."""


@pytest.mark.parametrize("service_name", ["A", "B"])
def test_figure_4_of_the_paper_is_met_as_far_as_its_numbers_allow(service_name):
    prefill_rate, decode_rate, mix = (np.array(x) for x in FIGURE_4[service_name])
    prefill = np.arange(7, 13)
    decode = 16 - prefill
    # each pool's capacity from the arm that starves the other: 7P9D prefill, 12P4D decode
    serves, bears = prefill_rate[0] / prefill[0], decode_rate[-1] / decode[-1]
    best = mix * bears / serves
    predicted = 16 * decode_per_replica(prefill / decode, np.full(6, mix), bears, serves)
    assert predicted == pytest.approx(decode_rate, rel=0.2)
    order = np.argsort(np.abs(np.log(prefill / decode / best)))
    assert decode_rate[order[0]] >= 0.98 * decode_rate.max()
    lost = 1.0 - predicted / predicted.max()
    seen = 1.0 - decode_rate / decode_rate.max()
    assert lost[[0, -1]] == pytest.approx(seen[[0, -1]], abs=0.13)
