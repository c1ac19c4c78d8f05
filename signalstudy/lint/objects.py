"""Keys of HPA and KEDA objects that are unknown, misplaced, or without effect."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

from signalstudy.lint.finding import error, warning
from signalstudy.policy.yaml_text import one_line
from signalstudy.scalers.aibrix_strategies import DEFAULTS
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


VERSIONS = {
    "hpa": "autoscaling/v2",
    "keda": "keda.sh/v1alpha1",
    "aibrix": "autoscaling.aibrix.ai/v1alpha1",
    "kthena": "workload.serving.volcano.sh/v1alpha1",
    "dynamo": "nvidia.com/v1beta1",
}
SAME_FIELDS = {"autoscaling/v2beta2"}
"""Old versions that say the same by the same keys, so that the rest can be judged."""
WENT = {
    "autoscaling/v2beta2": "Kubernetes 1.26 removed it; the keys stay the same.",
    "autoscaling/v2beta1": "Kubernetes 1.25 removed it; targets now stand below target.",
    "autoscaling/v1": "It knows CPU alone, and ignores metrics and behavior.",
    "keda.k8s.io/v1alpha1": "That was KEDA 1; KEDA 2 does not look at it.",
}


def current_version(
    document: Mapping[str, Any], scaler: str, where: str
) -> tuple[Mapping[str, Any], list[Finding]]:
    """Report another apiVersion than the present one, and give the object in the present one.

    Where the keys have changed as well, what is given holds no more that could be judged.
    """
    now, said = VERSIONS[scaler], str(document.get("apiVersion", ""))
    if said == now or "apiVersion" not in document:
        return document, []
    why = WENT.get(said, "")
    told = f"{one_line(said)[:LONGEST_MESSAGE]!r} is not {now}. {why}".strip()
    if said in SAME_FIELDS:
        return {**document, "apiVersion": now}, [error("version", f"{where} apiVersion", told)]
    return document, [error("key", f"{where} apiVersion", told)]


def key_findings(document: Mapping[str, Any], scaler: str, where: str) -> Iterator[Finding]:
    """Check every key against the scaler's schema."""
    faults = Draft202012Validator(manifest_schema(scaler)).iter_errors(document)
    for fault in sorted(faults, key=lambda one: list(map(str, one.absolute_path))):
        path = ".".join(map(str, fault.absolute_path))
        place = f"{where} {path}".strip()
        if scaler == "dynamo" and fault.validator == "additionalProperties":
            # The planner has more keys than are listed here, and nobody else checks them.
            yield warning("key", place, f"{_sentence(fault)} The block is not validated.")
            continue
        yield error(_check(fault), place, _sentence(fault))


def without_unknown(document: Mapping[str, Any], scaler: str) -> Mapping[str, Any] | None:
    """Give an object without the keys that nobody reads, None where more than that is wrong."""
    kept = copy.deepcopy(dict(document))
    for fault in Draft202012Validator(manifest_schema(scaler)).iter_errors(document):
        if fault.validator != "additionalProperties" or not isinstance(fault.schema, dict):
            return None
        place: Any = kept
        for part in fault.absolute_path:
            place = place[part]
        known = fault.schema.get("properties", {})
        for name in [name for name in place if name not in known]:
            del place[name]
    return kept


def _check(fault: ValidationError) -> str:
    is_key = fault.validator in ("additionalProperties", "required")
    if is_key or _is_name(fault):
        return "key"
    return "unit" if fault.validator in ("type", "pattern", "anyOf") else "range"


def _is_name(fault: ValidationError) -> bool:
    """Say whether it is the name of an annotation that is wrong."""
    return "propertyNames" in fault.absolute_schema_path


def _sentence(fault: ValidationError) -> str:
    if fault.validator == "additionalProperties" and isinstance(fault.instance, dict):
        known = fault.schema.get("properties", {}) if isinstance(fault.schema, dict) else {}
        unknown = next(str(key) for key in fault.instance if key not in known)
        hint = HINTS.get(unknown, f"Known here: {', '.join(sorted(known))}.")
        return f"{one_line(unknown)[:LONGEST_MESSAGE]!r} is not read here: {hint}"
    if _is_name(fault):
        name = one_line(str(fault.instance))[:LONGEST_MESSAGE]
        return f"{name!r} is ignored. Known: {', '.join(sorted(DEFAULTS))}."
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
