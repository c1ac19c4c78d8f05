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


def places(connection, *rows: tuple[Any, ...]) -> None:
    table(connection, "places", "key, place, service_number, is_rate", *rows)


DAY = 86_400_000


def test_samples_come_service_by_service_and_day_by_day_in_the_order_of_places(connection):
    places(connection, (7, 0, 0, False), (5, 1, 0, False), (9, 2, 1, False))
    table(
        connection,
        "samples",
        "key, time_ms, value",
        (9, 10, 1.0),
        (5, DAY + 1, 2.0),
        (5, 20, 3.0),
        (5, 10, 4.0),
        (7, DAY, 5.0),
        (7, -1, 6.0),  # the last moment of 1969
        (1, 10, 7.0),  # of no series that the study uses
    )
    days = {"first_ms": -DAY, "end_ms": 2 * DAY}
    found = run_query(connection, "sorted_samples", **days).fetchall()
    assert [row[2] for row in found] == [6.0, 4.0, 3.0, 5.0, 2.0, 1.0]
    assert [row[0] for row in found] == [0, 1, 1, 0, 1, 2]
    one = run_query(connection, "sorted_samples", first_ms=0, end_ms=DAY).fetchall()
    assert [row[2] for row in one] == [4.0, 3.0, 1.0]
    assert answer(connection, "samples_of_days") == [(-1, 1), (0, 4), (1, 2)]


def test_cadences_are_the_median_intervals_of_means_per_second(connection):
    places(connection, (1, 0, 0, True), (2, 1, 0, True), (3, 2, 0, False))
    table(
        connection,
        "samples",
        "key, time_ms, value",
        (1, 0, 1.0),
        (1, 10, 1.0),
        (1, 10, 2.0),  # twice at one instant
        (1, 15, float("nan")),
        (1, 20, 1.0),
        (1, 90, 1.0),
        (2, 0, 1.0),
        (3, 0, 1.0),
        (3, 10, 1.0),
    )
    assert answer(connection, "cadences") == [(0, 10.0), (1, None)]


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
    places(connection, (1, 0, 0, True))
    table(connection, "samples", "key, time_ms, value")
    assert answer(connection, "sorted_samples", first_ms=0, end_ms=DAY) == []
    assert answer(connection, "cadences") == answer(connection, "samples_of_days") == []
