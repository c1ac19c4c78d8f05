from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from signalstudy.policy.draft import scale_in_tolerance
from signalstudy.policy.origins import numbers_of
from signalstudy.policy.schema import validate_policy
from signalstudy.threshold.drift import PART_OF_DAY, Drift, PartCapacity
from signalstudy.threshold.rhythm import DAY_KINDS, Rhythm
from signalstudy.threshold.threshold import HardwareCapacity
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified


def test_a_disaggregated_service_gets_the_document_of_the_contract(disaggregated):
    document = disaggregated.draft().document
    spec = document["spec"]
    assert list(document) == ["apiVersion", "kind", "metadata", "spec"]
    assert list(spec) == [
        "objectives",
        "signal",
        "proportional",
        "ratio",
        "pools",
        "guards",
        "schedule",
        "evidence",
    ]
    assert spec["signal"] == {
        "name": "decode_tokens_per_second",
        "kind": "total",
        "perReplicaOf": "decode",
        "windowSeconds": 60.0,
        "promql": "sum(rate(vllm:generation_tokens_total[1m]))",
    }
    assert spec["proportional"]["targetPerReplica"] == {
        "value": 1890.0,
        "low": 1800.0,
        "high": 1960.0,
        "status": "ok",
        "binding": "tbt",
        "maxObserved": 2600.0,
    }
    assert spec["ratio"] == {
        "prefillPerDecode": 1.29,
        "min": 1.2,
        "max": 1.4,
        "low": 1.24,
        "high": 1.35,
    }
    assert document["metadata"]["validUntil"] == "2026-02-11T08:30:00Z"


def test_what_the_user_says_of_a_pool_stands_and_the_rest_is_derived_and_said(disaggregated):
    policy = disaggregated.draft()
    decode, prefill = (policy.document["spec"]["pools"][pool] for pool in ("decode", "prefill"))
    assert (decode["minReplicas"], decode["maxReplicas"]) == (2, 40)
    assert decode["targetRef"]["name"] == "chat-decode"
    # 40 decode replicas, the user's maximum, x 1.4 prefill each
    assert prefill["maxReplicas"] == 56
    assert "targetRef" not in prefill
    assert any("prefill: maxReplicas 56 is derived" in note for note in policy.notes)
    assert any("prefill: the start-up time is not known" in note for note in policy.notes)
    assert not any("decode: maxReplicas" in note for note in policy.notes)


def test_without_any_maximum_the_peak_decides(disaggregated):
    decode = replace(disaggregated.pool_inputs["decode"], max_replicas=None)
    inputs = {**disaggregated.pool_inputs, "decode": decode}
    pools = disaggregated.but(pool_inputs=inputs).draft().document["spec"]["pools"]
    # 26000 / 1890 decode replicas, and half as much again; x 1.4 prefill each
    assert (pools["decode"]["maxReplicas"], pools["prefill"]["maxReplicas"]) == (21, 29)


def test_a_signal_that_does_not_add_up_is_sized_by_the_pools_own_work(unified):
    pool = replace(unified.pool_inputs["unified"], peak_replicas_by_work=Estimate(9.2))
    policy = unified.but(pool_inputs={"unified": pool}).draft()
    assert policy.document["spec"]["pools"]["unified"]["maxReplicas"] == 14  # half as much again
    pools = unified.draft().document["spec"]["pools"]
    assert pools["unified"]["maxReplicas"] == 8  # else twice the largest fleet seen


def test_a_floor_that_a_replay_found_is_said_and_gives_way_to_the_users(disaggregated):
    inputs = {
        name: replace(pool, replayed_min_replicas=3)
        for name, pool in disaggregated.pool_inputs.items()
    }
    policy = disaggregated.but(pool_inputs=inputs).draft()
    spec = policy.document["spec"]
    assert [spec["pools"][pool]["minReplicas"] for pool in ("decode", "prefill")] == [2, 3]
    assert any(note.startswith("prefill: minReplicas 3 costs less") for note in policy.notes)
    assert not any("decode: minReplicas" in note for note in policy.notes)
    methods = {entry["number"]: entry["method"] for entry in spec["evidence"]}
    assert methods["pools.prefill.minReplicas"].startswith("cheaper, replayed")
    assert methods["pools.decode.minReplicas"].startswith("study.toml")


