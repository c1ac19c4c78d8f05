"""A Trace: requests to replay, one by one, with what their prompts share."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from signalstudy.telemetry.columns import number_expression, refuse_missing, time_column
from signalstudy.telemetry.files import first_line, open_table, quoted
from signalstudy.vocabulary.errors import ConfigurationError, TableError, unknown_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

MOONCAKE_BLOCK_TOKENS = 512
ENGINE_BLOCK_TOKENS = 64
"""The block of the engine's prefix cache: hits are whole blocks of it."""
MOONCAKE_COLUMNS = ("timestamp", "input_length", "output_length", "hash_ids")
LOG_COLUMNS = ("prompt_tokens", "output_tokens")
UNNAMED_START = 1704067200.0  # 2024-01-01T00:00:00Z, where a trace counts from no named time
JITTER_SECONDS = 30.0
"""How far the copies of a request are moved either way: a larger service has more requests, not
the same ones several times at once. Bursts of minutes stay."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in order of arrival, arrays (n,).

    `start`: Unix seconds of time 0. `arrived_seconds`: since then. `blocks`: ids of each prompt's
    blocks of `block_tokens` tokens, one prompt after the other (m,), `first_block` (n + 1,) where
    each begins; equal leading ids are a shared prefix. `notes`: what had to be assumed.
    """

    name: str
    start: float
    arrived_seconds: Floats
    prompt_tokens: Integers
    output_tokens: Integers
    block_tokens: int
    blocks: Integers
    first_block: Integers
    notes: tuple[str, ...] = ()

    @property
    def requests(self) -> int:
        """How many requests there are."""
        return self.arrived_seconds.size

    @property
    def seconds(self) -> float:
        """The span from time 0 to the last arrival."""
        return float(self.arrived_seconds[-1]) if self.requests else 0.0

    def take(self, rows: Integers, arrived_seconds: Floats | None = None) -> Trace:
        """Give some of the requests, in the order of `rows`, at other times if given."""
        sizes = np.diff(self.first_block)[rows]
        first = np.concatenate([[0], np.cumsum(sizes)])
        within = np.arange(int(first[-1])) - np.repeat(first[:-1], sizes)
        return replace(
            self,
            arrived_seconds=self.arrived_seconds[rows]
            if arrived_seconds is None
            else arrived_seconds,
            prompt_tokens=self.prompt_tokens[rows],
            output_tokens=self.output_tokens[rows],
            blocks=self.blocks[np.repeat(self.first_block[:-1][rows], sizes) + within],
            first_block=first,
        )

    def between(self, since: float | None, until: float | None) -> Trace:
        """Cut to [since, until) in Unix seconds; time 0 moves to `since`."""
        begin = self.start if since is None else since
        end = self.start + self.seconds + 1.0 if until is None else until
        at = self.start + self.arrived_seconds
        rows = np.flatnonzero((at >= begin) & (at < end))
        if begin >= end or rows.size < 2:
            raise ConfigurationError(
                f"--from, --to: {self.name} has no two requests between {iso(begin)} and "
                f"{iso(end)}. It has {iso(self.start)} to {iso(self.start + self.seconds)}."
            )
        return replace(self.take(rows, at[rows] - begin), start=begin)

    def scaled(self, factor: float, seed: int) -> Trace:
        """Give `factor` times the requests: fewer are drawn, more are copies at other moments.

        Copies share prefixes among themselves as the originals do, but not with the originals:
        they are other people's. Seeded.
        """
        if factor <= 0.0:
            raise ConfigurationError(f"--scale {factor:g}: it must be more than 0.")
        if factor == 1.0:
            return self
        rng = np.random.default_rng([seed, 1])
        copies = int(factor) + (rng.random(self.requests) < factor % 1.0)
        rows = np.repeat(np.arange(self.requests), copies)
        which = np.arange(rows.size) - np.repeat(np.cumsum(copies) - copies, copies)
        moved = self.arrived_seconds[rows]
        moved = moved + (which > 0) * rng.uniform(-JITTER_SECONDS, JITTER_SECONDS, rows.size)
        moved = np.clip(moved, 0.0, self.seconds)
        order = np.argsort(moved, kind="stable")
        found = self.take(rows[order], moved[order])
        apart = int(self.blocks.max(initial=0)) + 1
        sizes = np.diff(found.first_block)
        blocks = found.blocks + apart * np.repeat(which[order], sizes)
        note = f"{factor:g} times the requests of {self.name}."
        return replace(found, blocks=blocks, notes=(*self.notes, note))

    def fitting(self, kv_tokens: float) -> Trace:
        """Leave out what no replica can hold: prompt and output of more than `kv_tokens` tokens.

        A server refuses such a request when it arrives; the engine would try for ever.
        """
        rows = np.flatnonzero(self.prompt_tokens + self.output_tokens <= kv_tokens)
        if rows.size == self.requests:
            return self
        if rows.size < 2:
            raise ConfigurationError(
                f"{self.name}: a replica's KV cache holds {kv_tokens:,.0f} tokens, and "
                f"{self.requests - rows.size:,} of {self.requests:,} requests need more. Give a "
                "profile of a larger replica."
            )
        note = (
            f"{self.requests - rows.size:,} of {self.requests:,} requests need more than the "
            f"{kv_tokens:,.0f} tokens of a replica's KV cache; they are left out, as a server "
            "would refuse them."
        )
        return replace(self.take(rows), notes=(*self.notes, note))

    def write(self, path: Path) -> None:
        """Write the requests in Mooncake form, as the engine reads them."""
        arrived_ms = np.round(1000.0 * self.arrived_seconds, 3).tolist()
        prompt, output = self.prompt_tokens.tolist(), self.output_tokens.tolist()
        blocks, first = self.blocks.tolist(), self.first_block.tolist()
        with path.open("w", encoding="utf-8") as lines:
            for i, at_ms in enumerate(arrived_ms):
                row = {
                    "timestamp": at_ms,
                    "input_length": prompt[i],
                    "output_length": output[i],
                    "hash_ids": blocks[first[i] : first[i + 1]],
                }
                lines.write(json.dumps(row) + "\n")


