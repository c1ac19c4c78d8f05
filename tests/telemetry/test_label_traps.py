"""One fixture for each trap of labels and names that the field sets (metrics/metric_names.md)."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.vocabulary.signals import find_source, metric_type
from tests.telemetry.test_pods import GPU, POD, engine, found, place, raw
from tests.telemetry.written import series, timeline_of

RUNNING = "vllm:num_requests_running"


def at_the_end(tmp_path, rows, signal, pool="decode"):
    values = timeline_of(tmp_path, rows).pools[pool].signals[signal].values
    return float(values[np.isfinite(values)][-1])


def flat(metric, value, **labels):
    return series(metric, [value] * 40, **labels)


def test_data_parallel_ranks_on_several_ports_of_one_pod_are_one_replica(tmp_path):
    """Each port is scraped as an instance of its own; the pod's requests are their sum."""
    rows = [
        row
        for port in (8000, 8001)
        for row in flat(RUNNING, 4, replica="", pod="p0", instance=f"10.0.0.7:{port}", engine="0")
    ]
    more = {"more": {"labels": {"replica": ["pod", "instance"]}}}
    timeline = timeline_of(tmp_path, rows, **more)
    pool = timeline.pools["decode"]
    assert pool.signals["running_requests"].values[-1] == 8
    assert pool.ready_replicas[-1] == 1


def test_tensor_parallel_ranks_say_the_same_and_count_once(tmp_path):
    rows = [
        row
        for rank in range(4)
        for row in flat("sglang:num_running_reqs", 6, tp_rank=str(rank), pp_rank="0")
    ]
    assert at_the_end(tmp_path, rows, "running_requests") == 6


def test_the_workers_of_a_replica_of_several_pods_belong_to_its_leader():
    """LeaderWorkerSet: chat-decode-0 leads, chat-decode-0-1 works; DCGM names both."""
    leader = "chat-decode-0"
    gpus = [raw(2 + i, GPU, pod=f"{leader}{n}", namespace="llm") for i, n in enumerate(("", "-1"))]
    rows = [row for row in found(engine(pod=leader), *gpus).series if row.metric == GPU]
    assert {(row.service, row.pool, row.replica) for row in rows} == {("llm/m", "decode", leader)}


def test_slices_of_one_gpu_belong_to_the_pods_that_have_them():
    slices = [
        raw(10 + i, GPU, pod=pod, namespace="llm", UUID="u0", GPU_I_ID=str(i), GPU_I_PROFILE="1g")
        for i, pod in enumerate((POD, "chat-decode-7d9f5b6c4-zzzzz"))
    ]
    told = found(engine(), engine(2, pod="chat-decode-7d9f5b6c4-zzzzz"), *slices)
    rows = [row for row in told.series if row.metric == GPU]
    assert [row.replica for row in rows] == [POD, "chat-decode-7d9f5b6c4-zzzzz"]
    assert {row.pool for row in rows} == {"decode"}


def test_several_models_behind_one_kubernetes_service_are_services_of_their_own():
    told = found(
        engine(service="inference"), engine(2, pod="b-0", model_name="n", service="inference")
    )
    assert {row.service for row in told.series} == {"llm/m", "llm/n"}


def test_during_a_rollout_old_and_new_pods_add_up(tmp_path):
    """The old version exports the old name of the cache, the new one the new."""
    rows = flat("vllm:gpu_cache_usage_perc", 0.2, replica="old")
    rows += flat("vllm:kv_cache_usage_perc", 0.4, replica="new", engine="0")
    rows += flat(RUNNING, 3, replica="old") + flat(RUNNING, 5, replica="new", engine="0")
    assert at_the_end(tmp_path, rows, "running_requests") == 8
    assert at_the_end(tmp_path, rows, "kv_cache_usage_ratio") == pytest.approx(0.3)


def test_cluster_state_without_a_model_is_joined_by_its_pods():
    metric = "kube_deployment_status_replicas_ready"
    owner = raw(3, metric, deployment="chat-decode", namespace="llm", instance="ksm:8080")
    assert place(found(engine(), owner), metric) == ("llm/m", "decode", None)


@pytest.mark.parametrize(
    "labels",
    [
        {"pod": POD, "namespace": "llm", "Hostname": "node7"},
        {"pod": POD, "namespace": "llm", "hostname": "node7", "pci_bus_id": "0"},
        {"exported_pod": POD, "exported_namespace": "llm", "pod": "dcgm-x", "namespace": "gpu"},
    ],
)
def test_gpus_are_joined_whatever_the_exporter_calls_its_labels(labels):
    gpu = raw(2, GPU, instance="node7:9400", **labels)
    assert place(found(engine(), gpu), GPU) == ("llm/m", "decode", POD)


@pytest.mark.parametrize(
    ("metric", "type_"),
    [("vllm:iteration_tokens_total", "histogram"), ("sglang:lora_pool_slots_total", "gauge")],
)
def test_names_that_end_in_total_are_not_all_counters(metric, type_):
    assert metric_type(metric) == type_


def test_pipelines_rewrite_the_colon_and_drop_the_suffix():
    names = (
        "vllm:generation_tokens_total",
        "vllm_generation_tokens_total",
        "vllm:generation_tokens",
    )
    first, *others = (find_source(name) for name in names)
    assert first
    assert all(other == first for other in others)


def test_the_instant_of_creation_is_no_counter():
    assert find_source("vllm:generation_tokens_created") == ()


def test_a_name_that_ends_in_perc_may_be_a_ratio(tmp_path):
    assert at_the_end(
        tmp_path, flat("vllm:kv_cache_usage_perc", 0.7), "kv_cache_usage_ratio"
    ) == pytest.approx(0.7)


def test_utilization_is_percent_and_profiling_a_ratio(tmp_path):
    rows = flat(GPU, 70.0) + flat("DCGM_FI_PROF_SM_ACTIVE", 0.3)
    assert at_the_end(tmp_path, rows, "gpu_utilization_ratio") == pytest.approx(0.7)
    assert at_the_end(tmp_path, rows, "sm_activity_ratio") == pytest.approx(0.3)


def test_streaming_and_other_requests_add_up(tmp_path):
    rows = [
        row
        for is_streaming in ("true", "false")
        for row in series(
            "sglang:generation_tokens_total",
            [30.0 * i for i in range(40)],
            is_streaming=is_streaming,
        )
    ]
    assert at_the_end(tmp_path, rows, "decode_tokens_per_second") == pytest.approx(6.0)
