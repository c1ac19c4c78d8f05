"""The order of a ranking, on planted evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.evidence.evidence import Evidence, SignalEvidence
from signalstudy.ranking.rank import rank_signals
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified

SLOW_DAY = "Replicas never changed."
GOOD = {
    "coverage_ratio": Estimate(1.0),
    "demand_correlation": Estimate(0.99, 0.98, 0.995),
    "lag_seconds": Estimate(8.0, 7.0, 9.0),
    "signal_to_noise_ratio": Estimate(50.0, 40.0, 60.0),
    "linearity_ratio": Estimate(0.99, 0.98, 1.0),
    "demand_elasticity": Estimate(0.97, 0.95, 0.99),
    "gain_ratio": Estimate(0.98, 0.9, 1.1),
    "dynamic_range_ratio": Estimate(0.93, 0.9, 0.95),
    "capacity_elasticity": unidentified(SLOW_DAY),
}


def around(value, spread=0.05):
    return Estimate(value, value - spread, value + spread)


def as_in_figure_2(pool, name, elasticity, r_squared, gain, dynamic_range):
    """One row of scalers.md, section 1.2."""
    return SignalEvidence(
        pool,
        name,
        "total" if name.endswith("per_second") else "intensive",
        GOOD
        | {
            "demand_correlation": around(r_squared**0.5),
            "signal_to_noise_ratio": Estimate(r_squared / (1.0 - r_squared)),
            "demand_elasticity": around(elasticity),
            "gain_ratio": around(gain, 0.1),
            "dynamic_range_ratio": Estimate(dynamic_range),
            "lag_seconds": around(360.0, 45.0),
        },
    )


FIGURE_2 = (
    as_in_figure_2("prefill", "prefill_uncached_tokens_per_second", 1.00, 0.984, 0.98, 0.93),
    as_in_figure_2("prefill", "gpu_utilization_ratio", 0.95, 0.984, 0.78, 0.91),
    as_in_figure_2("prefill", "sm_activity_ratio", 0.98, 0.983, 0.90, 0.92),
    as_in_figure_2("decode", "tbt_mean_seconds", 0.28, 0.979, 1.40, 0.54),
    as_in_figure_2("prefill", "ttft_mean_seconds", 0.28, 0.839, 2.70, 0.63),
    as_in_figure_2("decode", "sm_activity_ratio", 0.25, 0.864, 0.23, 0.54),
    as_in_figure_2("decode", "gpu_utilization_ratio", 0.02, 0.325, -0.05, 0.10),
)


def with_losses(evidence, mean, *, blocks=48, seed=0):
    rng = np.random.default_rng(seed)
    losses = mean + 0.02 * rng.standard_normal(blocks)
    return replace(evidence, block_losses=losses)


def good(name, *, pool="decode", **measures):
    return SignalEvidence(pool, name, "total", GOOD | measures)


def ranked(*signals, seed=0, **more):
    return rank_signals(Evidence("chat", signals, **more), seed=seed)


def test_the_reference_figure_gets_the_verdicts_of_its_paper():
    ranking = ranked(*FIGURE_2, demand_source={"decode": "served_other_pool"})
    verdicts = {(s.pool, s.signal): s.verdict for s in ranking.signals}
    assert verdicts == {
        ("prefill", "prefill_uncached_tokens_per_second"): "proportional",
        ("prefill", "gpu_utilization_ratio"): "proportional",
        ("prefill", "sm_activity_ratio"): "proportional",
        ("decode", "tbt_mean_seconds"): "guard",
        ("prefill", "ttft_mean_seconds"): "guard",
        ("decode", "sm_activity_ratio"): "rejected",
        ("decode", "gpu_utilization_ratio"): "rejected",
    }
    assert [s.rank for s in ranking.signals] == list(range(1, 8))


def test_independent_noise_qualifies_nothing():
    noise = {
        "demand_correlation": Estimate(0.03, -0.1, 0.15),
        "independence_probability": Estimate(0.6),
        "effective_observations": Estimate(90.0),
        "demand_elasticity": Estimate(0.01, -0.05, 0.06),
    }
    ranking = ranked(*(good(f"noise_{i}_ratio", **noise) for i in range(5)))
    assert ranking.best is None
    assert {s.verdict for s in ranking.signals} == {"rejected"}
    assert ranking.summary.startswith("No signal qualifies for proportional control: 5 rejected")


def test_the_smallest_held_out_loss_comes_first_whatever_its_name():
    ranking = ranked(
        with_losses(good("decode_tokens_per_second"), 0.4, seed=1),
        with_losses(good("inflight_tokens"), 0.1, seed=2),
        with_losses(good("requests_per_second"), 0.3, seed=3),
    )
    assert [s.signal for s in ranking.signals] == [
        "inflight_tokens",
        "requests_per_second",
        "decode_tokens_per_second",
    ]
    assert [s.in_confidence_set for s in ranking.signals] == [True, False, False]
    assert ranking.signals[0].measures["rank_probability"].value > 0.99


def test_of_equals_in_two_pools_the_one_whose_knee_was_visited_leads():
    prefill = with_losses(good("a_per_second", pool="prefill"), 0.1, seed=1)
    decode = with_losses(good("b_per_second", lag_seconds=Estimate(20.0, 15.0, 25.0)), 0.1, seed=2)
    worse = with_losses(good("c_per_second"), 0.4, seed=3)
    evidence = Evidence("chat", (prefill, decode, worse))

    def order(*knees: str) -> list[str]:
        found = rank_signals(evidence, visited_knees=frozenset(knees))
        assert ("It leads because" in found.signals[0].reason) == bool(knees)
        assert found.summary.startswith(f"Follow {found.signals[0].signal} ")
        return [signal.signal for signal in found.signals]

    assert order() == ["a_per_second", "b_per_second", "c_per_second"]
    assert order("decode") == ["b_per_second", "a_per_second", "c_per_second"]
    assert order("prefill") == order()


def test_each_pool_has_a_race_of_its_own():
    ranking = ranked(
        with_losses(good("a_ratio", pool="prefill"), 0.1, seed=1),
        with_losses(good("b_ratio", pool="prefill"), 0.2, seed=2),
        with_losses(good("c_ratio", pool="decode"), 0.4, blocks=36, seed=3),
    )
    places = {s.signal: (s.in_confidence_set, s.rank) for s in ranking.signals}
    assert places["a_ratio"][0]
    assert places["c_ratio"][0]
    assert places["b_ratio"] == (False, 3)


def test_a_loss_that_is_hardly_larger_is_a_tie_however_sure():
    signals = [
        replace(good(name), block_losses=np.full(48, loss) + 1e-6 * np.arange(48))
        for name, loss in (("a_ratio", 0.100), ("b_ratio", 0.108), ("c_ratio", 0.112))
    ]
    in_set = {s.signal: s.in_confidence_set for s in ranked(*signals).signals}
    assert in_set == {"a_ratio": True, "b_ratio": True, "c_ratio": False}


def test_the_steeper_guard_comes_first():
    def guard(name, gain):
        return good(name, gain_ratio=around(gain, 0.1), demand_elasticity=around(0.3))

    ranking = ranked(guard("tbt_mean_seconds", 1.3), guard("tbt_p99_seconds", 4.0))
    assert [s.signal for s in ranking.signals] == ["tbt_p99_seconds", "tbt_mean_seconds"]


def test_ties_are_said():
    twin = with_losses(good("a_ratio"), 0.1, seed=1)
    ranking = ranked(twin, replace(twin, signal="b_ratio"))
    assert all(s.in_confidence_set for s in ranking.signals)
    assert "Tied with decode b_ratio." in ranking.signals[0].reason
    assert "tied with another signal (decode b_ratio)" in ranking.summary
    assert ranking.signals[0].measures["rank_probability"].value == pytest.approx(0.5)


def test_too_few_blocks_keep_all_in_the_set_and_say_so():
    ranking = ranked(
        with_losses(good("a_ratio"), 0.1, blocks=23),
        with_losses(good("b_ratio"), 0.4, blocks=23),
    )
    assert all(s.in_confidence_set for s in ranking.signals)
    probability = ranking.signals[0].measures["rank_probability"]
    assert probability.status == "unidentified"
    assert "Only 23 common blocks" in probability.note


def test_a_signal_with_hardly_any_losses_does_not_take_blocks_from_the_others():
    sparse = np.full(48, np.nan)
    sparse[:4] = 0.0
    ranking = ranked(
        replace(good("sparse_ratio"), block_losses=sparse),
        good("without_losses_ratio"),
        with_losses(good("a_ratio"), 0.1, seed=1),
        with_losses(good("b_ratio"), 0.4, seed=2),
    )
    assert ranking.best.signal == "a_ratio"
    by_name = {s.signal: s for s in ranking.signals}
    for name in ("sparse_ratio", "without_losses_ratio"):
        assert not by_name[name].in_confidence_set
        assert by_name[name].measures["rank_probability"].status == "unidentified"


def test_without_losses_the_clearer_sooner_straighter_signal_comes_first():
    worse = {"lag_seconds": Estimate(90.0), "signal_to_noise_ratio": Estimate(2.0)}
    ranking = ranked(good("late_ratio", **worse), good("prompt_ratio"))
    assert ranking.best.signal == "prompt_ratio"


def test_the_summary_guards_each_pool_by_what_users_feel():
    ranking = ranked(
        good("a_ratio"),
        good("kv_cache_usage_ratio", signal_to_noise_ratio=Estimate(900.0)),
        good("tbt_p99_seconds"),
        good("waiting_requests", pool="prefill"),
    )
    assert ranking.summary.endswith(
        "guard it with tbt_p99_seconds of the decode pool and waiting_requests of the prefill pool."
    )


def test_verdicts_come_before_losses():
    pinned = {"demand_elasticity": around(0.05), "dynamic_range_ratio": Estimate(0.1)}
    ranking = ranked(
        with_losses(good("gpu_utilization_ratio", **pinned), 0.0),
        with_losses(good("ttft_p99_seconds"), 0.0),
        with_losses(good("unclear_ratio", gain_ratio=unidentified("Too short.")), 0.0),
        with_losses(good("a_ratio"), 0.9),
        unavailable=(("decode", "sm_activity_ratio", "DCGM does not export it."),),
    )
    assert [s.verdict for s in ranking.signals] == [
        "proportional",
        "guard",
        "undetermined",
        "rejected",
        "unavailable",
    ]
    assert [s.rank for s in ranking.signals] == [1, 2, 3, 4, None]
    assert ranking.signals[-1].reason == "DCGM does not export it."
    assert "guard it with ttft_p99_seconds of the decode pool" in ranking.summary


def test_every_signal_carries_a_rank_probability():
    ranking = ranked(*FIGURE_2, unavailable=(("decode", "inflight_tokens", "Not exported."),))
    assert all("rank_probability" in s.measures for s in ranking.signals)


def test_a_signal_that_is_demand_itself_asks_for_gateway_data():
    itself = not_applicable("It is the served work that demand was made of.")
    ranking = ranked(
        good("decode_tokens_per_second", demand_correlation=itself, linearity_ratio=itself),
        demand_source={"decode": "served_own"},
    )
    assert ranking.best is None
    assert "gateway" in ranking.signals[0].reason
    assert "offered demand was not recorded" in ranking.summary


def test_nothing_in_nothing_out():
    ranking = ranked()
    assert ranking.signals == ()
    assert ranking.summary == (
        "No signal could be judged: the data hold none that the catalogue knows."
    )


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.from_regex(r"[a-z]{3,8}_ratio", fullmatch=True), min_size=4, max_size=4,
             unique=True)
)  # fmt: skip
def test_renaming_signals_renames_the_ranking_and_nothing_else(names):
    plain = [
        with_losses(
            good(f"signal_{i}_ratio", lag_seconds=Estimate(10.0 * i)), 0.1 * (i // 2), seed=i
        )
        for i in range(4)
    ]
    before = ranked(*plain)
    after = ranked(*(replace(s, signal=name) for s, name in zip(plain, names, strict=True)))
    new_name = {s.signal: name for s, name in zip(plain, names, strict=True)}
    assert [new_name[s.signal] for s in before.signals] == [s.signal for s in after.signals]
    for old, new in zip(before.signals, after.signals, strict=True):
        assert replace(old, signal="", reason="") == replace(new, signal="", reason="")


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(len(FIGURE_2))))
def test_the_order_of_the_evidence_does_not_matter(order):
    expected = {s.signal: (s.rank, s.verdict) for s in ranked(*FIGURE_2).signals}
    shuffled = ranked(*(FIGURE_2[i] for i in order))
    assert {s.signal: (s.rank, s.verdict) for s in shuffled.signals} == expected


def test_the_same_seed_gives_the_same_ranking():
    signals = [with_losses(good(f"s{i}_ratio"), 0.1, seed=i) for i in range(3)]
    assert ranked(*signals, seed=5) == ranked(*signals, seed=5)
