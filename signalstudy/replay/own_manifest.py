"""A user's own manifest as a rival: whatever HPA, ScaledObject or policy runs today."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from signalstudy.policy.read import read_text
from signalstudy.policy.state import LONGEST_MEMORY_SECONDS, Observation, State
from signalstudy.policy.yaml_text import parse_all
from signalstudy.replay.controller import Controller, Reads
from signalstudy.replay.remembering import Remembering
from signalstudy.scalers.export import SCALERS
from signalstudy.scalers.manifest import manifest_schema
from signalstudy.scalers.plan import identifier
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from signalstudy.replay.grounds import Grounds

FORMS = (".yaml", ".yml")
SCALERS_READ = ("hpa", "keda", "aibrix", "kthena")
WINDOW_SECONDS = 60.0


def is_manifest(name: str) -> bool:
    """Say whether a rival is named by a file."""
    return Path(name).suffix in FORMS


def manifest_controller(name: str, grounds: Grounds) -> tuple[Controller, str]:
    """Make a manifest file decide by its scaler's documented semantics, and say what it reads.

    Its metrics are those named POOL_SIGNAL, as `signalstudy export` names them; each is read as a
    mean over a minute, whatever its query says.
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
    manifest = scaler.read(text, name)
    # Asked once beforehand: objects of other pools are found out before anything runs.
    asked = scaler.decide(manifest, State(0.0, dict.fromkeys(grounds.pools, 1)), Observation())
    reads = _reads(text, grounds)
    if not reads:
        pool = next(iter(asked.replicas))
        raise ConfigurationError(
            f"{name}: none of its metrics is a signal of {grounds.service!r}. Name a metric after "
            f"its pool and signal, such as {identifier(f'{pool}.gpu_utilization_ratio')}."
        )
    said = f"{_kind(found)} on {', '.join(one.key for one in reads)}."
    decide = Remembering(scaler.decide, manifest, LONGEST_MEMORY_SECONDS)
    return Controller(Path(name).name, reads, {}, {}, {}, decide, 0.0), said


def _kind(scaler: str) -> str:
    return str(manifest_schema(scaler)["properties"]["kind"]["const"])


def _reads(text: str, grounds: Grounds) -> tuple[Reads, ...]:
    """List the signals of the study that a manifest names."""
    found: dict[str, Reads] = {}
    for pool in grounds.pools:
        for place in (pool, "gateway"):
            timeline = grounds.whole.pools.get(place)
            for signal, series in ({} if timeline is None else timeline.signals).items():
                key, is_total = f"{pool}.{signal}", series.kind == "total"
                if identifier(key) in text or key in text:
                    reads = Reads(pool, signal, is_total, WINDOW_SECONDS, not is_total)
                    found.setdefault(key, reads)
    return tuple(found.values())