def test_cooldowns_follow_their_formula(disaggregated):
    decode = disaggregated.draft().document["spec"]["pools"]["decode"]
    # 120 s start-up + 28 s until the lag's upper bound + half a minute's window, in whole tens
    assert decode["scaleOut"]["cooldownSeconds"] == 180
    assert decode["scaleIn"]["cooldownSeconds"] == 300
    assert decode["startupSeconds"] == 120.0


def test_guards_stand_at_a_tenth_and_a_fifth_above_the_limit(disaggregated):
    guards = disaggregated.draft().document["spec"]["guards"]
    assert [(guard["signal"], guard["pool"]) for guard in guards] == [
        ("ttft_p99_seconds", "prefill"),
        ("tbt_p99_seconds", "decode"),
    ]
    assert guards[1]["tiers"] == [
        {"above": 0.044, "scaleOutRatio": 0.1},
        {"above": 0.048, "scaleOutRatio": 0.2},
    ]


def test_a_latency_that_is_not_in_the_data_guards_nothing_and_says_so(unified):
    policy = unified.draft()
    assert policy.document["spec"]["guards"] == []
    assert any("e2e_p95_seconds is not in the data" in note for note in policy.notes)


def test_a_unified_pool_has_no_ratio_and_a_lower_bound_asks_for_a_pressure_test(unified):
    policy = unified.draft()
    spec = policy.document["spec"]
    assert "ratio" not in spec
    assert spec["signal"]["kind"] == "intensive"
    assert spec["proportional"]["targetPerReplica"]["status"] == "lower_bound"
    assert any("pressure test" in note for note in policy.notes)


def test_where_the_token_mix_moves_each_pool_follows_its_own_work(disaggregated):
    moving = replace(disaggregated.pd_ratio, moves_too_much=True, note="The mix moves 3 times.")
    policy = disaggregated.but(pd_ratio=moving).draft()
    spec = policy.document["spec"]
    prefill, decode = spec["pools"]["prefill"], spec["pools"]["decode"]
    assert prefill["signal"]["name"] == "prefill_uncached_tokens_per_second"
    # the pool's own target, over its own ramp factor: not the driver's
    assert prefill["targetPerReplica"]["value"] == 3100.0
    assert prefill["targetPerReplica"]["low"] == 2950.0
    assert prefill["targetPerReplica"]["binding"] == "ttft"
    assert decode["signal"]["name"] == "decode_tokens_per_second"
    assert decode["targetPerReplica"] == spec["proportional"]["targetPerReplica"]
    assert "ratio" in spec
    assert any("The mix moves 3 times." in note for note in policy.notes)


def test_where_the_mix_moves_but_the_other_capacity_is_unknown_the_note_says_so(disaggregated):
    moving = replace(disaggregated.pd_ratio, moves_too_much=True, note="The mix moves 3 times.")
    only_decode = {"decode": disaggregated.threshold.capacities["decode"]}
    policy = disaggregated.but(
        pd_ratio=moving, threshold=replace(disaggregated.threshold, capacities=only_decode)
    ).draft()
    assert "signal" not in policy.document["spec"]["pools"]["prefill"]
    assert any("its capacity per replica is not known" in note for note in policy.notes)


def test_an_unknown_ratio_is_absent_and_the_other_pool_is_said_to_stay(disaggregated):
    unknown = replace(disaggregated.pd_ratio, ratio=unidentified("Prefill never saturated."))
    policy = disaggregated.but(
        pd_ratio=unknown, threshold=replace(disaggregated.threshold, capacities={})
    ).draft()
    assert "ratio" not in policy.document["spec"]
    assert any(
        "prefill is not sized" in note and "Prefill never saturated." in note
        for note in policy.notes
    )


