"""Scalers that remember: windows, panic, schedules, intervals, step by step through time."""

from __future__ import annotations

import math

import polars as pl
import pytest

from signalstudy.policy.state import Observation, Reading, State, advance
from signalstudy.policy.yaml_text import dump
from signalstudy.scalers.export import SCALERS
from signalstudy.vocabulary.errors import ConfigurationError
from tests.house.project import ROOT

MONDAY = 1_767_571_200.0  # 2026-01-05T00:00:00Z
RECORDED = ROOT.parent / "shared" / "data" / "aibrix_autoscaling" / "controller.parquet"
PREFIX = "autoscaling.aibrix.ai/"


def autoscaler(strategy, *, target="100", notes=None, **spec):
    """Give a PodAutoscaler as a user would write it."""
    notes = {f"{PREFIX}{name}": value for name, value in (notes or {}).items()}
    source = {"metricSourceType": "external", "targetMetric": "m", "targetValue": target}
    return {
        "apiVersion": "autoscaling.aibrix.ai/v1alpha1",
        "kind": "PodAutoscaler",
        "metadata": {"name": "chat", "annotations": notes},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"},
            "minReplicas": 1,
            "maxReplicas": 20,
            "scalingStrategy": strategy,
            "metricsSources": [source],
            **spec,
        },
    }


def through_time(scaler, document, values, *, replicas, pool="chat", step=15.0, begin=MONDAY):
    """Step a scaler through values of its metric "m"; give the replicas after each decision."""
    manifest = SCALERS[scaler].read(dump(document), "test")
    state, asked = State(begin, {pool: replicas}), []
    for number, value in enumerate(values):
        decision = SCALERS[scaler].decide(manifest, state, Observation({"m": Reading(value)}))
        asked.append(decision.replicas[pool])
        state = advance(state, decision, begin + step * (number + 1))
    return asked


def test_kpa_follows_the_mean_of_its_long_window():
    document = autoscaler("KPA", observeWindowSeconds=180, panicWindowSeconds=180)
    asked = through_time("aibrix", document, [400.0] * 12 + [800.0] * 12, replicas=4)
    assert asked[:13] == [4] * 13  # one of twelve values is 800: the mean is 433, within 10 %
    assert asked[13] == 5  # two are: 467 / 100, rounded up
    assert asked[-1] == 8


def test_kpa_panics_where_the_short_mean_passes_the_threshold_and_takes_nothing_away():
    values = [400.0] * 12 + [3000.0] * 2 + [400.0] * 8
    calm = autoscaler("KPA", notes={"panic-threshold": "1000"})
    nervous = autoscaler("KPA", notes={"panic-threshold": "2.0"})
    assert through_time("aibrix", calm, values, replicas=4)[12:14] == [7, 9]  # the long mean: 833
    asked = through_time("aibrix", nervous, values, replicas=4)
    assert asked[12:14] == [7, 14]  # the short mean is 1700, the step ends at twice as many
    assert min(asked[14:]) == 17  # the five minutes' window holds what was wanted


def test_apa_multiplies_the_replicas_by_the_mean_of_its_window():
    document = autoscaler("APA", target="0.5", observeWindowSeconds=30, panicWindowSeconds=30,
                          notes={"scale-down-cooldown-window": "0s"})  # fmt: skip
    # Recorded by AIBrix itself (shared/data/aibrix_autoscaling): 2 at 0.578556, 6 at 0.394075.
    assert through_time("aibrix", document, [0.578556], replicas=2) == [3]
    assert through_time("aibrix", document, [0.394075], replicas=6) == [5]
    assert through_time("aibrix", document, [0.461695], replicas=6) == [6]
    assert through_time("aibrix", document, [0.9655], replicas=1) == [2]
    assert through_time("aibrix", document, [0.8, 0.2], replicas=5) == [8, 8]  # the mean is 0.5


