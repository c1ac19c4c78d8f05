"""From series to what they mean: which quantity of which pool, in which form."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

from signalstudy.telemetry.labels import identify, read_labels, telling_labels
from signalstudy.telemetry.pods import OUTSIDE, Pods
from signalstudy.vocabulary.signals import (
    HISTOGRAM_PARTS,
    SourceMetric,
    find_source,
    quantities,
    signals,
)
from signalstudy.vocabulary.units import to_base_unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from signalstudy.config import SignalSection, StudyConfig

Form = Literal["gauge", "rate", "count", "bucket"]
OWN = "study.toml"
TOTAL_SUFFIXES = ("_per_second", "_requests", "_tokens", "_bytes", "_replicas", "_total")


DEMAND_SIGNALS = frozenset(name for name, signal in signals().items() if signal.group == "demand")


@dataclass(frozen=True, slots=True)
class RawSeries:
    """One series as a reader left it."""

    key: int
    source: int
    source_form: str
    role: str
    metric: str
    le: str | None
    labels: str
    samples: int


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One series the study uses.

    `quantity`: a canonical signal or an own name (form gauge), or a counted quantity (rate, count,
    bucket). `group_key`: what resets together, the parts of one histogram. `form` rate: means per
    second, to be multiplied by their interval. `factor` brings values and edges to base units.
    `kind`: total or intensive, how replicas combine. `told_by`: JSON of the labels that tell its
    service, pool, job and namespace, the same for all replicas.
    """

    key: int
    group_key: int
    source: int
    role: str
    service: str
    pool: str
    replica: str | None
    quantity: str
    form: Form
    kind: str
    factor: float
    le: float | None
    scope: str
    per_token: bool
    precedence: int
    metric: str
    hardware: str | None
    version: str
    one_of: str
    ha_replica: str
    samples: int
    told_by: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found. `left_out`: metric -> series that the study has no use for."""

    series: tuple[SeriesRow, ...]
    left_out: dict[str, int]
    notes: tuple[str, ...]


def rate_quantities() -> dict[str, str]:
    """Map a canonical rate to the counted quantity whose rate it is."""
    return {q.signal: q.name for q in quantities().values() if q.form == "count" and q.signal}


def is_known_metric(metric: str, custom: Sequence[SignalSection]) -> bool:
    """Whether a metric's name can mean anything to the study."""
    bases = {metric, *(metric.removesuffix(part) for part in HISTOGRAM_PARTS)}
    return (
        to_base_unit(metric)[0] in signals()
        or bool(find_source(metric))
        or any(entry.metric in bases for entry in custom)
    )


def discover(raw: Iterable[RawSeries], config: StudyConfig) -> Discovery:
    """Say of every series what it means; count what means nothing."""
    rows: list[SeriesRow] = []
    left_out: Counter[str] = Counter()
    misplaced: Counter[str] = Counter()
    raw = list(raw)
    pods = _pods(raw, config)
    for series in raw:
        meant = _meanings(series, config, pods)
        if not meant:
            left_out[series.metric] += 1
        for row in meant:
            if row.pool:
                rows.append(row)
            else:
                misplaced[series.metric] += 1
    notes = [
        f"{count} series of {metric} stand in a pool that is none of ours: left out. "
        "Map them in study.toml under [labels.pools]."
        for metric, count in sorted(misplaced.items())
    ]
    notes += pods.notes()
    kept = _without_pool_totals(_least_precedence(_one_of_each(rows, notes)))
    return Discovery(tuple(kept), dict(left_out), tuple(notes))


def _pods(raw: Iterable[RawSeries], config: StudyConfig) -> Pods:
    """Learn from the engines' series whose pods there are."""
    pods = Pods()
    for series in raw:
        if any(entry.scope == "engine" for entry in find_source(series.metric)):
            place = f"[[sources]] {series.source}"
            labels = read_labels(series.labels, place)
            pods.add(labels, identify(labels, config, place, strict=False))
    return pods


