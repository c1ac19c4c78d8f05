"""What a replay makes of real recordings whose cost and attainment are known."""

from __future__ import annotations

import json

import polars as pl
import pytest

from signalstudy.policy.state import Observation, Reading, State
from signalstudy.replay.recorded import replay_policy
from signalstudy.scalers import aibrix
from signalstudy.study.run import run_study
from tests.replay import planted
from tests.study.recordings import DATA, LIMITS, need, write_study

pytestmark = pytest.mark.recordings
GPUS = {"prefill": 2.0, "decode": 2.0}


def studied(folder, name):
    kinds = (("table", "samples"), ("requests", "requests"))
    sources = [(kind, f"dynamo_offline/{name}/{file}.parquet") for kind, file in kinds]
    study = run_study(write_study(folder, name, *sources, more=LIMITS), out=folder / "out")
    [service] = study.services.values()
    return service


@pytest.fixture(scope="module")
def day_over(tmp_path_factory):
    return studied(tmp_path_factory.mktemp("over"), "day_over")


@pytest.fixture(scope="module")
def day_auto(tmp_path_factory):
    return studied(tmp_path_factory.mktemp("auto"), "day_auto")


def engine_summary(name):
    return json.loads((DATA / "dynamo_offline" / name / "meta.json").read_text())["summary"]


def within_limits(name):
    """Give the share of requests within both limits, from the request log itself."""
    log = pl.read_parquet(DATA / "dynamo_offline" / name / "requests.parquet")
    kept = (pl.col("ttft_seconds") <= 1.0) & (pl.col("tbt_seconds").fill_null(0.0) <= 0.04)
    return float(log.select(kept.mean()).item())


@pytest.mark.parametrize("name", ["day_over", "day_auto"])
def test_what_happened_is_what_the_engine_counted(name, request):
    service = request.getfixturevalue(name)
    recorded = replay_policy([], service, draws=0, gpus_per_replica=GPUS).runs[0]
    assert recorded.gpu_hours.value == pytest.approx(engine_summary(name)["gpu_hours"], rel=0.01)
    assert recorded.slo_attainment_ratio.value == pytest.approx(within_limits(name), abs=1e-4)


def test_a_fixed_policy_costs_what_the_fixed_fleet_cost(day_over):
    three = {pool: planted.rule(3, 3) for pool in ("prefill", "decode")}
    run = replay_policy(
        planted.split_policy(pools=three), day_over, draws=0, gpus_per_replica=GPUS
    ).runs[1]
    assert run.gpu_hours.value == pytest.approx(engine_summary("day_over")["gpu_hours"], rel=0.01)
    # The model's capacity is a lower bound here: it never keeps more than the engine did.
    assert within_limits("day_over") - 0.02 < run.slo_attainment_ratio.value
    assert run.slo_attainment_ratio.value <= within_limits("day_over") + 0.005


def test_the_best_fixed_fleet_and_the_clairvoyant_stand_in_order(day_auto):
    replay = replay_policy(
        day_auto.policy, day_auto, against=["fixed-peak", "clairvoyant"], draws=0,
        gpus_per_replica=GPUS,
    )  # fmt: skip
    runs = {run.name: run for run in replay.runs}
    drafted = runs[day_auto.policy.name]
    assert runs["clairvoyant"].gpu_hours.value < drafted.gpu_hours.value
    assert drafted.gpu_hours.value < runs["fixed-peak"].gpu_hours.value
    assert drafted.slo_attainment_ratio.value > 0.99


APA = """
apiVersion: autoscaling.aibrix.ai/v1alpha1
kind: PodAutoscaler
metadata:
  name: recorded
  annotations: {autoscaling.aibrix.ai/scale-down-cooldown-window: "0s"}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: unified}
  minReplicas: 0        # the log holds what was wanted, before the bounds
  maxReplicas: 8
  observeWindowSeconds: 1   # and the signal as it was averaged already
  panicWindowSeconds: 1
  scalingStrategy: APA
  metricsSources:
    - {metricSourceType: pod, protocolType: http, port: "8000", path: /metrics,
       targetMetric: gpu_cache_usage_perc, targetValue: "0.5"}
"""


def test_apa_wants_what_a_live_apa_wanted():
    need("aibrix_autoscaling")
    log = pl.read_parquet(DATA / "aibrix_autoscaling" / "controller.parquet")
    log = log.filter(pl.col("event") == "apa_eval").sort("timestamp")
    manifest = aibrix.read(APA)
    misses = []
    for row in log.iter_rows(named=True):
        state = State(row["timestamp"].timestamp(), {"unified": row["current_replicas"]})
        seen = Observation({"gpu_cache_usage_perc": Reading(row["signal_value"])})
        wanted = aibrix.decide(manifest, state, seen).replicas["unified"]
        if wanted != row["desired_replicas"]:
            misses.append(
                (str(row["timestamp"]), row["signal_value"], wanted, row["desired_replicas"])
            )
    assert log.height == 102
    # Issue 6 asks for nine in ten; not one is missed, so there is no reason to list.
    assert misses == []
