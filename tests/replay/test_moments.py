from __future__ import annotations

import pytest

from signalstudy.replay.recorded import replay_policy
from tests.replay import planted


def run_of(service, policy):
    return replay_policy(policy, service, draws=0).runs[1]


def starved():
    # Two bursts of ten minutes, the second twice as high; four replicas bear 4000.
    calm, first, second = (planted.steps(level, minutes=10) for level in (2000.0, 6000.0, 8000.0))
    parts = [calm, calm, calm, first, calm, calm, calm, second, calm, calm, calm, calm]
    return planted.unified(planted.np.concatenate(parts), 4.0)


def test_the_worst_moment_is_the_one_that_missed_most_and_says_what_was_seen():
    fixed = planted.policy(pools={"unified": planted.rule(4, 4)})
    run = run_of(starved(), fixed)
    worst, next_worst = run.worst_moments
    assert worst.missed_ratio > next_worst.missed_ratio > 0.0
    assert worst.at > next_worst.at  # the second burst
    assert worst.at == "2026-01-05T01:20:00Z"  # the end of the second burst
    assert worst.ready_replicas == {"unified": 4.0}
    assert worst.wait_seconds["unified"] > 60.0
    # Served work cannot exceed capacity: this is all that the policy saw of 8000.
    assert worst.saw["unified.decode_tokens_per_second"] == pytest.approx(4000.0, rel=0.02)
    assert "unified" in worst.decided
    said = worst.sentence()
    assert "unified had 4 of 4 ready" in said
    assert "it saw unified.decode_tokens_per_second 4,000" in said


def test_two_spells_near_each_other_are_one():
    calm, burst = planted.steps(2000.0, minutes=20), planted.steps(6000.0, minutes=2)
    gap = planted.steps(0.0, minutes=4)
    service = planted.unified(planted.np.concatenate([calm, burst, gap, burst, calm]), 4.0)
    fixed = planted.policy(pools={"unified": planted.rule(4, 4)})
    [only] = run_of(service, fixed).worst_moments
    assert 480.0 <= only.lasted_seconds < 900.0


def test_where_nothing_is_missed_there_is_no_worst_moment():
    assert run_of(planted.unified(planted.steps(2000.0), 4.0), planted.policy()).worst_moments == ()


def test_a_moment_is_plain_data():
    fixed = planted.policy(pools={"unified": planted.rule(4, 4)})
    replay = replay_policy(fixed, starved(), draws=0)
    [first, _] = replay.as_dict()["runs"][1]["worst_moments"]
    assert {"at", "lasted_seconds", "missed_ratio", "saw", "decided"} <= set(first)
