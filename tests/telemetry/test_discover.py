"""What each engine's metrics mean, from a few samples of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from signalstudy.timeline.align import align
from tests.telemetry.written import as_dump, read, sample, study, written

if TYPE_CHECKING:
    from pathlib import Path

    from signalstudy.timeline.timeline import Timeline

STEPS = 30


def grown(metric: str, per_step: float, **labels: str) -> list[dict[str, Any]]:
    """Give a counter that grows by as much every 10 s."""
    return [sample(metric, 10.0 * i, per_step * i, **labels) for i in range(STEPS)]


def flat(metric: str, value: float, **labels: str) -> list[dict[str, Any]]:
    return [sample(metric, 10.0 * i, value, **labels) for i in range(STEPS)]


def histogram(metric: str, every: dict[str, float], mean: float, **labels: str):
    """Give a histogram with so many observations a step up to each edge."""
    rows = [row for le, n in every.items() for row in grown(f"{metric}_bucket", n, le=le, **labels)]
    number = every["+Inf"]
    rows += grown(f"{metric}_count", number, **labels)
    return rows + grown(f"{metric}_sum", number * mean, **labels)


def dumped(folder: Path, rows: list[dict[str, Any]], **more: Any) -> Timeline:
    file = written(folder, as_dump(rows), "dump.txt")
    timeline = align(read(folder, study({"kind": "tsdb-dump", "path": file}, **more)), "chat")
    assert timeline is not None
    return timeline


def values(timeline: Timeline) -> dict[str, float]:
    """Give the middle value of every signal of every pool."""
    return {
        f"{pool.pool}.{name}": float(np.median(known))
        for pool in timeline.pools.values()
        for name, signal in pool.signals.items()
        if (known := signal.values[np.isfinite(signal.values)]).size
    }


LATENCY = {"0.1": 10.0, "0.5": 15.0, "+Inf": 20.0}
ENGINES = {
    "vLLM V1": (
        grown("vllm:generation_tokens_total", 500)
        + grown("vllm:prompt_tokens_total", 900)
        + grown("vllm:prompt_tokens_by_source_total", 300, source="local_compute")
        + grown("vllm:prompt_tokens_by_source_total", 600, source="local_cache_hit")
        + grown("vllm:request_success_total", 15, finished_reason="stop")
        + grown("vllm:request_success_total", 5, finished_reason="length")
        + grown("vllm:request_success_total", 2, finished_reason="abort")
        + grown("vllm:prefix_cache_queries_total", 100)
        + grown("vllm:prefix_cache_hits_total", 25)
        + flat("vllm:num_requests_waiting", 3)
        + flat("vllm:num_requests_waiting_by_reason", 3, reason="capacity")
        + flat("vllm:kv_cache_usage_perc", 0.25)
        + flat("vllm:gpu_cache_usage_perc", 0.25)
        + histogram("vllm:request_time_per_output_token_seconds", LATENCY, 0.2)
        + histogram("vllm:inter_token_latency_seconds", {"0.1": 100.0, "+Inf": 400.0}, 0.02),
        {
            "decode.decode_tokens_per_second": 50,
            "decode.prefill_tokens_per_second": 90,
            "decode.prefill_uncached_tokens_per_second": 30,
            "decode.requests_per_second": 2,
            "decode.prefix_cache_hit_ratio": 0.25,
            "decode.waiting_requests": 3,
            "decode.kv_cache_usage_ratio": 0.25,
            "decode.tbt_p50_seconds": 0.1,
            "decode.tbt_mean_seconds": 0.2,
        },
    ),
    "vLLM V0": (
        flat("vllm:gpu_cache_usage_perc", 0.5)
        + flat("vllm:avg_generation_throughput_toks_per_s", 70)
        + flat("vllm:gpu_prefix_cache_hit_rate", 0.3)
        + histogram("vllm:time_in_queue_requests", LATENCY, 0.2),
        {
            "decode.kv_cache_usage_ratio": 0.5,
            "decode.decode_tokens_per_second": 70,
            "decode.prefix_cache_hit_ratio": 0.3,
            "decode.queue_wait_mean_seconds": 0.2,
            "decode.queue_wait_p50_seconds": 0.1,
        },
    ),
    "SGLang": (
        flat("sglang:num_running_reqs", 8)
        + flat("sglang:num_queue_reqs", 2)
        + flat("sglang:num_decode_prealloc_queue_reqs", 1)
        + flat("sglang:token_usage", 0.4)
        + flat("sglang:gen_throughput", 999)
        + grown("sglang:generation_tokens_total", 500)
        + grown("sglang:prompt_tokens_total", 900)
        + grown("sglang:cached_tokens_total", 400)
        + histogram("sglang:time_to_first_token_seconds", LATENCY, 0.3),
        {
            "decode.running_requests": 8,
            "decode.waiting_requests": 3,
            "decode.kv_cache_usage_ratio": 0.4,
            "decode.decode_tokens_per_second": 50,
            "decode.prefill_uncached_tokens_per_second": 50,
            "decode.ttft_mean_seconds": 0.3,
        },
    ),
    "TensorRT-LLM": (
        flat("trtllm_kv_cache_utilization", 0.6)
        + grown("trtllm_prompt_tokens_total", 900)
        + grown("trtllm_prompt_cached_tokens_total", 300)
        + grown("trtllm_generation_tokens_total", 500)
        + histogram("trtllm_time_per_output_token_seconds", LATENCY, 0.04),
        {
            "decode.kv_cache_usage_ratio": 0.6,
            "decode.prefill_uncached_tokens_per_second": 60,
            "decode.decode_tokens_per_second": 50,
            "decode.tbt_mean_seconds": 0.04,
        },
    ),
    "Triton": (
        flat("nv_trt_llm_request_metrics", 4, request_type="scheduled")
        + flat("nv_trt_llm_request_metrics", 6, request_type="waiting")
        + grown("nv_inference_request_success", 20)
        + grown("nv_inference_request_duration_us", 20 * 500_000),
        {
            "decode.running_requests": 4,
            "decode.waiting_requests": 6,
            "decode.requests_per_second": 2,
            "decode.e2e_mean_seconds": 0.5,
        },
    ),
    "TGI": (
        flat("tgi_batch_current_size", 5)
        + flat("tgi_queue_size", 1)
        + grown("tgi_request_success", 20)
        + histogram("tgi_request_generated_tokens", {"64": 10.0, "+Inf": 20.0}, 40)
        + histogram("tgi_request_input_length", {"64": 10.0, "+Inf": 20.0}, 90),
        {
            "decode.running_requests": 5,
            "decode.waiting_requests": 1,
            "decode.requests_per_second": 2,
            "decode.decode_tokens_per_second": 80,
            "decode.prefill_tokens_per_second": 180,
        },
    ),
    "Dynamo frontend": (
        grown("dynamo_frontend_output_tokens_total", 500, pool="frontend")
        + grown("dynamo_frontend_requests_total", 20, pool="frontend", status="success")
        + grown("dynamo_frontend_requests_total", 3, pool="frontend", status="error")
        + histogram("dynamo_frontend_input_sequence_tokens", LATENCY, 45, pool="frontend")
        + flat("vllm:num_requests_running", 4),
        {
            "gateway.decode_tokens_per_second": 50,
            "gateway.requests_per_second": 2,
            "gateway.prefill_tokens_per_second": 90,
            "decode.running_requests": 4,
        },
    ),
    "DCGM exporter": (
        flat("DCGM_FI_DEV_GPU_UTIL", 80, gpu="0")
        + flat("DCGM_FI_DEV_GPU_UTIL", 40, gpu="1")
        + flat("DCGM_FI_PROF_SM_ACTIVE", 0.3, gpu="0")
        + flat("DCGM_FI_DEV_POWER_USAGE", 400, gpu="0")
        + flat("DCGM_FI_DEV_POWER_USAGE", 9223372036854775794, gpu="1")
        + flat("DCGM_FI_PROF_DRAM_ACTIVE", 2147483632.0, gpu="0"),
        {
            "decode.gpu_utilization_ratio": 0.6,
            "decode.sm_activity_ratio": 0.3,
            "decode.gpu_power_watts": 400,
        },
    ),
    "llm-d EPP": (
        flat("llm_d_epp_average_kv_cache_utilization", 0.7, pool="gateway")
        + grown("llm_d_epp_request_total", 20, pool="gateway")
        + histogram("llm_d_epp_request_ttft_seconds", LATENCY, 0.2, pool="gateway")
        + histogram("inference_objective_request_ttft_seconds", LATENCY, 0.9, pool="gateway"),
        {"gateway.kv_cache_usage_ratio": 0.7, "gateway.ttft_mean_seconds": 0.2},
    ),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_is_understood(tmp_path, engine):
    rows, expected = ENGINES[engine]
    found = values(dumped(tmp_path, rows))
    for name, value in expected.items():
        assert found.get(name) == pytest.approx(value), name


def test_per_token_histograms_yield_to_per_request_ones_and_are_told_where_they_stand_alone(
    tmp_path,
):
    rows = histogram("vllm:inter_token_latency_seconds", {"0.1": 100.0, "+Inf": 400.0}, 0.02)
    timeline = dumped(tmp_path, rows)
    assert values(timeline)["decode.tbt_mean_seconds"] == pytest.approx(0.02)
    assert any("one observation a token" in row.note for row in timeline.quality)


def test_blank_gpu_values_are_unavailable_and_not_zero(tmp_path):
    rows, _ = ENGINES["DCGM exporter"]
    timeline = dumped(tmp_path, rows)
    assert "dram_activity_ratio" not in timeline.pools["decode"].signals
    assert any("sentinel" in row.note for row in timeline.quality)


def test_replicas_come_from_kube_state_metrics_where_they_are_told(tmp_path):
    rows = flat("vllm:num_requests_running", 4)
    rows += flat("kube_deployment_status_replicas_ready", 3, deployment="a")
    rows += flat("kube_deployment_status_replicas_ready", 2, deployment="b")
    rows += flat("kube_pod_status_ready", 1, condition="true", pod="p")
    pool = dumped(tmp_path, rows).pools["decode"]
    assert set(pool.ready_replicas[np.isfinite(pool.ready_replicas)]) == {5.0}
    assert pool.replicas_source == "kube_deployment_status_replicas_ready"


def test_several_labels_make_one_service(tmp_path):
    rows = [
        {k: v for k, v in row.items() if k != "service"}
        for row in flat("vllm:num_requests_running", 4, namespace="llm", model_name="m/8b")
    ]
    labels = {"service": ["namespace", "model_name", "tenant"]}
    file = written(tmp_path, rows)
    assert read(tmp_path, study(file, labels=labels)).services == ("llm/m/8b",)


def test_no_service_label_means_the_name_of_the_study(tmp_path):
    rows = [
        {k: v for k, v in row.items() if k != "service"}
        for row in flat("vllm:num_requests_running", 4)
    ]
    assert read(tmp_path, study(written(tmp_path, rows), name="mine")).services == ("mine",)


def test_pools_can_be_told_by_any_label(tmp_path):
    rows = [
        {k: v for k, v in row.items() if k != "pool"}
        for job in ("vllm-prefill-0", "vllm-decode-0", "vllm-other")
        for row in flat("vllm:num_requests_running", 4, job=job, replica=job)
    ]
    pools = {"prefill": {"job": "vllm-prefill.*"}, "decode": {"job": "vllm-decode.*"}}
    timeline = dumped(tmp_path, rows, labels={"pools": pools})
    assert set(timeline.pools) == {"prefill", "decode", "unified"}


def test_a_pool_that_is_none_of_ours_is_an_error_in_tables_and_set_aside_in_dumps(tmp_path):
    rows = flat("vllm:num_requests_running", 4)
    rows += flat("vllm:num_requests_running", 9, pool="rack-7")
    timeline = dumped(tmp_path, rows)
    assert values(timeline)["decode.running_requests"] == 4
    assert any("[labels.pools]" in row.note for row in timeline.quality)


def test_tensor_parallel_ranks_are_copies_and_data_parallel_ones_parts(tmp_path):
    rows = [
        row
        for rank in ("0", "1")
        for engine in ("0", "1", "2")
        for row in grown("vllm:generation_tokens_total", 100, tp_rank=rank, engine=engine)
    ]
    timeline = dumped(tmp_path, rows)
    assert values(timeline)["decode.decode_tokens_per_second"] == pytest.approx(30)
    assert timeline.pools["decode"].ready_replicas[5] == 1


def test_of_the_servers_of_an_ha_pair_one_is_read_for_each_service(tmp_path):
    rows = [
        {**row, "prometheus_replica": server}
        for server in ("prom-a", "prom-b")
        for row in grown("vllm:generation_tokens_total", 500)[: 30 if server == "prom-b" else 20]
    ]
    rows += [
        {**row, "prometheus_replica": "prom-x", "service": "code"}
        for row in grown("vllm:generation_tokens_total", 70)
    ]
    telemetry = read(tmp_path, study(written(tmp_path, rows)))
    chat, code = align(telemetry, "chat"), align(telemetry, "code")
    assert values(chat)["decode.decode_tokens_per_second"] == pytest.approx(50)
    assert chat.time_seconds.size == 29
    assert values(code)["decode.decode_tokens_per_second"] == pytest.approx(7)
    assert any("only 'prom-b' is read" in row.note for row in chat.quality)


def test_a_pool_total_beside_its_replicas_does_not_count_twice(tmp_path):
    rows = grown("vllm:generation_tokens_total", 100, replica="d0")
    rows += grown("vllm:generation_tokens_total", 150, replica="d1")
    rows += [
        {k: v for k, v in row.items() if k != "replica"}
        for row in grown("vllm:generation_tokens_total", 250)
    ]
    assert values(dumped(tmp_path, rows))["decode.decode_tokens_per_second"] == pytest.approx(25)


def test_mixed_hardware_is_told(tmp_path):
    rows = flat("DCGM_FI_DEV_GPU_UTIL", 50, replica="d0", modelName="H100")
    rows += flat("DCGM_FI_DEV_GPU_UTIL", 50, replica="d1", modelName="H200")
    timeline = dumped(tmp_path, rows)
    assert timeline.pools["decode"].hardware == ("H100", "H200")
    assert any("mixed: H100, H200" in row.note for row in timeline.quality)


def test_what_is_left_out_is_counted(tmp_path):
    rows = flat("vllm:num_requests_running", 4) + flat("mine", 1, a="1") + flat("mine", 1, a="2")
    telemetry = read(tmp_path, study(written(tmp_path, rows)))
    assert telemetry.left_out == {"mine": 2}
