"""The catalogue: canonical signals, and the metrics of each engine that tell them."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from signalstudy.vocabulary.errors import unknown_name
from signalstudy.vocabulary.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SignalKind = Literal["total", "intensive"]
SignalGroup = Literal["throughput", "hardware", "latency", "queue", "cache", "state", "demand"]
MetricType = Literal["gauge", "counter", "histogram"]
Scope = Literal["engine", "gateway", "gpu", "state"]
Form = Literal["count", "distribution"]

SIGNAL_GROUPS: tuple[SignalGroup, ...] = get_args(SignalGroup)
LATENCY_STATISTICS: tuple[str, ...] = ("p50", "p90", "p95", "p99", "mean")
HISTOGRAM_PARTS: tuple[str, ...] = ("_bucket", "_sum", "_count")
NEVER_CANDIDATES: frozenset[str] = frozenset({"demand", "state"})


@dataclass(frozen=True, slots=True)
class Signal:
    """A canonical signal: a time series that could drive an autoscaler, or demand, or state.

    `kind` says how a pool's replicas combine: they add (total) or their mean counts (intensive).
    """

    name: str
    unit: str
    kind: SignalKind
    group: SignalGroup
    meaning: str

    @property
    def is_candidate(self) -> bool:
        """Whether it may be ranked; demand and state never are."""
        return self.group not in NEVER_CANDIDATES


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a counter counts or a histogram observes.

    `signal` names what it gives: for a count the signal that is its rate, for a distribution the
    latency family or the signal of its mean or sum; "" where it only helps to make others.
    """

    name: str
    form: Form
    unit: str
    signal: str = ""


