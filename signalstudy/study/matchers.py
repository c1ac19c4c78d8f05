"""Matchers that tell a pool's series from all others of their metric, by the labels in the data."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from signalstudy.config import StudyConfig
    from signalstudy.telemetry.telemetry import Telemetry

OF_PROMETHEUS = {"prometheus", "tsdb", "tsdb-dump", "openmetrics", "vm-export"}
"""Sources whose labels are those that a query meets."""
MOST_VALUES = 8
"""A label with more values tells replicas rather than a pool."""
_PARTS = re.compile("_(bucket|sum|count)$")
_REGEX_SIGNS = re.compile(r"([\\.+*?()|\[\]{}^$])")


@dataclass(frozen=True, slots=True)
class KnownLabels:
    """Which labels the series of each metric carry: metric -> (service, pool) -> label sets."""

    sets: dict[str, dict[tuple[str, str], frozenset[str]]]

    def matchers(
        self, metric: str, service: str, pool: str, *, is_pool_told: bool
    ) -> tuple[str, ...] | None:
        """Give matchers that fit the series of one pool and no others, None where none do.

        `is_pool_told`: the query has other matchers that tell the pool.
        """
        of_metric = self.sets.get(_PARTS.sub("", metric), {})
        own = [json.loads(text) for text in sorted(of_metric.get((service, pool), ()))]
        if not own:
            return None
        allowed = {
            name: values
            for name in sorted(set.intersection(*(set(one) for one in own)))
            if len(values := {one[name] for one in own}) <= MOST_VALUES
        }
        for (other_service, other_pool), sets in of_metric.items():
            is_own_pool = other_pool == pool or is_pool_told
            if other_service == service and is_own_pool:
                continue
            if any(_fits(json.loads(text), allowed) for text in sets):
                return None
        return tuple(_matcher(name, values) for name, values in allowed.items())


def known_labels(telemetry: Telemetry, config: StudyConfig) -> KnownLabels:
    """Collect the labels of all series that came from Prometheus in some form."""
    found: dict[str, dict[tuple[str, str], set[str]]] = {}
    for (service, _), rows in telemetry.series.items():
        for row in rows:
            if config.sources[row.source - 1].kind in OF_PROMETHEUS:
                of_metric = found.setdefault(_PARTS.sub("", row.metric), {})
                of_metric.setdefault((service, row.pool), set()).add(row.told_by)
    return KnownLabels(
        {
            metric: {place: frozenset(sets) for place, sets in of_metric.items()}
            for metric, of_metric in found.items()
        }
    )


def _fits(labels: dict[str, str], allowed: dict[str, set[str]]) -> bool:
    return all(labels.get(name, "") in values for name, values in allowed.items())


def _matcher(name: str, values: set[str]) -> str:
    if len(values) == 1:
        return f"{name}={quoted(next(iter(values)))}"
    rule = "|".join(_REGEX_SIGNS.sub(r"\\\1", value) for value in sorted(values))
    return f"{name}=~{quoted(rule)}"


def quoted(text: str) -> str:
    """Write a text as PromQL takes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
