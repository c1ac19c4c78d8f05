"""What each scaler gets, what its comments admit, and its traps."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from signalstudy.policy.schema import validate_policy
from signalstudy.policy.yaml_text import dump
from signalstudy.scalers.export import SCALERS, export, parse_queries
from signalstudy.threshold.planner import CACHE_DOWN, CACHE_UP, QUEUE_DOWN, QUEUE_UP
from signalstudy.vocabulary.errors import ConfigurationError, ExportError, UnknownNameError
from tests.policy.documents import target
from tests.scalers.policies import (
    FLOORS,
    GUARDS,
    guarded,
    of_the_planner,
    policy,
    ref,
    signal,
    two_signals,
    unified,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "scalers"
REWRITE = "SIGNALSTUDY_REWRITE_GOLDEN"
MADE = {
    "hpa": policy,
    "keda": guarded,
    "keda-plain": policy,
    "aibrix": lambda: policy(schedule=FLOORS),
    "kthena": guarded,
    "dynamo": of_the_planner,
    "dynamo-plain": lambda: with_evidence(policy()),
    "ray-serve": lambda: unified("running_requests", 16.0, None),
    "prometheus-rules": guarded,
}


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def comments(text):
    return "\n".join(line for line in text.splitlines() if line.startswith("#"))


def every_query(text):
    """Find every PromQL in a manifest, wherever its scaler keeps it."""
    return re.findall(r"^\s*(?:query|expr|metricsQuery): (.*)$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", MADE)
def test_the_file_is_the_golden_one(name):
    text = export(MADE[name](), name.removesuffix("-plain"))
    golden = GOLDEN / f"{name}.yaml"
    if os.environ.get(REWRITE) == "1":
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_every_scaler_has_a_golden_file():
    assert {name.removesuffix("-plain") for name in MADE} == set(SCALERS)


@pytest.mark.parametrize("name", [name for name in MADE if name != "prometheus-rules"])
def test_what_is_written_is_read_again_by_its_schema(name):
    scaler = SCALERS[name.removesuffix("-plain")]
    assert scaler.read(export(MADE[name](), name.removesuffix("-plain")), "test").documents


@pytest.mark.parametrize("name", MADE)
def test_no_query_calls_an_outage_no_demand(name):
    for query in every_query(export(MADE[name](), name.removesuffix("-plain"))):
        assert "vector(0)" not in query


@pytest.mark.parametrize("to", ["hpa", "keda", "aibrix", "kthena", "prometheus-rules"])
def test_a_query_that_the_policy_lacks_is_named_and_can_be_given(to):
    bare = unified("decode_tokens_per_second", 1890.0, None)
    with pytest.raises(ExportError, match=r"--query 'unified\.decode_tokens_per_second=PROMQL'"):
        export(bare, to)
    given = export(bare, to, {"decode_tokens_per_second": 'sum(rate(x_total{job="a"}[2m]))'})
    assert 'x_total{job="a"}[2m]' in given
    assert "promql" not in bare.document["spec"]["signal"]


def test_a_guard_without_a_query_is_named_where_guards_can_be_said():
    blind = policy(guards=[{k: v for k, v in GUARDS[1].items() if k != "promql"}])
    with pytest.raises(ExportError, match=r"needs a query for decode\.tbt_p99_seconds"):
        export(blind, "keda")
    assert export(blind, "hpa")


def test_an_unknown_scaler_or_signal_is_answered_with_the_choices():
    with pytest.raises(UnknownNameError, match=r"unknown scaler 'hpaa'\. Did you mean 'hpa'\?"):
        export(policy(), "hpaa")
    with pytest.raises(UnknownNameError, match=r"Known: .*decode\.decode_tokens_per_second"):
        export(policy(), "hpa", {"decode.tokens": "x"})
    with pytest.raises(UnknownNameError, match="unknown signal 'up'"):
        export(policy(), "hpa", {"up": "x"})  # of which pool?


@pytest.mark.parametrize("option", ["tokens", "=sum(x)", "tokens= "])
def test_a_query_option_has_a_name_and_a_query(option):
    with pytest.raises(ConfigurationError, match="SIGNAL=PROMQL"):
        parse_queries((option,))


def test_a_query_option_is_cut_at_its_first_sign():
    assert parse_queries(('a.b=sum(x{y="z"})',)) == {"a.b": 'sum(x{y="z"})'}


def test_two_objects_share_one_total_and_differ_in_their_targets():
    decode, prefill, _ = documents(export(policy(), "hpa"))
    first, second = (d["spec"]["metrics"][0]["external"] for d in (decode, prefill))
    assert first["metric"] == second["metric"]
    assert first["target"]["averageValue"] == "1890"
    assert second["target"]["averageValue"] == "1465117m"  # 1890 / 1.29, upwards


def test_tolerance_stands_beside_the_step_policies():
    for document in documents(export(policy(), "hpa"))[:2]:
        for way, tolerance in (("scaleUp", "0.1"), ("scaleDown", "0.2")):
            said = document["spec"]["behavior"][way]
            assert said["tolerance"] == tolerance
            assert all("tolerance" not in one for one in said["policies"])


def test_an_intensive_signal_multiplies_replicas_and_has_no_fallback_in_keda():
    made = unified("gpu_utilization_ratio", 0.6, 'avg(x{job="a"})', "intensive")
    (hpa, _), (keda,) = documents(export(made, "hpa")), documents(export(made, "keda"))
    assert hpa["spec"]["metrics"][0]["external"]["target"] == {"type": "Value", "value": "600m"}
    assert keda["spec"]["triggers"][0]["metricType"] == "Value"
    assert "fallback" not in keda["spec"]
    assert documents(export(made, "aibrix"))[0]["spec"]["scalingStrategy"] == "APA"
    with pytest.raises(ExportError, match="intensive and does not add up"):
        export(made, "kthena")


def test_a_follower_of_an_intensive_signal_is_refused():
    made = policy()
    made.document["spec"]["signal"]["kind"] = "intensive"
    for to in ("hpa", "keda", "aibrix", "kthena"):
        with pytest.raises(ExportError, match="cannot size prefill"):
            export(made, to)


def test_long_cooldowns_stay_within_what_kubernetes_takes():
    made = policy()
    for section in made.document["spec"]["pools"].values():
        section["scaleIn"]["cooldownSeconds"] = section["scaleOut"]["cooldownSeconds"] = 7200
    down = documents(export(made, "hpa"))[0]["spec"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] == 3600
    assert down["policies"][0]["periodSeconds"] == 1800
    SCALERS["hpa"].read(export(made, "hpa"), "test")


def test_keda_never_takes_an_absent_value_for_zero():
    for document in documents(export(guarded(), "keda")):
        for trigger in document["spec"]["triggers"]:
            assert trigger["metadata"]["ignoreNullValues"] == "false"
            assert "metricName" not in trigger["metadata"]
        assert document["spec"]["fallback"]["behavior"] == "currentReplicas"
        assert "pollingInterval" not in document["spec"]


def test_kedas_formula_names_only_its_triggers_and_asks_for_replicas():
    for document in documents(export(guarded(schedule=FLOORS), "keda")):
        modifiers = document["spec"]["advanced"]["scalingModifiers"]
        names = {trigger["name"] for trigger in document["spec"]["triggers"]}
        used = set(re.findall(r"[A-Za-z_]\w*", modifiers["formula"])) - {"max"}
        assert used == names
        assert modifiers["target"] == "1"
        assert not re.search(r": \d+\)", modifiers["formula"])  # expr wants one type: 0.0, not 0


def test_a_floor_past_midnight_becomes_a_cron_that_ends_the_next_day():
    decode, prefill = documents(export(policy(schedule=FLOORS), "keda"))
    crons = [t["metadata"] for t in decode["spec"]["triggers"] if t["type"] == "cron"]
    assert [(c["start"], c["end"], c["desiredReplicas"]) for c in crons] == [
        ("0 8 * * 1", "0 20 * * 1", "6"),
        ("0 8 * * 2", "0 20 * * 2", "6"),
        ("0 22 * * 1", "0 6 * * 2", "4"),
    ]
    assert all(trigger["type"] != "cron" for trigger in prefill["spec"]["triggers"])


def test_aibrix_gets_the_annotations_it_parses_and_windows_that_do_not_overlap():
    decode, *_ = documents(export(policy(schedule=FLOORS), "aibrix"))
    parsed = {
        *("max-scale-up-rate", "max-scale-down-rate", "scale-up-tolerance"),
        *("scale-down-tolerance", "scale-up-cooldown-window", "scale-down-cooldown-window"),
        *("panic-threshold", "scale-to-zero", "storm-service-mode"),
    }
    keys = {key.removeprefix("autoscaling.aibrix.ai/") for key in decode["metadata"]["annotations"]}
    assert keys <= parsed
    assert "behavior" not in decode["spec"]
    windows = decode["spec"]["schedules"]
    assert [(w["startTime"], w["endTime"], w["daysOfWeek"], w["minReplicas"]) for w in windows] == [
        ("00:00", "06:00", ["Tue"], 4),
        ("08:00", "20:00", ["Mon", "Tue"], 6),
        ("22:00", "23:59", ["Mon"], 4),
    ]


def test_overlapping_floors_give_aibrix_the_higher_one():
    floors = [
        {"days": ["friday"], "from": "08:00", "to": "12:00", "replicas": {"decode": 4}},
        {"days": ["friday"], "from": "10:00", "to": "14:00", "replicas": {"decode": 9}},
    ]
    decode, *_ = documents(export(policy(schedule=floors), "aibrix"))
    told = [(w["startTime"], w["endTime"], w["minReplicas"]) for w in decode["spec"]["schedules"]]
    assert told == [("08:00", "10:00", 4), ("10:00", "12:00", 9), ("12:00", "14:00", 9)]


def test_aibrix_selects_the_role_of_a_storm_service():
    made = policy()
    for section in made.document["spec"]["pools"].values():
        section["targetRef"] = ref("chat", "StormService", "orchestration.aibrix.ai/v1alpha1")
    decode, prefill, _ = documents(export(made, "aibrix"))
    assert decode["spec"]["subTargetSelector"] == {"roleName": "decode"}
    assert prefill["spec"]["subTargetSelector"] == {"roleName": "prefill"}
    assert decode["spec"]["scalingStrategy"] != "HPA"


@pytest.mark.parametrize(("made", "band"), [(two_signals, ("1", "1.667")), (policy, ("1", "1.5"))])
def test_kthenas_band_admits_every_pair_of_whole_numbers_that_the_policy_rounds_to(made, band):
    (document,) = documents(export(made(), "kthena"))
    wanted = document["spec"]["disaggregatedTarget"]
    assert wanted["ratioConstraint"] == {
        "numeratorRole": "prefill",
        "denominatorRole": "decode",
        "minRatio": band[0],
        "maxRatio": band[1],
    }


@pytest.mark.parametrize("to", ["hpa", "keda", "aibrix", "kthena"])
def test_two_signals_hold_each_other_to_the_band(to):
    """Each pool also reads the other's work, at as much of it as the band gives one replica."""
    text = export(two_signals(), to)
    for one in (1890.0, 1890.0 / 1.2, 3100.0, 3100.0 * 1.4):
        assert f"{one:.0f}" in text
    assert "is kept by the other pool's signal" in text or to == "kthena"


