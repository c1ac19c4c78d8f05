"""Manifests against schemas: Kubernetes' own for the HPA, ours for everything else."""

from __future__ import annotations

import copy

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from signalstudy.scalers.export import SCALERS, export
from signalstudy.scalers.manifest import manifest_schema
from signalstudy.vocabulary.errors import ConfigurationError
from tests.scalers.policies import (
    FLOORS,
    GUARDS,
    guarded,
    of_the_planner,
    policy,
    ref,
    two_signals,
    unified,
)
from tests.scalers.test_export import with_evidence

MADE = {
    "hpa": [policy(), two_signals()],
    "keda": [policy(), guarded(schedule=FLOORS), two_signals(guards=GUARDS)],
    "aibrix": [policy(schedule=FLOORS), two_signals()],
    "kthena": [policy(), two_signals(), unified("decode_tokens_per_second", 1890.0, "sum(x)")],
    "dynamo": [of_the_planner(), with_evidence(policy())],
    "ray-serve": [unified("running_requests", 16.0, None)],
}


def storm():
    made = policy()
    for section in made.document["spec"]["pools"].values():
        section["targetRef"] = ref("chat", "StormService", "orchestration.aibrix.ai/v1alpha1")
    return made


def objects(scaler):
    made = [*MADE[scaler], storm()] if scaler == "aibrix" else MADE[scaler]
    kind = manifest_schema(scaler)["properties"].get("kind", {}).get("const")
    return [
        document
        for one in made
        for document in yaml.safe_load_all(export(one, scaler))
        if document and (kind is None or document["kind"] == kind)
    ]


@pytest.mark.parametrize("version", ["1.35", "1.37"])
@pytest.mark.parametrize(
    "made",
    [policy(), two_signals(), unified("gpu_utilization_ratio", 0.6, "avg(x)", "intensive")],
    ids=["joint", "two_signals", "intensive"],
)
def test_kubernetes_takes_the_hpa_and_the_adapters_configmap(version, made):
    documents = [d for d in yaml.safe_load_all(export(made, "hpa")) if d]
    assert {d["kind"] for d in documents} == {"HorizontalPodAutoscaler", "ConfigMap"}
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


def test_kubernetes_refuses_what_a_mistake_would_make():
    document = next(yaml.safe_load_all(export(policy(), "hpa")))
    document["spec"]["behavior"]["scaleUp"]["cooldownSeconds"] = 180
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, "1.37", strict=True)


@pytest.mark.parametrize("scaler", MADE)
def test_a_schema_is_a_schema(scaler):
    Draft202012Validator.check_schema(manifest_schema(scaler))


def leaves(value, path=()):
    """List the paths of all keys in a document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, number))


def misspelt(document, path):
    """Copy a document with one key misspelt."""
    changed = copy.deepcopy(document)
    where = changed
    for key in path[:-1]:
        where = where[key]
    where[f"{path[-1]}X"] = where.pop(path[-1])
    return changed


FREE = ("labels", "annotations", "namespace", "name", "roles", "metricSources")
"""Keys whose names are the user's own, or stand among such."""


@pytest.mark.parametrize("scaler", MADE)
def test_every_key_that_is_written_is_known_and_no_misspelling_of_it(scaler):
    validator = Draft202012Validator(manifest_schema(scaler))
    tried = set()
    for document in objects(scaler):
        assert list(validator.iter_errors(document)) == []
        for path in leaves(document):
            key = ".".join(part for part in path if isinstance(part, str))
            if (
                key in tried
                or path[0] == "metadata"
                or any(path[i] in FREE for i in range(len(path) - 1))
            ):
                continue
            tried.add(key)
            assert not validator.is_valid(misspelt(document, path)), key
    assert len(tried) > 10


@pytest.mark.parametrize(
    ("scaler", "path", "value"),
    [
        ("hpa", ("spec", "behavior", "scaleDown", "stabilizationWindowSeconds"), 3601),
        ("hpa", ("spec", "behavior", "scaleUp", "policies", 0, "periodSeconds"), 1801),
        ("hpa", ("spec", "behavior", "scaleUp", "policies", 0, "tolerance"), "0.1"),
        ("hpa", ("spec", "behavior", "scaleUp", "selectPolicy"), "Or"),
        ("hpa", ("spec", "metrics", 0, "external", "target", "averageValue"), "many"),
        ("keda", ("spec", "fallback", "behavior"), "hold"),
        ("keda", ("spec", "triggers", 0, "metadata", "metricName"), "x"),
        ("keda", ("spec", "triggers", 0, "metadata", "ignoreNullValues"), False),
        ("keda", ("spec", "triggers", 0, "metadata", "threshold"), 1890),
        ("keda", ("spec", "minReplicas"), 2),
        ("aibrix", ("spec", "metricsSources", 0, "targetValue"), "0"),
        ("aibrix", ("spec", "metricsSources", 0, "targetValue"), 1890),
        ("aibrix", ("spec", "behavior"), {}),
        ("aibrix", ("spec", "observeWindowSeconds"), 0),
        ("aibrix", ("metadata", "annotations", "autoscaling.aibrix.ai/window"), "20s"),
        (
            "aibrix",
            ("metadata", "annotations", "autoscaling.aibrix.ai/up-fluctuation-tolerance"),
            "0.1",
        ),
        ("kthena", ("spec", "tolerancePercent"), 101),
        ("kthena", ("spec", "homogeneousTarget"), {}),
        ("kthena", ("spec", "disaggregatedTarget", "ratioConstraint", "minRatio"), 1.2),
        ("kthena", ("spec", "behavior", "scaleUp", "stablePolicy", "selectPolicy"), "Max"),
        ("dynamo", ("spec", "features", "planner", "decode_scale_up_kv_rate"), 101),
        ("dynamo", ("spec", "features", "planner", "mode"), "both"),
        ("dynamo", ("spec", "services"), {}),
        (
            "ray-serve",
            ("applications", 0, "deployments", 0, "autoscaling_config", "smoothing_factor"),
            1.0,
        ),
    ],
)  # fmt: skip
def test_what_a_scaler_would_refuse_or_ignore_is_refused_on_reading(scaler, path, value):
    document = copy.deepcopy(objects(scaler)[0])
    where = document
    for key in path[:-1]:
        where = where[key]
    where[path[-1]] = value
    with pytest.raises(ConfigurationError):
        SCALERS[scaler].read(yaml.safe_dump(document), "test")


def test_dynamo_needs_all_four_thresholds_to_scale_on_load():
    document = copy.deepcopy(objects("dynamo")[0])
    del document["spec"]["features"]["planner"]["decode_scale_down_kv_rate"]
    with pytest.raises(ConfigurationError, match="decode_scale_down_kv_rate"):
        SCALERS["dynamo"].read(yaml.safe_dump(document), "test")


def test_a_file_without_the_scalers_kind_is_named():
    with pytest.raises(ConfigurationError, match=r"x\.yaml: there is no ScaledObject in it"):
        SCALERS["keda"].read("kind: Deployment\n", "x.yaml")