@pytest.mark.recordings
def test_apa_gives_what_aibrix_recorded_of_itself():
    if not RECORDED.exists():
        pytest.skip("the recordings are not beside this checkout")
    rows = pl.read_parquet(RECORDED).filter(pl.col("event") == "apa_eval").sort("timestamp")
    document = autoscaler("APA", target="0.5", minReplicas=0, maxReplicas=8)
    manifest = SCALERS["aibrix"].read(dump(document), "test")
    missed = []
    for row in rows.iter_rows(named=True):
        state = State(MONDAY, {"chat": row["current_replicas"]})
        seen = Observation({"m": Reading(row["signal_value"])})
        step = SCALERS["aibrix"].decide(manifest, state, seen).steps["chat"]
        if int(step.wanted) != row["desired_replicas"]:
            missed.append((row["timestamp"], int(step.wanted), row["desired_replicas"]))
    assert rows.height == 102
    assert missed == []


def test_a_scale_down_waits_for_its_window_written_in_minutes():
    document = autoscaler("APA", target="0.5", observeWindowSeconds=15, panicWindowSeconds=15,
                          notes={"scale-down-cooldown-window": "2m"})  # fmt: skip
    asked = through_time("aibrix", document, [0.5] * 8 + [0.3] * 12, replicas=10)
    assert asked[:15] == [10] * 15
    assert asked[15] == 6


def test_a_scale_up_waits_for_its_window():
    document = autoscaler("KPA", observeWindowSeconds=15, panicWindowSeconds=15,
                          notes={"scale-up-cooldown-window": "60s"})  # fmt: skip
    asked = through_time("aibrix", document, [400.0] * 4 + [800.0] * 6, replicas=4)
    assert asked[:7] == [4] * 7
    assert asked[7] == 8


@pytest.mark.parametrize(
    ("hour", "zone", "least"),
    [
        (9, "UTC", 6),
        (7, "UTC", 1),
        (20, "UTC", 1),
        (1, "Asia/Shanghai", 6),
        (9, "Asia/Shanghai", 6),
    ],
)
def test_a_schedule_moves_the_bounds_while_it_is_active(hour, zone, least):
    window = {"name": "day", "timezone": zone, "daysOfWeek": ["Mon"], "startTime": "08:00",
              "endTime": "20:00", "minReplicas": 6, "maxReplicas": 9}  # fmt: skip
    document = autoscaler("KPA", schedules=[window])
    asked = through_time("aibrix", document, [0.0], replicas=6, begin=MONDAY + 3600.0 * hour)
    floor = 6 if least == 6 else 3  # half of six is as far as one step goes
    assert asked == [floor]


def test_the_hpa_strategy_is_the_hpa_with_a_whole_target():
    document = autoscaler("HPA", target="0.5")
    # 0.5 is rounded up to 1 by AIBrix: 4 x 0.9 / 1, within the HPA's 10 %
    assert through_time("aibrix", document, [0.9], replicas=4) == [4]
    assert through_time("aibrix", document, [3.0], replicas=4) == [8]  # twice as many a minute


def test_a_metric_that_is_not_seen_holds_and_is_left_out_of_the_mean():
    document = autoscaler("KPA", observeWindowSeconds=60, panicWindowSeconds=60)
    asked = through_time("aibrix", document, [400.0, math.nan, 400.0], replicas=4)
    assert asked == [4, 4, 4]


def kthena(panic=None, **up):
    stable = {"instances": 1, "percent": 50, "period": "60s", "selectPolicy": "Or",
              "stabilizationWindow": "0s", **up}  # fmt: skip
    target = {"apiVersion": "workload.serving.volcano.sh/v1alpha1", "kind": "ModelServing",
              "name": "chat"}  # fmt: skip
    return {
        "apiVersion": "workload.serving.volcano.sh/v1alpha1",
        "kind": "AutoscalingPolicy",
        "metadata": {"name": "chat"},
        "spec": {
            "metrics": [{"name": "m", "targetValue": "100"}],
            "behavior": {
                "scaleUp": {"stablePolicy": stable, **({"panicPolicy": panic} if panic else {})}
            },
            "homogeneousTarget": {
                "minReplicas": 1,
                "maxReplicas": 40,
                "target": {
                    "targetRef": target,
                    "metricSources": {"m": {"pod": {"name": "m", "uri": "/metrics", "port": 8000}}},
                },
            },
        },
    }