def test_no_qualifying_signal_is_no_policy_with_the_rankings_sentence(disaggregated):
    ranking = replace(disaggregated.ranking, signals=(), summary="Nothing follows demand.")
    with pytest.raises(NotEnoughDataError, match="No policy: Nothing follows demand"):
        disaggregated.but(ranking=ranking).draft()


def test_no_target_is_no_policy_with_the_thresholds_sentence(disaggregated):
    threshold = replace(disaggregated.threshold, target=not_applicable("There is no objective."))
    with pytest.raises(NotEnoughDataError, match=r"No policy: There is no objective\."):
        disaggregated.but(threshold=threshold).draft()


def test_a_threshold_on_a_signal_that_does_not_qualify_is_no_policy(disaggregated):
    decode = replace(
        disaggregated.ranking.signals[0], verdict="rejected", reason="It is distorted."
    )
    ranking = replace(disaggregated.ranking, signals=(decode, *disaggregated.ranking.signals[1:]))
    with pytest.raises(NotEnoughDataError, match=r"verdict is rejected: It is distorted\."):
        disaggregated.but(ranking=ranking).draft()


def test_every_number_with_an_estimate_has_its_evidence(disaggregated):
    spec = disaggregated.draft().document["spec"]
    numbers = {entry["number"]: entry for entry in spec["evidence"]}
    assert numbers["threshold.perReplica"]["low"] == 2240.0
    assert numbers["proportional.targetPerReplica.value"]["days"] == 7.0
    assert numbers["ratio.prefillPerDecode"]["effectiveObservations"] == 140.0
    assert {
        "pools.decode.scaleOut.cooldownSeconds",
        "pools.prefill.maxReplicas",
        "threshold.headroomRatio",
        "tokenMix",
    } <= set(numbers)


def test_a_rough_service_name_changes_the_raw_label_and_nothing_else(disaggregated):
    rough = disaggregated.but(service="<b>\n: #" * 60).draft()
    plain = disaggregated.draft()
    assert rough.document["spec"] == plain.document["spec"]
    validate_policy(rough.document, "rough")


@pytest.mark.parametrize(("out", "into"), [(0.05, 0.2), (0.2, 0.2), (0.35, 0.35), (2.0, 0.9)])
def test_scale_in_tolerates_at_least_as_much_as_scale_out(out, into):
    assert scale_in_tolerance(out) == into


def scheduled(disaggregated):
    """Give the study a rhythm that is worth floors."""
    sure = dict.fromkeys(DAY_KINDS, np.repeat([4000.0, 20_000.0], 12))
    rhythm = Rhythm(known_strength(), sure)
    pools = {
        name: replace(one, rhythm=rhythm if name == "decode" else None)
        for name, one in disaggregated.pool_inputs.items()
    }
    return disaggregated.but(pool_inputs=pools)


def known_strength():
    return Estimate(0.95, 0.9, 0.97, method="planted")


def mixed_hardware(disaggregated):
    bears = disaggregated.threshold.per_replica
    parts = tuple(
        HardwareCapacity(name, "decode", "decode_tokens_per_second", 4.0, bears, bears, "tbt", 2e3)
        for name in ("H20", "L20")
    )
    return disaggregated.but(threshold=replace(disaggregated.threshold, by_hardware=parts))


def each_its_own(disaggregated):
    moving = replace(disaggregated.pd_ratio, moves_too_much=True, note="The mix moves 3 times.")
    return disaggregated.but(pd_ratio=moving)


def as_it_is(drafting):
    return drafting