def _meanings(series: RawSeries, config: StudyConfig, pods: Pods) -> list[SeriesRow]:
    place = f"[[sources]] {series.source}"
    labels = read_labels(series.labels, place)
    entries = _entries(series, labels, config.signals)
    if not entries:
        return []
    is_table = series.source_form in ("long", "wide")
    identity = identify(labels, config, place, strict=is_table)
    if all(entry.scope in OUTSIDE for entry in entries):
        names_service = all(name in labels for name in config.labels.service)
        identity = pods.join(series.metric, labels, identity, names_service=names_service)
    rows = []
    for entry in entries:
        shape = _shape(series, entry)
        if shape is None:
            continue
        quantity, form, kind, le = shape
        own = next((s for s in config.signals if (OWN, s.name) == (entry.engine, quantity)), None)
        if own is not None and own.aggregation is not None:
            kind = "total" if own.aggregation == "sum" else "intensive"
        pool = identity.pool
        if quantity in DEMAND_SIGNALS:
            pool = "gateway"  # demand counts for its service, whichever rows it stands in
        elif pool == "":
            pool = entry.pool or ("gateway" if entry.scope == "gateway" else "unified")
        elif entry.pool and pool == "gateway":
            pool = entry.pool
        rows.append(
            SeriesRow(
                key=series.key,
                group_key=_group_key(series, entry),
                source=series.source,
                role=series.role,
                service=identity.service,
                pool=pool or "",
                replica=identity.replica,
                quantity=quantity,
                form=form,
                kind=kind,
                factor=entry.factor,
                le=le,
                scope=entry.scope,
                per_token=entry.per_token,
                precedence=entry.precedence,
                metric=series.metric,
                hardware=identity.hardware,
                version=_joined(labels, config.labels.version),
                one_of=_joined(labels, config.labels.one_of),
                ha_replica=_joined(labels, config.labels.ha_replica),
                samples=series.samples,
                told_by=telling_labels(labels, config),
            )
        )
    return rows


def _group_key(series: RawSeries, entry: SourceMetric) -> int:
    """Give the parts of one histogram one key: a reset of one is a reset of all."""
    if entry.type != "histogram":
        return series.key
    base = series.metric
    for part in HISTOGRAM_PARTS:
        base = base.removesuffix(part)
    identity = f"{series.role}\n{base}\n{series.labels}".encode()
    return int.from_bytes(blake2b(identity, digest_size=8).digest(), "big")


def _joined(labels: dict[str, str], names: tuple[str, ...]) -> str:
    return "/".join(labels[name] for name in names if name in labels)


def _entries(
    series: RawSeries, labels: dict[str, str], custom: Sequence[SignalSection]
) -> list[SourceMetric]:
    """Give the catalogue entries that speak of this series; the user's own come first."""
    metric = series.metric
    for own in custom:
        parts = HISTOGRAM_PARTS if own.kind == "histogram" else ("",)
        if own.metric is not None and metric in {own.metric + part for part in parts}:
            factor = to_base_unit(f"value_{own.unit}")[1]
            return [
                SourceMetric(
                    own.metric, OWN, own.kind, own.name, "engine", factor, pool=own.pool or ""
                )
            ]
    name, factor = to_base_unit(metric)
    if name in signals():
        return [SourceMetric(metric, "canonical", "gauge", name, "engine", factor)]
    found = [entry for entry in find_source(metric) if entry.is_told_by(labels)]
    found = [entry for entry in found if not entry.live_with]
    if not found and series.source_form == "wide":
        return [SourceMetric(metric, "own column", "gauge", name, "engine", factor)]
    return found