def test_kthena_panics_beyond_its_threshold_and_keeps_at_it_for_the_hold():
    panic = {"percent": 300, "period": "15s", "panicThresholdPercent": 200, "panicModeHold": "45s"}
    values = [400.0] * 2 + [2000.0] + [1000.0] * 3 + [3000.0]
    assert through_time("kthena", kthena(), values, replicas=4)[:4] == [4, 4, 6, 6]
    asked = through_time("kthena", kthena(panic), values, replicas=4)
    assert asked[2] == 16  # 4 + 300 %
    assert asked[3:6] == [16, 16, 16]  # nothing is taken away while it holds
    assert asked[6] > 16


def scaled_object(*, least=0, fallback=None, **spec):
    trigger = {
        "type": "prometheus",
        "name": "m",
        "metadata": {"serverAddress": "http://p:9090", "threshold": "10", "query": "sum(x)",
                     "activationThreshold": "2", "ignoreNullValues": "false"},
    }  # fmt: skip
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "chat"},
        "spec": {
            "scaleTargetRef": {"name": "chat"},
            "minReplicaCount": least,
            "maxReplicaCount": 20,
            **({"fallback": fallback} if fallback else {}),
            **spec,
            "triggers": [trigger],
        },
    }


def test_keda_goes_to_zero_after_its_cooldown_and_comes_back_above_activation():
    document = scaled_object(cooldownPeriod=60)
    asked = through_time("keda", document, [15.0] + [1.0] * 40 + [2.0, 3.0], replicas=2)
    assert asked[:4] == [2, 2, 2, 2]  # inactive since 15 s, the HPA looks back five minutes
    assert asked[4:41] == [0] * 37
    assert asked[41:] == [0, 1]  # 2 is not above the activation threshold


def test_keda_keeps_its_minimum_whatever_the_cooldown_says():
    document = scaled_object(least=1, cooldownPeriod=15)
    assert through_time("keda", document, [0.0] * 30, replicas=1) == [1] * 30


def test_keda_rests_at_its_idle_number():
    document = scaled_object(least=3, idleReplicaCount=1, cooldownPeriod=30)
    asked = through_time("keda", document, [0.0] * 6 + [50.0], replicas=3)
    assert asked[:2] == [3, 3]
    assert asked[2:6] == [1] * 4
    assert asked[6] == 3


@pytest.mark.parametrize(
    ("behavior", "then"),
    [("static", 6), ("currentReplicas", 3), ("currentReplicasIfHigher", 6),
     ("currentReplicasIfLower", 3), (None, 6)],
)  # fmt: skip
def test_keda_falls_back_once_a_trigger_has_failed_often_enough(behavior, then):
    fallback = {"failureThreshold": 3, "replicas": 6}
    fallback |= {} if behavior is None else {"behavior": behavior}
    document = scaled_object(least=1, fallback=fallback)
    asked = through_time("keda", document, [30.0] + [math.nan] * 4, replicas=3)
    assert asked == [3, 3, 3, then, then]
    bare = scaled_object(least=1)
    assert through_time("keda", bare, [30.0] + [math.nan] * 4, replicas=3) == [3] * 5


def test_an_outage_never_takes_keda_to_zero():
    document = scaled_object(cooldownPeriod=15)
    assert through_time("keda", document, [30.0] + [math.nan] * 20, replicas=3) == [3] * 21


def serve(**config):
    autoscaling = {"min_replicas": 1, "max_replicas": 40, "target_ongoing_requests": 10.0, **config}
    deployment = {"name": "Unified", "autoscaling_config": autoscaling}
    application = {"name": "chat", "import_path": "app:app", "deployments": [deployment]}
    return SCALERS["ray-serve"].read(dump({"applications": [application]}), "test")


def test_ray_serve_acts_once_a_wish_has_lasted_its_delay():
    manifest = serve(upscale_delay_s=30, downscale_delay_s=60)
    values = [100.0] * 2 + [200.0] * 4 + [100.0, 300.0] + [100.0] * 8
    state, asked = State(MONDAY, {"unified": 10}), []
    for number, value in enumerate(values):
        seen = Observation({"unified.running_requests": Reading(value)})
        decision = SCALERS["ray-serve"].decide(manifest, state, seen)
        asked.append(decision.replicas["unified"])
        state = advance(state, decision, MONDAY + 15.0 * (number + 1))
    assert asked[:4] == [10] * 4
    assert asked[4] == 20  # 200 since 30 s
    assert asked[5:8] == [20, 20, 20]  # a dip and a burst of one look each
    first = next(i for i, one in enumerate(asked) if i > 8 and one < 20)
    assert 60.0 <= 15.0 * (first - 8) <= 75.0


