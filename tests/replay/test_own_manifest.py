from __future__ import annotations

from dataclasses import replace

import pytest

from signalstudy.replay.grounds import lay_grounds
from signalstudy.replay.named_metrics import named_metrics, pooled
from signalstudy.replay.recorded import replay_policy
from signalstudy.scalers.export import export
from signalstudy.vocabulary.errors import ConfigurationError
from tests.replay import planted

QUERIES = {
    "decode.decode_tokens_per_second": 'sum(rate(vllm:generation_tokens_total{pool="decode"}[1m]))',
    "decode.up": 'up{pool="decode"}',
    "prefill.up": 'up{pool="prefill"}',
    "decode.replicas": 'kube_deployment_status_replicas{deployment="decode"}',
    "prefill.replicas": 'kube_deployment_status_replicas{deployment="prefill"}',
}


def drafted():
    refs = {
        pool: {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"chat-{pool}"}
        for pool in ("decode", "prefill")
    }
    pools = {pool: planted.rule(out=60, back=600, targetRef=ref) for pool, ref in refs.items()}
    return planted.split_policy(pools=pools)


@pytest.mark.parametrize("scaler", ["hpa", "keda"])
def test_what_a_policy_is_exported_to_costs_about_what_the_policy_costs(scaler, tmp_path):
    policy = drafted()
    path = tmp_path / f"{scaler}.yaml"
    path.write_text(export(policy, scaler, QUERIES))
    service = planted.disaggregated(planted.day(16000.0, hours=12.0), 8.0)
    replay = replay_policy(policy, service, against=[str(path)], draws=0)
    own, exported = replay.runs[1:]
    assert exported.name == path.name
    assert "on decode.decode_tokens_per_second" in exported.given
    assert exported.scale_events.value > 10
    assert exported.gpu_hours.value == pytest.approx(own.gpu_hours.value, rel=0.1)
    assert exported.slo_attainment_ratio.value == pytest.approx(
        own.slo_attainment_ratio.value, abs=0.02
    )


HPA = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: x}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: POOL}
  minReplicas: 1
  maxReplicas: 9
  metrics: [{type: External, external: {metric: {name: METRIC}, target: {type: Value, value: "1"}}}]
"""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kind: Deployment\n", "none of its objects can be replayed. Known: Horizontal"),
        ("a: [", "own.yaml"),
        (HPA.replace("POOL", "unified"), "none of its metrics is a signal of 'chat'"),
    ],
)
def test_a_manifest_that_cannot_be_replayed_says_why(text, sentence, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=sentence):
        replay_policy([], planted.unified(planted.steps(2800.0)), against=[str(path)], draws=0)


def test_an_object_whose_pool_cannot_be_told_is_named(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(HPA.replace("POOL", "elsewhere"))
    service = planted.disaggregated(planted.steps(4000.0))
    with pytest.raises(ConfigurationError, match="scales 'elsewhere'"):
        replay_policy([], service, against=[str(path)], draws=0)


OWN_HPA = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: decode}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: vllm-decode}
  minReplicas: 1
  maxReplicas: 30
  metrics:
    - type: External
      external: {metric: {name: DCGM_FI_DEV_GPU_UTIL}, target: {type: Value, value: "48"}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: prefill}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: vllm-prefill}
  minReplicas: 16
  maxReplicas: 16
  metrics:
    - type: Pods
      pods:
        metric: {name: vllm_num_requests_running}
        target: {type: AverageValue, averageValue: "20"}
"""

BUCKETS = "sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[3m]))"
P95 = f"histogram_quantile(0.95, {BUCKETS})"
MEAN = " / ".join(
    f"sum(rate(vllm:time_to_first_token_seconds_{part}[1m]))" for part in ("sum", "count")
)
OWN_KEDA = """
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: chat}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: chat}
  minReplicaCount: 1
  maxReplicaCount: 40
  triggers:
    - type: prometheus
      metadata:
        serverAddress: http://prometheus:9090
        threshold: "600"
        query: sum(rate(vllm:generation_tokens_total{namespace="llm"}[2m]))
"""


def test_a_manifest_may_name_its_metrics_as_the_engine_does_and_in_its_unit(tmp_path):
    path = tmp_path / "hpa.yaml"
    path.write_text(OWN_HPA)
    service = planted.disaggregated(planted.day(16000.0, hours=12.0), 13.0)
    run = replay_policy([], service, against=[str(path)], draws=0).runs[1]
    assert "decode.gpu_utilization_ratio (DCGM_FI_DEV_GPU_UTIL)" in run.given
    assert "prefill.running_requests (vllm_num_requests_running)" in run.given
    # 48 percent is 0.6 of the 80 at capacity: replicas follow work / (0.6 x 2000).
    asked = run.pools["decode"].asked_replicas[240:]
    needed = planted.day(16000.0, hours=12.0)[240:] / 1200.0
    assert abs(asked - needed).mean() < 0.15 * needed.mean()
    assert (run.pools["prefill"].asked_replicas[1:] == 16).all()


def test_a_manifest_may_hold_its_metric_in_a_query_alone(tmp_path):
    path = tmp_path / "keda.yaml"
    path.write_text(OWN_KEDA)
    service = planted.unified(planted.day(6000.0, hours=12.0), 8.0)
    run = replay_policy([], service, against=[str(path)], draws=0).runs[1]
    assert run.given.startswith("ScaledObject on unified.decode_tokens_per_second (s0)")
    asked = run.pools["unified"].asked_replicas[240:]
    needed = planted.day(6000.0, hours=12.0)[240:] / 600.0
    assert abs(asked - needed).mean() < 0.15 * needed.mean()


@pytest.mark.parametrize(
    ("name", "query", "signal", "factor", "window"),
    [
        ("x", 'sum(vllm:num_requests_waiting{pod=~"d.*"})', "waiting_requests", 1.0, 15.0),
        ("x", "avg(DCGM_FI_DEV_GPU_UTIL)", "gpu_utilization_ratio", 0.01, 15.0),
        ("x", P95, "ttft_p95_seconds", 1.0, 180.0),
        ("x", MEAN, "ttft_mean_seconds", 1.0, 60.0),
        ("unified_waiting_requests", "", "waiting_requests", 1.0, 60.0),
        ("waiting_requests", "", "waiting_requests", 1.0, 60.0),
    ],
)  # fmt: skip
def test_what_a_metric_is_told_from_its_query(name, query, signal, factor, window):
    offered = planted.steps(3000.0)
    timeline = planted.unified(offered).timeline
    pool = timeline.pools["unified"]
    known = ("waiting_requests", "gpu_utilization_ratio", "ttft_p95_seconds", "ttft_mean_seconds")
    signals = {one: planted.SignalSeries(one, "intensive", offered / 1e4) for one in known}
    pools = {"unified": replace(pool, signals=signals)}
    service = planted.unified(offered).but(timeline=replace(timeline, pools=pools))
    trigger = {"type": "prometheus", "name": name, "metadata": {"query": query, "threshold": "1"}}
    spec = {"scaleTargetRef": {"name": "chat"}, "triggers": [trigger]}
    grounds = lay_grounds(service)
    [found] = named_metrics(pooled({"kind": "ScaledObject", "spec": spec}, grounds), grounds)
    assert (found.name, found.key) == (name, f"unified.{signal}")
    assert (found.factor, found.window_seconds) == (factor, window)


def test_a_manifest_that_is_not_there_is_named(tmp_path):
    service = planted.unified(planted.steps(2800.0))
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: cannot be read"):
        replay_policy([], service, against=[str(tmp_path / "nowhere.yaml")], draws=0)
