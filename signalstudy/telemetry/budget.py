"""What a server would have to send, told before anything is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalstudy.telemetry.promql import any_of, selector_text
from signalstudy.telemetry.range_queries import WHOLE
from signalstudy.telemetry.refusals import ServerError
from signalstudy.vocabulary.durations import as_duration
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalstudy.source import Source
    from signalstudy.telemetry.promql import Matcher
    from signalstudy.telemetry.transfer import Server

LOOKS = 24
WINDOW_SECONDS = 300
BYTES_A_SAMPLE = 5.0  # in Parquet, ingestion.md section 9


@dataclass(frozen=True, slots=True)
class Size:
    """About what a span holds: live `series` on average, `samples`, seconds between samples."""

    series: float
    samples: float
    interval_seconds: float

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
    series = 0.0
    rates = []
    try:
        for more in matches:
            counts = _looks(server, f"count({selector_text((any_of(names), *more))})", span)
            series += sum(counts) / (LOOKS + 1)  # where nothing lives there is no answer
            for name in {names[0], names[len(names) // 2], names[-1]}:
                text = selector_text((any_of([name]), *more))
                counted = f"avg(count_over_time({text}[{WINDOW_SECONDS}s]))"
                rates.append(max(_looks(server, counted, span), default=0.0) / WINDOW_SECONDS)
    except ServerError:
        return None
    rate = max(rates, default=0.0)
    return Size(series, series * rate * len(span), 1.0 / rate if rate else 0.0)


def _looks(server: Server, query: str, span: range) -> list[float]:
    """Give a query's values at instants spread over the span."""
    looks = {"start": span[0], "end": span[-1], "step": max((len(span) - 1) / LOOKS, 0.001)}
    data: Any = server.ask("/api/v1/query_range", query=query, **looks, **WHOLE)
    try:
        return [float(value) for row in data["result"] for _, value in row["values"]]
    except (KeyError, TypeError, ValueError):
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
        "7 days; or narrow `match` to fewer pods or namespaces."
    )