def planner(**said):
    document = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeploymentRequest",
        "metadata": {"name": "chat"},
        "spec": {"model": "m", "backend": "vllm", "features": {"planner": {
            "mode": "disagg", "optimization_target": "load",
            "prefill_scale_up_queue_tokens": 1000, "prefill_scale_down_queue_tokens": 100,
            "decode_scale_up_kv_rate": 80, "decode_scale_down_kv_rate": 50, **said,
        }}},
    }  # fmt: skip
    return SCALERS["dynamo"].read(dump(document), "test")


def planned(manifest, fleet, *, queue=500.0, occupancy=0.6, state=None, **ready):
    seen = {
        "prefill.inflight_tokens": Reading(queue * fleet.get("prefill", 1)),
        "decode.kv_cache_usage_ratio": Reading(occupancy),
        "unified.kv_cache_usage_ratio": Reading(occupancy),
        **{f"{pool}.ready_replicas": Reading(float(count)) for pool, count in ready.items()},
    }
    state = state or State(MONDAY, fleet)
    return SCALERS["dynamo"].decide(manifest, state, Observation(seen))


FLEET = {"prefill": 4, "decode": 3}


def test_the_planner_keeps_its_floor_and_one_worker():
    low = {"queue": 0.0, "occupancy": 0.1}
    assert planned(planner(), FLEET, **low).replicas == {"prefill": 3, "decode": 2}
    assert planned(planner(min_endpoint=3), FLEET, **low).replicas == {"prefill": 3, "decode": 3}
    assert planned(planner(), {"prefill": 1, "decode": 1}, **low).replicas == {
        "prefill": 1, "decode": 1}  # fmt: skip


def test_the_planner_waits_while_workers_start():
    high = {"queue": 5000.0, "occupancy": 0.9}
    assert planned(planner(), FLEET, **high).replicas == {"prefill": 5, "decode": 4}
    assert planned(planner(), FLEET, **high, decode=2).replicas == FLEET
    assert planned(planner(), FLEET, **high, decode=3, prefill=4).replicas["decode"] == 4


def test_the_planner_decides_once_an_interval():
    manifest, high = planner(load_adjustment_interval_seconds=30), {"occupancy": 0.9}
    first = planned(manifest, FLEET, **high)
    state = advance(State(MONDAY, FLEET), first, MONDAY + 15.0)
    assert planned(manifest, FLEET, **high, state=state).replicas["decode"] == 4
    later = advance(State(MONDAY, FLEET), first, MONDAY + 30.0)
    assert planned(manifest, FLEET, **high, state=later).replicas["decode"] == 5


def test_the_planner_shrinks_both_pools_into_its_budget():
    gpus = {"prefill_engine_num_gpu": 2, "decode_engine_num_gpu": 4, "max_gpu_budget": 16}
    for fleet in (
        {"prefill": 4, "decode": 2},
        {"prefill": 6, "decode": 9},
        {"prefill": 1, "decode": 30},
    ):
        asked = planned(planner(**gpus), fleet, queue=5000.0, occupancy=0.9).replicas
        assert 2 * asked["prefill"] + 4 * asked["decode"] <= 16
        assert min(asked.values()) >= 1
    free = planned(planner(**gpus | {"max_gpu_budget": 64}), FLEET, queue=5000.0, occupancy=0.9)
    assert free.replicas == {"prefill": 5, "decode": 4}


def test_an_aggregated_planner_scales_one_pool_on_its_occupancy():
    fleet = {"unified": 3}
    assert planned(planner(mode="agg"), fleet, occupancy=0.9).replicas == {"unified": 4}
    assert planned(planner(mode="agg"), fleet, occupancy=0.3).replicas == {"unified": 2}


def test_a_planner_that_does_not_scale_on_load_is_one_sentence():
    with pytest.raises(ConfigurationError, match="Only load"):
        planned(planner(optimization_target="sla"), FLEET)
