"""PromQL that shows a signal of a study in Grafana: from the metrics it was made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalstudy.vocabulary.signals import find_source, quantities

if TYPE_CHECKING:
    from signalstudy.config import SignalSection, StudyConfig
    from signalstudy.timeline.timeline import SignalSeries
    from signalstudy.vocabulary.signals import SourceMetric

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
SHORTEST_WINDOW_SECONDS = 60.0
_OPERATORS = {" / ": " / ", " - ": " - ", ", ": " + ", " + ": " + "}
"""How the source of a signal names several metrics, and what that means."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of each metric: which signal, how replicas combine, where, over how long."""

    signal: str
    aggregation: str
    matchers: tuple[str, ...]
    window: str


def signal_promql(
    series: SignalSeries, pool: str, service: str, config: StudyConfig, *, step_seconds: float
) -> str:
    """Give a query for one signal of one pool, "" where it was made of no series of Prometheus.

    A rate looks back two samples, a minute at least. Labels are told apart as study.toml says.
    """
    if series.name in (stated := stated_queries(config)):
        return stated[series.name]
    window = max(SHORTEST_WINDOW_SECONDS, 2.0 * max(step_seconds, series.scrape_seconds))
    asked = _Asked(
        series.name,
        "avg" if series.kind == "intensive" else "sum",
        tuple(pool_matchers(pool, service, config)),
        f"[{window:.0f}s]",
    )
    own = next((one for one in config.signals if one.name == series.name), None)
    if own is not None:
        return _of_own(own, asked)
    parts = re.split("( / | - |, | \\+ )", series.source)
    entries = [_entry(name, series.name) for name in parts[::2]]
    if not series.source or any(entry is None for entry in entries):
        return ""
    terms = [
        _term(name, entry, asked)
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


def _term(name: str, entry: SourceMetric, asked: _Asked) -> str:
    told = (f"{key}={_quoted(value)}" for key, value in entry.labels.items())
    where = _selector(*asked.matchers, *told)
    factor = "" if entry.factor == 1.0 else f" * {entry.factor:g}"
    if entry.type == "histogram":
        return _of_histogram(name, where, asked) + factor
    if entry.type == "counter":
        return f"sum(rate({name}{where}{asked.window})){factor}"
    return f"{asked.aggregation}({name}{where}){factor}"


def _of_own(own: SignalSection, asked: _Asked) -> str:
    """Give the query of a signal that study.toml describes under [[signals]]."""
    name, where = own.metric or own.name, _selector(*asked.matchers)
    if own.kind == "counter":
        return f"{asked.aggregation}(rate({name}{where}{asked.window}))"
    if own.kind == "histogram":
        return _of_histogram(name, where, asked)
    return f"{asked.aggregation}({name}{where})"


def _selector(*matchers: str) -> str:
    return f"{{{','.join(matchers)}}}" if matchers else ""


def _of_histogram(name: str, where: str, asked: _Asked) -> str:
    """Give a quantile or the mean of a latency, or the rate of what was observed."""
    stem = re.sub("_(bucket|sum|count)$", "", name)
    statistic = asked.signal.removesuffix("_seconds").rpartition("_")[2]
    if statistic in QUANTILES:
        rates = f"sum by (le) (rate({stem}_bucket{where}{asked.window}))"
        return f"histogram_quantile({QUANTILES[statistic]:g}, {rates})"
    total = f"sum(rate({stem}_sum{where}{asked.window}))"
    if statistic == "mean":
        return f"{total} / sum(rate({stem}_count{where}{asked.window}))"
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
