"""VictoriaMetrics's export: a JSON line a series, with its values and times.

The same lines come from a server (`/api/v1/export`) and from a file of them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from signalstudy.telemetry.files import blocks, find_files
from signalstudy.telemetry.promql import selector_text
from signalstudy.telemetry.raw import RawSource
from signalstudy.telemetry.raw_parts import RawParts, SampleBatch
from signalstudy.telemetry.refusals import RouteError, ServerError
from signalstudy.vocabulary.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import duckdb

    from signalstudy.source import Source
    from signalstudy.telemetry.remote_read import Wanted
    from signalstudy.telemetry.transfer import Server

LONGEST_LINE_BYTES = 1 << 28
SAMPLES_AT_ONCE = 1_000_000
SPECIAL = {"Infinity": np.inf, "-Infinity": -np.inf, "+Inf": np.inf, "Inf": np.inf, "-Inf": -np.inf}


class BadLineError(ValueError):
    """A line that is no series of an export."""


def read_vm_export(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    *,
    number: int,
    is_wanted: Callable[[str], bool],
    scratch: Path,
) -> RawSource:
    """Bring files of export lines into the raw form; only metrics that `is_wanted` are kept.

    Raises TableError naming file and line of the first that is no series.
    """
    place = f"[[sources]] {number}"
    files = find_files(source.path, place)
    parts = RawParts(scratch / f"vm-export-{number}", source.role)
    for at, file in enumerate(files):
        try:
            parts.write(str(at), _batches(_lines(blocks(file, place)), is_wanted))
        except BadLineError as error:
            raise TableError(f"{place}: {file}, {error}") from None
    notes = parts.register(connection, number, is_overlapping=len(files) > 1)
    return RawSource(number, source.role, "vm-export", tuple(files), notes)


def fetch_export(server: Server, wanted: Wanted, notes: dict[str, int]) -> Iterator[SampleBatch]:  # noqa: ARG001 - every route takes the same
    """Give the samples of `wanted` from a server's export.

    Raises RouteError where the server has none, ServerError where the answer is damaged.
    """
    form = {
        "match[]": selector_text(wanted.matchers),
        "start": f"{wanted.first_ms / 1000:.3f}",
        "end": f"{wanted.last_ms / 1000:.3f}",
    }
    try:
        with server.stream("/api/v1/export", form=form) as (_, pieces):
            for batch in _batches(_lines(pieces), lambda _: True):
                yield batch.between(wanted.first_ms, wanted.last_ms)
    except BadLineError as error:
        raise ServerError(f"{server.place}/api/v1/export: {error}") from None
    except ServerError as error:
        if error.status in (400, 404, 405, 501):
            raise RouteError(str(error)) from None
        raise


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > LONGEST_LINE_BYTES:
            raise BadLineError(f"a line is longer than {LONGEST_LINE_BYTES} bytes")
    yield rest


def _batches(lines: Iterable[bytes], is_wanted: Callable[[str], bool]) -> Iterator[SampleBatch]:
    held: list[tuple[dict[str, str], Any, Any]] = []
    size = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        labels, times, values = _series(line, number)
        if not is_wanted(labels["__name__"]):
            continue
        held.append((labels, times, values))
        size += times.size
        if size >= SAMPLES_AT_ONCE:
            yield _together(held)
            held, size = [], 0
    if held:
        yield _together(held)


def _together(held: list[tuple[dict[str, str], Any, Any]]) -> SampleBatch:
    counts = np.array([times.size for _, times, _ in held], dtype=np.int64)
    values = np.concatenate([values for _, _, values in held])
    return SampleBatch(
        tuple(labels for labels, _, _ in held),
        counts,
        np.concatenate([times for _, times, _ in held]),
        values.view(np.uint64),
    )


def _series(line: bytes, number: int) -> tuple[dict[str, str], Any, Any]:
    """Read one line: labels, times in milliseconds, values; null is a value that is none."""
    try:
        said = json.loads(line)
        labels = {str(name): str(value) for name, value in said["metric"].items()}
        times = np.array(said["timestamps"], dtype=np.int64)
        values = np.array([_value(value) for value in said["values"]], dtype=np.float64)
        is_series = "__name__" in labels and times.ndim == 1 and times.shape == values.shape
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        is_series = False
    if not is_series:
        shown = line[:80].decode(errors="replace")
        raise BadLineError(
            f"line {number} is no series of an export "
            f'{{"metric", "values", "timestamps"}}: {shown!r}'
        )
    return labels, times, values


def _value(value: Any) -> float:
    if value is None:
        return float("nan")
    return float(SPECIAL.get(value, value)) if isinstance(value, str) else float(value)
