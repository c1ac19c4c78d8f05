"""Samples become increments: hand-made cases, and what no cutting or shuffling may change."""

from __future__ import annotations

from dataclasses import fields, replace

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.telemetry import increments
from signalstudy.telemetry.discover import SeriesRow
from signalstudy.telemetry.increments import DAY_MS, write_increments

KNOWN = {
    "key": 1, "group_key": 1, "source": 1, "role": "production", "service": "chat",
    "pool": "decode", "replica": None, "quantity": "q", "form": "count", "kind": "total",
    "factor": 1.0, "le": None, "scope": "engine", "metric": "m", "samples": 0,
}  # fmt: skip
COUNTER = SeriesRow(**{field.name: KNOWN.get(field.name, "") for field in fields(SeriesRow)})
FACTS = "key, copies, conflicts, gaps, resets, first_ms, last_ms, cadence_ms, repeats, changes"


def row(key, **more):
    return replace(COUNTER, **({"key": key, "group_key": key} | more))


def reduced(folder, rows, samples):
    """Give (key, time, increment, interval), facts by key, and what was counted."""
    said = []
    with duckdb.connect() as connection:
        frame = pl.DataFrame(
            samples,
            schema={"key": pl.UInt64, "time_ms": pl.Int64, "value": pl.Float64},
            orient="row",
        )
        connection.register("samples", frame.to_arrow())
        counted = write_increments(connection, rows, folder, said.append)
        facts = connection.sql(f"SELECT {FACTS} FROM series_facts ORDER BY key").fetchall()
    parts = sorted(folder.rglob("*.parquet"))
    found = [part for file in parts for part in pl.read_parquet(file).rows()]
    return found, {fact[0]: fact[1:] for fact in facts}, counted


def test_of_several_samples_at_an_instant_the_largest_counts(tmp_path):
    samples = [(1, 0, 1.0), (1, 10, 4.0), (1, 10, 4.0), (1, 20, 6.0), (1, 20, 5.0), (1, 20, 5.5)]
    found, facts, counted = reduced(tmp_path, [COUNTER], samples)
    assert found == [(1, 10, 3.0, 10), (1, 20, 2.0, 10)]
    assert facts[1][:2] == (3, 1)
    assert (counted.samples, counted.dropped, counted.intervals) == (3, 0, 2)


def test_what_is_no_measurement_is_dropped_and_counted(tmp_path):
    rows = [row(1), row(2, form="gauge", factor=0.01, scope="gpu")]
    samples = [(1, 0, 1.0), (1, 10, float("nan")), (1, 20, float("inf")), (1, 30, 9.3e18)]
    samples += [(1, 40, 3.0), (2, 0, 55.0), (2, 10, 2147483632.0), (9, 0, 1.0)]
    found, _, counted = reduced(tmp_path, rows, samples)
    assert found == [(1, 40, 2.0, 40), (2, 0, pytest.approx(0.55), 0)]
    assert (counted.samples, counted.dropped) == (3, 4)


def test_a_decrease_of_one_bucket_resets_the_whole_histogram_and_no_gauge(tmp_path):
    rows = [
        row(1, group_key=7, form="bucket"),
        row(2, group_key=7, form="bucket"),
        row(3, group_key=7, form="count"),
        row(4, form="gauge"),
    ]
    samples = [(1, 0, 5.0), (1, 10, 2.0), (2, 0, 8.0), (2, 10, 9.0), (2, 20, 11.0)]
    samples += [(3, 10, 4.0), (3, 20, 4.0), (4, 0, 2.0), (4, 10, 1.0)]
    found, facts, _ = reduced(tmp_path, rows, samples)
    assert found == [
        (4, 0, 2.0, 0),
        (4, 10, 1.0, 0),
        (1, 10, 2.0, 10),
        (2, 10, 9.0, 10),  # another part of its histogram fell: all of it is new
        (2, 20, 2.0, 10),
        (3, 20, 0.0, 10),  # its first sample, at the reset, says nothing
    ]
    assert [facts[key][3] for key in (1, 2, 3, 4)] == [1, 1, 1, 0]


