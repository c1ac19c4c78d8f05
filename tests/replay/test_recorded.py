from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from signalstudy.replay.draws import draw, noise
from signalstudy.replay.grounds import lay_grounds
from signalstudy.replay.recorded import replay_policy
from signalstudy.timeline.timeline import Attained
from signalstudy.vocabulary.errors import ConfigurationError, NotEnoughDataError, UnknownNameError
from signalstudy.vocabulary.estimate import Estimate, unidentified
from tests.replay import planted


def replayed(service, *policies, **more):
    return replay_policy(list(policies) or planted.policy(), service, **{"draws": 0, **more})


def by_name(replay):
    return {run.name: run for run in replay.runs}


def test_a_fleet_at_its_target_stays_and_costs_what_it_costs():
    run = by_name(replayed(planted.unified(planted.steps(2800.0, 2800.0))))["chat"]
    assert run.gpu_hours.value == pytest.approx(8.0)
    assert run.slo_attainment_ratio.value == 1.0
    assert run.scale_events.value == 0
    assert run.flags == ()
    assert run.replica_seconds == {"unified": pytest.approx(4 * 7200.0)}


def test_gpus_of_a_replica_multiply_the_cost():
    runs = [
        by_name(replayed(planted.unified(planted.steps(2800.0)), gpus_per_replica=gpus))["chat"]
        for gpus in (None, {"unified": 8})
    ]
    assert runs[1].gpu_hours.value == pytest.approx(8 * runs[0].gpu_hours.value)


def test_a_replica_costs_from_the_decision_on_and_while_it_drains():
    service = planted.unified(planted.steps(2800.0, 1400.0, 1400.0))
    bounds = {"unified": planted.rule(back=0)}
    soft = {"unified": planted.rule(back=0)}
    soft["unified"]["scaleIn"]["observationSeconds"] = 360
    hard, kept = (
        by_name(replayed(service, planted.policy(pools=pools)))["chat"] for pools in (bounds, soft)
    )
    removed = 4 - hard.pools["unified"].asked_replicas[-1]
    assert removed == 2
    assert kept.gpu_hours.value - hard.gpu_hours.value == pytest.approx(removed * 0.1)


def test_a_policy_that_flaps_is_shown_to_flap():
    # A wave of twenty minutes and a target so near to capacity that each half calls for a change.
    at = np.arange(24 * 240)
    service = planted.unified(4000.0 * (1.0 + 0.4 * np.sin(at * 2 * np.pi / 80)), 6.0)
    quick = planted.policy("quick", pools={"unified": planted.rule(out=0, back=0)})
    slow = planted.policy("slow", pools={"unified": planted.rule(back=3600)})
    runs = by_name(replayed(service, quick, slow))
    assert any(flag.startswith("Flaps: ") for flag in runs["quick"].flags)
    assert not any(flag.startswith("Flaps: ") for flag in runs["slow"].flags)
    assert runs["quick"].scale_events.value > 5 * runs["slow"].scale_events.value


def test_a_policy_that_starves_is_shown_to_starve():
    service = planted.unified(planted.day(4000.0), 8.0)
    short = planted.policy("short", pools={"unified": planted.rule(1, 4)})
    enough = planted.policy("enough")
    runs = by_name(replayed(service, short, enough))
    said = " ".join(runs["short"].flags)
    assert "Starves: work waited for unified" in said
    assert "wanted more than maxReplicas 4" in said
    assert runs["short"].slo_attainment_ratio.value < 0.6
    assert runs["enough"].slo_attainment_ratio.value > 0.99
    assert not any("Starves" in flag for flag in runs["enough"].flags)


