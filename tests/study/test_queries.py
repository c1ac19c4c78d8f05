"""Queries of a study's signals: from its metrics, told apart by study.toml or by the data."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from signalstudy.config import parse_config
from signalstudy.study.grafana import pool_matchers, signal_promql
from signalstudy.study.matchers import known_labels
from signalstudy.study.policy import given_queries
from signalstudy.timeline.timeline import SignalSeries
from signalstudy.vocabulary.signals import signals


def series(name, source, scrape_seconds=15.0):
    known = signals().get(name)
    kind = "total" if known is None else known.kind
    nothing = np.zeros(0)
    return SignalSeries(name, kind, nothing, source=source, scrape_seconds=scrape_seconds)


def config(labels=""):
    text = f'[study]\nname="a"\n[[sources]]\nkind="table"\npath="x"\n{labels}'
    return parse_config(tomllib.loads(text), place="study.toml", folder=Path())


@pytest.mark.parametrize(
    ("signal", "source", "query"),
    [
        (
            "decode_tokens_per_second",
            "vllm:generation_tokens_total",
            'sum(rate(vllm:generation_tokens_total{service="chat",pool="decode"}[60s]))',
        ),
        (
            "gpu_utilization_ratio",
            "DCGM_FI_DEV_GPU_UTIL",
            'avg(DCGM_FI_DEV_GPU_UTIL{service="chat",pool="decode"}) * 0.01',
        ),
        (
            "waiting_requests",
            "vllm:num_requests_waiting",
            'sum(vllm:num_requests_waiting{service="chat",pool="decode"})',
        ),
        (
            "ttft_p95_seconds",
            "vllm:time_to_first_token_seconds",
            (
                "histogram_quantile(0.95, "
                "sum by (le) (rate(vllm:time_to_first_token_seconds_bucket%s)))"
            ),
        ),
        (
            "prefix_cache_hit_ratio",
            "vllm:prefix_cache_hits_total / vllm:prefix_cache_queries_total",
            (
                "sum(rate(vllm:prefix_cache_hits_total%s)) / "
                "sum(rate(vllm:prefix_cache_queries_total%s))"
            ),
        ),
        (
            "prefill_uncached_tokens_per_second",
            "vllm:prompt_tokens_by_source_total",
            'sum(rate(vllm:prompt_tokens_by_source_total{%s,source="local_compute"}[60s]))',
        ),
        ("e2e_p50_seconds", "request log", ""),
        ("decode_tokens_per_second", "", ""),
    ],
)
def test_the_query_is_of_the_metrics_that_the_signal_was_made_of(signal, source, query):
    told = signal_promql(series(signal, source), "decode", "chat", config(), step_seconds=15.0)
    chat = 'service="chat",pool="decode"'
    assert told == (query.replace("{%s", "{" + chat).replace("%s", f"{{{chat}}}[60s]"))


def test_labels_are_those_of_the_study():
    named = config(
        '[labels]\nservice = ["namespace", "model_name"]\n'
        '[labels.pools]\ndecode = { job = "vllm-decode.*" }\n'
    )
    assert pool_matchers("decode", 'llm/a"b', named) == [
        'namespace="llm"',
        'model_name="a\\"b"',
        'job=~"vllm-decode.*"',
    ]
    assert pool_matchers("gateway", "chat", config()) == ['service="chat"']
    assert pool_matchers("unified", "a", config()) == []  # the study's own name: no label says it


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        ("counter", 'sum(rate(my_jobs_total{service="chat"}[60s]))'),
        ("gauge", 'sum(my_jobs_total{service="chat"})'),
    ],
)
def test_a_signal_of_the_users_own_is_asked_by_its_metric(kind, query):
    named = config(f'[[signals]]\nname="jobs"\nmetric="my_jobs_total"\nkind="{kind}"\n')
    jobs = series("jobs", "my_jobs_total")
    assert signal_promql(jobs, "gateway", "chat", named, step_seconds=15.0) == query


def test_a_query_that_the_study_names_is_the_one_to_paste():
    named = config(
        '[[sources]]\nkind="prometheus"\nurl="http://localhost:9090"\nlast="1d"\n'
        'queries={ decode_tokens_per_second = "job:decode:rate1m" }\n'
    )
    tokens = series("decode_tokens_per_second", "decode_tokens_per_second")
    told = signal_promql(tokens, "decode", "chat", named, step_seconds=15.0)
    assert told == "job:decode:rate1m"


@pytest.mark.parametrize(
    ("step", "scrape", "window"),
    [(15.0, 15.0, "[60s]"), (15.0, 60.0, "[120s]"), (300.0, 15.0, "[600s]")],
)
def test_a_rate_looks_back_over_two_samples_at_least(step, scrape, window):
    tokens = series("decode_tokens_per_second", "vllm:generation_tokens_total", scrape)
    assert window in signal_promql(tokens, "unified", "chat", config(), step_seconds=step)


@pytest.mark.parametrize(
    ("service", "pools", "given"),
    [
        ("a", {"decode": ["decode_tokens_per_second"], "prefill": []}, True),
        (
            "a",
            {"decode": ["decode_tokens_per_second"], "prefill": ["decode_tokens_per_second"]},
            False,
        ),
        ("b", {"decode": ["decode_tokens_per_second"]}, False),
        ("a", {"decode": []}, False),
    ],
)
def test_a_policy_keeps_the_query_of_its_data_where_that_tells_one_pool(service, pools, given):
    named = config(
        '[[sources]]\nkind="prometheus"\nurl="http://localhost:9090"\nlast="1d"\n'
        'queries={ decode_tokens_per_second = "sum(rate(x_total[1m]))" }\n'
    )
    timeline = SimpleNamespace(
        pools={
            name: SimpleNamespace(signals={one: series(one, "") for one in signals})
            for name, signals in pools.items()
        },
        step_seconds=15.0,
    )
    study = SimpleNamespace(service=service, timeline=timeline)
    told = given_queries(study, named, SimpleNamespace(series={}))
    whole = "(sum(rate(x_total[1m])) or (count(x_total) > 0) * 0) and on() (count(x_total) > 0)"
    assert told == ({"decode.decode_tokens_per_second": whole} if given else {})


def row(metric, where, service="a", source=1, **labels):
    told = json.dumps(labels, sort_keys=True)
    return service, SimpleNamespace(metric=metric, pool=where, source=source, told_by=told)


def labels_of(*rows, kinds=("tsdb",)):
    of_service = {}
    for service, one in rows:
        of_service.setdefault((service, "production"), []).append(one)
    sources = [SimpleNamespace(kind=kind) for kind in kinds]
    return known_labels(SimpleNamespace(series=of_service), SimpleNamespace(sources=sources))


TOKENS = "vllm:generation_tokens_total"


@pytest.mark.parametrize(
    ("rows", "matchers"),
    [
        ([row(TOKENS, "decode", job="d")], ('job="d"',)),
        ([row(TOKENS, "decode", job="d"), row(TOKENS, "decode", job="e.f")], ('job=~"d|e\\\\.f"',)),
        ([row(TOKENS, "decode", job="d"), row(TOKENS, "prefill", job="p")], ('job="d"',)),
        ([row(TOKENS, "decode", job="d"), row(TOKENS, "prefill", job="d")], None),
        ([row(TOKENS, "decode", job="d"), row(TOKENS, "decode", "b", job="d")], None),
        ([row(TOKENS, "decode", job="d", pool="decode"), row(TOKENS, "prefill", job="d")],
         ('job="d"', 'pool="decode"')),
        ([row(TOKENS, "decode", job='a"b')], ('job="a\\"b"',)),
        ([row(TOKENS, "prefill", job="p")], None),
        ([row(TOKENS, "decode")], ()),
        ([row(TOKENS, "decode"), row(TOKENS, "prefill")], None),
    ],
)  # fmt: skip
def test_matchers_are_those_that_tell_the_pool_in_the_data(rows, matchers):
    assert labels_of(*rows).matchers(TOKENS, "a", "decode", is_pool_told=False) == matchers


def test_labels_of_a_table_are_no_labels_of_prometheus():
    found = labels_of(row(TOKENS, "decode", job="d"), kinds=("table",))
    assert found.matchers(TOKENS, "a", "decode", is_pool_told=False) is None


def test_the_parts_of_a_histogram_share_their_labels():
    found = labels_of(row("x_seconds_bucket", "decode", job="d"))
    assert found.matchers("x_seconds_sum", "a", "decode", is_pool_told=False) == ('job="d"',)


def test_a_pool_that_another_matcher_tells_may_share_the_others():
    rows = [row("m", "prefill", job="f"), row("m", "decode", job="f")]
    assert labels_of(*rows).matchers("m", "a", "decode", is_pool_told=True) == ('job="f"',)