def iso(seconds: float) -> str:
    """Write Unix seconds as ISO 8601 in UTC."""
    return f"{np.datetime64(round(seconds), 's')}Z"


def with_shared_prefix(
    name: str,
    start: float,
    *,
    arrived_seconds: Floats,
    prompt_tokens: Integers,
    output_tokens: Integers,
    cached_tokens: Integers | None,
    notes: tuple[str, ...] = (),
) -> Trace:
    """Make a trace of requests of which only the number of tokens found in the cache is known.

    Cached tokens are leading blocks of one text that they all share, so that every replica has
    them after its first such request. Without `cached_tokens` nothing is shared.
    """
    block = MOONCAKE_BLOCK_TOKENS if cached_tokens is None else ENGINE_BLOCK_TOKENS
    sizes = -(-prompt_tokens // block)
    first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    within = np.arange(int(first[-1])) - np.repeat(first[:-1], sizes)
    most = int(sizes.max(initial=0))
    own = most + np.arange(int(first[-1]))
    if cached_tokens is not None:
        shared = np.minimum(np.round(cached_tokens / block), sizes - 1).astype(np.int64)
        own = np.where(within < np.repeat(shared, sizes), within, own)
    return Trace(
        name, start, arrived_seconds, prompt_tokens, output_tokens, block, own, first, notes
    )


def read_trace(path: Path, service: str) -> Trace:
    """Read Mooncake JSON lines or a request log; errors name the file and what is missing.

    `service`: whose requests, where a log holds several services.
    """
    place = f"--trace {path.name}"
    if not path.is_file():
        raise TableError(f"--trace: there is no file {path}")
    with duckdb.connect() as connection, tempfile.TemporaryDirectory() as scratch:
        connection.execute("SET TimeZone = 'UTC'")
        relation = open_table(connection, [path], place, Path(scratch))
        try:
            if "hash_ids" in relation.columns or "input_length" in relation.columns:
                return _mooncake(relation, path.name, place)
            return _log(relation, path.name, place, service)
        except duckdb.Error as error:
            raise TableError(f"{place}: {first_line(error)}") from None


def _mooncake(relation: duckdb.DuckDBPyRelation, name: str, place: str) -> Trace:
    refuse_missing(relation.columns, MOONCAKE_COLUMNS, place)
    numbers = ", ".join(
        f"{number_expression(relation, column, place)} AS {column}"
        for column in MOONCAKE_COLUMNS[:3]
    )
    found = relation.project(
        f"{numbers}, CAST(hash_ids AS BIGINT[]) AS hash_ids, len(hash_ids) AS ids"
    ).order("timestamp")
    columns = found.project("timestamp, input_length, output_length, ids").fetchnumpy()
    arrived, prompt, output, sizes = (
        _filled(columns[column]) for column in ("timestamp", "input_length", "output_length", "ids")
    )
    _check(place, arrived, prompt, output)
    wanted = np.ceil(prompt / MOONCAKE_BLOCK_TOKENS)
    wrong = np.flatnonzero(~(sizes == wanted))
    if wrong.size:
        row = int(wrong[0])
        raise TableError(
            f"{place}, request {row + 1}: {sizes[row]:g} hash_ids for a prompt of {prompt[row]:g} "
            f"tokens; there is one for every {MOONCAKE_BLOCK_TOKENS}, {wanted[row]:g} here."
        )
    ids = found.project("unnest(hash_ids) AS id").fetchnumpy()["id"]
    first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    note = f"{name} counts from no named time: {iso(UNNAMED_START)} is taken for its beginning."
    return Trace(
        name,
        UNNAMED_START,
        (arrived - arrived[0]) / 1000.0,
        prompt.astype(np.int64),
        output.astype(np.int64),
        MOONCAKE_BLOCK_TOKENS,
        np.unique(np.asarray(ids, dtype=np.int64), return_inverse=True)[1].astype(np.int64),
        first,
        (note,),
    )


def _log(relation: duckdb.DuckDBPyRelation, name: str, place: str, service: str) -> Trace:
    refuse_missing(relation.columns, LOG_COLUMNS, place)
    when = next((one for one in ("arrived_at", "timestamp") if one in relation.columns), None)
    if when is None:
        refuse_missing(relation.columns, ("arrived_at",), place)
        raise AssertionError
    rows = relation
    if "service" in relation.columns:
        rows = _of_service(relation, place, service)
    time = time_column(rows, when, place)
    fields = [f"{time.expression} AS at_ms"]
    known = [one for one in (*LOG_COLUMNS, "cached_prompt_tokens") if one in rows.columns]
    fields += [f"{number_expression(rows, one, place)} AS {one}" for one in known]
    columns = rows.project(", ".join(fields)).order("at_ms").fetchnumpy()
    values = {key: _filled(column) for key, column in columns.items()}
    at, prompt, output = values["at_ms"], values["prompt_tokens"], values["output_tokens"]
    served = np.isfinite(at + prompt + output) & (prompt >= 1) & (output >= 1)
    lost = int((~served).sum())
    at, prompt, output = at[served], prompt[served], output[served]
    _check(place, at, prompt, output)
    cached = None
    if "cached_prompt_tokens" in values:
        cached = np.nan_to_num(values["cached_prompt_tokens"][served]).astype(np.int64)
    notes = [time.note] * bool(time.note)
    if lost:
        notes.append(
            f"{name}: {lost} of {lost + at.size} rows have no arrival, no prompt or no output "
            "token and are left out."
        )
    start = float(at[0]) / 1000.0
    return with_shared_prefix(
        name,
        start,
        arrived_seconds=at / 1000.0 - start,
        prompt_tokens=prompt.astype(np.int64),
        output_tokens=output.astype(np.int64),
        cached_tokens=cached,
        notes=tuple(notes),
    )


def _of_service(
    relation: duckdb.DuckDBPyRelation, place: str, service: str
) -> duckdb.DuckDBPyRelation:
    """Keep one service's rows: the one that is studied, else the only one there is."""
    name = quoted("service")
    there = [str(row[0]) for row in relation.project(name).distinct().fetchall()]
    if len(there) == 1:
        return relation
    if service not in there:
        raise unknown_name(place, "service", service, there)
    literal = "'" + service.replace("'", "''") + "'"
    return relation.filter(f"{name} = {literal}")


def _filled(column: Any) -> Floats:
    """Give a column of DuckDB's as numbers, NaN where it has none."""
    return np.asarray(np.ma.filled(np.ma.asarray(column, dtype=float), np.nan))


def _check(place: str, arrived: Floats, prompt: Floats, output: Floats) -> None:
    if arrived.size < 2:
        raise TableError(f"{place}: a replay needs at least two requests; {arrived.size} are here.")
    bad = np.flatnonzero(~(np.isfinite(arrived) & (prompt >= 1) & (output >= 1)))
    if bad.size:
        row = int(bad[0])
        raise TableError(
            f"{place}, request {row + 1}: arrival {arrived[row]:g}, prompt {prompt[row]:g}, output "
            f"{output[row]:g}: each request has a time and at least one token either way."
        )


def reusable_tokens(trace: Trace) -> Floats:
    """Give the prompt tokens (n,) that a cache without limit would find: leading blocks seen."""
    sizes = np.diff(trace.first_block)
    _, first, which = np.unique(trace.blocks, return_index=True, return_inverse=True)
    owner = np.repeat(np.arange(trace.requests), sizes)
    is_new = owner[first][which] == owner
    within = np.arange(trace.blocks.size) - np.repeat(trace.first_block[:-1], sizes)
    lead = np.where(is_new, within, np.repeat(sizes, sizes))
    leading = np.minimum.reduceat(lead, trace.first_block[:-1])
    # The last block is always computed again.
    most = (trace.prompt_tokens - 1) // ENGINE_BLOCK_TOKENS * ENGINE_BLOCK_TOKENS
    return np.asarray(np.minimum(leading * trace.block_tokens, most), dtype=float)
