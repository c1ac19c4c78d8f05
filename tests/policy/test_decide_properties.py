from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.policy.decide import decide
from signalstudy.policy.rules import compile_policy
from signalstudy.policy.state import Observation, Reading, State, advance
from tests.policy.documents import (
    TBT,
    TOKENS,
    UNCACHED,
    document,
    guarded,
    have,
    pool,
    seen,
    two_drivers,
)

patient = settings(deadline=None)  # other work on the machine is no finding

replicas = st.integers(1, 60)
demands = st.floats(0.0, 1e6)
latencies = st.one_of(st.none(), st.floats(0.0, 1.0), st.just(math.nan))
ages = st.sampled_from([0.0, 60.0, 500.0])
policies = st.sampled_from(
    [
        guarded(),
        guarded(pools={"decode": pool(3, 50, 0.1), "prefill": pool(2, 40, 0.1)}),
        document(pools={"decode": pool(2, 30, 0.5), "prefill": pool(1, 60)}),
        two_drivers(),
    ]
)
times = st.dictionaries(st.sampled_from(["decode", "prefill"]), st.floats(999_000.0, 1_000_000.0))


@st.composite
def cases(draw):
    state = have(
        draw(replicas),
        draw(replicas),
        scaled_out_at_seconds=draw(times),
        scaled_in_at_seconds=draw(times),
        watched=draw(st.dictionaries(st.sampled_from(["decode", "prefill"]), st.integers(0, 9))),
    )
    readings = {
        TOKENS: Reading(draw(demands), draw(ages)),
        UNCACHED: Reading(draw(demands), draw(ages)),
    }
    latency = draw(latencies)
    if latency is not None:
        readings[TBT] = Reading(latency, draw(ages))
    return draw(policies), state, Observation(readings)


def bounds(policy, name):
    section = policy["spec"]["pools"][name]
    return section["minReplicas"], section["maxReplicas"]


@patient
@given(cases())
def test_never_below_the_minimum_or_above_the_maximum(case):
    policy, state, observation = case
    for name, count in decide(policy, state, observation).replicas.items():
        least, most = bounds(policy, name)
        assert least <= count <= most


@patient
@given(cases(), st.floats(0.0441, 1.0))
def test_never_a_scale_in_during_a_breach(case, latency):
    _, state, observation = case
    policy = guarded()
    breached = Observation({**observation.readings, TBT: Reading(latency)})
    decision = decide(policy, state, breached)
    assert all(decision.replicas[name] >= state.replicas[name] for name in ("decode", "prefill"))


@patient
@given(cases(), demands, demands)
def test_more_demand_never_means_fewer_replicas(case, one, other):
    policy, state, observation = case
    for key in (TOKENS, UNCACHED):
        counts = []
        for demand in sorted([one, other]):
            reading = {key: replace(observation.readings[key], value=demand)}
            asked = decide(policy, state, Observation({**observation.readings, **reading}))
            counts.append(asked.replicas)
        assert counts[0]["decode"] <= counts[1]["decode"]
        assert counts[0]["prefill"] <= counts[1]["prefill"]


@patient
@given(cases())
def test_a_decision_changes_nothing_it_was_given_and_repeats(case):
    before = copy.deepcopy(case)
    first, second = decide(*case), decide(*case)
    assert case == before
    assert (first.replicas, first.reason) == (second.replicas, second.reason)


@patient
@given(cases())
def test_rules_compiled_once_decide_the_same(case):
    policy, state, observation = case
    compiled = decide(compile_policy(policy), state, observation)
    assert compiled.replicas == decide(policy, state, observation).replicas


@patient
@given(
    st.sampled_from(
        [
            document(),
            two_drivers(),
            document(pools={"decode": pool(1, 300, 0.1), "prefill": pool(1, 300, 0.1)}),
        ]
    ),
    replicas,
    replicas,
    st.floats(0.0, 50_000.0),
    st.lists(st.floats(-0.045, 0.045), min_size=30, max_size=30),
)
def test_constant_demand_with_noise_within_tolerance_never_flaps(
    policy, decode, prefill, demand, noise
):
    state = have(decode, prefill)
    changes: dict[str, list[int]] = {"decode": [], "prefill": []}
    for step, error in enumerate(noise):
        now = 1_000_000.0 + 1000.0 * step  # every cool-down has passed
        served = demand * (1.0 + error)
        decision = decide(policy, state, seen(tokens=served, uncached=3.0 * served))
        for name, count in decision.replicas.items():
            changes[name].append(int(np.sign(count - int(state.replicas[name]))))
        state = advance(state, decision, now + 1000.0)
    for moves in changes.values():
        # Once a pool has scaled in, it has found its size from above: it never scales out again.
        first_in = moves.index(-1) if -1 in moves else len(moves)
        assert 1 not in moves[first_in:]


@patient
@given(st.integers(1, 200), st.floats(0.0, 1.0))
def test_a_scale_in_never_calls_the_next_scale_out(decode, share):
    tokens = 1000.0 * decode * share
    policy = document(pools={"decode": pool(1, 300), "prefill": pool(1, 300)})
    smaller = decide(policy, have(decode, math.ceil(decode * 1.5)), seen(tokens=tokens))
    state = advance(have(decode, math.ceil(decode * 1.5)), smaller, 2_000_000.0)
    again = decide(policy, state, seen(tokens=tokens))
    assert all(again.replicas[name] <= count for name, count in smaller.replicas.items())


@patient
@given(st.lists(cases(), min_size=2, max_size=6))
def test_arrays_of_draws_decide_like_one_draw_at_a_time(draws):
    policy = guarded()
    single = []
    for _, state, observation in draws:
        readings = {TBT: Reading(math.nan, 999.0), **observation.readings}
        single.append((state, Observation(readings)))
    together = decide(
        policy,
        State(
            1_000_000.0,
            {n: np.array([s.replicas[n] for s, _ in single]) for n in ("decode", "prefill")},
            *(
                {
                    n: np.array([getattr(s, which).get(n, -np.inf) for s, _ in single])
                    for n in ("decode", "prefill")
                }
                for which in ("scaled_out_at_seconds", "scaled_in_at_seconds")
            ),
            watched={
                n: np.array([s.watched.get(n, 0) for s, _ in single]) for n in ("decode", "prefill")
            },
        ),
        Observation(
            {
                key: Reading(
                    np.array([o.readings[key].value for _, o in single]),
                    np.array([o.readings[key].age_seconds for _, o in single]),
                )
                for key in (TOKENS, TBT)
            }
        ),
    )
    for position, (state, observation) in enumerate(single):
        alone = decide(policy, state, observation)
        assert {n: c[position] for n, c in together.replicas.items()} == alone.replicas
    assert together.reason == ""


def test_draws_of_the_signal_broadcast_against_one_state():
    draws = np.array([0.0, 4000.0, 6200.0, np.nan])
    decision = decide(document(), have(), seen(tokens=draws))
    assert decision.replicas["decode"].tolist() == [1, 4, 7, 4]
    assert decision.replicas["prefill"].tolist() == [1, 6, 10, 6]
