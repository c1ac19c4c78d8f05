"""What a server would have to send, told before anything is fetched."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from signalstudy.telemetry.promql import REGEX_SPECIAL, any_of, selector_text
from signalstudy.telemetry.range_queries import WHOLE
from signalstudy.telemetry.refusals import ServerError
from signalstudy.vocabulary.durations import as_duration
from signalstudy.vocabulary.errors import ConfigurationError
from signalstudy.vocabulary.signals import HISTOGRAM_PARTS, find_source, quantities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalstudy.source import Source
    from signalstudy.telemetry.promql import Matcher
    from signalstudy.telemetry.transfer import Server

LOOKS = 24
WINDOW_SECONDS = 300
BYTES_A_SAMPLE = 5.0  # in Parquet, ingestion.md section 9
PROPOSED = 3
ESSENTIAL = frozenset({"decode_tokens", "prefill_tokens", "finished_requests", "ttft", "tbt"})
"""Quantities without which nothing is studied: never proposed to be dropped."""


@dataclass(frozen=True, slots=True)
class Size:
    """About what a span holds: live `series` on average, `samples`, seconds between samples.

    `by_metric`: the series of each metric, a histogram's parts together under its name.
    """

    series: float
    samples: float
    interval_seconds: float
    by_metric: dict[str, float] = field(default_factory=dict)

    def sentence(self, route: str, seconds: float) -> str:
        """Say it, with minutes and disk; `seconds`: how long the route takes about."""
        return (
            f"about {self.series:,.0f} series every {self.interval_seconds:.0f} s: "
            f"{self.samples:,.0f} samples, {max(seconds / 60, 0.1):.1f} minutes by {route}, "
            f"{self.samples * BYTES_A_SAMPLE / 1e6:,.0f} MB on disk"
        )


def estimate(
    server: Server, names: Sequence[str], matches: Sequence[tuple[Matcher, ...]], span: range
) -> Size | None:
    """Count series all over the span, and samples in short windows of some metrics.

    `matches`: what selects besides the names; `span`: seconds. None where the server cannot tell.
    """
    by_metric: Counter[str] = Counter()
    rates = []
    try:
        for more in matches:
            text = selector_text((any_of(names), *more))
            for metric, counts in _looks(server, f"count by (__name__) ({text})", span):
                # where nothing lives there is no answer
                by_metric[_family(metric)] += sum(counts) / (LOOKS + 1)  # type: ignore[assignment]
            for name in {names[0], names[len(names) // 2], names[-1]}:
                text = selector_text((any_of([name]), *more))
                counted = f"avg(count_over_time({text}[{WINDOW_SECONDS}s]))"
                found = [value for _, values in _looks(server, counted, span) for value in values]
                rates.append(max(found, default=0.0) / WINDOW_SECONDS)
    except ServerError:
        return None
    rate, series = max(rates, default=0.0), float(sum(by_metric.values()))
    return Size(series, series * rate * len(span), 1.0 / rate if rate else 0.0, dict(by_metric))


def _family(metric: str) -> str:
    return next(
        (metric.removesuffix(part) for part in HISTOGRAM_PARTS if metric.endswith(part)), metric
    )


def _looks(server: Server, query: str, span: range) -> list[tuple[str, list[float]]]:
    """Give a query's values at instants spread over the span, metric by metric."""
    looks = {"start": span[0], "end": span[-1], "step": max((len(span) - 1) / LOOKS, 0.001)}
    data: Any = server.ask("/api/v1/query_range", query=query, **looks, **WHOLE)
    try:
        return [
            (str(row["metric"].get("__name__", "")), [float(value) for _, value in row["values"]])
            for row in data["result"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def refuse_too_much(size: Size, source: Source, place: str, seconds: float) -> None:
    """Raise ConfigurationError with what would fit where the budget does not hold `size`."""
    if size.samples <= source.max_samples:
        return
    fits = seconds * source.max_samples / size.samples * 0.9
    for unit in (86400, 3600, 60):
        if fits >= unit:
            fits = fits // unit * unit
            break
    raise ConfigurationError(
        f"{place}: about {size.samples:,.0f} samples ({size.series:,.0f} series every "
        f"{size.interval_seconds:.0f} s over {seconds / 86400:.1f} days) are above max_samples = "
        f'{source.max_samples:,}: nothing was fetched. last = "{as_duration(max(fits, 60))}" would '
        "fit, at the price of the days it leaves out: rarer peaks, and no rhythm of the week below "
        f"7 days; or narrow `match` to fewer pods or namespaces{_droppable(size, source)}."
    )


def _droppable(size: Size, source: Source) -> str:
    """Propose the largest metrics that a study can do without, and say what that costs it."""
    heavy = sorted(size.by_metric.items(), key=lambda item: (-item[1], item[0]))
    shares, names = [], []
    for metric, series in heavy:
        entries = find_source(metric)
        if not entries or any(entry.yields in ESSENTIAL for entry in entries):
            continue
        names.append(metric)
        shares.append(f"{metric} ({series / size.series:.0%} of it; costs {_told(metric)})")
        if len(names) == PROPOSED:
            break
    if not names:
        return ""
    without = "|".join(REGEX_SPECIAL.sub(r"\\\1", name) + ".*" for name in names)
    added = f"__name__!~{json.dumps(without)}"
    how = f"by adding {added} to match" if source.match else f"by match = ['{{{added}}}']"
    return f"; or leave out, {how}, {', '.join(shares)}"


def _told(metric: str) -> str:
    """Name the signals that a metric tells."""
    told = []
    for entry in find_source(metric):
        known = quantities().get(entry.yields)
        told.append(known.signal if known is not None and known.signal else entry.yields)
    return " and ".join(dict.fromkeys(told))
