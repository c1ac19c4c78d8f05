"""History from a server of the Prometheus family: the best route it speaks, within a budget.

Fetched in tiles of the span. Each is written whole or not at all into the study's folder, so that
a run that dies goes on where it was; what comes out does not depend on the tiles.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from signalstudy.telemetry.budget import Size, estimate, refuse_too_much
from signalstudy.telemetry.expressions import fetch_expression, refuse_unknown
from signalstudy.telemetry.promql import Matcher, any_of, parse_selector, selector_text
from signalstudy.telemetry.range_queries import WHOLE, fetch_ranges
from signalstudy.telemetry.raw import RawSource
from signalstudy.telemetry.raw_parts import FETCHED, Batch, RawParts
from signalstudy.telemetry.refusals import RouteError, ServerError
from signalstudy.telemetry.remote_read import Wanted, fetch_remote
from signalstudy.telemetry.transfer import Server
from signalstudy.telemetry.vm_export import fetch_export
from signalstudy.vocabulary.errors import ConfigurationError, TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import duckdb

    from signalstudy.source import Source

PROBE_MS = 60_000
SILENCE_SECONDS = 2.0
BAR_WIDTH = 20
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Route:
    """One way to the samples. `samples`: at most in a request; `per_second`: its usual speed."""

    name: str
    fetch: Callable[[Server, Wanted, dict[str, int]], Iterator[Batch]]
    samples: int
    per_second: float


ROUTES = (
    Route("remote read", fetch_remote, 20_000_000, 2e6),
    Route("VictoriaMetrics export", fetch_export, 20_000_000, 1e6),
    Route("range queries", fetch_ranges, 500_000, 3e5),
)
"""Best first. Only VictoriaMetrics answers the second, and it does not answer the first."""


def read_prometheus(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    *,
    number: int,
    is_wanted: Callable[[str], bool],
    folder: Path,
    progress: Callable[[str], None],
) -> RawSource:
    """Bring a server's history into the raw form; only metrics that `is_wanted` are fetched.

    `folder`: the study's, where tiles are kept until the store is written. Raises ServerError,
    ConfigurationError (above the budget) or TableError.
    """
    place = f"[[sources]] {number}"
    refuse_unknown(source, is_wanted, place)
    start, end = span_seconds(source)
    with Server(source, place) as server:
        names = metric_names(server, source, is_wanted)
        if not names and not source.queries:
            raise TableError(
                f"{server.place}: holds no metric that the study knows between start and end. "
                "`signalstudy signals` lists the known ones; others go under [[signals]]."
            )
        parts = RawParts(folder / FETCHED / f"{number}-{_digest(source, names)}", source.role)
        notes: dict[str, int] = {}
        said = [f"{server.place}: {_version(server)}"]
        if names:
            matches = _matches(source, place)
            selectors = [(any_of(names), *more) for more in matches]
            route = choose_route(server, selectors[0], end)
            said[0] += f", raw samples by {route.name}"
            size = estimate(server, names, matches, range(start, end + 1))
            if size is None:
                said.append(f"{server.place}: how much it holds could not be told beforehand")
            else:
                said.append(size.sentence(route.name, size.samples / route.per_second))
                progress(said[-1])
                refuse_too_much(size, source, place, float(end - start))
            tiles = _tiles(selectors, start, end, size, route)
            _fetch(
                server,
                route,
                tiles,
                parts,
                at_most=source.max_samples,
                notes=notes,
                progress=progress,
            )
        for name, query in source.queries.items():
            progress(f"asking for {name}")
            if not parts.holds(f"query-{name}"):
                parts.write(f"query-{name}", fetch_expression(server, name, query, start, end))
        said += [f"{server.place} warns: {one}" for one in sorted(server.warnings)]
    said += parts.register(connection, number, is_overlapping=len(source.match) > 1)
    said += [f"{count} {what} are left out: not yet read" for what, count in notes.items()]
    return RawSource(number, source.role, "prometheus", (), tuple(said), origin=server.url)


def span_seconds(source: Source) -> tuple[int, int]:
    """Give start and end in whole seconds since 1970: some servers know no others."""
    if source.start is None or source.end is None:
        raise TableError("a span is wanted: start and end, or last")
    return int(source.start.timestamp()), int(source.end.timestamp())


def metric_names(server: Server, source: Source, is_wanted: Callable[[str], bool]) -> list[str]:
    """Ask which metrics the span holds, and keep those that are wanted."""
    start, end = span_seconds(source)
    form: dict[str, Any] = {"start": start, "end": end, **WHOLE}
    if source.match:
        # servers refuse a selector of nothing but what is not wanted
        named = Matcher("__name__", "!=", "")
        form["match[]"] = [selector_text((named, *more)) for more in _matches(source, server.place)]
    names = server.ask("/api/v1/label/__name__/values", **form)
    if not isinstance(names, list):
        raise ServerError(f"{server.place}: the list of metrics is no list")
    return sorted(name for name in names if isinstance(name, str) and is_wanted(name))


def choose_route(server: Server, matchers: tuple[Matcher, ...], end: int) -> Route:
    """Try the routes on the last minute; give the first that the server speaks."""
    probe = Wanted(matchers, end * 1000 - PROBE_MS, end * 1000)
    refusals = []
    for route in ROUTES:
        try:
            server.patiently(lambda route=route: list(route.fetch(server, probe, {})))  # type: ignore[misc]
        except RouteError as error:
            refusals.append(str(error))
            continue
        return route
    raise ServerError(refusals[-1])


def _matches(source: Source, place: str) -> list[tuple[Matcher, ...]]:
    return [parse_selector(text, f"{place}, match") for text in source.match] or [()]


def _version(server: Server) -> str:
    try:
        about = server.ask("/api/v1/status/buildinfo")
        return f"version {str(about['version'])[:40]}"
    except (ServerError, KeyError, TypeError):
        return "of unknown version"


def _digest(source: Source, names: list[str]) -> str:
    said = source.model_dump(
        mode="json", include={"url", "start", "end", "match", "queries", "role"}
    )
    text = json.dumps([said, names], sort_keys=True)
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _tiles(
    selectors: list[tuple[Matcher, ...]], start: int, end: int, size: Size | None, route: Route
) -> list[Wanted]:
    """Cut the span so that no request is too large for its route, nor longer than a day."""
    span_ms = (end - start) * 1000 + 1
    samples = route.samples * 4.0 if size is None else size.samples
    count = max(-(-span_ms // DAY_MS), int(-(-samples // route.samples)), 1)
    edges = [start * 1000 + span_ms * i // count for i in range(count + 1)]
    return [
        Wanted(matchers, edges[i], edges[i + 1] - 1) for matchers in selectors for i in range(count)
    ]


def _fetch(
    server: Server,
    route: Route,
    tiles: list[Wanted],
    parts: RawParts,
    *,
    at_most: int,
    notes: dict[str, int],
    progress: Callable[[str], None],
) -> None:
    began, samples, fetched = time.monotonic(), 0, 0
    last_said = began
    for number, tile in enumerate(tiles, start=1):
        about = blake2b(selector_text(tile.matchers).encode(), digest_size=4).hexdigest()
        name = f"{tile.first_ms}-{tile.last_ms}-{about}"
        if parts.holds(name):
            continue
        try:
            samples += _fetch_tile(server, route, tile, (parts, name), notes)
        except RouteError:
            # what the probe could not see, such as a new encoding in an old span
            route = ROUTES[-1]
            samples += _fetch_tile(server, route, tile, (parts, name), notes)
        except ServerError as error:
            raise ServerError(f"{error}{_kept(parts, len(tiles))}", status=error.status) from None
        fetched += 1
        if samples > at_most:
            raise ConfigurationError(
                f"{server.place}: {samples:,} samples came, more than expected and than "
                f"max_samples = {at_most:,}: no more is fetched. Raise it, or ask for fewer days."
            )
        now = time.monotonic()
        if now - last_said < SILENCE_SECONDS and number < len(tiles):
            continue
        last_said, left = now, (now - began) / fetched * (len(tiles) - number)
        progress(
            f"{_bar(number / len(tiles))} {server.url}: {number} of {len(tiles)} tiles, "
            f"{samples:,} samples by {route.name}, about {left / 60:.1f} minutes left"
        )


def _bar(share: float) -> str:
    full = round(BAR_WIDTH * share)
    return f"[{'=' * full}{' ' * (BAR_WIDTH - full)}]"


def _kept(parts: RawParts, tiles: int) -> str:
    kept = len(list(parts.folder.glob("*.parquet")))
    return f" {kept} of {tiles} tiles are kept: the same command goes on there." if kept else ""


def _fetch_tile(
    server: Server, route: Route, tile: Wanted, to: tuple[RawParts, str], notes: dict[str, int]
) -> int:
    parts, name = to

    def attempt() -> tuple[int, dict[str, int]]:
        passed: dict[str, int] = {}
        return parts.write(name, route.fetch(server, tile, passed)), passed

    samples, passed = server.patiently(attempt)
    for what, count in passed.items():
        notes[what] = notes.get(what, 0) + count
    return samples
