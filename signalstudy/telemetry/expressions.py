"""Signals that the server computes: PromQL or recording rules, evaluated on a grid.

An expression that averages over a window is asked once a window, so that its values tile time and
each is the mean over the interval that ends at it, as every rate in the study is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalstudy.telemetry.promql import window_seconds
from signalstudy.telemetry.range_queries import WHOLE, matrix
from signalstudy.telemetry.raw_parts import SampleBatch
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from signalstudy.source import ServerQuery, Source
    from signalstudy.telemetry.transfer import Server

MOST_POINTS = 10_000  # a server refuses more than 11,000 a series
DEFAULT_STEP_SECONDS = 15


def refuse_unknown(source: Source, is_wanted: Callable[[str], bool], place: str) -> None:
    """Raise ConfigurationError where a query is named after no signal."""
    for name in source.queries:
        if not is_wanted(name):
            raise ConfigurationError(
                f"{place}, queries: {name!r} is no signal. `signalstudy signals` lists them; "
                "others go under [[signals]] with that name as metric."
            )


def fetch_expression(
    server: Server, name: str, query: ServerQuery, start: int, end: int
) -> Iterator[SampleBatch]:
    """Evaluate one expression over the span; its series are named `name`."""
    step = step_seconds(query)
    for first in range(start, end + 1, MOST_POINTS * step):
        last = min(first + (MOST_POINTS - 1) * step, end)
        data = server.ask(
            "/api/v1/query_range", query=query.promql, start=first, end=last, step=step, **WHOLE
        )
        batch = matrix(data, f"{server.place}/api/v1/query_range")
        labels = tuple({**found, "__name__": name} for found in batch.labels)
        yield SampleBatch(labels, batch.counts, batch.time_ms, batch.bits)


def step_seconds(query: ServerQuery) -> int:
    """Tell the step: the window declared, else the expression's, else fifteen seconds."""
    said = query.window_seconds or window_seconds(query.promql) or DEFAULT_STEP_SECONDS
    return max(round(said), 1)
