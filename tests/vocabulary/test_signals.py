from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalstudy.vocabulary.errors import UnknownNameError
from signalstudy.vocabulary.signals import (
    LATENCY_STATISTICS,
    catalogue_rows,
    find_source,
    metric_type,
    quantities,
    signal,
    signals,
    source_metrics,
)
from signalstudy.vocabulary.units import unit_of

CONTRACT = [
    "prefill_tokens_per_second",
    "prefill_uncached_tokens_per_second",
    "decode_tokens_per_second",
    "requests_per_second",
    "gpu_utilization_ratio",
    "sm_activity_ratio",
    "dram_activity_ratio",
    "tensor_activity_ratio",
    "gpu_power_watts",
    *[
        f"{family}_{statistic}_seconds"
        for family in ("ttft", "tbt", "e2e", "queue_wait")
        for statistic in ("p50", "p90", "p95", "p99", "mean")
    ],
    "waiting_requests",
    "running_requests",
    "inflight_tokens",
    "kv_cache_usage_ratio",
    "prefix_cache_hit_ratio",
    "ready_replicas",
    "starting_replicas",
    "offered_requests_per_second",
    "offered_prefill_tokens_per_second",
    "offered_prefill_uncached_tokens_per_second",
    "offered_decode_tokens_per_second",
]


def the_source(metric):
    (source,) = find_source(metric)
    return source


def test_the_signals_are_those_of_the_contract_in_its_order():
    assert list(signals()) == CONTRACT


def test_every_signal_ends_in_its_unit():
    for row in signals().values():
        assert row.unit, row.name
        assert row.unit == unit_of(row.name)


def test_demand_and_state_are_never_candidates_and_all_else_is():
    never = {name for name, row in signals().items() if not row.is_candidate}
    assert never == {name for name in CONTRACT if name.startswith("offered_")} | {
        "ready_replicas",
        "starting_replicas",
    }


def test_what_is_counted_adds_over_replicas_and_what_is_a_state_of_one_does_not():
    for name, row in signals().items():
        adds = row.unit in ("tokens/s", "requests/s", "tokens", "requests", "replicas")
        assert row.kind == ("total" if adds else "intensive"), name


def test_an_unknown_signal_is_told_what_there_is():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'decode_tokens_per_second'\?"):
        signal("decode_token_per_second")


def test_every_source_metric_yields_something_known_in_the_right_form():
    forms = {"counter": {"count", "distribution"}, "histogram": {"distribution"}}
    for source in source_metrics():
        if source.type == "gauge":
            assert source.yields in signals(), source.name
        else:
            assert quantities()[source.yields].form in forms[source.type], source.name


def test_every_quantity_gives_a_signal_a_latency_family_or_nothing():
    for row in quantities().values():
        known = {"", *signals(), "ttft", "tbt", "e2e", "queue_wait"}
        assert row.signal in known, row.name
        if row.form == "count" and row.signal in signals():
            assert unit_of(row.signal) in (f"{row.unit}/s", "ratio"), row.name


def test_every_quantity_is_yielded_by_some_metric():
    assert {source.yields for source in source_metrics()} >= set(quantities())


def test_every_candidate_and_state_has_a_metric_and_every_metric_is_shown():
    shown = {row["signal"]: row["metrics"] for row in catalogue_rows()}
    assert list(shown) == CONTRACT
    for name, row in signals().items():
        if row.is_candidate or row.group == "state":
            assert shown[name], name
    assert "DCGM_FI_DEV_GPU_UTIL x 0.01" in shown["gpu_utilization_ratio"]
    assert (
        'vllm:prompt_tokens_by_source_total{source="local_compute"}'
        in (shown["prefill_uncached_tokens_per_second"])
    )


def test_a_sum_of_seconds_without_buckets_gives_a_mean_and_no_quantile():
    shown = {row["signal"]: row["metrics"] for row in catalogue_rows()}
    assert "nv_inference_request_duration_us x 1e-06" in shown["e2e_mean_seconds"]
    assert "nv_inference_request_duration_us" not in shown["e2e_p99_seconds"]


