"""Remote read with streamed chunks: raw samples as the server keeps them, staleness included.

A request is protobuf, packed by snappy. The answer is a stream of frames, each a varint length,
a CRC32C and one ChunkedReadResponse. The few messages are read by hand: six types, three kinds of
field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cramjam
import numpy as np

from signalstudy.telemetry.checksums import crc32c_of
from signalstudy.telemetry.chunks import ENCODINGS, XOR, ChunkError, decode_chunks
from signalstudy.telemetry.native_chunks import READ, decode_native
from signalstudy.telemetry.promql import OPERATORS, Matcher
from signalstudy.telemetry.raw_parts import Batch, SampleBatch
from signalstudy.telemetry.refusals import RouteError, ServerError
from signalstudy.telemetry.varints import VarintError, read_varint, write_varint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from signalstudy.telemetry.native import NativeBatch
    from signalstudy.telemetry.transfer import Server

STREAMED = "application/x-streamed-protobuf"
STREAMED_XOR_CHUNKS = 1
LARGEST_FRAME_BYTES = 1 << 26
CHUNKS_AT_ONCE = 8_000
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """Series of some matchers in a span, both ends included."""

    matchers: tuple[Matcher, ...]
    first_ms: int
    last_ms: int


@dataclass(slots=True)
class _Waiting:
    """Chunks that wait to be decoded together."""

    labels: list[dict[str, str]] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    native: list[NativeBatch] = field(default_factory=list)


def fetch_remote(server: Server, wanted: Wanted, notes: dict[str, int]) -> Iterator[Batch]:
    """Give the samples of `wanted`; gauge histograms, of which no rate is taken, go into `notes`.

    Raises RouteError where the server answers otherwise or in an encoding not read here,
    ServerError where the answer is damaged.
    """
    headers = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Read-Version": "0.1.0",
    }
    body = bytes(cramjam.snappy.compress_raw(_request(wanted)))
    waiting = _Waiting()
    try:
        with server.stream("/api/v1/read", body=body, headers=headers) as (said, pieces):
            if not said.get("content-type", "").startswith(STREAMED):
                raise RouteError(f"{server.place}: does not stream chunks")
            for frame in _frames(pieces):
                _collect(frame, waiting, notes)
                if len(waiting.pieces) + len(waiting.native) >= CHUNKS_AT_ONCE:
                    for batch in _batches(waiting):
                        yield batch.between(wanted.first_ms, wanted.last_ms)
                    waiting = _Waiting()
        for batch in _batches(waiting):
            yield batch.between(wanted.first_ms, wanted.last_ms)
    except ServerError as error:
        if error.status in (400, 404, 405, 415, 501):
            raise RouteError(str(error)) from None
        raise
    except (VarintError, ChunkError, ValueError) as error:
        raise ServerError(f"{server.place}/api/v1/read: the answer is damaged: {error}") from None


def _request(wanted: Wanted) -> bytes:
    query = b"\x08" + _signed(wanted.first_ms) + b"\x10" + _signed(wanted.last_ms)
    for matcher in wanted.matchers:
        said = b"\x08" + write_varint(OPERATORS.index(matcher.operator))
        said += _message(2, matcher.name.encode()) + _message(3, matcher.value.encode())
        query += _message(3, said)
    return _message(1, query) + b"\x10" + write_varint(STREAMED_XOR_CHUNKS)


def _signed(value: int) -> bytes:
    return write_varint(value % (1 << 64))


def _message(number: int, content: bytes) -> bytes:
    return write_varint(number << 3 | LENGTH) + write_varint(len(content)) + content


def _frames(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Cut the stream into frames and check each; raises ValueError where one is damaged."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while True:
            head = next((i for i, byte in enumerate(held[:10]) if byte < 128), None)
            if head is None:
                if len(held) >= 10:
                    raise ValueError("the length of a frame is no number")
                break
            length, at = read_varint(bytes(held[: head + 1]), 0)
            if length > LARGEST_FRAME_BYTES:
                raise ValueError(f"a frame claims {length} bytes")
            if len(held) < at + 4 + length:
                break
            frame = bytes(held[at + 4 : at + 4 + length])
            if crc32c_of(frame) != int.from_bytes(held[at : at + 4], "big"):
                raise ValueError("the checksum of a frame is wrong")
            del held[: at + 4 + length]
            yield frame
    if held:
        raise ValueError("the last frame is cut off")


def _fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Give the fields of a message, by number; unknown kinds are an error."""
    at = 0
    while at < len(content):
        tag, at = read_varint(content, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = read_varint(content, at)
            yield tag >> 3, value
            continue
        if kind == LENGTH:
            size, at = read_varint(content, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"a message holds a field of the unknown kind {kind}")
        if at + size > len(content):
            raise ValueError("a message is cut off")
        yield tag >> 3, content[at : at + size]
        at += size


def _parts(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Give the fields of a message that are messages, texts or bytes themselves."""
    for number, value in _fields(content):
        if isinstance(value, memoryview):
            yield number, value


def _collect(frame: bytes, waiting: _Waiting, notes: dict[str, int]) -> None:
    for number, series in _parts(memoryview(frame)):
        if number != 1:
            continue
        labels: dict[str, str] = {}
        chunks: list[memoryview] = []
        for part, content in _parts(series):
            if part == 1:
                name, value = _label(content)
                labels[name] = value
            elif part == 2:
                chunks.append(content)
        waiting.labels.append(labels)
        for chunk in chunks:
            encoding, data = _chunk(chunk)
            if encoding == XOR:
                waiting.owners.append(len(waiting.labels) - 1)
                waiting.pieces.append(data)
            elif encoding in READ:
                native = decode_native(data, encoding, labels)
                if native is None:
                    notes["gauge histograms"] = notes.get("gauge histograms", 0) + 1
                else:
                    waiting.native.append(native)
            else:
                said = ENCODINGS.get(encoding, str(encoding))
                raise RouteError(f"the server sends chunks of encoding {said}")


def _label(content: memoryview) -> tuple[str, str]:
    said = {number: bytes(value).decode("utf-8", "replace") for number, value in _parts(content)}
    return said.get(1, ""), said.get(2, "")


def _chunk(content: memoryview) -> tuple[int, bytes]:
    encoding, data = 0, b""
    for number, value in _fields(content):
        if number == 3 and isinstance(value, int):
            encoding = value
        elif number == 4 and isinstance(value, memoryview):
            data = bytes(value)
    return encoding, data


def _batches(waiting: _Waiting) -> Iterator[Batch]:
    if waiting.pieces:
        yield _decoded(waiting)
    yield from waiting.native


def _decoded(waiting: _Waiting) -> SampleBatch:
    data = np.frombuffer(b"".join(waiting.pieces), dtype=np.uint8)
    lengths = np.array([len(piece) for piece in waiting.pieces], dtype=np.int64)
    decoded = decode_chunks(data, np.cumsum(lengths) - lengths, lengths)
    owners: Sequence[int] = waiting.owners
    counts = np.bincount(owners, weights=decoded.counts, minlength=len(waiting.labels))
    labels = tuple(waiting.labels)
    return SampleBatch(labels, counts.astype(np.int64), decoded.time_ms, decoded.bits)
