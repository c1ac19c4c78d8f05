"""PromQL that shows a signal of a study in Grafana: from the metrics it was made of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from signalstudy.vocabulary.signals import find_source, quantities, signals

if TYPE_CHECKING:
    from signalstudy.config import StudyConfig
    from signalstudy.vocabulary.signals import SourceMetric

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
SHORTEST_WINDOW_SECONDS = 60.0
_OPERATORS = {" / ": " / ", " - ": " - ", ", ": " + ", " + ": " + "}
"""How the source of a signal names several metrics, and what that means."""


def signal_promql(
    signal: str, pool: str, service: str, source: str, config: StudyConfig, *, sample_seconds: float
) -> str:
    """Give a query for one signal of one pool, "" where it was made of no series of Prometheus.

    `source`: the metrics it was made of, as a study names them. A rate looks back two samples, a
    minute at least. Labels are told apart as study.toml says.
    """
    if signal in (stated := stated_queries(config)):
        return stated[signal]
    parts = re.split("( / | - |, | \\+ )", source)
    entries = [_entry(name, signal) for name in parts[::2]]
    if not source or any(entry is None for entry in entries):
        return ""
    matchers = pool_matchers(pool, service, config)
    window = f"[{max(SHORTEST_WINDOW_SECONDS, 2.0 * sample_seconds):.0f}s]"
    terms = [
        _term(name, entry, signal, matchers, window)
        for name, entry in zip(parts[::2], entries, strict=True)
        if entry is not None
    ]
    query = terms[0]
    for sign, term in zip(parts[1::2], terms[1:], strict=True):
        query += _OPERATORS[sign] + term
    return query


def stated_queries(config: StudyConfig) -> dict[str, str]:
    """Give the PromQL that study.toml names for signals, by signal."""
    return {
        name: query.promql for source in config.sources for name, query in source.queries.items()
    }


def _entry(name: str, signal: str) -> SourceMetric | None:
    """Find what the catalogue says of a metric; where labels decide, the entry of this signal."""
    found = find_source(name)
    told = [entry for entry in found if _tells(entry, signal)]
    return next(iter([*told, *found]), None)


def _tells(entry: SourceMetric, signal: str) -> bool:
    quantity = quantities().get(entry.yields)
    gives = entry.yields if quantity is None else quantity.signal
    return signal == gives or (bool(gives) and signal.startswith(f"{gives}_"))


def _term(name: str, entry: SourceMetric, signal: str, matchers: list[str], window: str) -> str:
    labels = [*matchers, *(f"{key}={_quoted(value)}" for key, value in entry.labels.items())]
    where = f"{{{','.join(labels)}}}" if labels else ""
    factor = "" if entry.factor == 1.0 else f" * {entry.factor:g}"
    known = signals().get(signal)
    if entry.type == "histogram":
        return _of_histogram(name, signal, where, window) + factor
    if entry.type == "counter":
        return f"sum(rate({name}{where}{window})){factor}"
    aggregation = "avg" if known is not None and known.kind == "intensive" else "sum"
    return f"{aggregation}({name}{where}){factor}"


def _of_histogram(name: str, signal: str, where: str, window: str) -> str:
    """Give a quantile or the mean of a latency, or the rate of what was observed."""
    stem = re.sub("_(bucket|sum|count)$", "", name)
    statistic = signal.removesuffix("_seconds").rpartition("_")[2]
    if statistic in QUANTILES:
        rates = f"sum by (le) (rate({stem}_bucket{where}{window}))"
        return f"histogram_quantile({QUANTILES[statistic]:g}, {rates})"
    total = f"sum(rate({stem}_sum{where}{window}))"
    if statistic == "mean":
        return f"{total} / sum(rate({stem}_count{where}{window}))"
    return total


def pool_matchers(pool: str, service: str, config: StudyConfig) -> list[str]:
    """Give the matchers of a service's pool, as study.toml tells services and pools apart.

    A service of the study's own name is one that no label names.
    """
    named = config.labels
    parts = [] if service == config.study.name else service.split("/")
    labels = named.service[: len(parts)]
    if len(labels) != len(parts):
        labels, parts = named.service[:1], [service]
    matchers = [f"{label}={_quoted(part)}" for label, part in zip(labels, parts, strict=True)]
    rules = {str(name): rules for name, rules in named.pools.items()}.get(pool) or {}
    matchers += [f"{label}=~{_quoted(rule)}" for label, rule in rules.items()]
    if not rules and named.pool and pool in ("prefill", "decode"):
        matchers.append(f"{named.pool[0]}={_quoted(pool)}")
    return matchers


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