def test_a_policy_that_never_triggers_is_shown_never_to():
    # Utilization of four replicas stays below 0.8: a target of 0.8 is never passed.
    signal = {"name": "gpu_utilization_ratio", "kind": "intensive", "perReplicaOf": "unified",
              "windowSeconds": 60}  # fmt: skip
    never = planted.policy("never", target=0.95, signal=signal, pools={"unified": planted.rule(4)})
    service = planted.unified(planted.day(4000.0), 4.0)
    run = by_name(replayed(service, never))["never"]
    assert run.scale_events.value == 0
    assert any(flag.startswith("Never scales unified: it stayed at 4") for flag in run.flags)
    assert run.slo_attainment_ratio.value < 0.8


def test_a_target_above_saturation_starves_where_one_below_does_not():
    # Served work cannot exceed capacity: desired never exceeds current, however long the queue.
    service = planted.unified(planted.day(4000.0), 4.0)
    above = planted.policy("above", target=1000.0, pools={"unified": planted.rule(4)})
    below = planted.policy("below", target=700.0)
    runs = by_name(replayed(service, above, below))
    assert runs["above"].slo_attainment_ratio.value < 0.8
    assert runs["below"].slo_attainment_ratio.value > 0.99


def test_a_guard_scales_out_where_the_signal_cannot():
    service = planted.unified(planted.day(4000.0), 4.0)
    tiers = [{"above": 1.1, "scaleOutRatio": 0.25}]
    guard = {"signal": "ttft_p99_seconds", "pool": "unified", "windowSeconds": 60, "tiers": tiers}
    blind = planted.policy("blind", target=1000.0, pools={"unified": planted.rule(4)})
    guarded = planted.policy(
        "guarded", target=1000.0, pools={"unified": planted.rule(4)}, guards=[guard]
    )
    runs = by_name(replayed(service, blind, guarded))
    assert (
        runs["guarded"].slo_attainment_ratio.value > runs["blind"].slo_attainment_ratio.value + 0.1
    )


def test_the_same_seed_gives_the_same_replay_and_another_one_another():
    fuzzy = planted.capacity("unified", planted.TTFT, per_replica=Estimate(1000.0, 800.0, 1100.0))
    service = planted.unified(planted.day(4000.0)).but(threshold=planted.threshold(fuzzy))
    policy = planted.policy(target=950.0)
    one, same, other = (
        replayed(service, policy, draws=20, seed=seed).as_dict() for seed in (3, 3, 4)
    )
    assert one == same
    assert one["runs"][1]["slo_attainment_ratio"] != other["runs"][1]["slo_attainment_ratio"]


def test_intervals_come_from_what_the_study_does_not_know():
    fuzzy = planted.capacity("unified", planted.TTFT, per_replica=Estimate(1000.0, 700.0, 1200.0))
    sure = planted.unified(planted.day(4000.0))
    unsure = sure.but(threshold=planted.threshold(fuzzy))
    runs = [
        by_name(replayed(service, planted.policy(target=900.0), draws=40))["chat"]
        for service in (sure, unsure)
    ]
    known, unknown = (run.slo_attainment_ratio for run in runs)
    assert known.high - known.low < 1e-9
    assert unknown.low < known.value - 0.01
    assert unknown.low <= unknown.value <= unknown.high


def test_many_lanes_are_scored_as_few_at_a_time_would_be(monkeypatch):
    fuzzy = planted.capacity("unified", planted.TTFT, per_replica=Estimate(1000.0, 800.0, 1100.0))
    service = planted.unified(planted.day(4000.0)).but(threshold=planted.threshold(fuzzy))
    whole = replayed(service, planted.policy(target=900.0), draws=9).as_dict()
    monkeypatch.setattr("signalstudy.replay.score.CELLS_AT_ONCE", 3 * 5760)
    assert replayed(service, planted.policy(target=900.0), draws=9).as_dict() == whole


def test_the_best_fixed_fleet_is_the_smallest_that_bears_the_peak():
    run = by_name(replayed(planted.unified(planted.day(4000.0)), against=["fixed-peak"]))
    fixed = run["fixed-peak"]
    # A peak of 6400 in seven replicas of 1000 leaves nothing waiting; six would miss hours.
    assert fixed.given == "unified 7."
    assert fixed.gpu_hours.value == pytest.approx(7 * 24)
    assert fixed.slo_attainment_ratio.value == 1.0


