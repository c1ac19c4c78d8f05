"""Twin of replay/watching.py: soft scale-in in the recorded replay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.replay import lanes
from signalstudy.replay.recorded import replay_policy
from signalstudy.replay.watching import keep_steps, spared_steps, watched
from tests.replay import planted
from tests.replay.planted import STEP
from tests.replay.test_lanes import bursty, guarded, run

moves = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), min_size=1, max_size=12)


def soft_rule(seconds, **more):
    rule = planted.rule(**more)
    rule["scaleIn"]["observationSeconds"] = seconds
    return rule


@settings(deadline=None)
@given(moves, st.integers(2, 6))
def test_what_is_watched_and_spared_is_what_a_list_of_replicas_tells(moves, keep):
    served = np.repeat([float(count) for count, _ in moves], [lasts for _, lasts in moves])
    left: list[int] = []  # the last step that each removed replica served in
    zero = np.zeros(1, dtype=np.int64)
    for step, count in enumerate(served.tolist()):
        left = [at for at in left if step - at < keep]
        at = np.array([step])
        assert watched(served[None], zero, at[None], keep)[0, 0] == len(left)
        following = served[min(step + 1, served.size - 1)]
        back = min(max(following - count, 0.0), len(left))
        ends = sum(keep - (step - at) for at in left[len(left) - int(back) :])
        assert spared_steps(served[None], zero, at, keep, np.array([back]))[0] == ends
        left = left[: len(left) - int(back)] + [step] * int(max(count - following, 0.0))


def test_a_time_shorter_than_two_steps_watches_nothing():
    assert keep_steps(120.0, 15.0) == 8
    assert keep_steps(29.0, 15.0) == 1
    served = np.array([[5.0, 3.0, 3.0]])
    assert watched(served, np.zeros(1, dtype=np.int64), np.arange(3)[None], 1).tolist() == [[0] * 3]


def dip(seconds):
    """Give a service that needs six replicas but for some seconds, and then again six."""
    quiet = np.full(int(seconds / STEP), 1500.0)
    return planted.unified(np.concatenate([np.full(60, 3000.0), quiet, np.full(60, 3000.0)]), 6.0)


@pytest.mark.parametrize(("seconds", "is_kept"), [(75.0, True), (300.0, False)])
def test_demand_that_is_soon_back_finds_its_replicas_ready_and_pays_nothing_for_it(
    seconds, is_kept
):
    hard = planted.policy(target=500.0, pools={"unified": planted.rule(back=0)})
    soft = planted.policy(target=500.0, pools={"unified": soft_rule(120, back=0)})
    start = {"unified": 6.0}
    by_rule = [run(dip(seconds), one, start=start)["unified"] for one in (hard, soft)]
    without, kept = (path.ready[0] for path in by_rule)
    assert without.min() == kept.min() < 6.0
    asked = by_rule[1].asked[0]
    back_at = int(np.flatnonzero(np.diff(asked) > 0)[-1]) + 1
    assert without[back_at] < 6.0  # its start-up takes two minutes
    assert (kept[back_at] == asked[back_at]) == is_kept
    runs = {run.name: run for run in replay_policy([soft], dip(seconds), draws=0).runs}
    paid = np.array([asked[max(t - 8, 0) : t + 1].max() for t in range(asked.size)])
    expected = paid.sum() * STEP
    assert runs["chat"].replica_seconds["unified"] == pytest.approx(expected)
    if is_kept:
        assert np.ptp(paid) == 0.0  # six were paid for throughout


@pytest.mark.parametrize("draws", [0, 4])
def test_running_ahead_watches_as_deciding_step_by_step_does(draws, monkeypatch):
    pools = {name: soft_rule(240, out=60, back=60) for name in ("decode", "prefill")}
    policy = planted.split_policy(target=1400.0, guards=guarded(["prefill"]), pools=pools)
    service = planted.disaggregated(bursty())
    ahead = run(service, policy, draws)
    monkeypatch.setattr(lanes, "SHORTEST_BLOCK", 1)
    monkeypatch.setattr(lanes, "LONGEST_BLOCK", 1)
    by_step = run(service, policy, draws)
    for name, path in ahead.items():
        assert np.array_equal(path.asked, by_step[name].asked)
        assert np.array_equal(path.ready, by_step[name].ready)
        assert np.array_equal(path.spared_seconds, by_step[name].spared_seconds)
        assert path.spared_seconds.min() > 0.0