def _shape(series: RawSeries, entry: SourceMetric) -> tuple[str, Form, str, float | None] | None:
    """Give quantity, form, kind and bucket edge of a series under one catalogue entry."""
    known = signals()
    kind = "intensive"
    if entry.yields in known:
        kind = "intensive" if entry.pool_mean else known[entry.yields].kind
    elif entry.yields.endswith(TOTAL_SUFFIXES):
        kind = "total"
    if entry.yields in known and known[entry.yields].group == "demand":
        return entry.yields, "rate", "total", None
    if entry.type == "gauge":
        if entry.yields.endswith("_per_second"):
            return rate_quantities().get(entry.yields, entry.yields), "rate", "total", None
        return entry.yields, "gauge", kind, None
    is_distribution = entry.yields in quantities() and (
        quantities()[entry.yields].form == "distribution"
    )
    if entry.type == "counter":
        return entry.yields + "_sum" * is_distribution, "count", "total", None
    if series.metric.endswith("_bucket"):
        edge = _edge(series.le)
        return None if edge is None else (entry.yields, "bucket", "total", edge * entry.factor)
    part = next((p for p in ("_sum", "_count") if series.metric.endswith(p)), None)
    return None if part is None else (entry.yields + part, "count", "total", None)


def _edge(le: str | None) -> float | None:
    try:
        return None if le is None else float(le.replace("Inf", "inf"))
    except ValueError:
        return None


def _one_of_each(rows: list[SeriesRow], notes: list[str]) -> list[SeriesRow]:
    """Keep one of what several report alike: tensor-parallel ranks, servers of an HA pair."""
    weight: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.ha_replica:
            weight[row.service][row.ha_replica] += row.samples
    chosen = {
        service: max(servers, key=lambda name: (servers[name], name))
        for service, servers in weight.items()
        if len(servers) > 1
    }
    for service, server in sorted(chosen.items()):
        notes.append(f"{service}: of the servers of an HA pair only {server!r} is read")
    rows = [row for row in rows if row.ha_replica in ("", chosen.get(row.service, row.ha_replica))]
    first: dict[tuple[str, ...], str] = {}
    for row in rows:
        group = (row.service, row.pool, row.replica or "", row.metric)
        first[group] = min(first.get(group, row.one_of), row.one_of)
    return [
        row
        for row in rows
        if row.one_of == first[(row.service, row.pool, row.replica or "", row.metric)]
    ]


def _family(row: SeriesRow) -> str:
    return row.quantity.removesuffix("_sum").removesuffix("_count")


def _least_precedence(rows: list[SeriesRow]) -> list[SeriesRow]:
    """Of several names that say the same in one pool and scope, keep the best ones.

    Gauges and counters of an engine are chosen replica by replica: during an upgrade the old pods
    export the old names. Histograms are not, for their edges and meanings would mix.
    """
    best: dict[tuple[str, ...], int] = {}
    for row in rows:
        group = _rivals(row)
        best[group] = min(best.get(group, row.precedence), row.precedence)
    return [replace(row, precedence=0) for row in rows if row.precedence == best[_rivals(row)]]


def _rivals(row: SeriesRow) -> tuple[str, ...]:
    """Name the group in which only the least precedence counts."""
    family = _family(row)
    known = quantities().get(family)
    is_distribution = row.form == "bucket" or (known is not None and known.form == "distribution")
    replica = row.replica or "" if row.scope == "engine" and not is_distribution else ""
    return (row.role, row.service, row.pool, row.scope, family, replica)


def _without_pool_totals(rows: list[SeriesRow]) -> list[SeriesRow]:
    """Where a quantity comes per replica, a total of the pool beside it would count twice."""
    groups: dict[tuple[str, ...], set[bool]] = defaultdict(set)
    for row in rows:
        groups[(row.role, row.service, row.pool, row.quantity)].add(row.replica is None)
    return [
        row
        for row in rows
        if row.replica is not None
        or (row.quantity in signals() and not signals()[row.quantity].is_candidate)
        or groups[(row.role, row.service, row.pool, row.quantity)] == {True}
    ]
