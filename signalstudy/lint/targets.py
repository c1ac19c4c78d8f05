"""Does the target fit what it divides: semantics, reach, unit, and what the signal is like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalstudy.lint.facts import canonical
from signalstudy.lint.finding import error, warning
from signalstudy.scalers.promql import on_one_line, outermost, selectors
from signalstudy.vocabulary.signals import find_source, signals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalstudy.lint.facts import Facts
    from signalstudy.lint.finding import Finding
    from signalstudy.lint.sized import Metric, Sized

LATENCIES = ("ttft", "tbt", "e2e", "queue_wait")
LONGEST_LATENCY_SECONDS = 120.0
"""A latency target above it is surely meant in milliseconds."""
DO_NOT_FALL = ("DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE", "DCGM_FI_DEV_FB_RESERVED")
"""GPU memory: engines take it all at start and keep it."""
SAID_BY_NAME = (
    (re.compile(r"ttft|time_to_first_token"), "ttft"),
    (re.compile(r"tbt|tpot|itl|time_per_output_token|inter_token"), "tbt"),
    (re.compile(r"latency|duration_seconds"), "e2e"),
    (re.compile(r"gpu_util|GPU_UTIL"), "gpu_utilization_ratio"),
    (re.compile(r"kv_cache_usage|gpu_cache_usage|cache_usage_perc"), "kv_cache_usage_ratio"),
)


@dataclass(frozen=True, slots=True)
class Read:
    """What a metric is about: its canonical signal or latency family, "" where not known.

    `bound`: the largest value the series can have, None where it has no bound or the query
    computes with it. `aggregation`: around the whole query, "" for none.
    """

    signal: str
    metric: str
    bound: float | None
    aggregation: str

    @property
    def is_latency(self) -> bool:
        """Whether it is a latency."""
        return self.signal.startswith(LATENCIES)


def read_metric(metric: Metric) -> Read:
    """Tell what a metric is about, from its query where there is one, else from its name."""
    text = on_one_line(metric.query)
    names = [one.metric for one in selectors(text)] or [metric.name]
    for name in names:
        signal = canonical(name) or _said_by_name(name)
        if signal:
            factor = next((source.factor for source in find_source(name)), 1.0)
            is_ratio = signal.endswith("_ratio")
            is_plain = not re.search(r"[*/+]|\brate\(|histogram", re.sub(r"\{[^}]*\}", "", text))
            bound = 1.0 / factor if is_ratio and is_plain else None
            return Read(signal, name, bound, outermost(text))
    return Read("", names[0], None, outermost(text))


def _said_by_name(name: str) -> str:
    return next((signal for pattern, signal in SAID_BY_NAME if pattern.search(name)), "")


def target_findings(sized: Sized, facts: Facts | None) -> Iterator[Finding]:
    """Check every metric of a fleet."""
    for metric in sized.metrics:
        read = read_metric(metric)
        if metric.division != "formula":
            yield from _semantics(metric, read)
            yield from _reach(sized, metric, read)
            yield from _character(sized, metric, read)
        if facts is not None:
            yield from _known(sized, metric, read, facts)


def _semantics(metric: Metric, read: Read) -> Iterator[Finding]:
    known = signals().get(read.signal)
    if metric.division == "total" and read.aggregation in ("avg", "max", "min"):
        yield error(
            "average_as_total",
            metric.where,
            f"the target divides a total, but {read.aggregation}() does not grow with the pool: "
            "replicas can never exceed value / target. Use sum(), or a target that multiplies the "
            "replicas (Value).",
        )
    elif metric.division == "total" and not metric.query and known and known.kind == "intensive":
        yield error(
            "average_as_total",
            metric.where,
            f"{metric.name} does not add up over replicas, yet AverageValue divides it as a total. "
            "Use Value.",
        )
    if metric.division == "replicas" and read.aggregation == "sum":
        yield error(
            "total_times_replicas",
            metric.where,
            "replicas are multiplied by value / target, but sum() grows with the pool by itself: "
            "each scale-out calls the next, up to the maximum. Use AverageValue, or avg().",
        )
    elif metric.division == "replicas" and not metric.query and known and known.kind == "total":
        yield error(
            "total_times_replicas",
            metric.where,
            f"{metric.name} adds up over replicas, yet the replicas are multiplied by it: each "
            "scale-out calls the next. Use AverageValue.",
        )


def _reach(sized: Sized, metric: Metric, read: Read) -> Iterator[Finding]:
    target, out = metric.target, 1.0 + sized.out.tolerance_ratio
    if not target > 0.0:
        yield error("target_not_positive", metric.where, f"a target of {target:g} divides nothing.")
    elif read.bound is not None and target > read.bound:
        unit = " Is the target in percent?" if read.bound == 1.0 and target > 1.5 else ""
        yield error(
            "unreachable",
            metric.where,
            f"{read.metric} never exceeds {read.bound:g}, the target is {target:g}: it can never "
            f"trigger.{unit}",
        )
    elif read.bound is not None and read.bound >= 100.0 and target <= 1.0:
        yield error(
            "unit",
            metric.where,
            f"{read.metric} runs to {read.bound:g}, the target {target:g} looks like a share: the "
            "fleet climbs to its maximum.",
        )
    elif read.bound is not None and metric.division != "total" and target * out >= read.bound:
        yield error(
            "unreachable",
            metric.where,
            f"{read.metric} never exceeds {read.bound:g}; with the tolerance a scale-out needs "
            f"more than {target * out:g}.",
        )
    elif read.is_latency and target > LONGEST_LATENCY_SECONDS and "milli" not in read.metric:
        yield error(
            "unit",
            metric.where,
            f"{read.metric} is in seconds; a target of {target:g} looks like milliseconds.",
        )


def _character(sized: Sized, metric: Metric, read: Read) -> Iterator[Finding]:
    if read.is_latency:
        yield warning(
            "latency_as_driver",
            metric.where,
            f"{metric.name} is a latency: flat, then a cliff. Replicas x latency / limit "
            "overshoots above the limit and never settles below it; a latency belongs in a guard "
            "with fixed steps.",
        )
    if read.metric in DO_NOT_FALL:
        yield error(
            "does_not_fall",
            metric.where,
            f"{read.metric} does not fall when replicas are added: engines take GPU memory at "
            "start and keep it. The fleet climbs to its maximum.",
        )
    if read.signal == "kv_cache_usage_ratio" and len(sized.metrics) == 1:
        yield warning(
            "occupancy_alone",
            metric.where,
            "KV-cache occupancy as the only signal is blind to prefill and to requests that wait, "
            "and its relation to latency hangs on request lengths.",
        )


def _known(sized: Sized, metric: Metric, read: Read, facts: Facts) -> Iterator[Finding]:
    """Check against a study."""
    name = read.signal
    seen = facts.signal(name, sized.pool) if name in signals() else None
    if seen is None or seen["verdict"] == "unavailable":
        if name in signals() and metric.division != "formula":
            why = "" if seen is None else f" {seen['reason']}"
            yield error(
                "series_absent",
                metric.where,
                f"the study of {facts.service} has no {name} of the pool {sized.pool or '?'}.{why}",
            )
        return
    if seen["verdict"] in ("rejected", "guard") and metric.division != "formula":
        yield error(
            "signal_does_not_qualify",
            metric.where,
            f"the study says {name} is {seen['verdict']}: {seen['reason']}",
        )
    bears = facts.capacity(name, sized.pool)
    if bears is None or metric.division == "formula":
        return
    per_replica, most = bears["per_replica"], bears.get("max_observed")
    low, value = per_replica.get("low"), per_replica.get("value")
    if low is not None and metric.target >= low and per_replica["status"] == "ok":
        yield error(
            "target_at_saturation",
            metric.where,
            f"a replica bears {low:.4g} safely ({value:.4g} at best); at a target of "
            f"{metric.target:.4g} the objective is broken before a scale-out.",
        )
    elif most is not None and metric.target * (1.0 + sized.out.tolerance_ratio) > most:
        yield error(
            "unreachable",
            metric.where,
            f"no replica has ever done more than {most:.4g}; a scale-out needs more than "
            f"{metric.target * (1.0 + sized.out.tolerance_ratio):.4g}.",
        )
