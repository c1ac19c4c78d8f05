"""Native histograms of a real server: the same by every route, and its functions agree."""

from __future__ import annotations

import itertools
import shutil
import time

import httpx
import numpy as np
import pytest

from signalstudy.telemetry.native import NativeBatch
from signalstudy.telemetry.native_functions import native_increase, native_quantile, native_rate
from signalstudy.telemetry.promql import Matcher
from signalstudy.telemetry.range_queries import fetch_ranges
from signalstudy.telemetry.read import read_telemetry
from signalstudy.telemetry.remote_read import Wanted, fetch_remote
from signalstudy.telemetry.transfer import Server
from signalstudy.telemetry.tsdb import Passed, find_blocks, read_block
from tests.real_servers.native import METRIC, grown, histogram, pushed
from tests.real_servers.server import prometheus
from tests.real_servers.test_functions import rules
from tests.real_servers.test_routes import asked, config, tables

EVERY, STEPS = 5, 700
PODS = {"whole": False, "float": True}
OPTIONS = (
    "--web.enable-remote-write-receiver",
    "--web.enable-admin-api",
    "--enable-feature=native-histograms",
)


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """Push two series; give the server, the span, what was pushed, and a snapshot of it."""
    data = tmp_path_factory.mktemp("native") / "data"
    start = int(time.time()) - EVERY * STEPS
    expected = {
        pod: grown(number, STEPS, is_float=is_float)
        for number, (pod, is_float) in enumerate(PODS.items())
    }
    with prometheus(data, *OPTIONS) as url:
        for begin, pod in itertools.product(range(0, STEPS, 100), PODS):
            samples = [
                histogram(
                    1000 * (start + EVERY * step),
                    expected[pod][step],
                    0.5 * sum(expected[pod][step].values()),
                    is_float=PODS[pod],
                )
                for step in range(begin, begin + 100)
            ]
            headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
            content = pushed({pod: samples})
            answer = httpx.post(f"{url}/api/v1/write", content=content, headers=headers)
            assert answer.status_code == httpx.codes.NO_CONTENT, answer.text
        made = httpx.post(f"{url}/api/v1/admin/tsdb/snapshot", timeout=60).json()
        snapshot = data.parent / "snapshot"
        shutil.copytree(data / "snapshots" / made["data"]["name"], snapshot)
        yield url, (start - 10, start + EVERY * STEPS + 10), expected, snapshot


def as_samples(batches):
    """Give pod -> time -> (count, sum, upper edge rounded -> number)."""
    found = {}
    for batch in batches:
        if not isinstance(batch, NativeBatch):
            assert batch.bits.size == 0
            continue
        mine = found.setdefault(batch.labels["pod"], {})
        for i, time_ms in enumerate(batch.time_ms.tolist()):
            some = np.flatnonzero(batch.counts[i])
            buckets = {
                round(float(np.log2(batch.upper[k]) * 8)): float(batch.counts[i, k]) for k in some
            }
            assert time_ms not in mine
            mine[time_ms] = (float(batch.count[i]), float(batch.total[i]), buckets)
    return found


def from_server(url, span, fetch):
    """Fetch series after series: version 2.42 mixes up the samples of several in one query."""
    with Server(config(asked(url, span)).sources[0], "here") as server:
        for pod in PODS:
            matchers = (Matcher("__name__", "=", METRIC), Matcher("pod", "=", pod))
            yield from fetch(server, Wanted(matchers, span[0] * 1000, span[1] * 1000), {})


def from_blocks(data):
    for block in find_blocks(str(data), "here")[0]:
        yield from read_block(block, lambda _: True, Passed())


def test_every_route_gives_what_was_pushed(native):
    url, span, expected, snapshot = native
    start = span[0] + 10
    pushed = {
        pod: {
            1000 * (start + EVERY * step): (sum(row.values()), 0.5 * sum(row.values()), row)
            for step, row in enumerate(rows)
        }
        for pod, rows in expected.items()
    }
    assert as_samples(from_server(url, span, fetch_remote)) == pushed
    assert as_samples(from_server(url, span, fetch_ranges)) == pushed
    assert as_samples(from_blocks(snapshot)) == pushed