@pytest.mark.parametrize(
    ("which", "change"),
    [
        ("unified", as_it_is),
        ("disaggregated", as_it_is),
        ("disaggregated", scheduled),
        ("disaggregated", mixed_hardware),
        ("disaggregated", each_its_own),
    ],
)
def test_every_number_of_a_spec_says_how_it_was_got(which, change, request):
    spec = change(request.getfixturevalue(which)).draft().document["spec"]
    told = {entry["number"]: entry for entry in spec["evidence"]}
    written = dict(numbers_of(spec))
    assert set(written) - set(told) == set()
    assert {path for path, value in written.items() if told[path]["value"] != value} == set()
    assert [path for path in written if not told[path]["method"]] == []
    assert len(written) >= (13 if which == "unified" else 30)
    assert "pools.prefill.scaleOut.maxStepRatio" in told or which == "unified"


def test_the_walk_of_a_spec_finds_every_number_but_those_that_describe_another(disaggregated):
    spec = disaggregated.draft().document["spec"]
    text = json.dumps({name: section for name, section in spec.items() if name != "evidence"})
    described = re.findall(r'"(?:low|high|maxObserved)": [\d.]', text)
    numbers = re.findall(r"[:\[,] (-?\d+(?:\.\d+)?)(?=[,}\]])", text)
    assert len(dict(numbers_of(spec))) == len(numbers) - len(described)


def test_what_the_user_says_and_what_is_a_default_are_told_apart(disaggregated):
    entries = disaggregated.draft().document["spec"]["evidence"]
    methods = {entry["number"]: entry["method"] for entry in entries}
    said = "study.toml, [policy.pools.decode] "
    assert methods["pools.decode.minReplicas"] == said + "min_replicas"
    assert methods["pools.decode.maxReplicas"] == said + "max_replicas"
    assert methods["pools.prefill.minReplicas"].startswith("a default")
    assert methods["pools.prefill.maxReplicas"].startswith("1.5 x peak demand")
    assert methods["signal.windowSeconds"].startswith("the range of its query")
    assert methods["guards.0.windowSeconds"].startswith("a minute, or two steps")


def test_a_window_that_a_replay_lengthened_says_so(disaggregated):
    study = replace(disaggregated.study, signal_window_seconds=180.0)
    spec = disaggregated.but(study=study, promql={}).draft().document["spec"]
    methods = {entry["number"]: entry["method"] for entry in spec["evidence"]}
    assert spec["signal"]["windowSeconds"] == 180.0
    assert "because a replay on the study's own demand" in methods["signal.windowSeconds"]
    assert spec["pools"]["decode"]["scaleIn"]["observationSeconds"] == 360


def drifting(high):
    """Give a drift of decode's capacity whose worst part bears at most `high`."""
    parts = (
        PartCapacity("00:00 to 06:00 UTC", Estimate(2400.0, 2300.0, 2500.0), "tbt", 12.0),
        PartCapacity("12:00 to 18:00 UTC", Estimate(0.95 * high, 0.9 * high, high), "tbt", 14.0),
    )
    spread = Estimate(2400.0 / (0.95 * high), 1.1, 1.6, method="largest over smallest")
    return Drift("decode", "decode_tokens_per_second", PART_OF_DAY, parts, spread)


@pytest.mark.parametrize(("high", "is_too_much"), [(2000.0, False), (1700.0, True)])
def test_a_drift_stands_in_the_evidence_and_a_target_too_high_for_a_part_is_said(
    high, is_too_much, disaggregated
):
    threshold = replace(disaggregated.threshold, drifts=(drifting(high),))
    policy = disaggregated.but(threshold=threshold).draft()
    numbers = {entry["number"]: entry for entry in policy.document["spec"]["evidence"]}
    assert numbers["threshold.drift.decode.partOfTheDayRatio"]["low"] == 1.1
    said = " ".join(policy.notes)
    assert "decode: By part of the day it drifts: by" in said
    assert ("1890 decode_tokens_per_second a replica, is that of the whole record and" in said
            ) == is_too_much  # fmt: skip
