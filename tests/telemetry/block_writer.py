"""Small TSDB blocks written from samples, for tests: index, chunks, tombstones, meta.json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from signalstudy.telemetry.checksums import crc32c_of
from signalstudy.telemetry.varints import write_varint
from tests.telemetry.chunk_writer import bits_of, encode, zigzag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Series = tuple[dict[str, str], list[list[tuple[int, float]]]]
"""Labels, and chunks of (milliseconds, value)."""


def summed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body + crc32c_of(body).to_bytes(4, "big")


def text(value: str) -> bytes:
    return write_varint(len(value.encode())) + value.encode()


def chunk_segment(series: Sequence[Series], encoding: int) -> tuple[bytes, list[list[int]]]:
    content, places = bytes.fromhex("85BD40DD") + b"\x01\0\0\0", []
    for _, chunks in series:
        places.append([])
        for samples in chunks:
            places[-1].append(len(content))
            data = encode([t for t, _ in samples], [bits_of(v) for _, v in samples])
            piece = bytes([encoding]) + data
            content += write_varint(len(data)) + piece + crc32c_of(piece).to_bytes(4, "big")
    return content, places


def index(series: Sequence[Series], places: Sequence[Sequence[int]]) -> tuple[bytes, list[int]]:
    symbols = sorted({word for labels, _ in series for pair in labels.items() for word in pair})
    number = {word: i for i, word in enumerate(symbols)}
    content = bytes.fromhex("BAAAD700") + b"\x02"
    at_symbols = len(content)
    content += summed(len(symbols).to_bytes(4, "big") + b"".join(map(text, symbols)))
    at_series, references = len(content), []
    for (labels, chunks), found in zip(series, places, strict=True):
        content += bytes(-len(content) % 16)
        references.append(len(content) // 16)
        body = write_varint(len(labels))
        for name in sorted(labels):
            body += write_varint(number[name]) + write_varint(number[labels[name]])
        body += write_varint(len(chunks))
        last_ms = last_place = 0
        for i, (samples, place) in enumerate(zip(chunks, found, strict=True)):
            first, end = samples[0][0], samples[-1][0]
            body += write_varint(first - last_ms) if i else zigzag(first)
            body += write_varint(end - first)
            body += zigzag(place - last_place) if i else write_varint(place)
            last_ms, last_place = end, place
        content += write_varint(len(body)) + body + crc32c_of(body).to_bytes(4, "big")
    table, names = b"", sorted({labels["__name__"] for labels, _ in series})
    at_postings = len(content)
    for name in names:
        mine = [
            r
            for r, (labels, _) in zip(references, series, strict=True)
            if labels["__name__"] == name
        ]
        table += b"\x02" + text("__name__") + text(name) + write_varint(len(content))
        body = len(mine).to_bytes(4, "big") + b"".join(r.to_bytes(4, "big") for r in mine)
        content += summed(body)
    at_table = len(content)
    content += summed(len(names).to_bytes(4, "big") + table)
    toc = [at_symbols, at_series, at_table, at_table, at_postings, at_table]
    ending = b"".join(place.to_bytes(8, "big") for place in toc)
    return content + ending + crc32c_of(ending).to_bytes(4, "big"), references


def write_block(
    folder: Path,
    series: Sequence[Series],
    *,
    ulid: str = "01A",
    encoding: int = 1,
    dead: Mapping[int, tuple[int, int]] | None = None,
    meta: Mapping[str, object] | None = None,
) -> Path:
    """Write one block below `folder`; `dead`: number of a series -> the span deleted of it."""
    block = folder / ulid
    (block / "chunks").mkdir(parents=True)
    segment, places = chunk_segment(series, encoding)
    (block / "chunks" / "000001").write_bytes(segment)
    content, references = index(series, places)
    (block / "index").write_bytes(content)
    body = b"".join(
        write_varint(references[which]) + zigzag(first) + zigzag(last)
        for which, (first, last) in (dead or {}).items()
    )
    stones = bytes.fromhex("0130BA30") + b"\x01" + body + crc32c_of(body).to_bytes(4, "big")
    (block / "tombstones").write_bytes(stones)
    times = [t for _, chunks in series for samples in chunks for t, _ in samples]
    about = {"ulid": ulid, "minTime": min(times), "maxTime": max(times) + 1, "version": 1}
    (block / "meta.json").write_text(json.dumps({**about, **(meta or {})}))
    return block
