"""Keys of HPA and KEDA objects that are unknown, misplaced, or without effect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

from signalstudy.lint.finding import error, warning
from signalstudy.policy.yaml_text import one_line
from signalstudy.scalers.manifest import manifest_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jsonschema.exceptions import ValidationError

    from signalstudy.lint.finding import Finding

LONGEST_MESSAGE = 160
HINTS = {
    "metricName": "metricName is no longer read; the trigger's name is its name.",
    "tolerance": "tolerance stands beside policies, not inside one of them.",
    "cooldownSeconds": "there is no cool-down here; use periodSeconds of a policy.",
    "cooldownPeriod": "cooldownPeriod belongs to KEDA's ScaledObject.",
    "minReplicas": "KEDA's name for it is minReplicaCount.",
    "maxReplicas": "KEDA's name for it is maxReplicaCount.",
    "minReplicaCount": "the HPA's name for it is minReplicas.",
    "maxReplicaCount": "the HPA's name for it is maxReplicas.",
    "stabilizationWindow": "the key is stabilizationWindowSeconds.",
}


def key_findings(document: Mapping[str, Any], scaler: str, where: str) -> Iterator[Finding]:
    """Check every key against the scaler's schema."""
    faults = Draft202012Validator(manifest_schema(scaler)).iter_errors(document)
    for fault in sorted(faults, key=lambda one: list(map(str, one.absolute_path))):
        path = ".".join(map(str, fault.absolute_path))
        yield error(_check(fault), f"{where} {path}".strip(), _sentence(fault))


def _check(fault: ValidationError) -> str:
    is_key = fault.validator in ("additionalProperties", "required", "propertyNames")
    if is_key:
        return "key"
    return "unit" if fault.validator in ("type", "pattern", "anyOf") else "range"


def _sentence(fault: ValidationError) -> str:
    if fault.validator == "additionalProperties" and isinstance(fault.instance, dict):
        known = fault.schema.get("properties", {}) if isinstance(fault.schema, dict) else {}
        unknown = next(str(key) for key in fault.instance if key not in known)
        hint = HINTS.get(unknown, f"Known here: {', '.join(sorted(known))}.")
        return f"{one_line(unknown)[:LONGEST_MESSAGE]!r} is not read here: {hint}"
    if fault.validator in ("type", "pattern", "anyOf") and isinstance(fault.schema, dict):
        wanted = fault.schema.get("description", "another type")
        return f"{one_line(str(fault.instance))[:LONGEST_MESSAGE]!r} has to be {wanted}."
    return f"{one_line(fault.message)[:LONGEST_MESSAGE]}."


def keda_findings(document: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Check what KEDA reads but does not do."""
    spec = document["spec"]
    least = spec.get("minReplicaCount", 0)
    is_cached = any(trigger.get("useCachedMetrics") for trigger in spec["triggers"])
    if (
        least >= 1
        and "pollingInterval" in spec
        and not is_cached
        and "idleReplicaCount" not in spec
    ):
        yield warning(
            "without_effect",
            f"{where} spec.pollingInterval",
            "with minReplicaCount of 1 or more the HPA asks at its own pace; pollingInterval does "
            "nothing without useCachedMetrics.",
        )
    if least >= 1 and "cooldownPeriod" in spec and "idleReplicaCount" not in spec:
        yield warning(
            "without_effect",
            f"{where} spec.cooldownPeriod",
            "cooldownPeriod is only for going to 0 replicas; for a slow scale-in set "
            "behavior.scaleDown.stabilizationWindowSeconds.",
        )
    if spec.get("idleReplicaCount", -1) >= max(least, 1):
        yield error(
            "range",
            f"{where} spec.idleReplicaCount",
            "idleReplicaCount has to be below minReplicaCount.",
        )
    fallback = spec.get("fallback")
    most = spec.get("maxReplicaCount", 100)
    is_static = bool(fallback) and fallback.get("behavior", "static") == "static"
    if is_static and not least <= fallback["replicas"] <= most:
        yield error(
            "range",
            f"{where} spec.fallback.replicas",
            f"{fallback['replicas']} is outside {least}..{most}.",
        )
    for number, trigger in enumerate(spec["triggers"]):
        place, said = f"{where} spec.triggers[{number}]", trigger["metadata"]
        if trigger["type"] == "prometheus" and said.get("ignoreNullValues", "true") == "true":
            yield error(
                "zero_in_outage",
                f"{place}.metadata.ignoreNullValues",
                "it is true by default: an empty answer, as in an outage, counts as 0 and scales "
                'the fleet in. Set "false".',
            )
        if (
            fallback
            and trigger.get("metricType") == "Value"
            and "scalingModifiers" not in str(spec)
        ):
            yield warning(
                "without_effect",
                f"{where} spec.fallback",
                "fallback is not applied to triggers of metricType Value.",
            )
    yield from _formula_names(spec, where)


def _formula_names(spec: Mapping[str, Any], where: str) -> Iterator[Finding]:
    modifiers = (spec.get("advanced") or {}).get("scalingModifiers")
    if not modifiers:
        return
    target = float(modifiers["target"])
    reads_count = re.search(r"\b(n|replicas|current\w*)\b", str(modifiers["formula"]))
    if reads_count and target != 1.0:
        yield error(
            "formula",
            f"{where} spec.advanced.scalingModifiers.target",
            f"the formula gives replicas, so its target is 1, not {target:g}.",
        )