def test_names_of_equal_precedence_are_told_apart_by_labels_or_are_parts_of_a_whole():
    parts = {
        *[f"sglang:num_{name}_queue_reqs" for name in ("prefill_bootstrap", "prefill_inflight")],
        *[f"sglang:num_{name}_queue_reqs" for name in ("decode_prealloc", "decode_transfer")],
        "sglang:num_queue_reqs",
        "llm_d_epp_per_endpoint_queue_size",
        "llm_d_epp_flow_control_queue_size",
        "kube_deployment_status_replicas_ready",
        "kube_statefulset_status_replicas_ready",
        "dynamo_planner_engine_queued_decode_kv_tokens",
        "dynamo_planner_engine_inflight_decode_kv_tokens",
    }
    rivals = defaultdict(set)
    for source in source_metrics():
        family = source.engine.split()[0] if source.scope == "engine" else ""
        rivals[family, source.scope, source.yields, source.pool, source.precedence].add(source.name)
    for key, names in rivals.items():
        assert len(names) == 1 or names <= parts, key


def test_no_two_metrics_share_a_name_once_pipelines_have_rewritten_it():
    owners = defaultdict(set)
    for source in source_metrics():
        for name in (source.name, *source.aliases):
            for part in ("", "_bucket", "_sum", "_count") if source.type == "histogram" else ("",):
                owners[(name + part).replace(":", "_").removesuffix("_total")].add(source.name)
    assert {key: names for key, names in owners.items() if len(names) > 1} == {}


@given(source=st.sampled_from(source_metrics()), colon=st.booleans(), total=st.booleans())
def test_a_metric_is_found_under_every_name_that_pipelines_give_it(source, colon, total):
    name = source.name if colon else source.name.replace(":", "_")
    if source.type == "counter":
        name = name.removesuffix("_total") + ("_total" if total else "")
    assert source in find_source(name)
    assert metric_type(name) == source.type


@given(source=st.sampled_from([row for row in source_metrics() if row.type == "histogram"]))
def test_a_histogram_is_found_by_each_of_its_parts(source):
    for part in ("_bucket", "_sum", "_count"):
        assert source in find_source(source.name + part)


@given(source=st.sampled_from(source_metrics()))
def test_a_created_instant_is_never_taken_for_its_metric(source):
    created = source.name.removesuffix("_total") + "_created"
    assert find_source(created) == ()
    assert metric_type(created) is None


def test_an_unknown_metric_is_not_guessed_at():
    assert find_source("node_cpu_seconds_total") == ()
    assert metric_type("node_cpu_seconds_total") == "counter"
    assert metric_type("some_gauge") is None


# --- the traps of names ---------------------------------------------------------------------------


def test_the_histogram_that_ends_in_total_is_a_histogram_and_the_gauge_is_a_gauge():
    for part in ("", "_bucket", "_sum", "_count"):
        assert metric_type("vllm:iteration_tokens_total" + part) == "histogram"
        assert find_source("vllm:iteration_tokens_total" + part) == ()
    assert metric_type("sglang:lora_pool_slots_total") == "gauge"


def test_percent_is_scaled_only_where_it_is_percent():
    assert the_source("DCGM_FI_DEV_GPU_UTIL").factor == 0.01
    for name in (
        "DCGM_FI_PROF_SM_ACTIVE",
        "vllm:kv_cache_usage_perc",
        "vllm:gpu_cache_usage_perc",
        "dynamo_component_gpu_cache_usage_percent",
        "nv_gpu_utilization",
    ):
        assert the_source(name).factor == 1.0


def test_times_come_in_seconds():
    assert the_source("dynamo_planner_observed_ttft_ms").factor == 0.001
    assert the_source("nv_inference_queue_duration_us").factor == 1e-6
    for source in source_metrics():
        if source.name.endswith("_seconds"):
            assert source.factor == 1.0, source.name
    assert find_source("vllm:model_forward_time_milliseconds") == ()