def test_a_mean_per_second_speaks_of_its_interval_and_not_of_a_gap(tmp_path):
    samples = [(1, 10 * i, 300.0) for i in range(4)] + [(1, 1000, 300.0)]
    found, facts, _ = reduced(tmp_path, [row(1, form="rate")], samples)
    assert [value for _, _, value, _ in found] == pytest.approx([3.0, 3.0, 3.0, 3.0, 7.5])
    assert [interval for *_, interval in found] == [10, 10, 10, 10, 970]
    assert facts[1][2] == 1


def test_facts_say_what_was_wrong(tmp_path):
    samples = [(1, 0, 1.0), (1, 10, 1.0), (1, 20, 3.0), (1, 30, 4.0), (1, 60, 0.0), (2, 5, 1.0)]
    _, facts, _ = reduced(tmp_path, [row(1), row(2)], samples)
    assert facts == {1: (0, 0, 1, 1, 0, 60, 10.0, 1, 3), 2: (0, 0, 0, 0, 5, 5, None, 0, 0)}


def test_parts_are_one_a_service_and_day(tmp_path):
    rows = [row(1), row(2, service="code")]
    samples = [(key, DAY_MS * day + 5, 10.0 * day) for key in (1, 2) for day in range(-1, 3)]
    found, _, _ = reduced(tmp_path, rows, samples)
    assert [value for _, _, value, _ in found] == [10.0] * 6
    names = [str(part.relative_to(tmp_path)) for part in sorted(tmp_path.rglob("*.parquet"))]
    assert names == [f"{s}/1970-01-0{day}.parquet" for s in ("chat", "code") for day in (1, 2, 3)]


@settings(deadline=None, max_examples=50)  # each writes files
@given(
    seed=st.integers(0, 1000),
    series=st.integers(1, 5),
    count=st.integers(1, 60),
    rows_at_once=st.sampled_from([1, 7, 500_000]),
)
def test_increments_are_what_a_loop_makes_of_them(
    tmp_path_factory, monkeypatch_module, seed, series, count, rows_at_once
):
    """Days, batches and the order of rows do not matter; a loop over samples is the judge."""
    monkeypatch_module.setattr(increments, "ROWS_AT_ONCE", rows_at_once)
    monkeypatch_module.setattr(increments, "SORTED_AT_ONCE", rows_at_once)
    random = np.random.default_rng(seed)
    rows = [row(k, group_key=k // 2, form="bucket") for k in range(1, series + 1)]
    samples = [
        (k, int(t), float(v))
        for k in range(1, series + 1)
        for t, v in zip(
            np.sort(random.choice(10, count) * DAY_MS // 3 + random.integers(0, 5, count)),
            random.integers(0, 50, count),
            strict=True,
        )
    ]
    values: dict[tuple[int, int], float] = {}
    for k, t, v in samples:
        values[k, t] = max(v, values.get((k, t), v))
    fell, before = set(), {}
    for k, t in sorted(values, key=lambda kt: (kt[1], kt[0])):
        if k in before and values[k, t] < before[k][1]:
            fell.add((k // 2, t))
        before[k] = t, values[k, t]
    expected, before = {}, {}
    for k, t in sorted(values, key=lambda kt: (kt[1], kt[0])):
        if k in before:
            step = values[k, t] - (0.0 if (k // 2, t) in fell else before[k][1])
            expected[k, t] = (step, t - before[k][0])
        before[k] = t, values[k, t]
    random.shuffle(samples)
    found, _, _ = reduced(tmp_path_factory.mktemp("loop"), rows, samples)
    assert {(k, t): (v, i) for k, t, v, i in found} == expected
    assert len(found) == len(expected)


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch
