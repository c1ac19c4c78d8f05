"""Check a policy document against its JSON Schema and against itself."""

from __future__ import annotations

import difflib
import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jsonschema.exceptions import ValidationError

LONGEST_EXCERPT = 120
LARGEST_NUMBER = 1e15


@cache
def policy_schema() -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of a policy, as it ships with the package."""
    text = files("signalstudy.policy").joinpath("policy.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(policy_schema())


def validate_policy(document: object, place: str) -> None:
    """Raise ConfigurationError with the first thing in `document` that is not a policy.

    `place` is where it was read from; the message adds the path inside and the choices.
    """
    error = best_match(_validator().iter_errors(document))
    if error is not None:
        raise ConfigurationError(f"{_where(place, error)}: {_sentence(error)}")
    assert isinstance(document, dict)  # noqa: S101  # the schema says so; for the type checker
    for path, sentence in _contradictions(document["spec"]):
        raise ConfigurationError(f"{place}, {path}: {sentence}")
    for path, number in _numbers(document, ""):
        if not abs(number) <= LARGEST_NUMBER:  # NaN compares as false
            raise ConfigurationError(f"{place}, {path}: {_excerpt(number)} is not a usable number.")


def _where(place: str, error: ValidationError) -> str:
    path = ""
    for part in error.absolute_path:
        path += f"[{part}]" if isinstance(part, int) else f".{_excerpt(part)}" if path else part
    return f"{place}, {_excerpt(path)}" if path else place


def _sentence(error: ValidationError) -> str:
    """Word the schema's complaint for people, with the choices where there are any."""
    schema: Mapping[str, Any] = error.schema if isinstance(error.schema, dict) else {}
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = sorted(schema.get("properties", {}))
        unknown = next(str(key) for key in error.instance if key not in known)
        return f"unknown key {_excerpt(unknown)!r}.{_guess(unknown, known)} {_known(known)}"
    if error.validator == "enum":
        known = [str(choice) for choice in schema["enum"]]
        return f"{_excerpt(error.instance)!r} is not possible.{_guess(error.instance, known)} " + (
            _known(known)
        )
    if error.validator == "const":
        return f"{_excerpt(error.instance)!r} is not {schema['const']!r}, the only one known."
    if error.validator == "type":
        wanted: Any = error.validator_value
        kinds = wanted if isinstance(wanted, str) else " or ".join(wanted)
        return f"{_excerpt(error.instance)!r} is not of type {kinds}."
    if error.validator == "pattern":
        hint = schema.get("description", f"the form {schema.get('pattern')}")
        return f"{_excerpt(error.instance)!r} is not of the form wanted: {hint}."
    return f"{_excerpt(error.message)}."


def _excerpt(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_EXCERPT else f"{text[:LONGEST_EXCERPT]}..."


def _guess(name: object, known: list[str]) -> str:
    near = difflib.get_close_matches(str(name), known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _known(choices: list[str]) -> str:
    return f"Known: {', '.join(choices)}."


def _contradictions(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Find what each key allows but the whole does not."""
    pools = spec["pools"]
    named = [("spec.signal.perReplicaOf", spec["signal"]["perReplicaOf"])]
    named += [(f"spec.guards[{i}].pool", g["pool"]) for i, g in enumerate(spec.get("guards", []))]
    for i, window in enumerate(spec.get("schedule", [])):
        named += [(f"spec.schedule[{i}].replicas", pool) for pool in window["replicas"]]
    for path, pool in named:
        if pool not in pools:
            yield path, f"there is no pool {pool!r} in spec.pools. {_known(sorted(pools))}"
    for name, pool in pools.items():
        if pool["minReplicas"] > pool["maxReplicas"]:
            yield (
                f"spec.pools.{name}",
                f"minReplicas {pool['minReplicas']} is above maxReplicas {pool['maxReplicas']}.",
            )
    ratio = spec.get("ratio")
    if ratio is not None and ratio["min"] > ratio["max"]:
        yield "spec.ratio", f"min {ratio['min']} is above max {ratio['max']}."
    if ratio is not None and not {"prefill", "decode"} <= set(pools):
        yield "spec.ratio", "a ratio needs both a prefill and a decode pool in spec.pools."


def _numbers(value: object, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _numbers(inner, f"{path}[{position}]")
    elif isinstance(value, int | float):
        yield path, value
