"""What scalers decide where something happened before, is missing, or out of bounds."""

from __future__ import annotations

import copy
import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.policy.state import Observation, Past, Reading, State, advance
from signalstudy.policy.yaml_text import dump
from signalstudy.scalers.export import SCALERS, export
from signalstudy.scalers.manifest import quantity, quantity_value
from signalstudy.vocabulary.errors import ConfigurationError
from tests.scalers.policies import guarded, of_the_planner, policy, two_signals, unified

TOKENS = "decode.decode_tokens_per_second"
NOW = 1_000_000.0


def decided(scaler, made, state, **values):
    manifest = SCALERS[scaler].read(export(made, scaler), "test")
    readings = {key.replace("__", "."): Reading(value) for key, value in values.items()}
    return SCALERS[scaler].decide(manifest, state, Observation(readings))


def asks(decode_replicas):
    return {"decode__decode_tokens_per_second": 1890.0 * decode_replicas}


def past(seconds_ago, before, wanted, after):
    return Past(NOW - seconds_ago, before, wanted, after)


@pytest.mark.parametrize("scaler", ["hpa", "keda", "aibrix"])
def test_a_scale_in_goes_no_lower_than_what_was_wanted_within_the_window(scaler):
    fleet = {"decode": 20, "prefill": 26}
    lately = {"decode": (past(300, 20, 19, 20),), "prefill": (past(300, 26, 26, 26),)}
    long_ago = {"decode": (past(700, 20, 19, 20),), "prefill": (past(700, 26, 26, 26),)}
    for history, decode in ((lately, 19), (long_ago, 18)):
        decision = decided(scaler, policy(), State(NOW, fleet, history=history), **asks(10))
        assert decision.replicas["decode"] == decode


def test_a_step_counts_from_the_replicas_a_period_ago():
    fleet = {"decode": 9, "prefill": 13}
    history = {"decode": (past(100, 6, 9, 9),)}  # 6 a period ago: 12 at most
    decision = decided("hpa", policy(), State(NOW, fleet, history=history), **asks(20))
    assert decision.replicas["decode"] == 12
    later = {"decode": (past(181, 6, 9, 9),)}
    assert (
        decided("hpa", policy(), State(NOW, fleet, history=later), **asks(20)).replicas["decode"]
        == 18
    )


@pytest.mark.parametrize("scaler", ["hpa", "keda", "aibrix", "kthena"])
@pytest.mark.parametrize("values", [{}, {"decode__decode_tokens_per_second": math.nan}])
def test_a_signal_that_is_not_seen_holds(scaler, values):
    fleet = {"decode": 20, "prefill": 26}
    assert decided(scaler, policy(), State(NOW, fleet), **values).replicas == fleet


def test_a_guard_that_is_not_seen_holds_keda_both_ways():
    fleet = {"decode": 20, "prefill": 26}
    assert decided("keda", guarded(), State(NOW, fleet), **asks(40)).replicas == fleet


@pytest.mark.parametrize("scaler", ["hpa", "keda", "kthena"])
@pytest.mark.parametrize(("now", "then"), [(60, 40), (1, 2)])
def test_a_fleet_outside_its_bounds_is_brought_back_first(scaler, now, then):
    made = policy(ratio={"prefillPerDecode": 1.29, "min": 0.01, "max": 100.0})
    state = State(NOW, {"decode": now, "prefill": 20})
    assert decided(scaler, made, state, **asks(20)).replicas["decode"] == then


def test_a_state_without_the_pool_is_one_sentence():
    with pytest.raises(ConfigurationError, match=r"scales 'decode'.*Given: unified"):
        decided("hpa", policy(), State(NOW, {"unified": 1}), **asks(1))


