"""GPUs and cluster state find their pool through the pods that the engines name."""

from __future__ import annotations

import json
from pathlib import Path

from signalstudy.config import parse_config
from signalstudy.telemetry.discover import RawSeries, discover

GPU, READY = "DCGM_FI_DEV_GPU_UTIL", "kube_pod_status_ready"
POD = "chat-decode-7d9f5b6c4-x2x9k"


def raw(key, metric, **labels):
    said = json.dumps({name.rstrip("_"): value for name, value in labels.items()})
    return RawSeries(key, 1, "prometheus", "production", metric, None, said, 10)


def found(*series, **labels):
    labels = {"service": ["namespace", "model_name"]} | labels
    document = {
        "study": {"name": "fleet"},
        "sources": [{"kind": "tsdb", "path": "x"}],
        "labels": labels,
    }
    return discover(series, parse_config(document, place="study.toml", folder=Path()))


def engine(key=1, pod=POD, model_name="m", **labels):
    return raw(
        key,
        "vllm:num_requests_running",
        pod=pod,
        namespace="llm",
        model_name=model_name,
        pool="decode",
        **labels,
    )


def place(discovery, metric):
    [row] = [row for row in discovery.series if row.metric == metric]
    return row.service, row.pool, row.replica


def test_a_gpu_is_joined_by_its_pod():
    gpu = raw(2, GPU, pod=POD, namespace="llm", instance="node7:9400", Hostname="node7")
    assert place(found(engine(), gpu), GPU) == ("llm/m", "decode", POD)


def test_a_gpu_is_joined_by_the_pod_that_the_scrape_has_pushed_aside():
    gpu = raw(
        2, GPU, pod="dcgm-1", namespace="gpu-operator", exported_pod=POD, exported_namespace="llm"
    )
    assert place(found(engine(), gpu), GPU) == ("llm/m", "decode", POD)


def test_cluster_state_is_joined_by_pod_and_by_owner():
    ready = raw(2, READY, pod=POD, namespace="llm", condition="true", instance="ksm:8080")
    assert place(found(engine(), ready), READY) == ("llm/m", "decode", POD)
    metric = "kube_deployment_status_replicas_ready"
    deployment = raw(3, metric, deployment="chat-decode", namespace="llm", instance="ksm:8080")
    assert place(found(engine(), deployment), metric) == ("llm/m", "decode", None)
    metric = "kube_statefulset_status_replicas_ready"
    owner = raw(4, metric, statefulset="chat-decode", namespace="llm", instance="ksm:8080")
    assert place(found(engine(pod="chat-decode-0"), owner), metric) == ("llm/m", "decode", None)


def test_the_same_name_in_another_namespace_is_another_pod():
    gpu = raw(2, GPU, pod=POD, namespace="elsewhere")
    told = found(engine(), gpu)
    assert place(told, GPU)[0] == "elsewhere"
    assert any("1 series of DCGM_FI_DEV_GPU_UTIL" in note for note in told.notes)


def test_a_pod_of_two_models_is_joined_to_neither():
    gpu = raw(3, GPU, pod=POD, namespace="llm")
    told = found(engine(), engine(2, model_name="n"), gpu)
    assert any("several services share" in note for note in told.notes)


def test_pods_of_strangers_are_counted():
    gpu = raw(2, GPU, pod="training-0", namespace="llm")
    assert any("no engine's series name" in note for note in found(engine(), gpu).notes)


def test_what_says_its_place_itself_keeps_it():
    gpu = raw(2, GPU, pod=POD, service="other", pool="prefill")
    told = found(
        raw(1, "vllm:num_requests_running", pod=POD, service="chat", pool="decode"),
        gpu,
        service="service",
    )
    assert place(told, GPU) == ("other", "prefill", POD)


def test_two_gpus_of_a_pod_are_two_series_of_one_replica():
    gpus = [raw(2 + i, GPU, pod=POD, namespace="llm", gpu=str(i), UUID=f"u{i}") for i in (0, 1)]
    rows = [row for row in found(engine(), *gpus).series if row.metric == GPU]
    assert [row.replica for row in rows] == [POD, POD]


def test_pods_of_two_versions_during_a_rollout_are_two_replicas_of_one_pool():
    new = "chat-decode-66f8c9d7b-p0p1q"
    rows = found(engine(), engine(2, pod=new)).series
    assert {(row.service, row.pool) for row in rows} == {("llm/m", "decode")}
    assert {row.replica for row in rows} == {POD, new}
