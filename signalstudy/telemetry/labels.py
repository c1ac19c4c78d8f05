"""From labels to service, pool and replica."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalstudy.vocabulary.errors import TableError

if TYPE_CHECKING:
    from signalstudy.config import StudyConfig

POOL_WORDS = {
    "prefill": "prefill",
    "decode": "decode",
    "unified": "unified",
    "gateway": "gateway",
    "service": "gateway",  # its old name
    "frontend": "gateway",
    "router": "gateway",
}
OF_TARGETS = ("cluster", "namespace", "job")
"""Labels that a scrape configuration gives, the same for every replica of a pool."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Where a series belongs. `pool` is "" where no label says one, None where one misleads."""

    service: str
    pool: str | None
    replica: str | None
    hardware: str | None


def read_labels(text: str, place: str) -> dict[str, str]:
    """Read a series' labels: JSON, of which a column `labels` may hold JSON again."""
    raw = json.loads(text)
    labels = {k: str(v) for k, v in raw.items() if v is not None and v != ""}
    packed = labels.get("labels")
    if packed is not None:
        try:
            inner = json.loads(packed)
        except json.JSONDecodeError:
            inner = None
        if isinstance(inner, dict):
            del labels["labels"]
            labels = {k: str(v) for k, v in inner.items() if v is not None} | labels
        elif packed.startswith("{"):
            raise TableError(f"{place}: column 'labels' holds {packed[:80]!r}, which is no JSON")
    return labels


def identify(labels: dict[str, str], config: StudyConfig, place: str, *, strict: bool) -> Identity:
    """Say which service, pool and replica these labels mean.

    A list of labels means the first that is there; several for service are joined by "/".
    `strict`: a pool label with a strange word is an error (tables); else the series is set aside.
    """
    named = config.labels
    parts = [labels[name] for name in named.service if name in labels]
    return Identity(
        service="/".join(parts) if parts else config.study.name,
        pool=_pool(labels, config, place, strict=strict),
        replica=_first(labels, named.replica),
        hardware=_first(labels, named.hardware),
    )


def telling_labels(labels: dict[str, str], config: StudyConfig) -> str:
    """Give the labels that say where a series belongs, as JSON: none that tells replicas apart."""
    named = config.labels
    ruled = [name for rules in named.pools.values() for name in rules]
    wanted = (*named.service, *named.pool, *ruled, *named.one_of, *OF_TARGETS)
    apart = {*named.replica, *named.ha_replica, *named.sum_over} - {*named.service, *named.pool}
    told = {name: labels[name] for name in wanted if name in labels and name not in apart}
    return json.dumps(told, sort_keys=True)


def _first(labels: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((labels[name] for name in names if name in labels), None)


def _pool(labels: dict[str, str], config: StudyConfig, place: str, *, strict: bool) -> str | None:
    for pool, rules in config.labels.pools.items():
        # Exporters know a pod by different labels: those that a series has must all agree.
        told = [(rule, labels[name]) for name, rule in rules.items() if name in labels]
        if told and all(re.fullmatch(rule, value) for rule, value in told):
            return pool
    word = _first(labels, config.labels.pool)
    if word is None:
        return ""
    meant = POOL_WORDS.get(word.strip().lower())
    if meant is None and strict:
        raise TableError(
            f"{place}: unknown pool {word[:60]!r}. Known: prefill, decode, unified, gateway. "
            "Map others in study.toml under [labels.pools]."
        )
    return meant
