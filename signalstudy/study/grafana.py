"""PromQL that shows a signal of a study in Grafana: from the metrics it was made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalstudy.policy.window import SHORTEST_SECONDS
from signalstudy.study.matchers import quoted
from signalstudy.vocabulary.signals import find_source, quantities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalstudy.config import SignalSection, StudyConfig
    from signalstudy.study.matchers import KnownLabels
    from signalstudy.timeline.timeline import SignalSeries
    from signalstudy.vocabulary.signals import SourceMetric

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_OPERATORS = {" / ": " / ", " - ": " - ", ", ": " + ", " + ": " + "}
"""How the source of a signal names several metrics, and what that means."""
_SIGNS = re.compile("( / | - |, | \\+ )")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of each metric: which signal, how replicas combine, over how long."""

    signal: str
    aggregation: str
    window: str


def signal_promql(
    series: SignalSeries,
    pool: str,
    service: str,
    config: StudyConfig,
    *,
    step_seconds: float,
    known: KnownLabels | None = None,
    window_seconds: float = SHORTEST_SECONDS,
) -> str:
    """Give a query for one signal of one pool, "" where it was made of no series of Prometheus.

    A rate looks back `window_seconds`, two samples at least. Labels are told apart as study.toml
    says; with `known` as in the data, "" where those do not tell the pool.
    """
    if series.name in (stated := stated_queries(config)):
        return stated[series.name]
    window = max(window_seconds, 2.0 * max(step_seconds, series.scrape_seconds))
    aggregation = "avg" if series.kind == "intensive" else "sum"
    asked = _Asked(series.name, aggregation, f"[{window:.0f}s]")
    own = next((one for one in config.signals if one.name == series.name), None)
    parts = [own.metric or own.name] if own else re.split(_SIGNS, series.source)
    terms = []
    for name in parts[::2]:
        entry = None if own else _entry(name, series.name, pool)
        if not name or (own is None and entry is None):
            return ""
        is_pool_told = entry is not None and entry.pool == pool
        matchers: Sequence[str] | None = pool_matchers(pool, service, config)
        if known is not None:
            matchers = known.matchers(name, service, pool, is_pool_told=is_pool_told)
        if matchers is None:
            return ""
        if own is not None:
            terms.append(_of_own(own, _selector(*matchers), asked))
        elif entry is not None:
            terms.append(_term(name, entry, matchers, asked))
    query = terms[0]
    for sign, term in zip(parts[1::2], terms[1:], strict=True):
        # What has not happened yet has no series; it must not take the rest with it.
        here = term if sign == " / " else f"({term} or {terms[0]} * 0)"
        query += _OPERATORS[sign] + here
    return query


def stated_queries(config: StudyConfig) -> dict[str, str]:
    """Give the PromQL that study.toml names for signals, by signal."""
    return {
        name: query.promql for source in config.sources for name, query in source.queries.items()
    }


def _entry(name: str, signal: str, pool: str) -> SourceMetric | None:
    """Find what the catalogue says of a metric; where labels decide, the entry of this signal."""
    found = find_source(name)
    told = [entry for entry in found if _tells(entry, signal)]
    of_pool = [entry for entry in told if entry.pool in ("", pool)]
    return next(iter([*of_pool, *told, *found]), None)


def _tells(entry: SourceMetric, signal: str) -> bool:
    quantity = quantities().get(entry.yields)
    gives = entry.yields if quantity is None else quantity.signal
    return signal == gives or (bool(gives) and signal.startswith(f"{gives}_"))


def _term(name: str, entry: SourceMetric, matchers: Sequence[str], asked: _Asked) -> str:
    told = [f"{key}={quoted(value)}" for key, value in entry.labels.items()]
    where = _selector(*matchers, *told)
    factor = "" if entry.factor == 1.0 else f" * {entry.factor:g}"
    if entry.type == "histogram":
        return _of_histogram(name, where, asked) + factor
    if entry.type == "counter":
        return f"sum(rate({name}{where}{asked.window})){factor}"
    return f"{asked.aggregation}({name}{where}){factor}"


def _of_own(own: SignalSection, where: str, asked: _Asked) -> str:
    """Give the query of a signal that study.toml describes under [[signals]]."""
    name = own.metric or own.name
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
    matchers = [f"{label}={quoted(part)}" for label, part in zip(labels, parts, strict=True)]
    rules = {str(name): rules for name, rules in named.pools.items()}.get(pool) or {}
    matchers += [f"{label}=~{quoted(rule)}" for label, rule in rules.items()]
    if not rules and named.pool and pool in ("prefill", "decode"):
        matchers.append(f"{named.pool[0]}={quoted(pool)}")
    return matchers
