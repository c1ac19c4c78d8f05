"""The cascade of demand: each rung is reached when those above are taken away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from signalstudy.timeline.align import align
from signalstudy.vocabulary.errors import TableError
from tests.telemetry.written import START, iso, read, sample, study, written

STEPS = 400
REQUESTS_PER_SECOND = 2.0
PROMPT, CACHED, OUTPUT = 100.0, 40.0, 25.0
OF_PREFILL = {"pool": "prefill", "replica": "p0"}


def grown(metric: str, per_second: float, **labels: str) -> list[dict[str, Any]]:
    return [sample(metric, 10.0 * i, 10.0 * per_second * i, **labels) for i in range(STEPS)]


def flat(metric: str, value: float, **labels: str) -> list[dict[str, Any]]:
    return [sample(metric, 10.0 * i, value, **labels) for i in range(STEPS)]


def request_log(**more: Any) -> list[dict[str, Any]]:
    return [
        {
            "arrived_at": iso(START + i / REQUESTS_PER_SECOND),
            "prompt_tokens": PROMPT,
            "output_tokens": OUTPUT,
            **more,
        }
        for i in range(int(10 * STEPS * REQUESTS_PER_SECOND))
    ]


GATEWAY = {"pool": "gateway", "replica": "g0"}
SOURCES = {
    "offered tokens": flat("offered_decode_tokens_per_second", 50.0)
    + flat("offered_prefill_tokens_per_second", 200.0),
    "gateway tokens": grown("dynamo_frontend_input_sequence_tokens_sum", 200.0, **GATEWAY)
    + grown("dynamo_frontend_input_sequence_tokens_count", 2.0, **GATEWAY)
    + grown("dynamo_frontend_cached_tokens_sum", 80.0, **GATEWAY)
    + grown("dynamo_frontend_cached_tokens_count", 2.0, **GATEWAY)
    + grown("dynamo_frontend_output_sequence_tokens_sum", 50.0, **GATEWAY)
    + grown("dynamo_frontend_output_sequence_tokens_count", 2.0, **GATEWAY),
    "arrivals": grown("dynamo_frontend_requests_started_total", 2.0, **GATEWAY),
    "engine": grown("vllm:request_success_total", 2.0)
    + flat("vllm:num_requests_running", 8)
    + grown("vllm:request_success_total", 2.0, **OF_PREFILL)
    + flat("vllm:num_requests_running", 8, **OF_PREFILL),
    "decode tokens": grown("vllm:generation_tokens_total", 50.0),
    "prefill tokens": grown("vllm:prompt_tokens_total", 200.0, **OF_PREFILL),
    "state": flat("kv_cache_usage_ratio", 0.5) + flat("kv_cache_usage_ratio", 0.5, **OF_PREFILL),
}
EVERYTHING = tuple(SOURCES)


def demands(folder, *names: str, log: list[dict[str, Any]] | None = None):
    rows = [row for name in names for row in SOURCES[name]]
    sources: list[Any] = [written(folder, rows)] if rows else []
    if log:
        sources.append({"kind": "requests", "path": written(folder, log, "requests.csv")})
    timeline = align(read(folder, study(*sources)), "chat")
    return {
        name: (
            pool.demand.source,
            float(np.nanmedian(pool.demand.per_second)),
            pool.demand.unit,
            pool.demand.same_as,
        )
        for name, pool in timeline.pools.items()
        if pool.demand is not None
    }


NONE: frozenset[str] = frozenset()
MADE_OF = {"engine_arrivals": frozenset({"requests_per_second"})}
"""Which signals a source of demand was made of: they are not judged against it."""


@pytest.mark.parametrize(
    ("names", "decode", "prefill"),
    [
        (EVERYTHING, ("gateway_tokens", 50.0), ("gateway_tokens", 120.0)),
        (EVERYTHING[1:], ("gateway_tokens", 50.0), ("gateway_tokens", 120.0)),
        (EVERYTHING[2:], ("gateway_arrivals", 50.0), ("gateway_arrivals", 200.0)),
        (EVERYTHING[3:], ("engine_arrivals", 50.0), ("engine_arrivals", 200.0)),
        (EVERYTHING[4:], ("served_other_pool", 200.0), ("served_other_pool", 50.0)),
    ],
    ids=["offered", "gateway tokens", "gateway arrivals", "engine arrivals", "the other pool"],
)
def test_each_rung_is_reached_when_those_above_are_gone(tmp_path, names, decode, prefill):
    found = demands(tmp_path, *names)
    assert found["decode"][0] == decode[0]
    assert found["decode"][1] == pytest.approx(decode[1], rel=0.01)
    assert found["prefill"][0] == prefill[0]
    assert found["prefill"][1] == pytest.approx(prefill[1], rel=0.01)
    assert found["decode"][2:] == ("tokens", MADE_OF.get(decode[0], NONE))


def test_the_request_log_comes_first_and_knows_the_cache(tmp_path):
    found = demands(tmp_path, *EVERYTHING, log=request_log(cached_prompt_tokens=CACHED))
    assert found["decode"] == ("requests", pytest.approx(50.0), "tokens", NONE)
    assert found["prefill"] == ("requests", pytest.approx(120.0), "tokens", NONE)


def test_without_cached_tokens_all_prompt_tokens_are_prefill_demand(tmp_path):
    found = demands(tmp_path, "decode tokens", "prefill tokens", log=request_log())
    assert found["prefill"][:2] == ("requests", pytest.approx(200.0))


def test_arrivals_without_any_tokens_are_demand_in_requests(tmp_path):
    found = demands(tmp_path, "arrivals", "state")
    assert found["decode"][:3] == ("offered_requests", pytest.approx(2.0), "requests")


def test_own_served_work_is_the_last_rung_and_is_named_as_the_signal_itself(tmp_path):
    found = demands(tmp_path, "decode tokens")
    assert found["decode"][0] == "served_own"
    assert found["decode"][3] == frozenset({"decode_tokens_per_second"})


def test_without_anything_demand_is_not_known_and_the_report_says_so(tmp_path):
    timeline = align(read(tmp_path, study(written(tmp_path, SOURCES["state"]))), "chat")
    assert timeline.pools["decode"].demand is None
    assert any(row.status == "failed" and "request log" in row.note for row in timeline.quality)


def test_engine_arrivals_add_what_piles_up_inside(tmp_path):
    """One request a second finishes, and one more a second stays in the queue."""
    rows = grown("vllm:request_success_total", 1.0) + grown("vllm:generation_tokens_total", 25.0)
    rows += [sample("vllm:num_requests_waiting", 10.0 * i, 10.0 * i) for i in range(STEPS)]
    timeline = align(read(tmp_path, study(written(tmp_path, rows))), "chat")
    demand = timeline.pools["decode"].demand
    assert demand.source == "engine_arrivals"
    assert np.nanmedian(demand.per_second) == pytest.approx(50.0, rel=0.01)


def test_offered_values_repeated_in_every_pool_count_once(tmp_path):
    rows = [
        {
            "timestamp": iso(START + 10 * i),
            "pool": pool,
            "offered_requests_per_second": 2.0 + i % 5,
            "kv_cache_usage_ratio": 0.5,
        }
        for i in range(50)
        for pool in ("prefill", "decode")
    ]
    timeline = align(read(tmp_path, study(written(tmp_path, rows))), "chat")
    for pool in ("prefill", "decode"):
        np.testing.assert_allclose(
            timeline.pools[pool].demand.per_second, [2.0 + i % 5 for i in range(50)]
        )


def test_different_offered_values_at_one_time_are_an_error(tmp_path):
    rows = flat("offered_requests_per_second", 2.0) + flat(
        "offered_requests_per_second", 3.0, **OF_PREFILL
    )
    telemetry = read(tmp_path, study(written(tmp_path, rows)))
    with pytest.raises(TableError, match="offered_requests_per_second has different values"):
        align(telemetry, "chat")


def test_outside_the_span_of_the_log_demand_is_not_known(tmp_path):
    half = request_log()[: int(5 * STEPS * REQUESTS_PER_SECOND)]
    sources = [
        written(tmp_path, SOURCES["decode tokens"]),
        {"kind": "requests", "path": written(tmp_path, half, "requests.csv")},
    ]
    timeline = align(read(tmp_path, study(*sources)), "chat")
    demand = timeline.pools["decode"].demand.per_second
    late = timeline.time_seconds > START + 5 * STEPS + 10
    assert np.isnan(demand[late]).all()
    assert np.isfinite(demand[~late]).mean() > 0.98


def moving_hits() -> list[dict[str, Any]]:
    """Give a cache that finds 20 % and 80 % of the prompt tokens, by turns of 1000 s."""
    rows, hits = [], 0.0
    for i in range(STEPS):
        hits += 2000.0 * (0.8 if i // 100 % 2 else 0.2)
        rows.append(sample("vllm:prefix_cache_hits_total", 10.0 * i, hits, **OF_PREFILL))
    return rows + grown("vllm:prefix_cache_queries_total", 200.0, **OF_PREFILL)


@pytest.mark.parametrize(
    ("names", "source", "full"),
    [
        (("arrivals", "decode tokens", "prefill tokens", "engine"), "gateway_arrivals", 200.0),
        (("engine", "decode tokens", "prefill tokens"), "engine_arrivals", 200.0),
        (("arrivals", "decode tokens", "state"), "offered_requests", 2.0),
        (("decode tokens", "prefill tokens"), "served_other_pool", 50.0),
        (("offered tokens", "decode tokens", "prefill tokens"), "gateway_tokens", 200.0),
    ],
)
def test_what_the_cache_holds_is_no_demand_of_prefill(tmp_path, names, source, full):
    """Against work that stands in for prompts, a sound uncached rate would else look distorted."""
    rows = [row for name in names for row in SOURCES[name]] + moving_hits()
    demand = align(read(tmp_path, study(written(tmp_path, rows))), "chat").pools["prefill"].demand
    assert demand.source == source
    assert demand.per_second[30:70] == pytest.approx(0.8 * full, rel=0.01)
    assert demand.per_second[130:170] == pytest.approx(0.2 * full, rel=0.01)
    assert "less the share found in the prefix cache" in demand.note


@pytest.mark.parametrize("names", [("arrivals", "engine"), ("engine",), ("offered tokens",)])
def test_the_token_mix_leaves_the_cached_prompts_out_once(tmp_path, names):
    """The counter of computed tokens beside hits and queries must not take them off again."""
    computed = []
    for i in range(STEPS):
        before = computed[-1]["value"] if computed else 0.0
        missed = 0.2 if i // 100 % 2 else 0.8
        of_source = {"source": "local_compute", **OF_PREFILL}
        metric = "vllm:prompt_tokens_by_source_total"
        computed.append(sample(metric, 10.0 * i, before + 2000.0 * missed, **of_source))
    kinds = (*names, "decode tokens", "prefill tokens")
    rows = [row for name in kinds for row in SOURCES[name]] + moving_hits() + computed
    timeline = align(read(tmp_path, study(written(tmp_path, rows))), "chat")
    assert timeline.token_mix[40:90] == pytest.approx(0.8 * 200.0 / 50.0, rel=0.02)


def test_decode_answers_prompts_whether_or_not_they_were_cached(tmp_path):
    rows = SOURCES["decode tokens"] + SOURCES["prefill tokens"] + moving_hits()
    demand = align(read(tmp_path, study(written(tmp_path, rows))), "chat").pools["decode"].demand
    assert demand.source == "served_other_pool"
    np.testing.assert_allclose(demand.per_second[5:395], 200.0, rtol=1e-6)
