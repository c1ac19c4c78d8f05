from __future__ import annotations

import pytest

from signalstudy.report.present import (
    MEANINGS,
    facts_of,
    presented,
    spoken_span,
    study_facts,
    table_of,
)
from signalstudy.vocabulary.estimate import Estimate, unidentified


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("lag_seconds", 12.0, "12 s"),
        ("horizon_seconds", 372.0, "6.2 min"),
        ("decode_tokens_per_second", 2310.4, "2,310 tokens/s"),
        ("demand_elasticity", 0.98213, "0.9821"),
        ("coverage_ratio", 1.0, "1"),
        ("false_alarms_per_day", 2.0, "2 1/day"),
    ],
)
def test_a_quantity_carries_the_unit_its_name_tells(name, value, text):
    assert presented(name, Estimate(value)).text == text


@pytest.mark.parametrize(
    ("estimate", "shown"),
    [
        (Estimate(0.4, 0.2, 0.5), ("400 ms", "[200, 500]")),
        (Estimate(0.144, -1.17, 1.46), ("0.144 s", "[-1.17, 1.46]")),
        (Estimate(-43.06, -250.4, 154.4), ("-43.1 s", "[-250, 154]")),
        (Estimate(246.0, 120.0, None), ("4.1 min", "[2, –]")),
        (Estimate(0.0), ("0 s", "")),
    ],
)
def test_a_duration_and_its_interval_share_one_unit(estimate, shown):
    number = presented("lag_seconds", estimate)
    assert (number.text, number.interval) == shown


def test_a_lower_bound_says_at_least():
    bound = Estimate(1.329, status="lower_bound", note="Not visited.")
    assert presented("pd_ratio", bound).text == "≥\u00a01.329"


def test_an_unknown_number_keeps_its_sentence():
    number = presented("lag_seconds", unidentified("There is no peak."))
    assert (number.text, number.note, number.is_known) == ("–", "There is no peak.", False)


def test_a_measure_that_was_not_gathered_says_so():
    facts = facts_of({})
    assert all(fact.number.note == "Not measured." for fact in facts)


def test_every_meaning_is_short():
    assert all(len(text) < 70 for text in MEANINGS.values())


def test_a_span_is_spoken_and_a_strange_one_given_back():
    start, end = "2026-01-05T00:00:00Z", "2026-01-06T12:30:00Z"
    assert spoken_span(start, end) == "5 Jan 2026 00:00 to 6 Jan 2026 12:30 UTC"
    assert spoken_span("", "") == ""


def test_provenance_is_readable_however_deep(studies):
    facts = dict(study_facts(studies.make_study()).provenance)
    assert facts["sources"] == "kind: table · path: data/chat.parquet · role: production"
    assert facts["seed"] == "7"


def test_a_list_of_mappings_becomes_columns_and_cells():
    table = table_of([{"gpu_model": "H100", "value": 2310.44}, {"gpu_model": None, "share": True}])
    assert table["columns"] == ["gpu model", "value", "share"]
    assert table["rows"] == [["H100", "2,310", "–"], ["–", "–", "true"]]
