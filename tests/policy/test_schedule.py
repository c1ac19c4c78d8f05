"""Twin of policy/schedule.py: floors from a rhythm, and none where it is weak."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from signalstudy.policy.decide import decide
from signalstudy.policy.policy import Policy
from signalstudy.policy.refit import refitted
from signalstudy.policy.schedule import draft_schedule
from signalstudy.threshold.rhythm import Rhythm
from signalstudy.vocabulary.estimate import Estimate
from tests.policy.documents import document, have, seen

NIGHT_AND_DAY = np.repeat([1200.0, 8500.0, 1200.0], [8, 12, 4])
STRONG = Estimate(0.95, low=0.9, high=0.97)
LEAST, MOST = {"decode": 1, "prefill": 1}, {"decode": 100, "prefill": 100}


def drafted(strength=STRONG, *, follower=("prefill", "decode", 1.5), least=LEAST, most=MOST):
    rhythm = Rhythm(strength, {"workdays": NIGHT_AND_DAY})
    return draft_schedule({"decode": rhythm}, {"decode": 1000.0}, least, most, follower)


def test_a_strong_rhythm_gives_floors_for_both_pools_rounded_down():
    [window], _ = drafted()
    assert window == {
        "days": ["monday", "tuesday", "wednesday", "thursday", "friday"],
        "from": "08:00",
        "to": "20:00",
        "replicas": {"decode": 8, "prefill": 12},
    }


def test_a_weak_rhythm_gives_none_and_says_how_weak():
    windows, sentence = drafted(Estimate(0.7, low=0.5, high=0.8))
    assert windows == []
    assert "70%" in sentence
    assert "at least 50%" in sentence


def test_floors_at_the_minimum_are_left_out_and_none_is_above_the_maximum():
    assert drafted(least={"decode": 8, "prefill": 12})[0] == []
    [window], _ = drafted(most={"decode": 5, "prefill": 100})
    assert window["replicas"]["decode"] == 5


@pytest.mark.parametrize(("hour", "decode"), [(7, 3), (8, 8), (19, 8), (20, 3)])
def test_decide_honours_them(hour, decode):
    policy = document(schedule=drafted()[0])
    monday = datetime(2026, 1, 5, hour, 30, tzinfo=UTC).timestamp()
    state = have(3, 5)
    state = type(state)(monday, state.replicas)
    assert decide(policy, state, seen(tokens=3000.0)).replicas["decode"] == decode


def policy_with(windows, *, derived=True):
    whole = document(schedule=windows)
    entry = {"number": "schedule", "value": 0.95, "low": 0.9, "high": 0.97, "status": "ok"}
    whole["spec"]["evidence"] = [entry] if derived else []
    return Policy("chat", whole)


def test_a_refit_moves_floors_only_where_they_moved():
    old, new = drafted()[0], drafted()[0]
    new[0] = {**new[0], "replicas": {"decode": 9, "prefill": 13}}
    kept, _ = refitted(policy_with(old), policy_with(new))
    assert kept.document["spec"]["schedule"] == old
    new[0] = {**new[0], "replicas": {"decode": 12, "prefill": 18}}
    moved, sentences = refitted(policy_with(old), policy_with(new))
    assert moved.document["spec"]["schedule"] == new
    assert any("schedule" in sentence for sentence in sentences)


def test_floors_that_people_wrote_stay():
    written = [{**drafted()[0][0], "replicas": {"decode": 30}}]
    new = policy_with(drafted()[0])
    stale = {"number": "schedule.0.replicas.prefill", "value": 12, "status": "ok"}
    new.document["spec"]["evidence"].append(stale)
    kept, _ = refitted(policy_with(written, derived=False), new)
    assert kept.document["spec"]["schedule"] == written
    told = [e for e in kept.document["spec"]["evidence"] if e["number"].startswith("schedule.")]
    assert told == [
        {"number": "schedule.0.replicas.decode", "value": 30, "status": "ok",
         "method": "as it stood in the policy in force"}
    ]  # fmt: skip