def test_one_pool_in_kthena_is_a_homogeneous_target():
    made = unified("decode_tokens_per_second", 1890.0, 'sum(x{job="a"})')
    (document,) = documents(export(made, "kthena"))
    assert "disaggregatedTarget" not in document["spec"]
    assert document["spec"]["homogeneousTarget"]["maxReplicas"] == 40


def test_dynamo_gets_thresholds_of_its_own_signals_or_a_refusal():
    (document,) = documents(export(of_the_planner(), "dynamo"))
    planner = document["spec"]["features"]["planner"]
    assert planner["decode_scale_up_kv_rate"] > planner["decode_scale_down_kv_rate"]
    assert planner["prefill_scale_up_queue_tokens"] == 9900  # 9000 x 1.1
    assert document["spec"]["sla"] == {"ttft": 1000.0, "itl": 40.0}  # milliseconds
    with pytest.raises(ExportError, match=r"no evidence .* decode_scale_up_kv_rate \(it was"):
        export(policy(), "dynamo")


def with_evidence(made, **values):
    """Add the planner's numbers, as a study that has run on fitting data writes them."""
    told = {QUEUE_UP: 1178.4, QUEUE_DOWN: 589.2, CACHE_UP: 0.712, CACHE_DOWN: 0.431} | values
    made.document["spec"]["evidence"] = [
        {"number": name, "value": value, "status": "ok" if value else "unidentified",
         "method": f"how {name}", "note": "" if value else "KV occupancy hardly rises."}
        for name, value in told.items()
    ]  # fmt: skip
    validate_policy(made.document, "test")
    return made


