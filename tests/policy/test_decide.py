from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from signalstudy.policy.decide import decide
from signalstudy.policy.state import Observation, Reading, State
from signalstudy.vocabulary.errors import ConfigurationError
from tests.policy.documents import (
    TTFT,
    document,
    guarded,
    have,
    intensive,
    pool,
    seen,
    two_drivers,
)


def test_a_total_is_divided_by_the_target_and_the_other_pool_follows_by_the_ratio():
    decision = decide(document(), have(), seen(tokens=6200.0))
    assert decision.replicas == {"decode": 7, "prefill": 10}  # 6.2 and 9.3, rounded up
    assert decision.reason == (
        "decode scales out from 4 to 7: decode.decode_tokens_per_second asks for 6.2. "
        "prefill scales out from 6 to 10: decode.decode_tokens_per_second by the ratio asks for "
        "9.3."
    )


def test_the_ratio_multiplies_the_unrounded_number():
    # 5.1 x 1.5 = 7.65 -> 8, not ceil(5.1) x 1.5 = 9
    assert decide(document(), have(), seen(tokens=5100.0)).replicas == {"decode": 6, "prefill": 8}


def test_an_intensive_signal_multiplies_what_is_there():
    state = State(0.0, {"unified": 4})
    reading = Observation({"unified.gpu_utilization_ratio": Reading(0.9)})
    assert decide(intensive(), state, reading).replicas == {"unified": 6}


@pytest.mark.parametrize(
    ("tokens", "decode"), [(4400.0, 4), (4401.0, 5), (3200.0, 4), (3199.0, 4), (2999.0, 3)]
)
def test_tolerances_are_compared_unrounded_and_rounding_is_up(tokens, decode):
    assert decide(document(), have(), seen(tokens=tokens)).replicas["decode"] == decode


def test_a_product_a_hair_above_a_whole_number_costs_no_replica():
    policy = document(ratio={"prefillPerDecode": 1.1, "min": 1.0, "max": 1.2})
    assert 1.1 * 50 > 55
    assert decide(policy, have(40, 44), seen(tokens=50_000.0)).replicas == {
        "decode": 50,
        "prefill": 55,
    }


def test_a_follower_out_of_tolerance_is_mended_while_the_driver_holds():
    assert decide(document(), have(4, 3), seen(tokens=4000.0)).replicas == {
        "decode": 4,
        "prefill": 6,
    }


def test_a_driver_that_is_prefill_sizes_decode_by_the_inverse_ratio():
    policy = document(
        signal={
            "name": "prefill_uncached_tokens_per_second",
            "kind": "total",
            "perReplicaOf": "prefill",
            "windowSeconds": 60,
        }
    )
    assert decide(policy, have(), seen(uncached=9000.0)).replicas == {"prefill": 9, "decode": 6}


def test_without_ratio_or_signal_a_pool_keeps_what_it_has_and_says_so():
    policy = document()
    del policy["spec"]["ratio"]
    decision = decide(policy, have(), seen(tokens=9000.0))
    assert decision.replicas == {"decode": 9, "prefill": 6}
    assert "prefill holds at 6: the policy has neither a signal nor a ratio for it." in (
        decision.reason
    )


def test_steps_are_limited_and_at_least_one_replica():
    policy = document(pools={"decode": pool(step_in=0.1), "prefill": pool(step_in=0.1)})
    assert decide(policy, have(40, 4), seen(tokens=2000.0)).replicas == {"decode": 36, "prefill": 3}


def test_a_scale_in_waits_for_its_cooldown_after_either_direction():
    policy = document()
    for which in ("scaled_out_at_seconds", "scaled_in_at_seconds"):
        early = have(**{which: {"decode": 1_000_000.0 - 599.0, "prefill": 0.0}})
        late = have(**{which: {"decode": 1_000_000.0 - 600.0, "prefill": 0.0}})
        held = decide(policy, early, seen(tokens=1000.0))
        assert held.replicas == {"decode": 4, "prefill": 2}
        assert "decode holds at 4" in held.reason
        assert "cool-down has not passed" in held.reason
        assert decide(policy, late, seen(tokens=1000.0)).replicas["decode"] == 1


def test_a_scale_out_waits_for_its_own_cooldown_only():
    after_in = have(scaled_in_at_seconds={"decode": 999_999.0})
    after_out = have(scaled_out_at_seconds={"decode": 999_999.0})
    assert decide(document(), after_in, seen(tokens=8000.0)).replicas["decode"] == 8
    assert decide(document(), after_out, seen(tokens=8000.0)).replicas["decode"] == 4