def test_the_clairvoyant_is_cheaper_than_any_fixed_fleet_and_than_the_policy():
    replay = by_name(replayed(planted.disaggregated(planted.day(20000.0), 12.0),
                              planted.split_policy(),
                              against=["fixed-peak", "clairvoyant"]))  # fmt: skip
    clairvoyant = replay["clairvoyant"]
    assert clairvoyant.slo_attainment_ratio.value >= 0.99
    assert clairvoyant.gpu_hours.value < replay["fixed-peak"].gpu_hours.value
    assert clairvoyant.gpu_hours.value < replay["chat"].gpu_hours.value
    # Work over capacity is its floor: 20000 tokens a second in replicas of 2000, twice.
    assert clairvoyant.gpu_hours.value > 0.95 * 24 * (20000 / 2000 + 40000 / 4000)


def test_heteroscale_keeps_the_ratio_and_says_what_it_was_given():
    service = planted.disaggregated(planted.day(20000.0), 12.0).but(
        pd_ratio=planted.PdRatio(Estimate(1.5))
    )
    run = by_name(replayed(service, planted.split_policy(), against=["heteroscale"]))["heteroscale"]
    target, share = re.match(
        r"target ([0-9]+) \((0\.[5-8]) x capacity\), P/D 1\.5", run.given
    ).groups()
    assert float(target) == pytest.approx(2000.0 * float(share))
    assert "the best of 4 tried" in run.given
    pools = {name: pool.asked_replicas[2000:] for name, pool in run.pools.items()}
    assert np.abs(pools["prefill"] - 1.5 * pools["decode"]).max() <= 0.5
    assert np.ptp(pools["decode"]) > 5


def test_what_cannot_be_reached_is_said_and_not_hidden():
    service = planted.unified(planted.day(4000.0))
    curve = service.threshold.capacities["unified"].curves[0]
    leaky = replace(curve, fitted=np.array([0.2, 0.2]))
    capacity = replace(service.threshold.capacities["unified"], curves=(leaky,))
    run = by_name(replayed(service.but(threshold=planted.threshold(capacity)),
                           against=["fixed-peak"]))["fixed-peak"]  # fmt: skip
    assert run.slo_attainment_ratio.value == pytest.approx(0.8)
    assert run.flags == ("No plan tried reaches 0.99; the best reaches 0.8.",)


def test_between_capacity_and_saturation_work_is_served_and_some_of_it_late():
    curve = replace(
        planted.capacity("unified", planted.TTFT).curves[0],
        work_per_replica=np.array([0.0, 1000.0, 1250.0, 1500.0]),
        fitted=np.array([0.0, 0.0, 0.2, 0.4]),
    )
    capacity = replace(planted.capacity("unified", planted.TTFT), curves=(curve,))
    fixed = planted.policy(pools={"unified": planted.rule(4, 4)})
    kept = [
        by_name(
            replayed(
                planted.unified(planted.steps(level, level)).but(
                    threshold=planted.threshold(capacity)
                ),
                fixed,
            )
        )["chat"]
        for level in (4000.0, 5000.0, 7000.0)
    ]
    ratios = [run.slo_attainment_ratio.value for run in kept]
    assert ratios[:2] == [pytest.approx(1.0), pytest.approx(0.8)]
    assert ratios[2] < 0.1  # above saturation the queue only grows
    assert [run.minutes_over_capacity.value for run in kept] == [0.0, 120.0, 120.0]


