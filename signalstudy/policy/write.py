"""A policy as YAML: written so that strangers' labels cannot break it, and moved only for cause."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signalstudy.policy.read import read_policy
from signalstudy.policy.refit import refitted
from signalstudy.policy.schema import validate_policy
from signalstudy.policy.yaml_text import dump, one_line
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalstudy.policy.policy import Policy

LONGEST_LABEL = 80


def policy_yaml(policy: Policy) -> str:
    """Give the file: comments for people, then the document in the order of the contract."""
    comments = "".join(f"# {one_line(line)}\n" for line in _header(policy))
    return comments + dump(policy.document)


def write_policy(policy: Policy, path: Path) -> list[str]:
    """Write the policy, and return what moved: per number old, new and why.

    A file whose spec is equal is left byte for byte as it is. A number moves only where its new
    interval excludes the old value. The file is replaced whole or not at all.
    """
    moved: list[str] = []
    if path.exists():
        old = read_policy(path)
        policy, moved = refitted(old, policy)
        if policy.document["spec"] == old.document["spec"]:
            return moved
    validate_policy(policy.document, str(path))
    _replace(path, policy_yaml(policy))
    return moved


def _replace(path: Path, text: str) -> None:
    """Write beside, then rename."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode("utf-8"))
            Path(beside).chmod(0o644)
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the policy cannot be written: {error.strerror}."
        ) from error


def _header(policy: Policy) -> Iterator[str]:
    """Say what the file is: study, threshold with its interval, versions, digests, notes."""
    metadata, spec = policy.document["metadata"], policy.document["spec"]
    study = metadata.get("study", {})
    yield f"Scaling policy of {_shortened(metadata['service'])}"
    yield (
        f"study {_shortened(study.get('name', ''))} {study.get('start', '?')} to "
        f"{study.get('end', '?')}, sources {study.get('fingerprint', '?')}"
    )
    yield f"signalstudy {metadata.get('toolVersion', '?')}, spec {spec_digest(policy)}"
    signal, target = spec["signal"], spec["proportional"]["targetPerReplica"]
    unit = f"{signal['name']} per {signal['perReplicaOf']} replica"
    capacity = next(
        (e for e in spec.get("evidence", []) if e["number"] == "threshold.perReplica"), None
    )
    if capacity is not None and capacity["value"] is not None:
        yield f"threshold {_with_interval(capacity)} {unit} ({capacity['status']})"
    yield f"target {_with_interval(target)} ({target['status']})"
    for note in policy.notes:
        yield f"note: {note}"


def spec_digest(policy: Policy) -> str:
    """Name the content of the spec by twelve hex digits of its SHA-256."""
    text = json.dumps(policy.document["spec"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _with_interval(number: dict[str, Any]) -> str:
    low, high = number.get("low"), number.get("high")
    if low is None and high is None:
        return f"{number['value']:.4g}"
    ends = ["?" if end is None else f"{end:.4g}" for end in (low, high)]
    return f"{number['value']:.4g} [{ends[0]}, {ends[1]}]"


def _shortened(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"{label[:LONGEST_LABEL]}..."
