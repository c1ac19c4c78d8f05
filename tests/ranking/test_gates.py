"""Planted evidence, known verdicts."""

from __future__ import annotations

import pytest

from signalstudy.evidence.evidence import SignalEvidence
from signalstudy.ranking.gates import judge
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified

GOOD = {
    "coverage_ratio": Estimate(1.0),
    "demand_correlation": Estimate(0.99, 0.98, 0.995),
    "independence_probability": Estimate(0.005),
    "effective_observations": Estimate(60.0),
    "lag_seconds": Estimate(8.0, 7.0, 9.0),
    "signal_to_noise_ratio": Estimate(50.0, 40.0, 60.0),
    "linearity_ratio": Estimate(0.99, 0.98, 1.0),
    "demand_elasticity": Estimate(0.97, 0.95, 0.99),
    "gain_ratio": Estimate(0.98, 0.9, 1.1),
    "dynamic_range_ratio": Estimate(0.93, 0.9, 0.95),
    "cache_distortion_ratio": Estimate(0.02, 0.01, 0.04),
    "capacity_elasticity": Estimate(-1.0, -1.02, -0.98),
}


def planted(name: str = "some_ratio", kind: str = "intensive", **measures: Estimate):
    return SignalEvidence("decode", name, kind, GOOD | measures)


def verdict(name: str = "some_ratio", **measures: Estimate) -> tuple[str, str]:
    judgement = judge(planted(name, **measures))
    return judgement.verdict, judgement.finding


def test_a_signal_that_passes_every_gate_is_proportional():
    assert verdict() == ("proportional", "proportional")


@pytest.mark.parametrize(
    ("measures", "expected"),
    [
        ({"independence_probability": Estimate(0.4), "demand_correlation": Estimate(0.05)},
         ("rejected", "does_not_follow")),
        ({"independence_probability": Estimate(0.4)}, ("undetermined", "too_little_data")),
        ({"demand_correlation": Estimate(-0.7, -0.8, -0.5),
          "demand_elasticity": Estimate(-0.3, -0.4, -0.2)}, ("rejected", "falls")),
        ({"demand_elasticity": Estimate(0.02, -0.01, 0.05),
          "dynamic_range_ratio": Estimate(0.1)}, ("rejected", "flat")),
        ({"demand_elasticity": Estimate(0.4, 0.3, 0.5),
          "gain_ratio": Estimate(0.23, 0.2, 0.3)}, ("rejected", "concave")),
        ({"demand_elasticity": Estimate(2.0, 1.8, 2.2)}, ("rejected", "convex")),
        ({"demand_elasticity": Estimate(1.0, -3.0, 5.0)}, ("undetermined", "vague_elasticity")),
        ({"demand_elasticity": Estimate(0.6, 0.5, 0.75)}, ("proportional", "proportional")),
        ({"demand_elasticity": Estimate(0.6, 0.5, 0.69)}, ("rejected", "concave")),
        ({"demand_elasticity": unidentified("Demand hardly moved.")},
         ("undetermined", "vague_elasticity")),
        ({"gain_ratio": Estimate(0.2, 0.1, 0.3)}, ("rejected", "saturates")),
        ({"gain_ratio": Estimate(5.0, 3.5, 8.0)}, ("rejected", "cliff")),
        ({"gain_ratio": Estimate(1.0, -2.0, 9.0)}, ("undetermined", "vague_gain")),
        ({"gain_ratio": unidentified("Too few blocks.")}, ("undetermined", "vague_gain")),
        ({"cache_distortion_ratio": Estimate(1.5, 1.2, 1.8)}, ("rejected", "distorted")),
        ({"cache_distortion_ratio": Estimate(0.3, 0.1, 0.5)}, ("undetermined", "vague_distortion")),
        ({"cache_distortion_ratio": not_applicable("Hits hardly move.")},
         ("proportional", "proportional")),
        ({"capacity_elasticity": Estimate(-0.01, -0.02, 0.0)}, ("rejected", "ignores_replicas")),
        ({"capacity_elasticity": Estimate(-0.6, -0.9, -0.3)}, ("undetermined", "vague_capacity")),
        ({"capacity_elasticity": unidentified("Replicas never changed.")},
         ("proportional", "proportional")),
        ({"signal_to_noise_ratio": Estimate(0.1, 0.0, 0.2)}, ("rejected", "noisy")),
        ({"regime_shift_ratio": Estimate(0.5, 0.4, 0.6)}, ("undetermined", "changed")),
        ({"regime_shift_ratio": Estimate(0.3, 0.1, 0.5)}, ("proportional", "proportional")),
        ({"regime_shift_ratio": Estimate(0.0)}, ("proportional", "proportional")),
        ({"demand_correlation": not_applicable("It is demand itself."),
          "linearity_ratio": not_applicable("It is demand itself.")}, ("undetermined", "circular")),
        ({"demand_correlation": unidentified("Constant."),
          "dynamic_range_ratio": Estimate(0.0)}, ("rejected", "constant")),
        ({"demand_correlation": unidentified("Fewer than 8 common steps.")},
         ("undetermined", "unknown_dependence")),
    ],
)  # fmt: skip
def test_each_gate_gives_its_verdict(measures, expected):
    assert verdict(**measures) == expected