def test_attainment_weighs_requests_and_not_their_tokens():
    # Six hours of as many requests: in the later three each has four times the tokens, and waits.
    offered = planted.steps(1000.0, 1000.0, 1000.0, 4000.0, 4000.0, 4000.0)
    service = planted.unified(offered, 2.0)
    fixed = planted.policy(pools={"unified": planted.rule(2, 2)})
    run = by_name(replayed(service, fixed))["chat"]
    assert run.slo_attainment_ratio.value == pytest.approx(0.5, abs=0.01)


def test_below_what_was_seen_a_signal_that_needs_work_falls_with_it():
    # Utilization was never seen below 0.2: with the work of none it must not stay there.
    service = planted.unified(planted.steps(1000.0, 1200.0, 1000.0), 4.0)
    signal = {"name": "gpu_utilization_ratio", "kind": "intensive", "perReplicaOf": "unified",
              "windowSeconds": 60}  # fmt: skip
    low = planted.policy("low", target=0.1, signal=signal)
    run = by_name(replayed(service, low))["low"]
    assert 8.0 <= run.pools["unified"].asked_replicas[-1] <= 11.0


def test_a_part_of_the_lanes_has_the_noise_that_it_has_in_the_whole():
    trembling = planted.day(4000.0, hours=6.0)
    rng = np.random.default_rng(3)
    noisy = trembling * (1.0 + 0.2 * rng.standard_normal(trembling.size))
    service = planted.unified(trembling)
    pool = service.timeline.pools["unified"]
    name = "decode_tokens_per_second"
    signals = pool.signals | {name: planted.SignalSeries(name, "total", noisy)}
    pools = {"unified": replace(pool, signals=signals)}
    service = service.but(timeline=replace(service.timeline, pools=pools))
    grounds = lay_grounds(service)
    drawn = draw(grounds, 3, 0)
    whole = noise(grounds, "unified", name, drawn)
    assert whole.shape == (4, trembling.size)
    assert np.array_equal(noise(grounds, "unified", name, drawn.part(slice(2, 4))), whole[2:])


def test_what_was_recorded_stands_first():
    replay = replayed(planted.unified(planted.steps(2800.0, 2800.0)))
    recorded = replay.runs[0]
    assert recorded.name == "recorded"
    assert recorded.gpu_hours.value == pytest.approx(8.0)
    assert recorded.slo_attainment_ratio.value == 1.0


def test_counts_over_single_limits_bracket_what_was_attained():
    """One in ten late by each limit: between all the same requests and all others."""
    service = planted.disaggregated(planted.steps(2800.0, 2800.0))
    late = tuple(
        replace(counts, over_low=0.1 * counts.observed, over_high=0.1 * counts.observed)
        for counts in service.timeline.slo_counts
    )
    timeline = replace(service.timeline, slo_counts=late)
    assert len(late) == 2
    split = planted.split_policy()
    attained = replayed(service.but(timeline=timeline), split).runs[0].slo_attainment_ratio
    assert (attained.value, attained.low, attained.high) == pytest.approx((0.8, 0.8, 0.9))
    offered = np.full(timeline.time_seconds.size, 10.0)
    exact = replace(timeline, attained=Attained(offered, 0.85 * offered))
    attained = replayed(service.but(timeline=exact), split).runs[0].slo_attainment_ratio
    assert attained.value == pytest.approx(0.85)
    assert attained.low is None


def test_recorded_replicas_that_are_not_known_are_not_made_up():
    offered = planted.steps(2800.0, 2800.0)
    nothing = np.full(offered.size, np.nan)
    recorded = replayed(planted.unified(offered, ready=nothing)).runs[0]
    assert recorded.gpu_hours.status == "unidentified"
    assert "does not say how many replicas" in recorded.gpu_hours.note