def test_dynamo_takes_its_thresholds_from_the_evidence_of_a_policy_on_another_signal():
    text = export(with_evidence(policy()), "dynamo")
    (document,) = documents(text)
    planner = document["spec"]["features"]["planner"]
    assert planner["prefill_scale_up_queue_tokens"] == 1178
    assert planner["prefill_scale_down_queue_tokens"] == 589
    assert (planner["decode_scale_up_kv_rate"], planner["decode_scale_down_kv_rate"]) == (
        71.2,
        43.1,
    )
    assert planner["mode"] == "disagg"
    assert planner["decode_engine_num_gpu"] == 2
    assert "does not follow this policy's signal" in text
    assert f"# decode_scale_up_kv_rate: how {CACHE_UP}" in text
    SCALERS["dynamo"].read(text, "test")


@pytest.mark.parametrize("rate", [0.037048, 0.8, 0.01])
def test_dynamo_does_not_scale_in_to_where_it_scales_out(rate):
    """Half of the scale-up, as one of two workers leaves, and rounding must not close the gap."""
    made = with_evidence(policy(), **{CACHE_UP: rate, CACHE_DOWN: rate / 2.0})
    for pool in made.document["spec"]["pools"].values():
        pool["minReplicas"] = 1
    (document,) = documents(export(made, "dynamo"))
    planner = document["spec"]["features"]["planner"]
    assert planner["min_endpoint"] == 1
    assert 2.0 * planner["decode_scale_down_kv_rate"] < planner["decode_scale_up_kv_rate"]
    assert planner["decode_scale_down_kv_rate"] == pytest.approx(50.0 * rate, abs=0.002)