def test_what_failed_outweighs_what_is_unknown():
    flat = {"demand_elasticity": Estimate(0.0, -0.1, 0.1), "dynamic_range_ratio": Estimate(0.05)}
    assert verdict(independence_probability=Estimate(0.3), **flat)[0] == "rejected"


def test_a_signal_that_is_demand_itself_is_still_rejected_for_what_is_known_against_it():
    circular = not_applicable("It is demand itself.")
    distorted = Estimate(1.5, 1.2, 1.8)
    given = {"demand_correlation": circular, "cache_distortion_ratio": distorted}
    assert verdict(**given) == ("rejected", "distorted")


@pytest.mark.parametrize(
    "name",
    ["ttft_p99_seconds", "tbt_mean_seconds", "e2e_p50_seconds", "queue_wait_p95_seconds",
     "waiting_requests", "kv_cache_usage_ratio"],
)  # fmt: skip
def test_latency_waiting_and_occupancy_are_guards_at_best(name):
    assert verdict(name) == ("guard", "close_to_proportional")


@pytest.mark.parametrize("name", ["ttft_p99_seconds", "running_requests", "inflight_tokens"])
def test_a_cliff_of_a_latency_or_queue_is_a_guard(name):
    cliff = {
        "demand_elasticity": Estimate(2.5, 2.0, 3.0),
        "gain_ratio": Estimate(6.0, 4.0, 9.0),
    }
    assert verdict(name, **cliff) == ("guard", "cliff")


def test_in_flight_work_that_grows_in_proportion_is_proportional():
    assert verdict("inflight_tokens")[0] == "proportional"
    assert verdict("running_requests")[0] == "proportional"


def test_a_latency_that_flattens_falls_or_wanders_is_no_guard():
    assert verdict("tbt_p99_seconds", gain_ratio=Estimate(0.3, 0.2, 0.4))[0] == "rejected"
    falling = Estimate(-0.5, -0.6, -0.4)
    assert verdict("tbt_p99_seconds", demand_correlation=falling, demand_elasticity=falling) == (
        "rejected",
        "falls",
    )
    noise = {"demand_correlation": Estimate(0.02), "independence_probability": Estimate(0.7)}
    assert verdict("tbt_p99_seconds", **noise) == ("rejected", "does_not_follow")


def test_a_latency_that_stayed_level_is_an_untested_guard():
    level = {"demand_elasticity": Estimate(-0.01, -0.03, 0.02), "gain_ratio": unidentified("Flat.")}
    assert verdict("e2e_p50_seconds", **level) == ("undetermined", "unmoved_guard")


def test_a_latency_of_wide_elasticity_is_not_called_level():
    """Where a queue stood for hours, latency follows its history: correlated, of no slope."""
    wide = {"demand_elasticity": Estimate(0.4, -0.3, 0.9), "gain_ratio": unidentified("Neither.")}
    rises = Estimate(0.38, 0.25, 0.57)
    assert verdict("ttft_p95_seconds", demand_correlation=rises, **wide) == ("guard", "rises")
    unsure = Estimate(0.2, -0.1, 0.4)
    assert verdict("ttft_p95_seconds", demand_correlation=unsure, **wide)[1] == "unclear_rise"


def test_a_weak_fall_is_called_flat_and_a_plain_one_a_fall():
    weak = {"demand_elasticity": Estimate(-0.01, -0.02, -0.001)}
    assert verdict(demand_correlation=Estimate(-0.08, -0.12, -0.03), **weak)[1] == "flat"
    assert verdict(demand_correlation=Estimate(-0.7, -0.8, -0.6), **weak)[1] == "falls"


def test_a_queue_that_rests_at_zero_and_then_jumps_is_a_guard_whatever_its_gain():
    resting = {
        "demand_elasticity": unidentified("It is zero in 14 of 20 bins."),
        "gain_ratio": Estimate(-3.7, -5.5, -2.5),
    }
    assert verdict("waiting_requests", **resting) == ("guard", "rises")


def test_a_latency_that_bends_only_a_little_is_not_called_a_cliff():
    bent = {"demand_elasticity": Estimate(0.28), "gain_ratio": Estimate(1.2, 1.1, 1.3)}
    assert verdict("tbt_p99_seconds", **bent) == ("guard", "rises")


