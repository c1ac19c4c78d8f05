from __future__ import annotations

import numpy as np
import pytest

from signalstudy.replay.candidates import Candidate, stand
from signalstudy.replay.replay import PoolRun, Run
from signalstudy.vocabulary.estimate import Estimate
from tests.replay import planted


def candidate(key, rank, verdict="proportional", status="ok"):
    lag = Estimate(40.0)
    return Candidate(key, rank, verdict, planted.policy(key), Estimate(1.0, status=status), lag)


def run(key, cost, kept, fill=0.5, flags=()):
    full = np.full(10, 100.0)
    pools = {"decode": PoolRun("decode", full, full, fill * full, full, 0.0 * full)}
    one = Estimate(10.0)
    return Run(key, Estimate(cost), Estimate(kept), Estimate(kept), one, one, one, {},
               flags=flags, pools=pools)  # fmt: skip


def standings(*given, asked=0.99):
    candidates = [candidate(*one[0]) for one in given]
    return stand(candidates, {one[0][0]: run(one[0][0], *one[1:]) for one in given}, asked)


def test_those_that_keep_what_is_asked_stand_by_cost_and_the_others_by_what_they_keep():
    found = standings(
        (("a", 1), 100.0, 0.995), (("b", 2), 80.0, 0.992), (("c", 3), 50.0, 0.90),
        (("d", 4), 60.0, 0.95),
    )  # fmt: skip
    assert [one.study_rank for one in found] == [1, 2, 3, 4]
    assert [one.replay_rank for one in found] == [2, 1, 4, 3]


def test_who_cannot_be_told_apart_shares_a_rank_and_is_no_finding():
    found = standings((("a", 1), 100.0, 0.995), (("b", 2), 99.0, 0.999), (("c", 3), 97.5, 0.992))
    # 97.5 leads; 99 is alike, 100 is not: ranks do not drift along a chain of small steps.
    assert [one.replay_rank for one in found] == [3, 1, 1]
    assert found[1].finding == ""


def test_agreement_is_no_finding():
    found = standings((("a", 1), 80.0, 0.995), (("b", 2), 100.0, 0.995), (("c", 3), 50.0, 0.5))
    assert [one.finding for one in found[:2]] == ["", ""]


def test_a_cheaper_one_that_the_study_puts_behind_is_a_finding_with_its_reason():
    candidates = [candidate("a", 1, status="lower_bound"), candidate("b", 2)]
    runs = {"a": run("a", 100.0, 0.995, fill=0.4), "b": run("b", 80.0, 0.992, fill=0.5)}
    finding = stand(candidates, runs, 0.99)[0].finding
    assert finding.startswith("Ranked before b, which keeps 0.9920 of the requests at 20% fewer")
    assert "that one keeps decode 50% full on average, this one 40%" in finding
    assert "this one's capacity is a lower bound" in finding


def test_a_signal_fit_to_drive_that_misses_is_a_finding_with_its_reason():
    candidates = [candidate("a", 1), candidate("b", 2)]
    flags = ("Starves: work waited for decode 6 min on end.", "Flaps: 20.")
    runs = {"a": run("a", 100.0, 0.995), "b": run("b", 80.0, 0.9, flags=flags)}
    finding = stand(candidates, runs, 0.99)[1].finding
    assert finding.startswith("The study calls it fit to drive; it keeps 0.9000")
    assert "Starves" in finding
    assert "Flaps" not in finding
    assert "A controller sees it 40 s late." in finding


@pytest.mark.parametrize("asked", [0.99, 0.5])
def test_where_nobody_keeps_what_is_asked_the_order_is_by_what_is_kept(asked):
    found = standings((("a", 1), 100.0, 0.1), (("b", 2), 80.0, 0.45), asked=asked)
    assert [one.replay_rank for one in found] == [2, 1]
    assert "Ranked before b" in found[0].finding