def test_the_study_made_of_each_route_is_the_same(tmp_path, native, monkeypatch):
    url, span, _, snapshot = native
    remote = read_telemetry(config(asked(url, span)), tmp_path / "remote")
    [note] = [note for note in remote.notes if "native histograms are read" in note]
    assert note.startswith(f"{2 * STEPS} samples")
    blocks = read_telemetry(config({"kind": "tsdb", "path": str(snapshot)}), tmp_path / "tsdb")
    from signalstudy.telemetry import prometheus as module  # noqa: PLC0415

    monkeypatch.setattr(module, "ROUTES", module.ROUTES[-1:])
    one_by_one = [f'{{pod="{pod}"}}' for pod in PODS]
    ranges = read_telemetry(config(asked(url, span, match=one_by_one)), tmp_path / "ranges")
    assert tables(remote)[2:] == tables(blocks)[2:] == tables(ranges)[2:]
    forms = {row.form for rows in remote.series.values() for row in rows}
    assert forms == {"bucket", "count"}


def told(url, query, at, step):
    form = {"query": query, "start": int(at[0]), "end": int(at[-1]), "step": step}
    answer = httpx.post(f"{url}/api/v1/query_range", data=form, timeout=60).json()
    [row] = answer["data"]["result"]
    values = np.full(at.size, np.nan)
    for seconds, value in row["values"]:
        values[(round(seconds) - int(at[0])) // step] = float(value)
    return values


@pytest.mark.parametrize("window", [27, 60, 300])
def test_the_functions_agree_with_the_server(native, window):
    url, span, _, _ = native
    at, kind = np.arange(span[0], span[1] + 300, 2), rules(url)
    series = {}
    for batch in from_server(url, span, fetch_remote):
        if isinstance(batch, NativeBatch):
            series.setdefault(batch.labels["pod"], []).append(batch)
    merged = {pod: joined(parts) for pod, parts in series.items()}
    compared = 0
    for pod, batch in merged.items():
        picked = f'{METRIC}{{pod="{pod}"}}[{window}s]'
        rate = native_rate(batch, at * 1000, window * 1000, kind)
        increase = native_increase(batch, at * 1000, window * 1000, kind)
        pairs = {f"histogram_count(rate({picked}))": rate.count}
        pairs[f"histogram_sum(increase({picked}))"] = increase.total
        for quantile in (0.1, 0.5, 0.95):
            query = f"histogram_quantile({quantile}, rate({picked}))"
            pairs[query] = native_quantile(quantile, rate, kind)
        for query, mine in pairs.items():
            expected = told(url, query, at, 2)
            np.testing.assert_array_equal(np.isnan(mine), np.isnan(expected))
            np.testing.assert_allclose(mine, expected, rtol=1e-9, atol=1e-12)
            compared += int(np.isfinite(expected).sum())
    assert compared > 10_000


def joined(parts):
    """Put chunks of one series on the bounds that any of them has."""
    bounds = np.unique(np.concatenate([np.column_stack([p.lower, p.upper]) for p in parts]), axis=0)
    rows = []
    for part in parts:
        counts = np.zeros((part.time_ms.size, bounds.shape[0]))
        for k, pair in enumerate(zip(part.lower, part.upper, strict=True)):
            [at] = np.flatnonzero((bounds == pair).all(axis=1))
            counts[:, at] = part.counts[:, k]
        rows.append(counts)
    columns = [
        np.concatenate([getattr(p, name) for p in parts]) for name in ("time_ms", "count", "total")
    ]
    return NativeBatch(parts[0].labels, *columns, bounds[:, 0], bounds[:, 1], np.concatenate(rows))
