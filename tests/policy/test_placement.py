"""Twin of policy/placement.py: one pool that cannot be provisioned, and the other beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.policy.decide import decide
from tests.policy.documents import document, have, seen, two_drivers


def test_a_pool_gets_what_can_be_placed_and_the_other_what_the_band_allows_beside_it():
    state = have(4, 6, placeable={"prefill": 8})
    decision = decide(document(), state, seen(tokens=20_000.0))
    assert decision.replicas == {"decode": 7, "prefill": 8}  # 8 / 1.2 = 6.7
    assert "no more can be placed" in decision.reason


def test_prefill_that_decode_cannot_use_is_not_asked_for():
    state = have(4, 6, placeable={"decode": 5})
    decision = decide(document(), state, seen(tokens=20_000.0))
    assert decision.replicas == {"decode": 5, "prefill": 9}  # 5 x 1.8


def test_pools_with_signals_of_their_own_keep_to_the_band_too():
    state = have(4, 6, placeable={"prefill": 6})
    decision = decide(two_drivers(), state, seen(tokens=20_000.0, uncached=12_000.0))
    assert decision.replicas == {"decode": 5, "prefill": 6}


def test_what_serves_is_not_taken_away_for_the_ratio():
    state = have(9, 6, placeable={"prefill": 6, "decode": 9})
    assert decide(document(), state, seen(tokens=9000.0)).replicas == {"decode": 9, "prefill": 6}


def test_without_a_ratio_the_other_pool_is_free():
    policy = document()
    del policy["spec"]["ratio"]
    state = have(4, 6, placeable={"prefill": 6})
    assert decide(policy, state, seen(tokens=9000.0)).replicas == {"decode": 9, "prefill": 6}


counts = st.integers(0, 40)


@pytest.mark.parametrize("policy", [document(), two_drivers()])
@settings(deadline=None)
@given(
    counts, counts, st.dictionaries(st.sampled_from(["decode", "prefill"]), counts),
    st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0, 1e5),
)  # fmt: skip
def test_more_demand_never_means_fewer_and_never_more_than_can_be_placed(
    policy, decode, prefill, placeable, one, other, uncached
):
    state = replace(have(decode, prefill), placeable=placeable)
    low, high = (
        decide(policy, state, seen(tokens=tokens, uncached=uncached)).replicas
        for tokens in sorted([one, other])
    )
    for name, have_now in (("decode", decode), ("prefill", prefill)):
        assert low[name] <= high[name]
        assert high[name] <= max(placeable.get(name, 10**9), have_now, 1)
