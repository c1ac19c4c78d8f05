"""Nouns as formatted text: what the templates show, so that they hold no arithmetic."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from signalstudy.vocabulary.spoken import (
    bound_sign,
    duration_unit,
    one_line,
    spoken_duration,
    spoken_interval,
    spoken_number,
)
from signalstudy.vocabulary.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalstudy.study.study import ServiceStudy, Study
    from signalstudy.vocabulary.estimate import Estimate

MEANINGS = {
    "coverage_ratio": "share of the span with a value",
    "demand_correlation": "does it move with demand?",
    "effective_observations": "how many independent observations is the recording worth?",
    "independence_probability": "how likely is a relation this strong by chance?",
    "lag_seconds": "how late is the signal itself?",
    "dead_time_seconds": "how long until it answers at all?",
    "rise_time_seconds": "how long until 90 % of its answer is there?",
    "regime_shift_ratio": "does the relation change along the recording?",
    "seen_lag_seconds": "how late does a controller see it?",
    "signal_to_noise_ratio": "is it larger than its own noise?",
    "control_signal_to_noise_ratio": "is it at the speed a controller can act?",
    "clear_lag_seconds": "how late is it once smoothed enough to read?",
    "hysteresis_ratio": "does it stand higher while demand rises than while it falls?",
    "peak_separation": "can the peak be told from the rest of the day?",
    "linearity_ratio": "is it a straight line of demand?",
    "demand_elasticity": "does 1 % more demand give 1 % more signal?",
    "gain_ratio": "does it still rise at high demand?",
    "dynamic_range_ratio": "how far does it reach, from quiet to busy?",
    "capacity_elasticity": "does it fall when replicas are added?",
    "cache_distortion_ratio": "how much do prefix-cache hits bend it?",
    "breach_recall_ratio": "which share of SLO breaches does it announce?",
    "breach_lead_seconds": "how early does it announce them?",
    "false_alarms_per_day": "how often does it cry wolf?",
    "rank_probability": "how often is it the best, resampled?",
    "weight_support_ratio": "among equals: under which share of weights would it come first?",
    "per_replica": "the most work per replica that the objectives bear",
    "target": "what to hold each replica at",
    "headroom_ratio": "room for the ramp until a new replica serves",
    "prefill_per_decode_ratio": "prefill replicas per decode replica",
    "token_mix_ratio": "uncached prompt tokens per output token",
    "fixed_ratio_cost_ratio": "share of throughput that one fixed ratio costs",
    "horizon_seconds": "seen lag, start-up and evaluation together",
}
FACTS = {
    "demand_correlation": "correlation",
    "demand_elasticity": "elasticity",
    "signal_to_noise_ratio": "signal to noise",
    "lag_seconds": "lag",
}
"""The measures that stand in the table of signals: measure -> heading."""

_DEMAND_SOURCES = {
    "requests": "request log, tokens booked at arrival",
    "gateway_tokens": "gateway arrivals and token sums",
    "gateway_arrivals": "gateway arrivals × mean tokens of finished requests",
    "engine_arrivals": "engine arrivals × mean tokens of finished requests",
    "offered_requests": "offered requests",
    "served_other_pool": "work served by the other pool",
    "served_own": "the pool's own served tokens; no offered demand was recorded",
}


@dataclass(frozen=True, slots=True)
class Number:
    """An estimate as text."""

    text: str
    interval: str
    status: str
    note: str
    method: str
    observations: str
    days: str

    @property
    def is_known(self) -> bool:
        """Whether there is a value to show."""
        return self.status not in ("unidentified", "not_applicable")


@dataclass(frozen=True, slots=True)
class NamedNumber:
    """A number with its name and the question it answers."""

    name: str
    meaning: str
    number: Number


@dataclass(frozen=True, slots=True)
class Fact:
    """A number under a short heading."""

    label: str
    number: Number


@dataclass(frozen=True, slots=True)
class Card:
    """A key number: `value` with its unit, or words where there is none."""

    label: str
    value: str
    unit: str = ""
    interval: str = ""
    status: str = ""
    detail: str = ""
    is_words: bool = False


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What both pages say about the study."""

    name: str
    span: str
    step: str
    tool_version: str
    provenance: tuple[tuple[str, str], ...]


