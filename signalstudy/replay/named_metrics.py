"""Named metrics: which signals of a study a scaler's manifest speaks of, by any name it uses.

A metric is known by POOL_SIGNAL, by a signal's own name, or by an engine's name from the catalogue
(`vllm:num_requests_waiting`, `DCGM_FI_DEV_GPU_UTIL`), as it stands or inside a query.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalstudy.replay.relations import find_series
from signalstudy.scalers.manifest import POOL_LABEL, pool_of
from signalstudy.scalers.plan import identifier
from signalstudy.scalers.promql import outermost, selectors
from signalstudy.telemetry.promql import window_seconds
from signalstudy.vocabulary.signals import find_source, quantities, signals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from signalstudy.replay.grounds import Grounds

USUAL_WINDOW_SECONDS, SCRAPE_SECONDS = 60.0, 15.0
_QUANTILE = re.compile(r"histogram_quantile\s*\(\s*(0?\.\d+|1(?:\.0*)?)")
_PARTS = ("_bucket", "_sum", "_count", "_total")


@dataclass(frozen=True, slots=True)
class Named:
    """A metric of a manifest: its `name` there, the signal it is, and how it is taken.

    `factor`: one of the manifest's units in the signal's. `is_total`: over the pool, else a mean.
    """

    name: str
    pool: str
    signal: str
    is_total: bool
    window_seconds: float
    factor: float = 1.0

    @property
    def key(self) -> str:
        """The signal as observations name it."""
        return f"{self.pool}.{self.signal}"


def pooled(document: Mapping[str, Any], grounds: Grounds) -> Mapping[str, Any]:
    """Give an object with the label of its pool, told from the name of what it scales.

    By a pool's name in it (`chat-decode`), or by there being one pool only; else as it stands.
    """
    spec = document.get("spec") or {}
    ref = spec.get("scaleTargetRef")
    if ref is None or pool_of(document, ref) in grounds.pools:
        return document
    words = re.split(r"[^a-z0-9]+", str(ref.get("name", "")).lower())
    told = [pool for pool in grounds.pools if pool in words]
    if len(grounds.pools) == 1:
        told = list(grounds.pools)
    if len(told) != 1:
        return document
    metadata = dict(document.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), POOL_LABEL: told[0]}
    return {**document, "metadata": metadata}


def named_metrics(document: Mapping[str, Any], grounds: Grounds) -> Iterator[Named]:
    """List the metrics of an object that the study has recorded."""
    for pool, name, query, is_total in _metrics(document):
        pools = [pool] if pool in grounds.pools else []
        for place in pools:
            found = _signal(name, query, place, grounds)
            if found is None:
                continue
            signal, factor = found
            series = find_series(grounds.whole, place, signal)
            takes_total = series is not None and series.kind == "total"
            yield Named(name, place, signal, takes_total and is_total, _window(query, name), factor)


def _metrics(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """List (pool, name, query, is a total) of every metric of an object, whatever its kind."""
    spec = document.get("spec") or {}
    pool = pool_of(document, spec.get("scaleTargetRef") or {})
    for metric in spec.get("metrics") or []:
        if isinstance(metric, dict) and "type" in metric:
            source = metric.get(metric["type"][0].lower() + metric["type"][1:], {})
            yield (
                pool,
                str(source.get("metric", source).get("name", "")),
                "",
                metric["type"] != "Pods",
            )
    for number, trigger in enumerate(spec.get("triggers") or []):
        query = str((trigger.get("metadata") or {}).get("query", ""))
        name = str(trigger.get("name") or f"s{number}")
        yield pool, name, query, outermost(query) not in ("avg", "max", "min")
    for source in spec.get("metricsSources") or []:
        yield pool, str(source["targetMetric"]), "", source.get("metricSourceType") != "pod"
    target = spec.get("disaggregatedTarget") or {}
    for role, said in (target.get("roles") or {}).items():
        for name, source in (said.get("metricSources") or {}).items():
            query = str((source.get("prometheus") or {}).get("query", ""))
            yield role, str(name), query, outermost(query) not in ("avg", "max", "min")


def _signal(name: str, query: str, pool: str, grounds: Grounds) -> tuple[str, float] | None:
    """Find the signal that a metric is, and its factor; None where it is not in the recording."""
    metrics = [name, *(selector.metric for selector in selectors(query))]
    for metric in metrics:
        for place in (pool, "gateway"):
            timeline = grounds.whole.pools.get(place)
            for signal in {} if timeline is None else timeline.signals:
                plain = metric.rsplit(":", 1)[-1] if ":" in metric else metric
                if metric in (signal, f"{pool}.{signal}") or plain == signal:
                    return signal, 1.0
                if metric.endswith(identifier(f"{pool}.{signal}")):
                    return signal, 1.0
        for source in find_source(metric):
            told = _canonical(source.yields, query or metric)
            if told is not None and find_series(grounds.whole, pool, told) is not None:
                return told, source.factor
    return None


def _canonical(yields: str, text: str) -> str | None:
    """Name the canonical signal of what an engine's metric yields."""
    if yields in signals():
        return yields
    told = quantities()[yields].signal
    if not told or told in signals():
        return told or None
    quantile = _QUANTILE.search(text)
    statistic = "mean" if quantile is None else f"p{round(100.0 * float(quantile[1]))}"
    name = f"{told}_{statistic}_seconds"
    return name if name in signals() else None


def _window(query: str, name: str) -> float:
    """Tell over how long a metric is averaged: as its query says; a bare gauge is a scrape."""
    said = window_seconds(query)
    if said is not None:
        return said
    is_gauge = query and not any(name.endswith(part) for part in _PARTS)
    return SCRAPE_SECONDS if is_gauge else USUAL_WINDOW_SECONDS