def test_a_queue_that_never_formed_is_left_open():
    never = {
        "demand_correlation": unidentified("It never moved."),
        "dynamic_range_ratio": Estimate(0.0),
    }
    assert verdict("waiting_requests", **never) == ("undetermined", "constant")


def test_without_a_p_value_the_interval_of_the_correlation_decides():
    without = {name: value for name, value in GOOD.items() if name != "independence_probability"}
    spanning_zero = without | {"demand_correlation": Estimate(0.1, -0.2, 0.3)}
    assert judge(SignalEvidence("decode", "a_ratio", "total", without)).verdict == "proportional"
    assert judge(SignalEvidence("decode", "a_ratio", "total", spanning_zero)).finding == (
        "does_not_follow"
    )


def test_a_signal_without_any_measure_is_undetermined():
    assert judge(SignalEvidence("decode", "a_ratio", "total", {})).verdict == "undetermined"


@pytest.mark.parametrize(
    "name", ["some_ratio", "decode_tokens_per_second", "ttft_p99_seconds", "waiting_requests"]
)
def test_what_is_known_less_than_half_of_the_time_decides_nothing(name):
    against = {"signal_to_noise_ratio": Estimate(0.0), "demand_elasticity": Estimate(0.0)}
    assert verdict(name, coverage_ratio=Estimate(0.49)) == ("undetermined", "patchy")
    assert verdict(name, coverage_ratio=Estimate(0.2), **against) == ("undetermined", "patchy")
    assert verdict(name, coverage_ratio=Estimate(0.5)) != ("undetermined", "patchy")


def test_an_insignificant_correlation_whose_interval_reaches_far_is_left_open():
    chance = Estimate(0.4)
    narrow = verdict(independence_probability=chance, demand_correlation=Estimate(0.3, 0.1, 0.45))
    wide = verdict(independence_probability=chance, demand_correlation=Estimate(0.3, -0.2, 0.75))
    assert (narrow, wide) == (
        ("rejected", "hardly_follows"),
        ("undetermined", "too_little_data"),
    )


def test_the_cache_is_named_as_the_cause_of_what_is_wrong_with_all_prompt_tokens():
    against = {
        "demand_elasticity": Estimate(0.5, 0.4, 0.6),
        "cache_distortion_ratio": Estimate(1.5, 1.2, 1.8),
    }
    assert verdict("prefill_tokens_per_second", **against) == ("rejected", "distorted")
    assert verdict("some_ratio", **against) == ("rejected", "concave")


@pytest.mark.parametrize("name", ["some_ratio", "ttft_p99_seconds"])
def test_what_does_not_move_under_quiet_demand_is_not_rejected_for_it(name):
    still = Estimate(0.02, -0.1, 0.1, status="censored")
    weak = {"independence_probability": Estimate(0.6), "demand_correlation": still}
    assert verdict(name, **weak) == ("undetermined", "quiet_demand")


def test_noise_under_quiet_demand_is_not_held_against_a_signal():
    faint = {
        "demand_correlation": Estimate(0.15, 0.06, 0.24, status="censored"),
        "demand_elasticity": unidentified("Demand varies too little."),
        "signal_to_noise_ratio": Estimate(0.02, 0.0, 0.05),
    }
    assert verdict(**faint)[0] == "undetermined"
    faint["demand_correlation"] = Estimate(0.15, 0.06, 0.24)
    assert verdict(**faint) == ("rejected", "noisy")


def test_a_guard_is_seen_to_rise_or_left_open():
    drowned = {
        "demand_elasticity": unidentified("The signal rests at zero."),
        "demand_correlation": Estimate(0.06, -0.1, 0.14),
    }
    assert verdict("waiting_requests", **drowned) == ("undetermined", "unclear_rise")
    seen = drowned | {"demand_correlation": Estimate(0.3, 0.2, 0.4)}
    assert verdict("waiting_requests", **seen) == ("guard", "rises")


def test_what_moves_a_little_with_demand_is_not_called_independent():
    by_chance = {"independence_probability": Estimate(0.4)}
    weak = by_chance | {"demand_correlation": Estimate(0.26, 0.1, 0.4)}
    assert verdict(**weak) == ("rejected", "hardly_follows")
    none = by_chance | {"demand_correlation": Estimate(0.1, -0.1, 0.3)}
    assert verdict(**none) == ("rejected", "does_not_follow")


def test_a_record_too_short_to_tell_chance_decides_nothing():
    short = {"independence_probability": unidentified("The record is too short.")}
    assert verdict(**short) == ("undetermined", "too_little_data")
    assert verdict("ttft_p99_seconds", **short) == ("undetermined", "too_little_data")
