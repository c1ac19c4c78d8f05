"""Twin of threshold/fit.py: whole thresholds, planted and recorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from signalstudy.threshold.fit import draft_target, fit_threshold, with_headrooms
from signalstudy.threshold.tolerance import tolerance_ratio
from signalstudy.timeline.points import OperatingPoints
from signalstudy.timeline.timeline import SignalSeries
from signalstudy.vocabulary.estimate import Estimate, not_applicable
from signalstudy.vocabulary.objectives import Objective

TTFT = Objective("ttft", 0.95, 1.0)
TBT = Objective("tbt", 0.95, 0.05)


@pytest.fixture
def planted_service(build, planted):
    def make(seed=0, *, role="production", **arguments):
        counts = planted(seed, **arguments)
        work = counts.work_per_replica
        ready = np.full(work.size, 4.0)
        watts = SignalSeries("gpu_power_watts", "intensive", 100.0 + 0.2 * work)
        pools = {"unified": build.pool("unified", work, ready, signals={watts.name: watts})}
        slo = [build.slo(TBT, counts.observed, counts.over)]
        return build.timeline(pools, slo, role=role)

    return make


def test_the_target_is_the_safe_bound_over_ramp_and_tolerance(planted_service, true_capacity):
    threshold, ratio = fit_threshold(
        planted_service(), ("unified", "decode_tokens_per_second"), [TBT],
        startup_seconds=120.0, seen_lag_seconds=30.0, noise_ratio=0.04,
    )  # fmt: skip
    assert threshold.per_replica.status == threshold.target.status == "ok"
    assert threshold.per_replica.low < true_capacity < threshold.per_replica.high
    assert threshold.tolerance_ratio == tolerance_ratio(0.04, 4.0)
    assert threshold.horizon_seconds.value == 165.0
    ramp = threshold.headroom_ratio.value
    assert ramp > 1.0
    assert threshold.target.value == pytest.approx(
        threshold.per_replica.low / (ramp * (1.0 + threshold.tolerance_ratio))
    )
    assert threshold.pool_targets == {"unified": threshold.target}
    assert threshold.target.low <= threshold.target.value <= threshold.target.high
    assert threshold.per_replica.high <= threshold.max_observed
    assert ratio.ratio.status == "not_applicable"


def test_other_ramp_factors_move_targets_and_ratio_and_nothing_else(planted_service):
    timeline = planted_service()
    best = ("unified", "decode_tokens_per_second")
    threshold, ratio = fit_threshold(timeline, best, [TBT], startup_seconds=120.0)
    assert with_headrooms(threshold, {}, timeline) == (threshold, ratio)
    was = threshold.headroom_ratio
    moved, _ = with_headrooms(threshold, {"unified": replace(was, value=2.0 * was.value)}, timeline)
    assert moved.headroom_ratio.value == 2.0 * was.value
    assert moved.target.value == pytest.approx(threshold.target.value / 2.0)
    assert moved.pool_targets == {"unified": moved.target}
    assert moved.per_replica == threshold.per_replica
    assert moved.capacities == threshold.capacities


def test_a_capacity_is_fitted_in_units_of_the_best_signal(planted_service, true_capacity):
    threshold, _ = fit_threshold(planted_service(), ("unified", "gpu_power_watts"), [TBT])
    assert threshold.signal == "gpu_power_watts"
    assert threshold.per_replica.low < 100.0 + 0.2 * true_capacity < threshold.per_replica.high
    assert threshold.capacities["unified"].signal == "decode_tokens_per_second"


def test_a_pressure_test_gives_the_knee_that_production_never_visited(
    planted_service, true_capacity
):
    quiet = planted_service(1, reach=0.5, days=6)
    sweep = planted_service(3, role="pressure-test", days=0.5)
    alone, _ = fit_threshold(quiet, None, [TBT])
    both, _ = fit_threshold(quiet, None, [TBT], pressure_test=sweep)
    assert alone.per_replica.status == "lower_bound"
    assert both.per_replica.status == "ok"
    assert "pressure-test" in both.per_replica.note
    assert 0.7 * true_capacity < both.per_replica.low < 1.2 * true_capacity
    assert both.headroom_ratio.status == "ok"


def test_a_pressure_test_alone_assumes_a_ramp_factor_aloud(planted_service):
    sweep = planted_service(2, role="pressure-test", days=0.5)
    threshold, _ = fit_threshold(None, None, [TBT], pressure_test=sweep)
    assert threshold.headroom_ratio.status == "not_applicable"
    assert threshold.target.value == pytest.approx(threshold.per_replica.low / (1.25 * 1.05))
    assert "1.25" in threshold.target.note


def test_without_an_objective_there_is_no_threshold_and_a_sentence(planted_service):
    threshold, _ = fit_threshold(planted_service(days=1), None, [])
    assert threshold.per_replica.status == threshold.target.status == "not_applicable"
    assert threshold.max_observed is not None


def test_without_latencies_there_is_no_threshold_and_a_sentence(planted_service):
    threshold, _ = fit_threshold(planted_service(days=1), None, [TTFT])
    assert threshold.per_replica.status == threshold.target.status == "unidentified"
    assert "ttft" in threshold.per_replica.note


def test_points_alone_give_a_capacity():
    c = np.array([1.0, 2, 4, 8, 16, 32, 64, 128, 256])
    same = np.ones(c.size)
    points = OperatingPoints(
        "chat", c, 0.05 * same, 0.020 + 0.00025 * c, 1000 * same, 500 * same, same
    )
    threshold, ratio = fit_threshold(None, None, [TBT], points=points)
    assert threshold.per_replica.status == "ok"
    assert threshold.per_replica.value <= threshold.max_observed
    assert threshold.capacities["unified"].binding == "tbt"
    assert ratio.ratio.status == "not_applicable"


def test_a_best_signal_of_the_gateway_gives_way_to_the_pool_s_own_work(planted_service):
    threshold, _ = fit_threshold(planted_service(), ("gateway", "requests_per_second"), [TBT])
    assert (threshold.pool, threshold.signal) == ("unified", "decode_tokens_per_second")


def test_no_data_at_all_is_said():
    threshold, ratio = fit_threshold(None, None, [TBT])
    assert threshold.per_replica.status == "not_applicable"
    assert ratio.ratio.status == "not_applicable"


def test_a_signal_whose_pool_makes_no_such_latency_says_what_its_number_is_worth(build, planted):
    counts = planted(0, days=6)
    ready = np.full(counts.observed.size, 2.0)
    work = counts.work_per_replica
    pools = {
        "prefill": build.pool(
            "prefill", 3 * work, ready, total="prefill_uncached_tokens_per_second"
        ),
        "decode": build.pool("decode", work, ready),
    }
    timeline = build.timeline(pools, [build.slo(TTFT, counts.observed, counts.over)])
    threshold, _ = fit_threshold(timeline, None, [TTFT])
    assert threshold.pool == "decode"
    assert "only at the P/D ratio" in threshold.per_replica.note
    assert threshold.capacities["decode"].per_replica.status == "not_applicable"
    assert threshold.capacities["prefill"].binding == "ttft"


def test_a_broken_capacity_gives_no_target():
    broken = Estimate(10.0, high=10.0, status="censored", note="Broken.")
    target = draft_target(broken, Estimate(1.2, low=1.1, high=1.3), 0.05)
    assert target.status == "unidentified"
    assert "Broken." in target.note
    assert draft_target(not_applicable("None."), Estimate(1.2), 0.05).status == "not_applicable"


@pytest.mark.recordings
@pytest.mark.parametrize("quantile", [0.9, 0.95, 0.99])
def test_the_recorded_ramp_finds_prefill_s_knee_and_no_false_one_of_decode(recorded_run, quantile):
    objectives = [Objective("ttft", quantile, 1.0), Objective("tbt", quantile, 0.04)]
    ramp = recorded_run("ramp_p2d2", "pressure-test", objectives)
    threshold, ratio = fit_threshold(None, None, objectives, pressure_test=ramp)
    decode, prefill = threshold.capacities["decode"], threshold.capacities["prefill"]
    assert decode.per_replica.status == "lower_bound"
    assert decode.per_replica.low < decode.per_replica.value < 4487.0
    assert decode.per_replica.low > 0.8 * decode.max_observed  # the most of a single step
    assert prefill.per_replica.status == "ok"
    assert prefill.binding == "ttft"
    assert prefill.per_replica.high < 0.95 * prefill.max_observed
    assert ratio.ratio.status == "lower_bound"
    assert not ratio.moves_too_much


@pytest.mark.recordings
def test_on_the_recorded_ramp_a_stricter_quantile_bears_less(recorded_run):
    lows = []
    for quantile in (0.9, 0.95, 0.99):
        objective = Objective("ttft", quantile, 1.0)
        ramp = recorded_run("ramp_p2d2", "pressure-test", [objective])
        best = ("prefill", "prefill_uncached_tokens_per_second")
        threshold, _ = fit_threshold(None, best, [objective], pressure_test=ramp)
        lows.append(threshold.per_replica.low)
    assert lows == sorted(lows, reverse=True)


@pytest.mark.recordings
def test_end_to_end_breaches_of_prefill_s_queue_are_no_knee_of_decode(recorded_run):
    objective = Objective("e2e", 0.95, 30.0)
    ramp = recorded_run("ramp_p2d2", "pressure-test", [objective])
    threshold, _ = fit_threshold(None, None, [objective], pressure_test=ramp)
    assert threshold.pool == "decode"
    assert threshold.per_replica.status == "lower_bound"


@pytest.mark.recordings
@pytest.mark.parametrize(("run", "moves"), [("day_over", False), ("shift", True)])
def test_a_recorded_mix_moves_too_much_only_where_it_does(recorded_run, run, moves):
    objectives = [Objective("ttft", 0.95, 1.0), Objective("tbt", 0.95, 0.04)]
    timeline = recorded_run(run, "production", objectives)
    threshold, ratio = fit_threshold(timeline, None, objectives, startup_seconds=120.0)
    assert ratio.moves_too_much is moves
    assert threshold.per_replica.status == "lower_bound"
    assert 1.0 < threshold.headroom_ratio.value < 2.5
    said = [threshold.per_replica, threshold.target, *threshold.pool_targets.values()]
    assert [("At the mix seen" in one.note) for one in said] == [moves] * len(said)


@pytest.mark.recordings
def test_a_recorded_ramp_completes_a_recorded_day(recorded_run):
    objectives = [Objective("ttft", 0.95, 1.0), Objective("tbt", 0.95, 0.04)]
    day = recorded_run("day_over", "production", objectives)
    ramp = recorded_run("ramp_p2d2", "pressure-test", objectives)
    threshold, ratio = fit_threshold(
        replace(day), None, objectives, pressure_test=ramp, startup_seconds=120.0
    )
    assert threshold.capacities["prefill"].per_replica.status == "ok"
    assert threshold.per_replica.value > 3000.0
    assert ratio.ratio.value is not None
