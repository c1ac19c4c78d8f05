"""Soft scale-in: what was taken out of service and is still watched comes back at once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.policy.decide import decide
from signalstudy.policy.state import Observation, Reading, State, advance
from tests.policy.documents import TBT, TOKENS, document, guarded, have, pool, seen

NOW = 1_000_000.0
JUST_NOW = {"decode": NOW - 1.0, "prefill": NOW - 1.0}


def soft(out=180, back=600, seconds=120, **more):
    """Give a policy that watches what it removes; at most half as many new replicas a step."""
    sections = {name: pool(**more.pop(name, {})) for name in ("decode", "prefill")}
    for section in sections.values():
        section["scaleOut"] = {"cooldownSeconds": out, "maxStepRatio": 0.5}
        section["scaleIn"] |= {"cooldownSeconds": back, "observationSeconds": seconds}
    return guarded(pools=sections, **more)


def calm(tokens, **more):
    return seen(tokens=tokens, tbt=math.nan, **more)


def test_demand_that_comes_back_takes_back_what_is_watched_in_the_midst_of_a_cooldown():
    state = have(8, 12, watched={"decode": 2, "prefill": 3}, scaled_out_at_seconds=JUST_NOW)
    decision = decide(soft(), state, calm(9500.0))
    assert decision.replicas == {"decode": 10, "prefill": 15}
    assert {name: float(step.restored) for name, step in decision.steps.items()} == {
        "decode": 2.0,
        "prefill": 3.0,
    }
    assert "2 of them still watched and put back at once" in decision.reason
    assert "cool-down" not in decision.reason


def test_no_more_comes_back_than_is_wanted_or_was_removed():
    one = decide(soft(), have(8, 12, watched={"decode": 5}), calm(8900.0))
    assert (one.replicas["decode"], float(one.steps["decode"].restored)) == (9, 1.0)
    cooling = have(8, 12, watched={"decode": 2}, scaled_out_at_seconds=JUST_NOW)
    all_of_them = decide(soft(), cooling, calm(20_000.0))
    assert all_of_them.replicas == {"decode": 10, "prefill": 12}
    assert "20 wanted, but the cool-down has not passed" in all_of_them.reason


def test_new_replicas_are_limited_as_ever_beside_those_that_come_back():
    decision = decide(soft(), have(8, 12, watched={"decode": 2}), calm(40_000.0))
    assert decision.replicas["decode"] == 8 + 2 + 4
    assert float(decision.steps["decode"].restored) == 2.0


def test_a_breach_takes_all_of_its_pool_back_and_none_of_the_other():
    state = have(8, 12, watched={"decode": 3, "prefill": 4}, scaled_out_at_seconds=JUST_NOW)
    decision = decide(soft(), state, seen(tokens=8000.0, tbt=0.045))
    assert decision.replicas == {"decode": 11, "prefill": 12}  # 8 x 1.1 alone would wait as 9


def test_within_tolerance_or_unseen_nothing_comes_back():
    state = have(8, 12, watched={"decode": 3, "prefill": 4})
    for observation in (calm(8700.0), calm(math.nan), Observation()):
        held = decide(soft(), state, observation)
        assert held.replicas == {"decode": 8, "prefill": 12}
        assert all(step.restored == 0.0 for step in held.steps.values())


def test_what_is_watched_has_its_place_but_not_above_the_maximum():
    bounded = soft(decode={"most": 9})
    state = have(8, 12, watched={"decode": 3}, placeable={"decode": 0, "prefill": 99})
    assert decide(bounded, state, calm(20_000.0)).replicas["decode"] == 9
    assert decide(soft(), state, calm(20_000.0)).replicas["decode"] == 11


@pytest.mark.parametrize("wrong", [-3.0, math.nan])
def test_a_number_that_cannot_be_is_none(wrong):
    state = have(8, 12, watched={"decode": wrong}, scaled_out_at_seconds=JUST_NOW)
    assert decide(soft(), state, calm(20_000.0)).replicas["decode"] == 8


def test_putting_back_starts_the_scale_in_cooldown_and_not_that_of_scale_out():
    policy = soft(out=180, back=300)
    state = have(10, 15)
    for seconds, tokens, decode in (
        (0.0, 8000.0 * 0.999, 8),
        (60.0, 9500.0, 10),  # watched: both come back
        (75.0, 14_000.0, 14),  # new ones are not held by a cool-down
    ):
        state = replace(state, now_seconds=NOW + seconds)
        decision = decide(policy, state, calm(tokens))
        assert decision.replicas["decode"] == decode
        state = advance(state, decision, NOW + seconds + 15.0)
    short = decide(policy, have(10, 15), calm(7990.0))
    state = advance(have(10, 15), short, NOW + 60.0)
    state = advance(state, decide(policy, state, calm(9500.0)), NOW + 359.0)
    assert decide(policy, state, calm(1000.0)).replicas["decode"] == 10  # 299 s after coming back
    assert decide(policy, replace(state, now_seconds=NOW + 360.0),
                  calm(1000.0)).replicas["decode"] == 1  # fmt: skip


@pytest.mark.parametrize(("later", "watched"), [(15.0, 2.0), (119.0, 2.0), (120.0, 0.0)])
def test_what_was_removed_is_watched_for_its_time_and_then_gone(later, watched):
    removed = decide(soft(), have(10, 15), calm(7990.0))
    state = advance(have(10, 15), removed, NOW + later)
    assert float(state.watched["decode"]) == watched
    without = decide(soft(seconds=0), have(10, 15), calm(7990.0))
    assert advance(have(10, 15), without, NOW + later).watched == {}


moves = st.lists(
    st.tuples(st.floats(0.0, 30_000.0), st.sampled_from([15.0, 40.0, 90.0, 300.0])),
    min_size=2,
    max_size=25,
)


@settings(deadline=None)
@given(moves, st.sampled_from([60, 120, 240]))
def test_never_more_comes_back_than_was_removed_in_its_time(demands, seconds):
    policy, state = soft(out=0, back=0, seconds=seconds), have(10, 15)
    removed: dict[str, list[float]] = {"decode": [], "prefill": []}  # when, a replica each
    for tokens, wait in demands:
        now = state.now_seconds
        decision = decide(policy, state, calm(tokens))
        for name, step in decision.steps.items():
            kept = [at for at in removed[name] if now - at < seconds]
            assert float(state.watched.get(name, 0.0)) == len(kept)
            assert 0.0 <= step.restored <= len(kept)
            kept = kept[: len(kept) - int(step.restored)]  # the latest removed come back first
            less = max(int(step.current) - int(step.replicas), 0)
            removed[name] = kept + [now] * less
        state = advance(state, decision, now + wait)


@settings(deadline=None)
@given(
    st.integers(1, 60), st.floats(0.0, 50_000.0),
    st.lists(st.floats(-0.045, 0.045), min_size=30, max_size=30), st.sampled_from([15.0, 60.0]),
)  # fmt: skip
def test_noise_within_tolerance_takes_nothing_back(decode, demand, noise, step):
    policy = soft(out=0, back=0, decode={"most": 300}, prefill={"most": 300})
    state = have(decode, math.ceil(1.5 * decode))
    was_in = {"decode": False, "prefill": False}
    for error in noise:
        decision = decide(policy, state, calm(demand * (1.0 + error)))
        for name, count in decision.replicas.items():
            assert not (was_in[name] and count > state.replicas[name])
            was_in[name] |= count < state.replicas[name]
        state = advance(state, decision, state.now_seconds + step)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 20), st.floats(0.0, 60_000.0), st.floats(0.0, 0.06),
       st.booleans())  # fmt: skip
def test_what_is_watched_only_ever_adds_replicas(decode, watched, tokens, tbt, is_cooling):
    cooling = {"scaled_out_at_seconds": JUST_NOW} if is_cooling else {}
    plain = have(decode, 15, **cooling)
    kept = replace(plain, watched={"decode": watched})
    without, beside = (
        decide(soft(), state, seen(tokens=tokens, tbt=tbt)) for state in (plain, kept)
    )
    more = beside.replicas["decode"] - without.replicas["decode"]
    assert 0 <= more <= watched
    assert without.replicas["prefill"] == beside.replicas["prefill"]
    assert more <= float(beside.steps["decode"].restored)


def test_draws_of_what_is_watched_decide_as_one_at_a_time():
    watched = np.array([0, 1, 2, 9])
    state = State(NOW, {"decode": 8, "prefill": 12}, JUST_NOW, watched={"decode": watched})
    readings = Observation({TOKENS: Reading(20_000.0), TBT: Reading(math.nan)})
    together = decide(soft(), state, readings)
    assert together.replicas["decode"].tolist() == [8, 9, 10, 17]
    assert together.steps["decode"].restored.tolist() == [0, 1, 2, 9]


def test_a_policy_without_soft_scale_in_forgets_what_it_removes():
    removed = decide(document(), have(10, 15), seen(tokens=7990.0))
    assert removed.replicas["decode"] == 8
    assert advance(have(10, 15), removed, NOW + 1.0).watched == {}
