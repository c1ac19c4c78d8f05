"""What a [[sources]] may say, and what it means once it is read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from signalstudy.source import SOURCE_KINDS, ServerQuery, Source

NOW = datetime(2026, 1, 20, 12, 34, 56, tzinfo=UTC)
SERVER = {"kind": "prometheus", "url": "https://prom.example/prometheus"}


@pytest.mark.parametrize("kind", SOURCE_KINDS)
def test_files_have_a_path_and_servers_an_address(kind):
    good, bad = ({"path": "x"}, {"url": "http://x", "last": "1h"})
    if kind == "prometheus":
        good, bad = bad, good
    assert Source(kind=kind, **good).name in ("x", "http://x")
    for wrong in (bad, {**good, **bad}, {}):
        with pytest.raises(ValidationError):
            Source(kind=kind, **wrong)


@pytest.mark.parametrize(
    ("last", "start", "end"),
    [
        ("6h", (20, 6, 33), (20, 12, 33)),
        ("14d", (6, 9, 15), (20, 9, 15)),
        ("1h", (20, 11, 34), (20, 12, 34)),
    ],
)
def test_the_last_days_end_at_a_rounded_now(last, start, end):
    found = Source(**SERVER, last=last).resolved(Path(), NOW, {})
    assert [found.start.day, found.start.hour, found.start.minute] == list(start)
    assert [found.end.day, found.end.hour, found.end.minute] == list(end)
    assert found.last == last


def test_paths_of_every_kind_are_relative_to_the_file():
    folder = Path("/studies")
    assert Source(kind="tsdb", path="data").resolved(folder, NOW, {}).path == "/studies/data"
    found = Source(**SERVER, last="1h", ca_file="ca.pem", token_file="/run/t")  # noqa: S106
    found = found.resolved(folder, NOW, {})
    assert (found.ca_file, found.token_file) == ("/studies/ca.pem", "/run/t")
    assert found.path == ""


def test_a_query_is_an_expression_and_may_declare_its_window():
    queries = {"a": "sum(x)", "b": {"promql": "job:x", "window": "1m30s"}}
    found = Source(**SERVER, last="1h", queries=queries)
    assert found.queries["a"] == ServerQuery(promql="sum(x)")
    assert found.queries["b"].window_seconds == 90
    added = found.resolved(Path(), NOW, {"c": ServerQuery(promql="y")})
    assert set(added.queries) == {"a", "b", "c"}


@pytest.mark.parametrize(
    "wrong",
    [{"url": "prom:9090"}, {"url": "http://a:b@prom"}, {"url": "http://prom/?x=1"}, {"last": "0s"}],
)
def test_addresses_and_spans_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValidationError):
        Source(**{**SERVER, "last": "1h", **wrong})
