"""A user's own manifest as a rival: whatever HPA, ScaledObject or policy runs today."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.policy.read import read_text
from signalstudy.policy.state import LONGEST_MEMORY_SECONDS, Observation, Reading, State
from signalstudy.policy.yaml_text import parse_all
from signalstudy.replay.controller import Controller, Reads
from signalstudy.replay.named_metrics import Named, named_metrics, pooled
from signalstudy.replay.remembering import DecideOne, Remembering
from signalstudy.scalers.export import SCALERS
from signalstudy.scalers.manifest import Manifest, manifest_schema
from signalstudy.scalers.plan import identifier
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalstudy.policy.state import Decision
    from signalstudy.replay.grounds import Grounds

FORMS = (".yaml", ".yml")
SCALERS_READ = ("hpa", "keda", "aibrix", "kthena")


def is_manifest(name: str) -> bool:
    """Say whether a rival is named by a file."""
    return Path(name).suffix in FORMS


def manifest_controller(name: str, grounds: Grounds) -> tuple[Controller, str]:
    """Make a manifest file decide by its scaler's documented semantics, and say what it reads.

    Its metrics may be named as `signalstudy export` names them, by a signal, or by an engine; each
    is read over the window of its query.
    """
    text = read_text(Path(name))
    documents = parse_all(text, name)
    kinds = {str(one.get("kind")) for one in documents if isinstance(one, dict)}
    found = next((scaler for scaler in SCALERS_READ if _kind(scaler) in kinds), None)
    if found is None:
        known = ", ".join(_kind(scaler) for scaler in SCALERS_READ)
        raise ConfigurationError(f"{name}: none of its objects can be replayed. Known: {known}.")
    scaler = SCALERS[found]
    assert scaler.read is not None  # noqa: S101 - all of SCALERS_READ have both
    assert scaler.decide is not None  # noqa: S101
    read = scaler.read(text, name)
    manifest = Manifest(tuple(pooled(one, grounds) for one in read.documents))
    # Asked once beforehand: objects of other pools are found out before anything runs.
    asked = scaler.decide(manifest, State(0.0, dict.fromkeys(grounds.pools, 1)), Observation())
    metrics = [one for document in manifest.documents for one in named_metrics(document, grounds)]
    if not metrics:
        pool = next(iter(asked.replicas))
        raise ConfigurationError(
            f"{name}: none of its metrics is a signal of {grounds.service!r}. Name a metric after "
            f"its pool and signal, such as {identifier(f'{pool}.gpu_utilization_ratio')}, or as "
            "its engine does."
        )
    reads = {
        one.key: Reads(one.pool, one.signal, one.is_total, one.window_seconds, not one.is_total)
        for one in reversed(metrics)
    }
    said = ", ".join(
        one.key if one.name in (one.key, identifier(one.key)) else f"{one.key} ({one.name})"
        for one in metrics
    )
    decide = Remembering(_in_its_terms(scaler.decide, metrics), manifest, LONGEST_MEMORY_SECONDS)
    controller = Controller(Path(name).name, tuple(reads.values()), {}, {}, {}, decide, 0.0)
    return controller, f"{_kind(found)} on {said}."


def _in_its_terms(decide: DecideOne, metrics: Sequence[Named]) -> DecideOne:
    """Give each signal to a scaler by the name and in the unit of its manifest as well."""

    def ask(manifest: Manifest, state: State, observation: Observation) -> Decision:
        readings = dict(observation.readings)
        for one in metrics:
            seen = observation.readings[one.key]
            readings[one.name] = Reading(np.asarray(seen.value) / one.factor, seen.age_seconds)
        return decide(manifest, state, Observation(readings))

    return ask


def _kind(scaler: str) -> str:
    return str(manifest_schema(scaler)["properties"]["kind"]["const"])
