"""One service under two names is noticed; services that are whole are left in peace."""

from __future__ import annotations

from pathlib import Path

from signalstudy.study.apart import apart
from signalstudy.telemetry.telemetry import Telemetry


def held(*, series=(), requests=(), points=()):
    return Telemetry(
        folder=Path(),
        digest="x",
        series=dict.fromkeys(series, ()),
        facts={},
        request_services=frozenset(requests),
        point_services=frozenset(points),
        left_out={},
        notes=(),
        source_files=(),
    )


def test_a_request_log_under_another_name_is_noticed_from_both_sides():
    telemetry = held(series=[("live", "production")], requests=[("chat-log", "production")])
    [row] = apart(telemetry, "live")
    assert row.status == "warning"
    assert row.note.startswith("only telemetry here, and only a request log under 'chat-log'")
    assert "[labels] service = []" in row.note
    [row] = apart(telemetry, "chat-log")
    assert row.note.startswith("only a request log here, and only telemetry under 'live'")


def test_a_pressure_test_under_another_name_is_noticed():
    telemetry = held(series=[("day", "production"), ("ramp", "pressure-test")])
    [row] = apart(telemetry, "day")
    assert "only a pressure test under 'ramp'" in row.note


def test_services_that_hold_the_same_kinds_of_data_are_services():
    whole = [("a", "production"), ("b", "production")]
    assert apart(held(series=whole, requests=whole), "a") == []
    assert apart(held(series=whole, requests=[("a", "production")]), "b") == []
    assert apart(held(series=[("a", "production")]), "a") == []


def test_of_many_names_a_few_are_shown():
    telemetry = held(
        series=[("live", "production")], requests=[(f"log-{n}", "production") for n in range(9)]
    )
    [row] = apart(telemetry, "live")
    assert "'log-0', 'log-1', 'log-2' and 6 more" in row.note