@dataclass(frozen=True, slots=True)
class SourceMetric:
    """One metric as an engine exports it, and what it yields.

    `yields` is a canonical signal for a gauge, a quantity otherwise. Values (and bucket edges)
    times `factor` are in base units. Of several that yield the same in one pool and scope, only
    those of the least `precedence` count; equals are parts of a whole and add. `per_token`: one
    observation a token instead of a request. `pool`: the pool described, where the series come
    from elsewhere. `pool_mean`: the value is a mean over that pool's replicas already.
    `live_with`: count only series whose endpoint also has that metric.
    """

    name: str
    engine: str
    type: MetricType
    yields: str
    scope: Scope
    factor: float = 1.0
    labels: Mapping[str, str] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)
    per_token: bool = False
    precedence: int = 0
    pool: str = ""
    pool_mean: bool = False
    live_with: str = ""
    aliases: tuple[str, ...] = ()

    def is_told_by(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels is one that this entry speaks of."""
        return all(labels.get(key) == value for key, value in self.labels.items()) and not any(
            labels.get(key) == value for key, value in self.without.items()
        )


@functools.cache
def _catalogue() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8"))


@functools.cache
def signals() -> Mapping[str, Signal]:
    """Give every canonical signal by its name, in the order of the contract."""
    content = _catalogue()
    rows = [Signal(unit=unit_of(row["name"]), **row) for row in content["signals"]]
    rows += _latency_signals(content["latency_families"])
    rows.sort(key=lambda row: SIGNAL_GROUPS.index(row.group))
    return MappingProxyType({row.name: row for row in rows})


def _latency_signals(families: list[dict[str, str]]) -> list[Signal]:
    return [
        Signal(
            name=f"{family['name']}_{statistic}_seconds",
            unit="seconds",
            kind="intensive",
            group="latency",
            meaning=f"{family['meaning']}, {statistic}",
        )
        for family in families
        for statistic in LATENCY_STATISTICS
    ]


def signal(name: str, place: str = "signal") -> Signal:
    """Give one canonical signal; `place` is where its name stands, for the error."""
    known = signals()
    if name not in known:
        raise unknown_name(place, "signal", name, known)
    return known[name]


@functools.cache
def quantities() -> Mapping[str, Quantity]:
    """Give every quantity that counters and histograms yield, by its name."""
    rows = (Quantity(**row) for row in _catalogue()["quantities"])
    return MappingProxyType({row.name: row for row in rows})


@functools.cache
def source_metrics() -> tuple[SourceMetric, ...]:
    """Give every engine metric of the catalogue, in its order."""
    return tuple(
        _source_metric(row, engine)
        for engine in _catalogue()["engines"]
        for row in engine["metrics"]
    )


def _source_metric(row: dict[str, Any], engine: dict[str, Any]) -> SourceMetric:
    filled = {"scope": engine["scope"], **row, "engine": engine["name"]}
    for key in ("labels", "without"):
        filled[key] = MappingProxyType(row.get(key, {}))
    filled["aliases"] = tuple(row.get("aliases", ()))
    return SourceMetric(**filled)


def _normalised(metric: str) -> str:
    """Undo what pipelines do to names: `vllm:` becomes `vllm_`, `_total` comes and goes."""
    return metric.replace(":", "_").replace(".", "_").removesuffix("_total")


@functools.cache
def _sources_by_name() -> Mapping[str, tuple[SourceMetric, ...]]:
    index: dict[str, tuple[SourceMetric, ...]] = {}
    for source in source_metrics():
        for name in (source.name, *source.aliases):
            parts = ("", *HISTOGRAM_PARTS) if source.type == "histogram" else ("",)
            for part in parts:
                key = _normalised(name + part)
                index[key] = (*index.get(key, ()), source)
    return MappingProxyType(index)


def find_source(metric: str) -> tuple[SourceMetric, ...]:
    """Give what the catalogue knows of a metric's name, () where it knows nothing.

    A histogram is found by its base name and by its `_bucket`, `_sum` and `_count`. Several entries
    come back where labels decide (`is_told_by`). `_created` is an instant and never found.
    """
    return _sources_by_name().get(_normalised(metric), ())


def metric_type(metric: str) -> MetricType | None:
    """Tell a metric's type from the catalogue, else from its name, else None.

    The name is asked last, since it may lie: `vllm:iteration_tokens_total` is a histogram.
    """
    if sources := find_source(metric):
        return sources[0].type
    types: dict[str, MetricType] = _catalogue()["types"]
    for name, type_ in types.items():
        parts = ("", *HISTOGRAM_PARTS) if type_ == "histogram" else ("",)
        if _normalised(metric) in {_normalised(name + part) for part in parts}:
            return type_
    if metric.endswith("_total"):
        return "counter"
    if metric.endswith("_bucket"):
        return "histogram"
    return None


def catalogue_rows() -> list[dict[str, str]]:
    """Give one row a canonical signal, for `signalstudy signals`: name, unit, engine metrics."""
    told: dict[str, list[str]] = {name: [] for name in signals()}
    for source in source_metrics():
        for name in _signals_told(source):
            if _shown(source) not in told[name]:
                told[name].append(_shown(source))
    return [
        {
            "signal": row.name,
            "unit": row.unit,
            "kind": row.kind,
            "group": row.group,
            "meaning": row.meaning,
            "metrics": ", ".join(told[row.name]),
        }
        for row in signals().values()
    ]


def _signals_told(source: SourceMetric) -> tuple[str, ...]:
    if source.yields in signals():
        return (source.yields,)
    gives = quantities()[source.yields].signal
    if not gives:
        return ()
    if gives in signals():
        return (gives,)
    # a counter of seconds holds no quantiles
    statistics = ("mean",) if source.type == "counter" else LATENCY_STATISTICS
    return tuple(f"{gives}_{statistic}_seconds" for statistic in statistics)


def _shown(source: SourceMetric) -> str:
    matchers = ",".join(f'{key}="{value}"' for key, value in source.labels.items())
    name = f"{source.name}{{{matchers}}}" if matchers else source.name
    return name if source.factor == 1.0 else f"{name} x {source.factor:g}"
