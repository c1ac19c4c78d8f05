"""Our functions and the server's agree on what they make of the same samples."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

from signalstudy.telemetry.prom_functions import (
    histogram_quantile,
    increase,
    latest,
    rate,
    rules_of,
    without_stale,
)
from signalstudy.telemetry.promql import Matcher
from signalstudy.telemetry.remote_read import Wanted, fetch_remote
from signalstudy.telemetry.transfer import Server
from tests.real_servers.fleet import EVERY, LATENCY, RUNNING, START, STEPS, TOKENS
from tests.real_servers.test_routes import WRITTEN, asked, config

AT = np.arange(START - 30, START + EVERY * STEPS + 400, 7)
WINDOWS = (25, 60, 300)


def of(metric, url):
    """Give the samples of one metric: label sets, and times and bits a series."""
    wanted = Wanted((Matcher("__name__", "=", metric),), WRITTEN[0] * 1000, WRITTEN[1] * 1000)
    with Server(config(asked(url, WRITTEN)).sources[0], "here") as server:
        for batch in fetch_remote(server, wanted, {}):
            ends = np.cumsum(batch.counts)
            for labels, begin, end in zip(batch.labels, ends - batch.counts, ends, strict=True):
                yield dict(labels), batch.time_ms[begin:end], batch.bits[begin:end]


def told(url, query):
    """Ask for a query all along AT; give values by replica, NaN where there is no answer."""
    form = {"query": query, "start": int(AT[0]), "end": int(AT[-1]), "step": 7}
    answer = httpx.post(f"{url}/api/v1/query_range", data=form, timeout=60).json()
    found = {}
    for row in answer["data"]["result"]:
        values = np.full(AT.size, np.nan)
        for seconds, value in row["values"]:
            values[(int(seconds) - AT[0]) // 7] = float(value)
        found[row["metric"].get("replica")] = values
    return found


def rules(url):
    return rules_of(httpx.get(f"{url}/api/v1/status/buildinfo").json()["data"]["version"])


def assert_agree(mine, theirs, least):
    assert mine.keys() == theirs.keys()
    compared = 0
    for replica, expected in theirs.items():
        np.testing.assert_array_equal(np.isnan(mine[replica]), np.isnan(expected))
        np.testing.assert_allclose(mine[replica], expected, rtol=1e-9, atol=0)
        compared += int(np.isfinite(expected).sum())
    assert compared >= least


@pytest.mark.parametrize(("name", "function"), [("rate", rate), ("increase", increase)])
def test_rates_and_increases_agree_on_many_points(written_server, name, function):
    series = [(labels, *without_stale(t, b)) for labels, t, b in of(TOKENS, written_server)]
    for window in WINDOWS:
        mine = {
            labels["replica"]: function(t, v, AT * 1000, window * 1000, rules(written_server))
            for labels, t, v in series
        }
        assert_agree(mine, told(written_server, f"{name}({TOKENS}[{window}s])"), 6_000)


def test_quantiles_agree_on_many_points(written_server):
    buckets = {}
    for labels, t, b in of(f"{LATENCY}_bucket", written_server):
        buckets.setdefault(labels["replica"], []).append(
            (float(labels["le"]), *without_stale(t, b))
        )
    for quantile in (0.1, 0.5, 0.99):
        mine = {}
        for replica, rows in buckets.items():
            edges = np.array([edge for edge, *_ in rows])
            counts = np.stack(
                [rate(t, v, AT * 1000, 60_000, rules(written_server)) for _, t, v in rows]
            )
            mine[replica] = histogram_quantile(quantile, edges, counts)
        query = f"histogram_quantile({quantile}, rate({LATENCY}_bucket[60s]))"
        assert_agree(mine, told(written_server, query), 6_000)


def test_the_latest_sample_agrees(written_server):
    mine = {
        labels["replica"]: latest(t, b, AT * 1000, rules(written_server))
        for labels, t, b in of(RUNNING, written_server)
    }
    assert_agree(mine, told(written_server, RUNNING), 5_000)