def test_censored_minutes_are_flagged_and_left_out_once():
    offered = planted.day(4000.0, hours=12.0)
    served = np.minimum(offered, 4000.0)
    service = planted.unified(offered, served=served)
    short = planted.policy("short", pools={"unified": planted.rule(1, 4)})
    replay = replayed(service, short)
    assert any("served less than was offered (censored)" in note for note in replay.notes)
    # Demand is above 4444, so that less than nine tenths are served, in 44 % of the time.
    hours = float(re.search(r"In ([0-9.]+) h the recording", " ".join(replay.notes))[1])
    assert hours == pytest.approx(0.44 * 12.0, abs=0.3)
    run = by_name(replay)["short"]
    assert run.uncensored_attainment_ratio.value > run.slo_attainment_ratio.value + 0.05
    assert 0.2 < run.uncensored_gpu_hours.value / run.gpu_hours.value < 0.8
    row = next(row for row in replay.rows() if row["run"] == "short")
    assert row["attainment_uncensored"] == run.uncensored_attainment_ratio.value
    assert row["gpu_hours_uncensored"] == run.uncensored_gpu_hours.value


def test_demand_made_of_served_work_is_said_to_be_a_lower_bound():
    replay = replayed(planted.unified(planted.steps(2800.0), source="served_own"))
    assert any("where the recording was saturated it was higher" in note for note in replay.notes)


def test_a_span_is_replayed_alone():
    offered = planted.steps(1400.0, 2800.0, 4200.0)
    span = (planted.START + 3600.0, planted.START + 7200.0)
    replay = replayed(planted.unified(offered), span=span)
    assert (replay.start, replay.end) == ("2026-01-05T01:00:00Z", "2026-01-05T02:00:00Z")
    assert by_name(replay)["chat"].gpu_hours.value == pytest.approx(4.0)


def test_policies_of_one_name_are_told_apart():
    replay = replayed(planted.unified(planted.steps(2800.0)), planted.policy(), planted.policy())
    assert [run.name for run in replay.runs] == ["recorded", "chat (1)", "chat (2)"]


def test_the_replay_is_json_with_what_the_contract_names():
    replay = replayed(planted.unified(planted.steps(2800.0)), against=["fixed-peak"])
    document = json.loads(json.dumps(replay.as_dict(), allow_nan=False))
    assert document["schema_version"] == 1
    assert document["engine"] == "recorded"
    assert document["trace"]["requests"] == 2400
    run = document["runs"][1]
    assert {"value", "low", "high"} <= set(run["gpu_hours"])
    assert isinstance(run["scale_events"], int)
    assert set(run["replica_seconds"]) == {"unified"}
    assert "chat" in repr(replay)
    assert "<table" in replay._repr_html_()


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"engine": "magic"}, UnknownNameError, "unknown engine 'magic'"),
        ({"against": ["fixed-peek"]}, UnknownNameError, "Did you mean 'fixed-peak'"),
        ({"span": (0.0, 100.0)}, ConfigurationError, "It has 2026-01-05T00:00:00Z to"),
        ({"span": (planted.START + 900, planted.START)}, ConfigurationError, "no two steps"),
        ({"draws": -1}, ConfigurationError, "0 or more"),
    ],
)
def test_wrong_options_are_one_clear_error(options, error, sentence):
    with pytest.raises(error, match=sentence):
        replayed(planted.unified(planted.steps(2800.0)), **options)


def test_a_policy_for_other_pools_is_one_clear_error():
    with pytest.raises(ConfigurationError, match="it scales decode, prefill; 'chat' has unified"):
        replayed(planted.unified(planted.steps(2800.0)), planted.split_policy())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"timeline": None}, "operating points have no demand over time"),
        ({"objectives": ()}, "without objectives"),
        ({"threshold": planted.threshold(planted.capacity(
            "unified", planted.TTFT, per_replica=unidentified("Nobody knows.")))},
         "what a replica of unified bears is not known. Nobody knows."),
    ],
)  # fmt: skip
def test_a_study_that_cannot_be_replayed_says_why(changes, sentence):
    with pytest.raises((ConfigurationError, NotEnoughDataError), match=sentence):
        replayed(planted.unified(planted.steps(2800.0)).but(**changes))