def test_dynamo_says_which_threshold_the_data_do_not_tell_and_why():
    with pytest.raises(ExportError, match=r"decode_scale_up_kv_rate \(KV occupancy hardly rises\)"):
        export(with_evidence(policy(), **{CACHE_UP: None}), "dynamo")


def test_dynamo_scales_one_pool_by_its_occupancy():
    made = with_evidence(unified("decode_tokens_per_second", 1890.0, None))
    (document,) = documents(export(made, "dynamo"))
    planner = document["spec"]["features"]["planner"]
    assert planner["mode"] == "agg"
    assert "prefill_scale_up_queue_tokens" not in planner
    SCALERS["dynamo"].read(dump(document), "test")


def test_ray_serve_scales_on_ongoing_requests_or_not_at_all():
    with pytest.raises(ExportError, match="scales on ongoing requests only"):
        export(policy(), "ray-serve")
    made = policy()
    made.document["spec"]["evidence"] = [
        {"number": "rayServe.decode.targetOngoingRequests", "value": 12.4, "status": "ok",
         "method": "mean of 300 steps"},
        {"number": "rayServe.prefill.targetOngoingRequests", "value": 0.7, "status": "ok"},
    ]  # fmt: skip
    text = export(made, "ray-serve")
    (document,) = documents(text)
    targets = {one["name"]: one["autoscaling_config"]["target_ongoing_requests"]
               for one in document["applications"][0]["deployments"]}  # fmt: skip
    assert targets == {"Decode": 12.4, "Prefill": 1.0}
    assert "# decode, target_ongoing_requests: mean of 300 steps" in text
    assert "does not follow this policy's signal" in text
    (document,) = documents(export(unified("running_requests", 16.0, None), "ray-serve"))
    (deployment,) = document["applications"][0]["deployments"]
    assert deployment["autoscaling_config"]["target_ongoing_requests"] == 16.0
    assert deployment["max_ongoing_requests"] > 16


@pytest.mark.parametrize("to", ["hpa", "aibrix", "kthena"])
def test_what_cannot_be_expressed_is_said(to):
    said = comments(export(guarded(schedule=FLOORS), to))
    assert "NOT EXPRESSED: the guards on prefill.ttft_p99_seconds, decode.tbt_p99_seconds" in said
    assert "soft scale-in" in said
    assert ("periodic floors of spec.schedule" in said) == (to != "aibrix")


def test_an_object_that_the_policy_does_not_name_is_a_guess_and_said_to_be_one():
    made = policy()
    del made.document["spec"]["pools"]["decode"]["targetRef"]
    assert "no object for decode: Deployment chat-decode is a guess" in export(made, "hpa")


def test_a_pool_without_signal_and_ratio_is_left_alone_and_named():
    made = policy()
    del made.document["spec"]["ratio"]
    text = export(made, "hpa")
    assert "prefill is not scaled" in comments(text)
    assert [d["kind"] for d in documents(text)] == ["HorizontalPodAutoscaler", "ConfigMap"]


@pytest.mark.parametrize("label", ["\nkind: Evil", "a\u2028b", "x" * 500])
def test_a_label_cannot_break_out_of_the_comments(label):
    made = policy()
    made.document["metadata"]["service"] = label
    for to in ("hpa", "keda", "prometheus-rules"):
        assert all("Evil" not in str(document) for document in documents(export(made, to)))


def test_the_driver_may_be_prefill():
    made = policy(
        signal={**signal("prefill_tokens_per_second", 'sum(x{job="p"})'), "perReplicaOf": "prefill"}
    )
    made.document["spec"]["proportional"]["targetPerReplica"] = target(3000.0)
    decode, prefill, _ = documents(export(made, "hpa"))
    assert prefill["spec"]["metrics"][0]["external"]["target"]["averageValue"] == "3000"
    assert decode["spec"]["metrics"][0]["external"]["target"]["averageValue"] == "3870"  # x 1.29