def test_of_two_names_for_the_kv_cache_one_goes_first():
    new, old = the_source("vllm:kv_cache_usage_perc"), the_source("vllm:gpu_cache_usage_perc")
    assert new.yields == old.yields == "kv_cache_usage_ratio"
    assert new.precedence < old.precedence


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_tbt_of_a_request_goes_before_tbt_of_a_token(engine):
    request = the_source(f"{engine}:request_time_per_output_token_seconds")
    token = the_source(f"{engine}:inter_token_latency_seconds")
    assert (request.yields, token.yields) == ("tbt", "tbt")
    assert (request.per_token, token.per_token) == (False, True)
    assert request.precedence < token.precedence


def test_an_aborted_request_is_not_counted_as_finished():
    for name, label in (
        ("vllm:request_success_total", {"finished_reason": "abort"}),
        ("dynamo_frontend_requests_total", {"status": "error"}),
    ):
        told = {row.yields for row in find_source(name) if row.is_told_by(label)}
        assert told == {"aborted_requests"}
        for labels in ({}, {"finished_reason": "stop"}, {"status": "success"}):
            told = {row.yields for row in find_source(name) if row.is_told_by(labels)}
            assert told == {"finished_requests"}


def test_uncached_tokens_need_the_label_that_says_so():
    vllm = the_source("vllm:prompt_tokens_by_source_total")
    assert vllm.is_told_by({"source": "local_compute", "engine": "0"})
    assert not vllm.is_told_by({"source": "local_cache_hit"})
    assert not vllm.is_told_by({})
    sglang = the_source("sglang:realtime_tokens_total")
    assert sglang.is_told_by({"mode": "prefill_compute"})
    assert not sglang.is_told_by({"mode": "prefill_cache"})


def test_triton_tells_running_from_waiting_by_a_label():
    told = {
        kind: {
            row.yields
            for row in find_source("nv_trt_llm_request_metrics")
            if row.is_told_by({"request_type": kind})
        }
        for kind in ("scheduled", "waiting", "max")
    }
    assert told == {
        "scheduled": {"running_requests"},
        "waiting": {"waiting_requests"},
        "max": set(),
    }


def test_token_rates_of_dynamo_come_from_the_frontend():
    prompt = the_source("dynamo_frontend_input_sequence_tokens_sum")
    output = the_source("dynamo_frontend_output_tokens_total")
    assert (prompt.yields, prompt.scope) == ("prompt_tokens_per_request", "gateway")
    assert (output.yields, output.scope) == ("decode_tokens", "gateway")


def test_a_worker_of_dynamo_counts_only_what_it_generates():
    source = the_source("dynamo_work_handler_requests_total")
    assert source == the_source("dynamo_component_requests_total")
    assert source.is_told_by({"dynamo_endpoint": "generate"})
    assert not source.is_told_by({"dynamo_endpoint": "worker_kv_query_source_1"})


def test_the_encoding_time_that_is_called_queue_time_is_left_out():
    assert find_source("dynamo_request_plane_queue_seconds") == ()


def test_the_router_that_counts_a_request_once_a_phase_is_left_out():
    assert find_source("dynamo_component_router_requests_started_total") == ()


def test_tokens_in_flight_count_only_at_endpoints_that_live():
    source = the_source("llm_d_epp_inflight_tokens")
    assert source.live_with == "llm_d_epp_per_endpoint_queue_size"
    assert find_source(source.live_with)


def test_the_planner_tells_each_pool_its_replicas():
    for pool in ("prefill", "decode"):
        source = the_source(f"dynamo_planner_num_{pool}_replicas")
        assert (source.pool, source.scope, source.yields) == (pool, "state", "ready_replicas")


def test_old_and_new_names_of_the_endpoint_picker_never_add():
    for new, old in (
        ("llm_d_epp_request_total", "inference_objective_request_total"),
        ("llm_d_epp_request_input_tokens", "inference_objective_input_tokens"),
        ("llm_d_epp_average_queue_size", "inference_pool_average_queue_size"),
        ("llm_d_epp_ready_endpoints", "inference_pool_ready_pods"),
    ):
        assert the_source(new).yields == the_source(old).yields
        assert the_source(new).precedence < the_source(old).precedence


def test_statistics_of_latency_are_those_of_the_contract():
    assert LATENCY_STATISTICS == ("p50", "p90", "p95", "p99", "mean")
