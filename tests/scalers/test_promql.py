"""Queries that a scaler can trust, by their text and by a real Prometheus on a recording."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml

from signalstudy.scalers.export import export
from signalstudy.scalers.promql import alive, one_value, outermost, selectors
from tests.scalers.policies import guard, policy, unified

RECORDING = Path(__file__).parents[3] / "shared" / "data" / "dynamo_live" / "tsdb_blocks.tar.gz"
BEGIN, END = 1795333820 - 180, 1795335119 + 600  # the capture, and time around it without targets


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("sum(rate(a_total[1m]))", ["a_total"]),
        ('sum by (job, le) (rate(a:b{x="}",y=~"c|d"}[5m] offset 1h))', ['a:b{x="}",y=~"c|d"}']),
        ('{__name__=~"a.*",job="b"}', ['{__name__=~"a.*",job="b"}']),
        ("a / on (pod) group_left (node) b", ["a", "b"]),
        ("histogram_quantile(0.99, sum(rate(l_bucket[1m])) by (le))", ["l_bucket"]),
        ('label_replace(a, "b", "$1", "c", "(.*)") or vector(0)', ["a"]),
        ("a > bool 5e3 and b unless c # d", ["a", "b", "c"]),
        ("1 + 2", []),
    ],
)
def test_the_series_that_a_query_reads_are_found(query, read):
    assert [str(selector) for selector in selectors(query)] == read


@pytest.mark.parametrize(
    ("query", "aggregation"),
    [
        ("sum(a)", "sum"),
        (" max ( a ) ", "max"),
        ("sum(a) / sum(b)", ""),
        ("sum by (x) (a)", ""),
        ("sum(a) by (x)", ""),
        ("rate(a[1m])", ""),
        ('sum(a{x=")"})', "sum"),
    ],
)
def test_the_aggregation_around_a_whole_query_is_found(query, aggregation):
    assert outermost(query) == aggregation


@pytest.mark.parametrize(
    ("query", "is_alive"),
    [
        ('sum(rate(a{job="j",le="1",namespace="n"}[1m]))', 'sum(up{job="j",namespace="n"}) > 0'),
        ('a{job="j",pool="decode"}', 'sum(up{job="j",pool="decode"}) > 0'),
        ('sum(a{namespace="n"})', 'count(a{namespace="n"}) > 0'),  # up of others would count too
        ("job:decode:rate1m", "count(job:decode:rate1m) > 0"),
    ],
)
def test_targets_are_alive_by_up_where_the_query_names_them(query, is_alive):
    assert alive(query) == is_alive


def test_several_series_are_taken_together():
    assert one_value("rate(a[1m])", "sum", "x").startswith("(sum(rate(a[1m])) or (x) * 0)")
    assert one_value("sum(a)", "sum", "x").startswith("(sum(a) or (x) * 0)")
    assert "(avg(a / b) >= 0)" in one_value("a / b", "avg", "x")


def test_a_comment_or_a_break_in_a_query_cannot_eat_what_is_put_around_it():
    assert one_value("sum(a) # of b", "sum", "x") == "(sum(a) or (x) * 0) and on() (x)"
    assert one_value("sum(\n  a\n)", "sum", "x").startswith("(sum( a ) or (x) * 0)")
    assert one_value('sum(a{b="# c"})', "sum", "x").startswith('(sum(a{b="# c"}) or')


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """Serve the recording by a real Prometheus on this machine."""
    program = shutil.which("prometheus")
    if program is None:
        assert os.environ.get("CI") != "true", "CI has to have prometheus"
        pytest.skip("prometheus is not installed: no real one evaluates the queries")
    if not RECORDING.exists():
        pytest.skip("the recording dynamo_live is not here")
    folder = tmp_path_factory.mktemp("prometheus")
    with tarfile.open(RECORDING) as archive:
        archive.extractall(folder / "data", filter="data")
    (folder / "prometheus.yml").write_text("global: {}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait_until_ready(url, server):
    for _ in range(200):
        assert server.poll() is None, "prometheus did not start"
        try:
            urllib.request.urlopen(f"{url}/-/ready", timeout=2).close()  # noqa: S310 - our own
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)  # a process that starts says nothing until it listens
        else:
            return
    raise AssertionError("prometheus is not ready after 20 s")


def by_minute(url, query):
    """Evaluate a query at every minute: the values of each instant."""
    arguments = {"query": query, "start": BEGIN, "end": END, "step": 60}
    asked = urllib.request.Request(  # noqa: S310 - our own server
        f"{url}/api/v1/query_range", urllib.parse.urlencode(arguments).encode()
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310
        result = json.load(answer)["data"]["result"]
    values = {second: [] for second in range(BEGIN, END + 1, 60)}
    for series in result:
        for second, value in series["values"]:
            values[int(second)].append(float(value))
    return values


WORKERS = 'job="dynamo-worker",pool="decode"'
OUTPUT = 'sum(rate(dynamo_frontend_output_tokens_total{job="dynamo-frontend"}[1m]))'
LATENCY = "histogram_quantile(0.99, sum by (le) (rate(vllm:{}_seconds_bucket{{{}}}[1m])))"


def of_the_recording():
    tiers = (0.044, 0.1), (0.048, 0.2)
    ttft = LATENCY.format("time_to_first_token", WORKERS)
    tbt = LATENCY.format("inter_token_latency", WORKERS)
    made = policy(
        guards=[
            guard("ttft_p99_seconds", "prefill", ttft, *tiers),
            guard("tbt_p99_seconds", "decode", tbt, *tiers),
        ]
    )
    made.document["spec"]["signal"]["promql"] = OUTPUT
    return made


def exported_queries(text):
    """Collect every query of a manifest, its adapter's rules included."""

    def walk(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in ("query", "metricsQuery") and isinstance(inner, str):
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


@pytest.mark.recordings
@pytest.mark.parametrize("to", ["hpa", "keda", "aibrix", "kthena"])
@pytest.mark.parametrize("given", [{}, {"decode.up": f"up{{{WORKERS}}}"}], ids=["own", "named"])
def test_every_exported_query_has_one_finite_value_exactly_while_a_target_is_up(
    prometheus, to, given
):
    text = export(of_the_recording(), to, given)
    queries = {query for query in exported_queries(text) if "kube_" not in query}
    assert queries
    for query in queries:
        targets = re.search(r"sum\((up\{[^}]*\})\)", query)[1]
        is_up = by_minute(prometheus, f"sum({targets}) > 0")
        values = by_minute(prometheus, query)
        for second, found in values.items():
            assert len(found) == (1 if is_up[second] else 0), (query, second)
            assert all(math.isfinite(value) for value in found), (query, second)
        assert any(len(found) == 1 for found in values.values())
        assert any(len(found) == 0 for found in values.values())


@pytest.mark.recordings
def test_a_gauge_and_a_query_without_target_labels_hold_as_well(prometheus):
    kv = f"avg(vllm:kv_cache_usage_perc{{{WORKERS}}})"
    for query in (kv, "avg(vllm:kv_cache_usage_perc)"):
        made = unified("kv_cache_usage_ratio", 0.6, query, "intensive")
        (whole,) = set(exported_queries(export(made, "keda")))
        is_up = by_minute(prometheus, f"sum(up{{{WORKERS}}}) > 0")
        for second, found in by_minute(prometheus, whole).items():
            assert len(found) == (1 if is_up[second] else 0), (query, second)
