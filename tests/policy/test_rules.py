"""Twin of policy/rules.py: what a policy may leave out, and what it says when too much is."""

from __future__ import annotations

from typing import Any

import pytest

from signalstudy.policy import Observation, Reading, State, decide
from signalstudy.policy.rules import compile_policy
from signalstudy.vocabulary.errors import ConfigurationError
from tests.policy.documents import document


def least(**spec: Any) -> dict[str, Any]:
    """Give the least that somebody would write: one pool, one signal, one target."""
    return {
        "spec": {
            "signal": {"name": "decode_tokens_per_second"},
            "proportional": {"targetPerReplica": {"value": 1000.0}},
            "pools": {"unified": {"maxReplicas": 20}},
            **spec,
        }
    }


def decided(policy: dict[str, Any], value: float, *, have: int = 4, pool: str = "unified") -> int:
    readings = {f"{pool}.{policy['spec']['signal']['name']}": Reading(value)}
    decision = decide(policy, State(0.0, {pool: have}), Observation(readings))
    return decision.replicas[pool]


@pytest.mark.parametrize(
    ("value", "replicas"), [(6200.0, 7), (4300.0, 4), (3300.0, 4), (900.0, 1), (1e9, 20)]
)
def test_the_least_policy_decides(value, replicas):
    assert decided(least(), value) == replicas


def test_from_nothing_it_scales_to_what_is_asked():
    assert decided(least(), 6200.0, have=0) == 7


def test_an_intensive_signal_needs_no_more_than_its_kind():
    policy = least(signal={"name": "gpu_utilization_ratio", "kind": "intensive"})
    policy["spec"]["proportional"]["targetPerReplica"] = {"value": 0.5}
    assert decided(policy, 0.9) == 8


def test_null_lists_are_empty_ones():
    assert decided(least(guards=None, schedule=None, ratio=None), 6200.0) == 7


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda d: d.pop("spec"), "no spec"),
        (lambda d: d["spec"].pop("signal"), "no spec.signal"),
        (lambda d: d["spec"]["signal"].pop("name"), "no spec.signal.name"),
        (lambda d: d["spec"]["signal"].update(kind="rate"), "Known: intensive, total"),
        (lambda d: d["spec"].pop("pools"), "no spec.pools"),
        (lambda d: d["spec"].pop("proportional"), "no spec.proportional"),
        (lambda d: d["spec"]["proportional"].pop("targetPerReplica"), "targetPerReplica"),
        (lambda d: d["spec"]["proportional"].update(targetPerReplica={"value": 0.0}), "above zero"),
        (lambda d: d["spec"]["pools"]["unified"].pop("maxReplicas"), "maxReplicas"),
        (lambda d: d["spec"]["signal"].update(perReplicaOf="decode"), "no pool 'decode'"),
        (lambda d: d["spec"].update(ratio={"min": 1.0}), "spec.ratio.prefillPerDecode"),
        (lambda d: d["spec"].update(guards=[{"pool": "unified"}]), "spec.guards.tiers"),
    ],
)
def test_what_cannot_be_guessed_is_named(break_it, said):
    policy = least()
    break_it(policy)
    with pytest.raises(ConfigurationError, match=said):
        compile_policy(policy)


def test_a_pool_s_own_signal_needs_its_own_target():
    policy = document()
    policy["spec"]["pools"]["prefill"]["signal"] = {"name": "prefill_tokens_per_second"}
    with pytest.raises(ConfigurationError, match=r"spec\.pools\.prefill\.targetPerReplica"):
        compile_policy(policy)
