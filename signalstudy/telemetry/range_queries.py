"""Raw samples by instant queries of `metric[range]`: the route that every server speaks.

The answer is JSON of the samples themselves, without staleness markers. Windows are closed on the
left in Prometheus 2 and open in 3; asking a second more and cutting makes both alike.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from signalstudy.telemetry.columns import LATEST_MS
from signalstudy.telemetry.native import from_buckets
from signalstudy.telemetry.promql import selector_text
from signalstudy.telemetry.raw_parts import Batch, SampleBatch
from signalstudy.telemetry.refusals import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalstudy.telemetry.native import NativeBatch
    from signalstudy.telemetry.remote_read import Wanted
    from signalstudy.telemetry.transfer import Server

# Thanos: the samples as scraped, one of each pair, and an error where a store is missing
WHOLE = {"dedup": "true", "partial_response": "false", "max_source_resolution": "0s"}
TOO_MUCH = (413, 422, 503)
SHORTEST_SECONDS = 60


def fetch_ranges(server: Server, wanted: Wanted, notes: dict[str, int]) -> Iterator[Batch]:
    """Give the samples of `wanted`; a span that is too much for the server is asked in halves."""
    end = -(-wanted.last_ms // 1000)
    seconds = end - wanted.first_ms // 1000 + 1
    query = f"{selector_text(wanted.matchers)}[{seconds}s]"
    try:
        data = server.ask("/api/v1/query", query=query, time=end, **WHOLE)
    except ServerError as error:
        if error.status not in TOO_MUCH or seconds < 2 * SHORTEST_SECONDS:
            raise
        middle = (wanted.first_ms + wanted.last_ms) // 2
        kind = type(wanted)
        yield from fetch_ranges(server, kind(wanted.matchers, wanted.first_ms, middle), notes)
        yield from fetch_ranges(server, kind(wanted.matchers, middle + 1, wanted.last_ms), notes)
        return
    batch = matrix(data, f"{server.place}/api/v1/query")
    yield batch.between(wanted.first_ms, wanted.last_ms)
    for native in native_series(data, f"{server.place}/api/v1/query", notes):
        yield native.between(wanted.first_ms, wanted.last_ms)


def native_series(data: Any, place: str, notes: dict[str, int]) -> Iterator[NativeBatch]:
    """Give the native histograms of an answer; `notes` counts those that hold no counts."""
    try:
        for series in data["result"]:
            rows = series.get("histograms")
            if not rows:
                continue
            labels = {str(k): str(v) for k, v in series["metric"].items()}
            found = _histograms(labels, rows)
            falling = int((found.counts < 0).any(axis=1).sum())
            if falling:
                notes["gauge histograms"] = notes.get("gauge histograms", 0) + falling
                continue
            yield found
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
        raise ServerError(f"{place}: the answer holds a histogram that is none") from None


def _histograms(labels: dict[str, str], rows: list[Any]) -> NativeBatch:
    """Read samples `[seconds, {count, sum, buckets: [[rule, lower, upper, count], ...]}]`."""
    said = [
        (row, float(bucket[1]), float(bucket[2]), float(bucket[3]))
        for row, (_, histogram) in enumerate(rows)
        for bucket in histogram.get("buckets") or ()
    ]
    seconds = np.array([row[0] for row in rows], dtype=np.float64)
    if not (np.abs(seconds) < LATEST_MS / 1000).all():
        raise ValueError("a time beyond the year 9999")
    return from_buckets(
        labels,
        np.round(seconds * 1000.0).astype(np.int64),
        np.array([float(row[1]["count"]) for row in rows]),
        np.array([float(row[1]["sum"]) for row in rows]),
        said,
    )


def matrix(data: Any, place: str) -> SampleBatch:
    """Read the numbers in the matrix of an answer."""
    try:
        found = [series for series in data["result"] if series.get("values")]
        labels = tuple({str(k): str(v) for k, v in s["metric"].items()} for s in found)
        counts = np.array([len(series["values"]) for series in found], dtype=np.int64)
        pairs = list(chain.from_iterable(series["values"] for series in found))
        times = np.array([pair[0] for pair in pairs], dtype=np.float64)
        values = np.array([float(pair[1]) for pair in pairs], dtype=np.float64)
        is_matrix = bool((np.abs(times) < LATEST_MS / 1000).all())
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        is_matrix = False
    if not is_matrix:
        raise ServerError(f"{place}: the answer is no matrix of samples")
    milliseconds = np.round(times * 1000.0).astype(np.int64)
    return SampleBatch(labels, counts, milliseconds, values.view(np.uint64))