def test_an_hpa_of_the_users_own_names_its_metric_and_its_object():
    text = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: mine}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: chat}
  maxReplicas: 10
  metrics:
    - type: Pods
      pods: {metric: {name: queue}, target: {type: AverageValue, averageValue: "4"}}
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}
"""
    manifest = SCALERS["hpa"].read(text, "mine.yaml")

    def replicas(now, **values):
        readings = {key: Reading(value) for key, value in values.items()}
        return SCALERS["hpa"].decide(manifest, State(NOW, {"chat": now}), Observation(readings))

    assert replicas(4, queue=8.0, cpu=0.1).replicas == {"chat": 8}  # the larger: 4 x 8 / 4
    assert replicas(4, queue=1.0, cpu=0.9).replicas == {"chat": 8}  # 4 x 90 / 50 = 7.2
    assert replicas(4, queue=1.0).replicas == {"chat": 4}  # one unseen forbids a scale-in
    assert replicas(1, queue=99.0, cpu=0.1).replicas == {"chat": 5}  # 4 pods a quarter minute
    assert "chat goes from 1 to 5" in replicas(1, queue=99.0, cpu=0.1).reason


def test_a_disabled_direction_stays():
    document = next(yaml.safe_load_all(export(policy(), "hpa")))
    document["spec"]["behavior"]["scaleDown"]["selectPolicy"] = "Disabled"
    manifest = SCALERS["hpa"].read(dump(document), "test")
    seen = Observation({TOKENS: Reading(1890.0)})
    assert SCALERS["hpa"].decide(manifest, State(NOW, {"decode": 9}), seen).replicas["decode"] == 9


def held_to(made, lowest, highest):
    """Give Kthena's file with a band of a user's own, and one metric a role."""
    document = yaml.safe_load(export(made, "kthena"))
    target = document["spec"]["disaggregatedTarget"]
    target["ratioConstraint"] |= {"minRatio": str(lowest), "maxRatio": str(highest)}
    for role in target["roles"].values():
        del role["metrics"][1:]
    document["spec"]["behavior"]["scaleDown"]["percent"] = 100
    return SCALERS["kthena"].read(dump(document), "test")


def by_kthena(manifest, fleet, **values):
    seen = Observation({key.replace("__", "."): Reading(value) for key, value in values.items()})
    return SCALERS["kthena"].decide(manifest, State(NOW, fleet), seen).replicas


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 40),
    st.integers(2, 52),
    st.floats(0.0, 60.0),
    st.sampled_from([(1.2, 1.4), (0.5, 0.75), (2.0, 3.0), (1.0, 1.0)]),
)
def test_kthena_keeps_both_roles_within_bounds_and_band(decode, prefill, demand, band):
    fleet = {"decode": decode, "prefill": prefill}
    asked = by_kthena(held_to(policy(), *band), fleet, **asks(demand))
    decode, prefill = asked["decode"], asked["prefill"]
    assert 2 <= decode <= 40
    assert 2 <= prefill <= 52
    assert band[0] - 1e-9 <= prefill / decode <= band[1] + 1e-9


def test_kthena_raises_the_role_that_is_short():
    # 10 decode within tolerance; prefill stays at 8 by itself, the band wants 12
    driven, apart = held_to(policy(), 1.2, 1.4), held_to(two_signals(), 1.2, 1.4)
    fleet = {"decode": 10, "prefill": 13}
    assert by_kthena(driven, fleet, **asks(10)) == fleet
    for fleet, then in (
        ({"decode": 10, "prefill": 8}, {"decode": 10, "prefill": 12}),
        ({"decode": 5, "prefill": 13}, {"decode": 10, "prefill": 13}),
    ):
        own = {"prefill__prefill_uncached_tokens_per_second": fleet["prefill"] * 3100.0}
        assert by_kthena(apart, fleet, **asks(fleet["decode"]), **own) == then


def test_kthena_holds_both_roles_where_one_has_no_metric():
    fleet = {"decode": 10, "prefill": 13}
    assert by_kthena(held_to(two_signals(), 1.2, 1.4), fleet, **asks(20)) == fleet


def test_dynamo_moves_one_worker_beyond_its_thresholds():
    fleet = {"decode": 10, "prefill": 13}
    for queue, occupancy, then in (
        (9_900.0 * 13, 0.72, {"decode": 11, "prefill": 14}),  # it acts at a threshold already
        (9_900.0 * 13 - 13, 0.71, fleet),
        (7_200.0 * 13, 0.47, {"decode": 9, "prefill": 12}),  # below 71.5 x 2 / 3, minReplicas 2
        (math.nan, 0.6, fleet),
    ):
        seen = {"prefill__inflight_tokens": queue, "decode__kv_cache_usage_ratio": occupancy}
        decision = decided("dynamo", of_the_planner(), State(NOW, fleet), **seen)
        assert decision.replicas == then


@pytest.mark.parametrize(("ongoing", "then"), [(160.0, 10), (161.0, 11), (8.0, 2), (9999.0, 40)])
def test_ray_serve_divides_ongoing_requests_by_their_target(ongoing, then):
    made = unified("running_requests", 16.0, None)
    decision = decided(
        "ray-serve", made, State(NOW, {"unified": 10}), unified__running_requests=ongoing
    )
    assert decision.replicas == {"unified": then}


def test_a_factor_of_ray_serve_damps_the_step():
    document = yaml.safe_load(export(unified("running_requests", 16.0, None), "ray-serve"))
    config = document["applications"][0]["deployments"][0]["autoscaling_config"]
    config["upscaling_factor"] = 0.5
    manifest = SCALERS["ray-serve"].read(dump(copy.deepcopy(document)), "test")
    seen = Observation({"unified.running_requests": Reading(320.0)})
    decision = SCALERS["ray-serve"].decide(manifest, State(NOW, {"unified": 10}), seen)
    assert decision.replicas == {"unified": 15}  # half of the way from 10 to 20


def test_history_carries_a_decision_to_the_next_one():
    state = State(NOW, {"decode": 20, "prefill": 26})
    for step in range(3):
        decision = decided("hpa", policy(), state, **asks(10))
        state = advance(state, decision, NOW + 60.0 * (step + 1))
    # the first look back finds 20 wanted nowhere: 10 % of 20, once in 600 s
    assert state.replicas["decode"] == 18
    assert len(state.history["decode"]) == 3
    assert advance(state, decision, NOW + 9_999.0).history["decode"][0].at_seconds > NOW


@pytest.mark.parametrize(
    ("text", "value"),
    [("1890", 1890.0), ("600m", 0.6), ("2k", 2000.0), ("1.5", 1.5), ("1Ki", 1024.0), ("1e3", 1e3)],
)
def test_a_quantity_is_read(text, value):
    assert quantity_value(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "many", "1 k", "1kk", None])
def test_what_is_no_quantity_is_no_number(text):
    assert math.isnan(quantity_value(text))


@given(st.floats(1e-3, 1e9))
def test_a_quantity_is_written_upwards_to_the_thousandth(value):
    written = quantity_value(quantity(value))
    assert value * (1 - 1e-9) <= written <= value * (1 + 1e-9) + 1.001e-3
