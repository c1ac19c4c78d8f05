"""Each query on a hand-made case of a few rows."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from signalstudy.sql import read_query, run_query

SERIES = "key, group_key, form, factor, scope, service, role, pool, quantity, le"


@pytest.fixture
def connection():
    with duckdb.connect() as opened:
        yield opened


def table(connection, name: str, columns: str, *rows: tuple[Any, ...]) -> None:
    """Make a table of numbers and texts; NULL may stand anywhere."""
    listed = [column.strip() for column in columns.split(",")]
    samples = list(zip(*rows, strict=True)) if rows else [()] * len(listed)
    kinds = [
        "VARCHAR"
        if any(isinstance(v, str) for v in values)
        else "BOOLEAN"
        if any(isinstance(v, bool) for v in values)
        else "DOUBLE"
        if any(isinstance(v, float) for v in values) or column in ("value", "previous_value", "le")
        else "BIGINT"
        for column, values in zip(listed, samples, strict=True)
    ]
    typed = ", ".join(f"{c} {k}" for c, k in zip(listed, kinds, strict=True))
    connection.execute(f"CREATE TABLE {name} ({typed})")
    if rows:
        marks = ", ".join("?" * len(listed))
        connection.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)


def series(connection, *rows: tuple[Any, ...]) -> None:
    table(connection, "series", SERIES, *rows)


def answer(connection, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
    return sorted(run_query(connection, query, **parameters).fetchall(), key=str)


def counter(key: int, *, group: int | None = None, form: str = "count", factor: float = 1.0):
    return (key, group or key, form, factor, "engine", "chat", "production", "decode", "q", None)


def test_clean_samples_keep_one_finite_value_an_instant(connection):
    series(connection, counter(1), counter(2), (3, 3, "gauge", 0.01, "gpu", *("s",) * 4, None))
    table(
        connection,
        "samples",
        "key, time_ms, value",
        (1, 10, 4.0),
        (1, 10, 4.0),  # a copy
        (1, 20, 5.0),
        (1, 20, 6.0),  # a conflict: the largest is kept
        (1, 30, float("nan")),
        (1, 40, float("inf")),
        (2, 10, -1.5),
        (2, 20, 9.3e18),  # no measurement
        (3, 10, 55.0),
        (3, 20, 2147483632.0),  # a blank of DCGM
        (9, 10, 1.0),  # of no series that the study uses
    )
    assert answer(connection, "clean_samples") == [
        (1, 10, 4.0, 1, False),
        (1, 20, 6.0, 1, True),
        (2, 10, -1.5, 0, False),
        (3, 10, 55.0, 0, False),
    ]


def test_steps_hold_the_sample_before_in_the_same_series(connection):
    table(
        connection,
        "clean",
        "key, time_ms, value",
        (1, 30, 7.0),
        (1, 10, 4.0),
        (2, 20, 1.0),
        (1, 15, 5.0),
    )
    assert answer(connection, "steps") == [
        (1, 10, 4.0, None, None),
        (1, 15, 5.0, 4.0, 5),
        (1, 30, 7.0, 5.0, 15),
        (2, 20, 1.0, None, None),
    ]


STEPS = "key, time_ms, value, previous_value, interval_ms"


def test_cadence_is_the_median_interval(connection):
    table(
        connection,
        "steps",
        STEPS,
        (1, 0, 1.0, None, None),
        (1, 10, 1.0, 1.0, 10),
        (1, 20, 1.0, 1.0, 10),
        (1, 90, 1.0, 1.0, 70),
        (2, 0, 1.0, None, None),
    )
    assert answer(connection, "cadences") == [(1, 10.0), (2, None)]


def test_a_decrease_of_one_bucket_resets_the_whole_histogram_and_no_gauge(connection):
    series(
        connection,
        counter(1, group=7, form="bucket"),
        counter(2, group=7, form="bucket"),
        (3, 3, "gauge", 1.0, "engine", "chat", "production", "decode", "q", None),
    )
    table(
        connection,
        "steps",
        STEPS,
        (1, 10, 2.0, 5.0, 10),
        (2, 10, 9.0, 8.0, 10),
        (2, 20, 9.0, 9.0, 10),
        (3, 10, 1.0, 2.0, 10),
    )
    assert answer(connection, "resets") == [(7, 10)]


def test_increments_are_in_base_units(connection):
    series(
        connection,
        counter(1, factor=1e-6),
        counter(2, group=7, form="bucket"),
        (3, 3, "gauge", 0.01, "gpu", "chat", "production", "decode", "q", None),
        (4, 4, "rate", 1.0, "engine", "chat", "production", "decode", "q", None),
    )
    table(connection, "cadences", "key, cadence_ms", *[(key, 10.0) for key in (1, 2, 3, 4)])
    table(connection, "resets", "group_key, time_ms", (7, 10))
    table(
        connection,
        "steps",
        STEPS,
        (1, 0, 5e6, None, None),  # a counter's first sample says nothing
        (1, 10, 8e6, 5e6, 10),
        (2, 10, 9.0, 8.0, 10),  # another part of its histogram fell: all of it is new
        (2, 20, 11.0, 9.0, 10),
        (3, 10, 50.0, 40.0, 10),  # percent
        (4, 0, 300.0, None, None),  # a mean over the usual interval
        (4, 1000, 300.0, 300.0, 1000),  # after a gap it speaks of 2.5 usual intervals at most
    )
    found = answer(connection, "increments")
    assert [row[:2] for row in found] == [(1, 10), (2, 10), (2, 20), (3, 10), (4, 0), (4, 1000)]
    assert [row[2] for row in found] == pytest.approx([3.0, 9.0, 2.0, 0.5, 3.0, 7.5])
    assert [row[3] for row in found] == [10, 10, 10, 0, 10, 1000]


def test_series_quality_counts_what_was_wrong(connection):
    series(connection, counter(1), counter(2))
    table(
        connection,
        "clean",
        "key, time_ms, value, copies, is_conflict",
        (1, 0, 1.0, 1, False),
        (1, 10, 1.0, 2, True),
        (2, 0, 1.0, 0, False),
    )
    table(connection, "cadences", "key, cadence_ms", (1, 10.0), (2, None))
    table(connection, "resets", "group_key, time_ms", (1, 40))
    table(
        connection,
        "steps",
        STEPS,
        (1, 0, 1.0, None, None),
        (1, 10, 1.0, 1.0, 10),
        (1, 40, 0.0, 1.0, 30),
        (2, 0, 1.0, None, None),
    )
    assert answer(connection, "series_quality") == [
        (1, 3, 1, 1, 1, 0, 40, 10.0, 1, 1),
        (2, 0, 0, 0, 0, 0, 0, None, 0, 0),
    ]


def test_series_samples_are_those_of_one_service_and_role_without_buckets(connection):
    series(
        connection,
        counter(1),
        counter(2, form="bucket"),
        (3, 3, "gauge", 1.0, "engine", "code", "production", "decode", "q", None),
        (4, 4, "gauge", 1.0, "engine", "chat", "pressure-test", "decode", "q", None),
    )
    rows = [(key, 10 - key, 2.0, 5) for key in (1, 2, 3, 4)]
    table(connection, "parts", "key, time_ms, value, interval_ms", *rows, (1, 3, 1.0, 5))
    found = run_query(connection, "series_samples", service="chat", role="production").fetchall()
    assert found == [(1, 3, 1.0, 5), (1, 9, 2.0, 5)]


def test_bucket_samples_are_those_of_the_service_and_role(connection):
    series(
        connection,
        (1, 7, "bucket", 1.0, "engine", "chat", "production", "decode", "ttft", 0.5),
        (2, 7, "bucket", 1.0, "engine", "code", "production", "decode", "ttft", 0.5),
        (3, 7, "bucket", 1.0, "engine", "chat", "pressure-test", "decode", "ttft", 0.5),
        (4, 7, "gauge", 1.0, "engine", "chat", "production", "decode", "q", None),
    )
    rows = [(key, 1010, 2.0, 10) for key in (1, 2, 3, 4)]
    table(connection, "parts", "key, time_ms, value, interval_ms", *rows)
    found = answer(connection, "bucket_samples", service="chat", role="production")
    assert found == [(1, 1010, 2.0)]


def test_requests_come_by_arrival(connection):
    numbers = [name for name in read_query("requests_of_service").returns if name != "arrived_ms"]
    columns = ", ".join(["service", "role", "arrived_ms", *numbers])
    filled = tuple(float(i) for i in range(len(numbers)))
    table(
        connection,
        "request_parts",
        columns,
        ("chat", "production", 20, *filled),
        ("chat", "production", 10, *filled),
        ("code", "production", 5, *filled),
        ("chat", "pressure-test", 5, *filled),
    )
    found = run_query(
        connection, "requests_of_service", service="chat", role="production"
    ).fetchall()
    assert found == [(10, *filled), (20, *filled)]


def test_points_come_by_concurrency(connection):
    names = read_query("points_of_service").returns
    columns = ", ".join(["service", *names])
    table(
        connection,
        "points",
        columns,
        ("chat", 8.0, 0.2, 0.03, 10.0, 5.0, None),
        ("chat", 1.0, 0.1, 0.02, 10.0, 5.0, 2.0),
        ("code", 2.0, 0.1, 0.02, 10.0, 5.0, 2.0),
    )
    found = run_query(connection, "points_of_service", service="chat").fetchall()
    assert [row[0] for row in found] == [1.0, 8.0]


def test_no_sample_gives_no_row_of_any_query(connection):
    series(connection, counter(1))
    table(connection, "samples", "key, time_ms, value", (1, 10, float("nan")))
    for name, query in (
        ("clean", "clean_samples"),
        ("steps", "steps"),
        ("cadences", "cadences"),
        ("resets", "resets"),
        ("parts", "increments"),
        ("facts", "series_quality"),
    ):
        connection.execute(f"CREATE TABLE {name} AS {read_query(query).text}")
        assert connection.execute(f"SELECT count(*) FROM {name}").fetchone() == (0,)
