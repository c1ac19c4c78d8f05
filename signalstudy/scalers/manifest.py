"""Manifests: documents of one scaler, checked against its schema; and how they are written."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from signalstudy.policy.state import Decision, PoolStep
from signalstudy.policy.yaml_text import dump, one_line, parse_all
from signalstudy.scalers.plan import identifier
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from signalstudy.policy.state import Observation, State
    from signalstudy.scalers.plan import Plan

POOL_LABEL, POLICY_LABEL = "signalstudy.dev/pool", "signalstudy.dev/policy"
_SUFFIXES = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}
_QUANTITY = re.compile(r"^([+-]?\d+\.?\d*(?:[eE][+-]?\d+)?)([A-Za-z]{0,2})$")
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+\.?\d*)(ms|s|m|h)")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The documents of one scaler, in the order of the file."""

    documents: tuple[Mapping[str, Any], ...]


@cache
def manifest_schema(scaler: str) -> dict[str, Any]:
    """Give the JSON Schema of one object of a scaler, as it ships with the package."""
    place = files("signalstudy.scalers").joinpath("schemas", f"{scaler}.schema.json")
    schema: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return schema


def read_manifest(text: str, scaler: str, place: str) -> Manifest:
    """Read the objects of a scaler's kind out of a file; others in it are left alone."""
    schema = manifest_schema(scaler)
    kind = schema.get("properties", {}).get("kind", {}).get("const")
    found = [
        document
        for document in parse_all(text, place)
        if isinstance(document, dict) and (kind is None or document.get("kind") == kind)
    ]
    if not found:
        raise ConfigurationError(f"{place}: there is no {kind or scaler} in it.")
    validator = Draft202012Validator(schema)
    for document in found:
        error = best_match(validator.iter_errors(document))
        if error is not None:
            path = ".".join(str(part) for part in error.absolute_path)
            raise ConfigurationError(
                f"{place}, {path or kind or scaler}: {one_line(error.message)[:300]}."
            )
    return Manifest(tuple(found))


def manifest_yaml(
    whole: Plan, title: str, sentences: Iterable[str], documents: Sequence[Any]
) -> str:
    """Write documents below comments that say what could not be said in them."""
    lines = [f"{title} for {one_line(whole.service)[:80]}, from its ScalingPolicy {whole.name}"]
    lines += sentences
    head = "".join(f"# {one_line(line)}\n" for line in lines)
    return head + "---\n".join(dump(document) for document in documents)


def metadata(whole: Plan, name: str, pool: str | None, namespace: str | None) -> dict[str, Any]:
    """Give an object's metadata, with the pool that it scales."""
    labels = {POLICY_LABEL: whole.name} | ({} if pool is None else {POOL_LABEL: pool})
    return {"name": name, **({"namespace": namespace} if namespace else {}), "labels": labels}


def quantity(value: float) -> str:
    """Write a Kubernetes quantity to the thousandth, which is all that the HPA reads, upwards."""
    thousandths = math.ceil(value * 1000.0 * (1.0 - 1e-12))
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"


def plain_number(value: float) -> str:
    """Write a number without exponent, to a millionth upwards."""
    text = f"{math.ceil(value * 1e6 * (1.0 - 1e-12)) / 1e6:.6f}"
    return text.rstrip("0").rstrip(".")


def quantity_value(text: object) -> float:
    """Read a Kubernetes quantity; NaN where it is none."""
    match = _QUANTITY.match(str(text).strip())
    if match is None or match[2] not in _SUFFIXES:
        return math.nan
    return float(match[1]) * _SUFFIXES[match[2]]


def percent(step_ratio: float) -> int:
    """Give a step limit in whole percent, rounded down, at least one."""
    return max(1, math.floor(100.0 * step_ratio + 1e-9))


def seconds_text(seconds: float) -> str:
    """Write a duration as Go reads it."""
    return f"{math.ceil(seconds)}s"


def go_seconds(text: str) -> float:
    """Read a Go duration, such as 1h5m30s or 500ms, in seconds."""
    parts = _DURATION.findall(text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise ConfigurationError(f"{text[:40]!r} is no duration; write it such as 90s or 5m.")
    return math.fsum(float(number) * _UNITS[unit] for number, unit in parts)


def pool_of(document: Mapping[str, Any], ref: Mapping[str, Any]) -> str:
    """Name the pool that an object scales: by its label, else by the object's name."""
    labels = document.get("metadata", {}).get("labels") or {}
    return str(labels.get(POOL_LABEL) or ref.get("name", ""))


def reading(observation: Observation, name: str, document: Mapping[str, Any]) -> float:
    """Give the value of a metric that a manifest names; NaN where it is not seen.

    Observations are keyed POOL.SIGNAL; a manifest names that as an identifier, with the policy's
    name in front where names are shared by a whole cluster. Any other name stands for itself.
    """
    labels = document.get("metadata", {}).get("labels") or {}
    policy = identifier(str(labels.get(POLICY_LABEL, "")))
    for key, seen in observation.readings.items():
        if name in (key, identifier(key), f"{policy}_{identifier(key)}"):
            return float(seen.value)
    return math.nan


def current_replicas(state: State, pool: str) -> int:
    """Give how many replicas a pool has, or say that the state does not."""
    if pool not in state.replicas:
        known = ", ".join(sorted(state.replicas)) or "none"
        raise ConfigurationError(
            f"state.replicas: the manifest scales {pool!r}, the state does not say how many "
            f"replicas it has. Given: {known}."
        )
    return int(state.replicas[pool])


def pool_step(
    current: int,
    desired: float,
    wanted: int,
    replicas: int,
    seen: Mapping[str, float] | None = None,
) -> PoolStep:
    """Give one pool's step in the form of a decision. `seen`: what has to be remembered."""
    no = np.asarray(False)
    return PoolStep(
        current=np.asarray(float(current)),
        desired=np.asarray(desired),
        wanted=np.asarray(float(wanted)),
        tier_ratio=np.asarray(0.0),
        is_cooling=no,
        is_blocked=no,
        replicas=np.asarray(float(replicas)),
        seen=seen or {},
    )


def decision(steps: Mapping[str, PoolStep]) -> Decision:
    """Put the pools' steps together, with a sentence each."""
    sentences = []
    for pool, step in steps.items():
        now, then = int(step.current), int(step.replicas)
        basis = (
            "nothing is known" if np.isnan(step.desired) else f"asks for {float(step.desired):.3g}"
        )
        sentences.append(f"{pool} goes from {now} to {then}: {basis}.")
    replicas: dict[str, Any] = {pool: int(step.replicas) for pool, step in steps.items()}
    return Decision(replicas, " ".join(sentences), dict(steps))
