"""Every query that we export, evaluated by a real Prometheus at every minute of the recording.

Around the capture no target is there; within it the first minutes have no traffic, one worker is
killed and comes back with counters at 0, others come and go.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict

import httpx
import pytest
import yaml

from signalstudy.config import read_config
from signalstudy.scalers.export import SCALERS, export
from signalstudy.study.policy import given_queries
from signalstudy.study.run import run_study
from signalstudy.telemetry.read import read_telemetry
from tests.real_servers.server import blocks_from, prometheus, promtool
from tests.scalers.policies import guard, policy, two_signals, unified

BEGIN, END = 1_795_333_820 - 180, 1_795_335_119 + 600
MINUTES = range(BEGIN, END + 1, 60)
WORKERS = 'job="dynamo-worker",pool="decode"'
TIERS = (0.044, 0.1), (0.048, 0.2)
READY = {pool: f'count(up{{job="dynamo-worker",pool="{pool}"}} == 1)' for pool in
         ("decode", "prefill")}  # fmt: skip
pytestmark = pytest.mark.recordings


def by_minute(url, query):
    """Evaluate a query at every minute: the values of each instant."""
    asked = {"query": query, "start": BEGIN, "end": END, "step": 60}
    answer = httpx.post(f"{url}/api/v1/query_range", data=asked, timeout=30)
    assert answer.status_code == httpx.codes.OK, (query, answer.text)
    values = {second: [] for second in MINUTES}
    for series in answer.json()["data"]["result"]:
        for second, value in series["values"]:
            values[int(second)].append(float(value))
    return values


def assert_one_value_while_up(url, query):
    """Hold a query against the targets it names; give its values by minute."""
    targets = re.search(r"sum\((up\{[^}]*\})\)", query)[1]
    is_up = by_minute(url, f"sum({targets}) > 0")
    assert 15 < sum(map(bool, is_up.values())) < len(MINUTES) - 5
    values = by_minute(url, query)
    for second, found in values.items():
        assert len(found) == (1 if is_up[second] else 0), (query, second)
        assert all(math.isfinite(value) for value in found), (query, second)
    return values


@pytest.fixture(scope="module")
def queries(recorded_blocks, tmp_path_factory):
    """Give what a study of the recording finds by itself: a query for each of its signals."""
    folder = tmp_path_factory.mktemp("study")
    path = folder / "study.toml"
    path.write_text(
        f'[study]\nname = "live"\n[[sources]]\nkind = "tsdb"\npath = "{recorded_blocks}"\n'
    )
    (study,) = run_study(path, out=folder / "out").services.values()
    config = read_config(path)
    found = given_queries(study, config, read_telemetry(config, folder / "out"))
    signals = {f"{p}.{s}" for p, pool in study.timeline.pools.items() for s in pool.signals}
    assert set(found) == signals
    return found


def test_a_study_finds_a_query_of_one_value_for_every_signal_of_its_data(queries, recorded_server):
    assert len(queries) > 35
    seen = {key: assert_one_value_while_up(recorded_server, query)
            for key, query in queries.items()}  # fmt: skip
    tokens = seen["gateway.decode_tokens_per_second"]
    # The client's own record: 1,275,317 output tokens; rates over a minute, minute by minute.
    assert sum(sum(one) for one in tokens.values()) * 60.0 == pytest.approx(1_275_317, rel=0.02)
    assert sum(one == [0.0] for one in tokens.values()) >= 1  # no traffic yet


def policies(queries):
    """One policy of each shape, with the queries that the study found."""
    ttft = guard("ttft_p99_seconds", "prefill", queries["gateway.ttft_p99_seconds"], *TIERS)
    tbt = guard("tbt_p99_seconds", "decode", queries["decode.tbt_p99_seconds"], *TIERS)
    one_driver = policy(guards=[ttft, tbt])
    one_driver.document["spec"]["signal"]["promql"] = queries["gateway.decode_tokens_per_second"]
    apart = two_signals(guards=[ttft, tbt])
    for pool, name in (("decode", "decode_tokens_per_second"),
                       ("prefill", "prefill_uncached_tokens_per_second")):  # fmt: skip
        signal = apart.document["spec"]["pools"][pool]["signal"]
        signal["promql"] = queries[f"gateway.{name}"]
    apart.document["spec"]["signal"]["promql"] = queries["gateway.decode_tokens_per_second"]
    kv = unified("kv_cache_usage_ratio", 0.6, queries["decode.kv_cache_usage_ratio"], "intensive")
    running = unified("running_requests", 16.0, queries["decode.running_requests"])
    return {"one_driver": one_driver, "two_signals": apart, "kv": kv, "running": running}


def exported_queries(text):
    """Collect every query of a manifest, its adapter's rules included; of rules the leaves."""

    def walk(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in ("query", "metricsQuery", "expr") and isinstance(inner, str):
                    yield inner
                elif key == "config.yaml":
                    yield from walk(yaml.safe_load(inner))
                else:
                    yield from walk(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner)

    for document in yaml.safe_load_all(text):
        yield from walk(document)


READING = sorted(set(SCALERS) - {"dynamo", "ray-serve"})
"""The two others hold no query."""


@pytest.mark.parametrize("to", READING)
@pytest.mark.parametrize("given", [{}, {"decode.up": f"up{{{WORKERS}}}"}], ids=["own", "named"])
def test_every_exported_query_has_one_finite_value_exactly_while_a_target_is_up(
    queries, recorded_server, to, given
):
    tried = set()
    for name, made in policies(queries).items():
        if name == "kv" and to == "kthena":
            continue  # it takes totals only
        replicas = {f"{pool}.replicas": READY["decode"] for pool in made.document["spec"]["pools"]}
        more = {} if "unified" in made.document["spec"]["pools"] else given
        for query in exported_queries(export(made, to, {**replicas, **more})):
            # Rules that read records are evaluated as rules below; replicas are the user's own.
            if "signalstudy:" not in query and "up{" in query and query != READY["decode"]:
                tried.add(query)
    for query in tried:
        if "time()" not in query:
            assert_one_value_while_up(recorded_server, query)
    assert len(tried) >= (2 if to in ("hpa", "aibrix", "kthena") else 4)


def test_a_gauge_and_a_query_without_target_labels_hold_as_well(recorded_server):
    kv = f"avg(vllm:kv_cache_usage_perc{{{WORKERS}}})"
    is_up = by_minute(recorded_server, f"sum(up{{{WORKERS}}}) > 0")
    for query in (
        kv,
        "avg(vllm:kv_cache_usage_perc)",
        "avg(vllm:kv_cache_usage_perc{pool='decode'})",
    ):
        made = unified("kv_cache_usage_ratio", 0.6, query, "intensive")
        (whole,) = set(exported_queries(export(made, "keda")))
        for second, found in by_minute(recorded_server, whole).items():
            assert len(found) == (1 if is_up[second] else 0), (query, second)


def test_where_only_the_engine_tells_the_pool_its_series_say_who_is_up(tmp_path):
    """A pool label that `up` does not carry: no value only once the series are gone as well."""
    lines = []
    for second in range(0, 1200, 15):
        lines.append(f'up{{job="vllm"}} {int(second < 600)} {1_767_600_000 + second}')
        if second < 600:
            lines.append(
                f'tokens_total{{job="vllm",pool="decode"}} {second} {1_767_600_000 + second}'
            )
    text = "# TYPE up gauge\n" + "\n".join(sorted(one for one in lines if one.startswith("up")))
    text += "\n# TYPE tokens counter\n"
    text += "\n".join(one for one in lines if one.startswith("tokens")) + "\n# EOF\n"
    query = 'sum(rate(tokens_total{job="vllm",pool="decode"}[1m]))'
    made = unified("decode_tokens_per_second", 1890.0, query)
    (whole,) = set(exported_queries(export(made, "keda")))
    with prometheus(blocks_from(tmp_path, text)) as url:
        for second, many in ((300, 1), (1100, 0)):
            asked = {"query": whole, "time": 1_767_600_000 + second}
            found = httpx.post(f"{url}/api/v1/query", data=asked, timeout=30).json()
            assert len(found["data"]["result"]) == many, second


@pytest.mark.parametrize("name", ["one_driver", "two_signals"])
def test_a_real_server_records_the_rules_and_the_shadow_has_one_value_while_targets_are_up(
    queries, recorded_blocks, tmp_path, name
):
    made = policies(queries)[name]
    rules = tmp_path / "rules.yaml"
    given = {f"{pool}.replicas": query for pool, query in READY.items()}
    rules.write_text(export(made, "prometheus-rules", given), encoding="utf-8")
    promtool("check", "rules", "--lint=all", "--lint-fatal", rules)
    data = _with_records(recorded_blocks, rules, tmp_path)
    (group,) = yaml.safe_load(rules.read_text())["groups"]
    records = {rule["record"] for rule in group["rules"] if "record" in rule}
    with prometheus(data) as url:
        is_up = by_minute(url, "sum(up{job=~'dynamo-(worker|frontend)'}) > 0")
        for record in sorted(records):
            for pool in ("decode", "prefill"):
                found = by_minute(url, f'{record}{{policy="chat",pool="{pool}"}}')
                if not any(found.values()):
                    continue  # not a record of this pool
                for second, values in found.items():
                    if second > BEGIN + 360 and is_up[second]:
                        assert len(values) == 1, (record, pool, second)
                        assert math.isfinite(values[0])
                    elif not is_up[second] and not is_up.get(second - 300):
                        assert values == []
        desired = by_minute(url, 'signalstudy:desired_replicas{policy="chat",pool="decode"}')
        told = {value[0] for value in desired.values() if value}
        assert min(told) >= 2
        assert max(told) <= 40


def _with_records(blocks, rules, folder):
    """Let a real server evaluate the rules over the recording, a level of records at a time."""
    import shutil  # noqa: PLC0415 - only here

    data = folder / "data"
    shutil.copytree(blocks, data)
    (group,) = yaml.safe_load(rules.read_text())["groups"]
    levels = defaultdict(list)
    depth = {}
    for rule in (one for one in group["rules"] if "record" in one):
        reads = [depth[name] for name in depth if f"{name}{{" in rule["expr"]]
        level = max(reads, default=-1) + 1
        depth[rule["record"]] = max(depth.get(rule["record"], 0), level)
        levels[level].append(rule)
    for level in sorted(levels):
        part = folder / f"rules-{level}.yaml"
        part.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": levels[level]}]}))
        made = folder / f"made-{level}"
        with prometheus(data) as url:
            span = (f"--start={BEGIN}", f"--end={END}", "--eval-interval=60s")
            to = (f"--url={url}", f"--output-dir={made}")
            promtool("tsdb", "create-blocks-from", "rules", *span, *to, part)
        for block in made.iterdir():
            shutil.move(str(block), data / block.name)
    return data
