from __future__ import annotations

import pytest

from signalstudy.replay.recorded import replay_policy
from signalstudy.scalers.export import export
from signalstudy.vocabulary.errors import ConfigurationError
from tests.replay import planted

QUERIES = {
    "decode.decode_tokens_per_second": 'sum(rate(vllm:generation_tokens_total{pool="decode"}[1m]))',
    "decode.up": 'up{pool="decode"}',
    "prefill.up": 'up{pool="prefill"}',
    "decode.replicas": 'kube_deployment_status_replicas{deployment="decode"}',
    "prefill.replicas": 'kube_deployment_status_replicas{deployment="prefill"}',
}


def drafted():
    refs = {
        pool: {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"chat-{pool}"}
        for pool in ("decode", "prefill")
    }
    pools = {pool: planted.rule(out=60, back=600, targetRef=ref) for pool, ref in refs.items()}
    return planted.split_policy(pools=pools)


@pytest.mark.parametrize("scaler", ["hpa", "keda"])
def test_what_a_policy_is_exported_to_costs_about_what_the_policy_costs(scaler, tmp_path):
    policy = drafted()
    path = tmp_path / f"{scaler}.yaml"
    path.write_text(export(policy, scaler, QUERIES))
    service = planted.disaggregated(planted.day(16000.0, hours=12.0), 8.0)
    replay = replay_policy(policy, service, against=[str(path)], draws=0)
    own, exported = replay.runs[1:]
    assert exported.name == path.name
    assert "on decode.decode_tokens_per_second" in exported.given
    assert exported.scale_events.value > 10
    assert exported.gpu_hours.value == pytest.approx(own.gpu_hours.value, rel=0.1)
    assert exported.slo_attainment_ratio.value == pytest.approx(
        own.slo_attainment_ratio.value, abs=0.02
    )


HPA = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: x}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: POOL}
  minReplicas: 1
  maxReplicas: 9
  metrics: [{type: External, external: {metric: {name: METRIC}, target: {type: Value, value: "1"}}}]
"""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kind: Deployment\n", "none of its objects can be replayed. Known: Horizontal"),
        ("a: [", "own.yaml"),
        (HPA.replace("POOL", "elsewhere"), "scales 'elsewhere'"),
        (HPA.replace("POOL", "unified"), "none of its metrics is a signal of 'chat'"),
    ],
)
def test_a_manifest_that_cannot_be_replayed_says_why(text, sentence, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=sentence):
        replay_policy([], planted.unified(planted.steps(2800.0)), against=[str(path)], draws=0)


def test_a_manifest_that_is_not_there_is_named(tmp_path):
    service = planted.unified(planted.steps(2800.0))
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: cannot be read"):
        replay_policy([], service, against=[str(tmp_path / "nowhere.yaml")], draws=0)