def presented(name: str, estimate: Estimate) -> Number:
    """Format an estimate of the quantity `name`: durations as people say them, else with unit."""
    text, interval = "–", ""
    if estimate.value is not None:
        text, interval = _duration(estimate) if _is_duration(name) else _amount(name, estimate)
    if (sign := bound_sign(estimate)) and estimate.value is not None:
        text = f"{sign}\u00a0{text}"
    observations, days = estimate.effective_observations, estimate.days
    return Number(
        text=text,
        interval=interval,
        status=estimate.status,
        note=estimate.note,
        method=estimate.method,
        observations="–" if observations is None else spoken_number(observations, digits=3),
        days="–" if days is None else spoken_number(days, digits=3),
    )


def _is_duration(name: str) -> bool:
    return name.endswith("_seconds")


def _amount(name: str, estimate: Estimate) -> tuple[str, str]:
    """Give value and interval with the unit that the name tells; a ratio stands alone."""
    unit = unit_of(name)
    value = spoken_number(estimate.value)
    return (value if unit in ("", "ratio") else f"{value} {unit}"), spoken_interval(estimate)


def _duration(estimate: Estimate) -> tuple[str, str]:
    """Give value and interval in one unit: that of the value, or seconds where both need them."""
    sides = [side for side in (estimate.low, estimate.high) if side is not None]
    unit, length = duration_unit(estimate.value or 0.0)
    if unit == "ms" and any(abs(side) >= 1.0 for side in sides):
        unit, length = "s", 1.0

    def spoken(seconds: float | None) -> str:
        return "–" if seconds is None else spoken_number(seconds / length, digits=3)

    interval = f"[{spoken(estimate.low)}, {spoken(estimate.high)}]" if sides else ""
    return f"{spoken(estimate.value)} {unit}", interval


def named_numbers(estimates: dict[str, Estimate], unit_name: str = "") -> tuple[NamedNumber, ...]:
    """Format estimates by name; those without a unit of their own take that of `unit_name`."""
    return tuple(
        NamedNumber(
            name=name,
            meaning=MEANINGS.get(name, ""),
            number=presented(name if unit_of(name) else unit_name, estimate),
        )
        for name, estimate in estimates.items()
    )


def facts_of(measures: dict[str, Estimate]) -> tuple[Fact, ...]:
    """Format the measures of the table of signals; one that was not gathered says so."""
    missing = Number("–", "", "not_applicable", "Not measured.", "", "–", "–")
    return tuple(
        Fact(label, presented(name, measures[name]) if name in measures else missing)
        for name, label in FACTS.items()
    )


def study_facts(study: Study) -> StudyFacts:
    """Format what both pages say about the study."""
    own = {
        "study": study.name,
        "recorded": f"{study.start} to {study.end}",
        "step": spoken_duration(study.step_seconds),
        "seed": str(study.seed),
        "signalstudy": study.tool_version,
        "digest of sources and code": study.digest,
    }
    given = {name.replace("_", " "): _flat(value) for name, value in study.provenance.items()}
    return StudyFacts(
        name=one_line(study.name),
        span=spoken_span(study.start, study.end),
        step=spoken_duration(study.step_seconds) if study.step_seconds else "",
        tool_version=study.tool_version,
        provenance=tuple((own | given).items()),
    )


def demand_sources(service: ServiceStudy) -> tuple[tuple[str, str], ...]:
    """Say for each pool what its demand was made of."""
    return tuple(
        (f"demand of {pool}", f"{source}: {_DEMAND_SOURCES[source]}")
        if source in _DEMAND_SOURCES
        else (f"demand of {pool}", source)
        for pool, source in service.evidence.demand_source.items()
    )


def _flat(value: Any) -> str:
    """Give a provenance entry as one readable text."""
    if isinstance(value, dict):
        return " · ".join(f"{name}: {_flat(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_flat(inner) for inner in value)
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def spoken_span(start: str, end: str) -> str:
    """Say from when to when: `5 Jan 2026 00:00 to 6 Jan 2026 00:00 UTC`, or what was given."""
    try:
        first, last = (datetime.fromisoformat(text) for text in (start, end))
    except ValueError:
        return " to ".join(filter(None, (start, end)))
    form = "{0.day} {0:%b} {0.year} {0:%H:%M}"
    return f"{form.format(first)} to {form.format(last)} UTC"


def table_of(rows: Iterable[dict[str, object]]) -> dict[str, list[Any]]:
    """Make columns and text cells of a list of mappings, such as `by_hardware`."""
    found = list(rows)
    columns = list(dict.fromkeys(name for row in found for name in row))
    cells = [[_cell(row.get(name)) for name in columns] for row in found]
    return {"columns": [name.replace("_", " ") for name in columns], "rows": cells}


def _cell(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else _flat(value)
    return spoken_number(float(value))
