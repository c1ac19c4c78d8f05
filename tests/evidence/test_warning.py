import pytest

from signalstudy.evidence.warning import (
    breach_lead_seconds,
    breach_recall_ratio,
    false_alarms_per_day,
)
from tests.evidence.planted import day_of_demand, prepared


@pytest.mark.parametrize(
    "measure", [breach_recall_ratio, breach_lead_seconds, false_alarms_per_day]
)
def test_breaches_are_not_judged_yet_and_that_is_said(measure):
    demand = day_of_demand(steps=100)
    estimate = measure(prepared(demand, demand))
    assert estimate.status == "not_applicable"
    assert estimate.note.startswith("not yet: ")