@pytest.mark.parametrize(("tbt", "decode"), [(0.044, 10), (0.0441, 11), (0.049, 12)])
def test_a_breach_raises_its_pool_by_the_highest_tier(tbt, decode):
    decision = decide(guarded(), have(10, 15), seen(tokens=10000.0, tbt=tbt))
    assert decision.replicas == {"decode": decode, "prefill": 15}


def test_a_breach_never_lowers_what_the_signal_asks_for():
    decision = decide(guarded(), have(10, 15), seen(tokens=20000.0, tbt=0.05))
    assert decision.replicas == {"decode": 20, "prefill": 30}


def test_a_breach_forbids_the_scale_in_of_either_pool_and_says_so():
    decision = decide(guarded(), have(10, 15), seen(tokens=1000.0, tbt=0.045))
    assert decision.replicas == {"decode": 11, "prefill": 15}
    assert "no scale-in while decode.tbt_p99_seconds is above its guard" in decision.reason


def test_a_guard_of_which_nothing_is_known_forbids_scale_in_but_an_idle_one_does_not():
    unread = decide(guarded(), have(10, 15), seen(tokens=1000.0))
    idle = decide(guarded(), have(10, 15), seen(tokens=1000.0, tbt=math.nan))
    assert unread.replicas == {"decode": 10, "prefill": 15}
    assert "decode.tbt_p99_seconds is missing or stale" in unread.reason
    assert idle.replicas == {"decode": 1, "prefill": 2}


@pytest.mark.parametrize(
    "reading",
    [
        Observation(),
        seen(tokens=math.nan),
        seen(tokens=math.inf),
        seen(tokens=-1.0),
        seen(tokens=9000.0, age_seconds=121.0),
        seen(tokens=0.0, age_seconds=121.0),
    ],
)
def test_a_missing_or_stale_signal_holds_and_says_so(reading):
    decision = decide(document(), have(), reading)
    assert decision.replicas == {"decode": 4, "prefill": 6}
    assert "decode holds at 4: decode.decode_tokens_per_second is missing or stale." in (
        decision.reason
    )


def test_no_traffic_scales_in_to_the_minimum():
    assert decide(document(), have(), seen(tokens=0.0)).replicas == {"decode": 1, "prefill": 1}


def test_with_two_drivers_each_pool_follows_its_own_work():
    # 6 decode and 9 prefill: 1.5 lies in the band
    decision = decide(two_drivers(), have(), seen(tokens=6000.0, uncached=18000.0))
    assert decision.replicas == {"decode": 6, "prefill": 9}


def test_with_two_drivers_the_lagging_pool_is_raised_into_the_band():
    many_prompts = decide(two_drivers(), have(), seen(tokens=6000.0, uncached=36000.0))
    assert many_prompts.replicas == {"decode": 10, "prefill": 18}  # 18 / 1.8
    few_prompts = decide(two_drivers(), have(), seen(tokens=10000.0, uncached=4000.0))
    assert few_prompts.replicas == {"decode": 10, "prefill": 12}  # 10 x 1.2


def test_with_two_drivers_one_that_is_missing_holds_its_pool_and_every_scale_in():
    out = decide(two_drivers(), have(), seen(tokens=9000.0))
    assert out.replicas == {"decode": 9, "prefill": 6}
    into = decide(two_drivers(), have(), seen(tokens=1000.0))
    assert into.replicas == {"decode": 4, "prefill": 6}


@pytest.mark.parametrize(
    ("at", "decode"),
    [
        ("2026-01-05T08:59", 1),
        ("2026-01-05T09:00", 7),
        ("2026-01-05T17:00", 1),
        ("2026-01-09T23:00", 9),
        ("2026-01-10T03:00", 9),
        ("2026-01-10T05:00", 1),
        ("2026-01-10T23:00", 1),
    ],
)  # 5 January 2026 is a Monday, the 9th a Friday
def test_a_periodic_floor_holds_in_its_window_in_utc_and_past_midnight(at, decode):
    floors = [
        {"days": ["monday"], "from": "09:00", "to": "17:00", "replicas": {"decode": 7}},
        {"days": ["friday"], "from": "22:00", "to": "04:00", "replicas": {"decode": 9}},
    ]
    now = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
    state = replace(have(1, 2), now_seconds=now)
    assert decide(document(schedule=floors), state, seen(tokens=100.0)).replicas["decode"] == decode


def test_a_state_without_a_pool_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="the policy scales 'prefill'"):
        decide(document(), State(0.0, {"decode": 4}), seen(tokens=1.0))


def test_a_drafted_policy_decides(disaggregated):
    reading = seen(tokens=26000.0, tbt=0.03)
    reading.readings[TTFT] = Reading(0.5)
    decision = decide(disaggregated.draft(), have(12, 16), reading)
    assert decision.replicas == {"decode": 14, "prefill": 18}
