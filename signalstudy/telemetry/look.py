"""What a source holds, looked at before anything is configured: its kind and its series."""

from __future__ import annotations

import json
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from signalstudy.config import parse_config
from signalstudy.telemetry.discover import RawSeries, is_known_metric
from signalstudy.telemetry.files import blocks, find_files, format_of, open_table
from signalstudy.telemetry.openmetrics import read_openmetrics
from signalstudy.telemetry.promql import any_of, selector_text
from signalstudy.telemetry.refusals import ServerError
from signalstudy.telemetry.table import read_table
from signalstudy.telemetry.transfer import Server
from signalstudy.telemetry.tsdb import find_blocks
from signalstudy.telemetry.tsdb_dump import read_tsdb_dump
from signalstudy.telemetry.tsdb_index import BadIndexError, Index
from signalstudy.telemetry.vm_export import read_vm_export
from signalstudy.vocabulary.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalstudy.source import Source

HOUR, DAY = 3600, 86400
SPANS_DAYS = (14, 7, 2, 1)
PAST_DAYS = (1, 30, 365, 3650)
TEXTS = {
    "tsdb-dump": read_tsdb_dump,
    "vm-export": read_vm_export,
    "openmetrics": read_openmetrics,
}
BESIDE_POOL = frozenset({"service", "pool", "replica"})


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen. `span`: lines of study.toml for a server's time; `unknown`: other metrics."""

    kind: str
    where: str
    series: tuple[RawSeries, ...]
    span: tuple[str, ...] = ()
    unknown: int = 0


def look_at(where: str) -> Look:
    """Look at a server, a TSDB folder or files; raises SignalStudyError where none is there."""
    if re.match(r"https?://", where):
        return _server(where.rstrip("/"))
    if Path(where).is_dir():
        return _blocks(where)
    return _files(where)


def _known(metric: str) -> bool:
    return is_known_metric(metric, ())


def _named(labels: dict[str, str], key: int, form: str) -> RawSeries:
    rest = {name: value for name, value in labels.items() if name not in ("__name__", "le")}
    metric, le = labels.get("__name__", ""), labels.get("le")
    return RawSeries(key, 1, form, "production", metric, le, json.dumps(rest), 1)


def _source(kind: str, **keys: Any) -> Source:
    document = {"study": {"name": "look"}, "sources": [{"kind": kind, **keys}]}
    return parse_config(document, place="--from", folder=Path()).sources[0]


def _server(url: str) -> Look:
    with Server(_source("prometheus", url=url, last="1h"), "--from") as server:
        start, end, span = _span(server)
        names = _names(server, start, end)
        known = sorted(filter(_known, names))
        found = []
        if known:
            text = selector_text((any_of(known),))
            form = {"match[]": text, "start": max(start, end - HOUR), "end": end}
            found = server.ask("/api/v1/series", **form)
    if not isinstance(found, list) or not all(isinstance(labels, dict) for labels in found):
        raise ServerError(f"--from, {url}: the list of series is no list")
    series = tuple(_named(labels, key, "prometheus") for key, labels in enumerate(found))
    return Look("prometheus", url, series, span, len(names) - len(known))


def _names(server: Server, start: int, end: int) -> list[str]:
    names = server.ask("/api/v1/label/__name__/values", start=start, end=end)
    if not isinstance(names, list):
        raise ServerError(f"{server.place}: the list of metrics is no list")
    return [str(name) for name in names]


def _span(server: Server) -> tuple[int, int, tuple[str, ...]]:
    """Find the history: two weeks back from now where it goes on, else what there was."""
    now = int(time.time())

    def holds(start: int, end: int) -> bool:
        return any(_known(name) for name in _names(server, start, end))

    if holds(now - HOUR, now):
        for days in SPANS_DAYS:
            if holds(now - days * DAY, now - days * DAY + HOUR):
                return now - days * DAY, now, (f'last = "{days}d"',)
        return now - 6 * HOUR, now, ('last = "6h"',)
    past = next((days for days in PAST_DAYS if holds(now - days * DAY, now)), None)
    if past is None:
        raise TableError(
            f"{server.place}: holds no metric that the study knows. "
            "`signalstudy signals` lists the known ones."
        )
    oldest = now - past * DAY
    end = _turn(oldest, now, lambda at: not holds(at, now))
    start = max(_turn(oldest, end, lambda at: holds(oldest, at)) - HOUR, end - 14 * DAY)
    lines = tuple(
        f"{name} = {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(at))}"
        for name, at in (("start", start), ("end", end))
    )
    return start, end, lines


def _turn(low: int, high: int, is_behind: Callable[[int], bool]) -> int:
    """Find, to ten minutes, where `is_behind` turns true between two instants."""
    while high - low > HOUR // 6:
        middle = (low + high) // 2
        low, high = (low, middle) if is_behind(middle) else (middle, high)
    return high


def _blocks(where: str) -> Look:
    found: list[dict[str, str]] = []
    unknown: set[str] = set()

    def is_known(metric: str) -> bool:
        if not _known(metric):
            unknown.add(metric)
        return metric not in unknown

    for block in find_blocks(where, "--from")[0]:
        try:
            series = Index(block.folder / "index").series(is_known)
            found += [{**one.labels, **block.labels} for one in series]
        except (BadIndexError, OSError) as error:
            raise TableError(f"--from: block {block.folder}: index: {error}") from None
    distinct = {json.dumps(labels, sort_keys=True): labels for labels in found}
    named = tuple(_named(labels, key, "tsdb") for key, labels in enumerate(distinct.values()))
    return Look("tsdb", where, named, unknown=len(unknown))


def _files(where: str) -> Look:
    path = str(Path(where).absolute())
    [first, *_] = find_files(path, "--from")
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        scratch = Path(folder)
        kind = _kind_of(first, connection, scratch)
        if kind in ("requests", "points"):
            return Look(kind, where, ())
        source = _source(kind, path=path)
        if kind == "table":
            labels = BESIDE_POOL
            raw = read_table(connection, source, number=1, labels=labels, scratch=scratch)
        else:
            read = TEXTS[kind]
            raw = read(connection, source, number=1, is_wanted=_known, scratch=scratch)
        rows = connection.execute(
            "SELECT key, metric, le, labels, samples FROM raw_series_1 ORDER BY 2, 1"
        ).fetchall()
    series = [RawSeries(row[0], 1, raw.form, "production", *row[1:]) for row in rows]
    known = [s for s in series if _known(s.metric) or raw.form == "wide"]
    return Look(
        kind,
        where,
        tuple(known),
        unknown=len({s.metric for s in series} - {s.metric for s in known}),
    )


def _kind_of(file: Path, connection: duckdb.DuckDBPyConnection, scratch: Path) -> str:
    """Tell a file's kind from its columns, or from how its text begins."""
    head = next(blocks(file, "--from"), b"")[:4096].lstrip()
    if head.startswith(b'{"metric"'):
        return "vm-export"
    if re.match(rb'\{["a-zA-Z_][^{}]*="', head):
        return "tsdb-dump"
    try:
        format_of(file, "--from")
    except TableError:
        if re.match(rb"#|[a-zA-Z_:][a-zA-Z0-9_:]*[{ ]", head):
            return "openmetrics"
        raise
    columns = set(open_table(connection, [file], "--from", scratch).columns)
    if "concurrency_requests" in columns:
        return "points"
    if "arrived_at" in columns or {"prompt_tokens", "output_tokens"} <= columns - {"metric"}:
        return "requests"
    return "table"
