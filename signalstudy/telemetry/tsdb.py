"""Prometheus TSDB folders: blocks read directly, so that no query server is asked for anything.

Blocks are those of Prometheus, a snapshot, Mimir or a Thanos bucket at raw resolution. What the
head holds, the last two to three hours of a running server, is in no block and is not read.
"""

from __future__ import annotations

import glob
import json
import mmap
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from signalstudy.telemetry.checksums import crc32c, crc32c_of
from signalstudy.telemetry.chunks import ENCODINGS, HISTOGRAMS, XOR, ChunkError, decode_chunks
from signalstudy.telemetry.native_chunks import READ, decode_native
from signalstudy.telemetry.raw import RawSource
from signalstudy.telemetry.raw_parts import Batch, RawParts, SampleBatch
from signalstudy.telemetry.tsdb_index import BadIndexError, Index, IndexedSeries
from signalstudy.telemetry.varints import VarintError, read_varint, read_varints, unzigzag
from signalstudy.vocabulary.durations import duration_seconds
from signalstudy.vocabulary.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import duckdb
    from numpy.typing import NDArray

    from signalstudy.source import Source
    from signalstudy.telemetry.native import NativeBatch

SEGMENT_MAGIC, TOMBSTONE_MAGIC = 0x85BD40DD, 0x0130BA30
CHUNKS_AT_ONCE = 8_000
LONGEST_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Block:
    """One block. `labels`: those that Thanos keeps outside its series."""

    folder: Path
    ulid: str
    first_ms: int
    end_ms: int
    parents: frozenset[str]
    labels: dict[str, str]


@dataclass(slots=True)
class Passed:
    """What was passed over: chunks by encoding, and samples that tombstones delete."""

    chunks: dict[str, int] = field(default_factory=dict)
    deleted: int = 0


def read_tsdb(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    *,
    number: int,
    is_wanted: Callable[[str], bool],
    scratch: Path,
) -> RawSource:
    """Bring the blocks of a TSDB folder into the raw form; only metrics that `is_wanted`.

    Raises TableError naming the block and what is wrong with it.
    """
    place = f"[[sources]] {number}"
    blocks, notes = find_blocks(source.path, place)
    parts, passed = RawParts(scratch / f"tsdb-{number}", source.role), Passed()
    newest, first = max(block.end_ms for block in blocks), None
    if source.last is not None:
        first = newest - round(1000 * duration_seconds(source.last))
        blocks = [block for block in blocks if block.end_ms > first]
    for block in blocks:
        batches = read_block(block, is_wanted, passed, place=place)
        if first is not None:
            batches = (batch.between(first, newest) for batch in batches)
        parts.write(block.ulid, batches)
    spans = sorted((block.first_ms, block.end_ms) for block in blocks)
    overlap = any(b[0] < a[1] for a, b in pairwise(spans))
    notes += parts.register(connection, number, is_overlapping=overlap)
    if overlap:
        notes.append("blocks overlap in time: a sample that stands in several counts once")
    for name, count in passed.chunks.items():
        notes.append(f"{count} chunks of {name} are left out: not yet read")
    if passed.deleted:
        notes.append(f"{passed.deleted} samples are deleted by tombstones")
    return RawSource(number, source.role, "tsdb", tuple(b.folder for b in blocks), tuple(notes))


def find_blocks(path: str, place: str) -> tuple[list[Block], list[str]]:
    """Find the blocks in a TSDB folder (or the block that it is) by time; give notes as well.

    Blocks that a compaction has replaced, and Thanos's downsampled ones, are set aside.
    """
    folders = [Path(path)] if Path(path).is_dir() else sorted(Path(p) for p in glob.glob(path))  # noqa: PTH207 - the pattern is absolute
    if not folders:
        raise TableError(f"{place}: there is no folder {path}")
    found: list[Block] = []
    notes: list[str] = []
    for folder in folders:
        for meta in [folder / "meta.json", *sorted(folder.glob("*/meta.json"))]:
            if not meta.is_file() or ".tmp" in meta.parent.name:
                continue
            about = _about(meta, place)
            if _is_downsampled(about):
                notes.append(f"block {meta.parent.name} is downsampled and is left out")
                continue
            found.append(_block(meta, about, place))
        if any((folder / "chunks_head").glob("*")):
            notes.append(
                f"{folder.name}: the head, which holds the last hours of a running server, is in "
                "no block and is not read; a snapshot has it"
            )
    replaced = frozenset(name for block in found for name in block.parents - {block.ulid})
    kept = sorted((b for b in found if b.ulid not in replaced), key=lambda b: (b.first_ms, b.ulid))
    if not kept:
        head = " Its head (wal) is not read: take a snapshot." * (folders[0] / "wal").is_dir()
        raise TableError(
            f"{place}: {path} holds no TSDB block. A block is a folder with meta.json, index and "
            f"chunks.{head}"
        )
    return kept, notes


def _about(meta: Path, place: str) -> dict[str, Any]:
    try:
        about = json.loads(meta.read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        raise TableError(f"{place}: {meta} cannot be read: {error}") from None
    if not isinstance(about, dict):
        raise TableError(f"{place}: {meta} is no description of a block")
    return about


def _is_downsampled(about: dict[str, Any]) -> bool:
    try:
        return bool(about.get("thanos", {}).get("downsample", {}).get("resolution", 0))
    except AttributeError:
        return False  # no description of a block at all, as `_block` will say


def _block(meta: Path, about: dict[str, Any], place: str) -> Block:
    try:
        compaction = about.get("compaction") or {}
        labels = about.get("thanos", {}).get("labels") or {}
        return Block(
            folder=meta.parent,
            ulid=meta.parent.name,
            first_ms=int(about["minTime"]),
            end_ms=int(about["maxTime"]),
            parents=frozenset(str(p["ulid"]) for p in compaction.get("parents") or ()),
            labels={str(name): str(value) for name, value in labels.items()},
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise TableError(f"{place}: {meta} is no description of a block") from None


def block_files(path: str, place: str) -> list[Path]:
    """List the files that tell one state of the blocks from another: all but the chunks."""
    return [
        file
        for block in find_blocks(path, place)[0]
        for name in ("meta.json", "index", "tombstones")
        if (file := block.folder / name).is_file()
    ]


def read_block(
    block: Block, is_wanted: Callable[[str], bool], passed: Passed, *, place: str = ""
) -> Iterator[Batch]:
    """Give all samples of a block's wanted metrics, staleness markers and NaN included."""
    where = f"{place}: block {block.folder}".removeprefix(": ")
    try:
        index = Index(block.folder / "index")
        dead = _tombstones(block.folder / "tombstones")
        segments = _Segments(block.folder / "chunks")
        waiting: list[IndexedSeries] = []
        chunks = 0
        for series in index.series(is_wanted):
            waiting.append(series)
            chunks += series.chunks.size
            if chunks >= CHUNKS_AT_ONCE:
                yield from _batches(waiting, segments, block, dead, passed)
                waiting, chunks = [], 0
        yield from _batches(waiting, segments, block, dead, passed)
    except BadIndexError as error:
        raise TableError(f"{where}: index: {error}") from None
    except (ChunkError, VarintError, _BadSegmentError) as error:
        raise TableError(f"{where}: {error}") from None
    except OSError as error:
        raise TableError(f"{where}: {error.filename}: {error.strerror}") from None


class _BadSegmentError(ValueError):
    """A segment of chunks that cannot be believed."""


class _Segments:
    """The chunk files of a block, mapped when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open: dict[int, mmap.mmap] = {}

    def segment(self, number: int) -> mmap.mmap:
        if number not in self.open:
            file = self.folder / f"{number + 1:06d}"
            if not file.is_file() or file.stat().st_size < 8:
                raise _BadSegmentError(f"chunks/{file.name} is missing or empty")
            with file.open("rb") as stream:
                data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            if int.from_bytes(data[:4], "big") != SEGMENT_MAGIC or data[4] != 1:
                raise _BadSegmentError(f"chunks/{file.name} is no file of chunks")
            self.open[number] = data
        return self.open[number]

    def chunk(self, reference: int) -> tuple[int, bytes, int]:
        """Give encoding, content with the encoding before it, and checksum of one chunk."""
        number, at = reference >> 32, reference & 0xFFFFFFFF
        data = self.segment(number)
        length, start = read_varint(data[at : at + 5], 0)
        begin, end = at + start, at + start + 1 + length
        if length > LONGEST_CHUNK_BYTES or end + 4 > len(data):
            raise _BadSegmentError(f"chunks/{number + 1:06d}: the chunk at {at} is truncated")
        return data[begin], data[begin:end], int.from_bytes(data[end : end + 4], "big")


def _batches(
    waiting: list[IndexedSeries],
    segments: _Segments,
    block: Block,
    dead: dict[int, list[tuple[int, int]]],
    passed: Passed,
) -> Iterator[Batch]:
    pieces: list[bytes] = []
    sums: list[int] = []
    owners: list[int] = []
    native: list[tuple[int, int, bytes]] = []
    for owner, series in enumerate(waiting):
        for reference in series.chunks.tolist():
            encoding, piece, checksum = segments.chunk(reference)
            pieces.append(piece)
            sums.append(checksum)
            owners.append(owner if encoding == XOR else -1)
            if encoding in READ:
                native.append((owner, encoding, piece))
            elif encoding != XOR:
                _pass_over(encoding, passed)
    if not pieces:
        return
    data = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    offsets = np.cumsum(lengths) - lengths
    wrong = np.flatnonzero(crc32c(data, offsets, lengths) != np.array(sums, dtype=np.uint32))
    if wrong.size:
        raise _BadSegmentError(f"the checksums of {wrong.size} chunks are wrong")
    labels = tuple({**series.labels, **block.labels} for series in waiting)
    yield _numbers(waiting, labels, np.array(owners), (data, offsets, lengths), dead, passed)
    for owner, encoding, piece in native:
        found = decode_native(piece[1:], encoding, labels[owner])
        if found is None:
            passed.chunks["gauge histograms"] = passed.chunks.get("gauge histograms", 0) + 1
        else:
            yield _alive_native(found, dead.get(waiting[owner].reference, ()), passed)


def _numbers(  # noqa: PLR0917 - columns
    waiting: list[IndexedSeries],
    labels: tuple[dict[str, str], ...],
    owner_of: NDArray[np.int64],
    pieces: tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]],
    dead: dict[int, list[tuple[int, int]]],
    passed: Passed,
) -> SampleBatch:
    """Decode the chunks that hold numbers: those with an owner (0 or above)."""
    data, offsets, lengths = pieces
    known = owner_of >= 0
    decoded = decode_chunks(data, offsets[known] + 1, lengths[known] - 1)
    counts = np.bincount(owner_of[known], weights=decoded.counts, minlength=len(waiting))
    batch = SampleBatch(labels, counts.astype(np.int64), decoded.time_ms, decoded.bits)
    if any(series.reference in dead for series in waiting):
        kept = _alive(waiting, batch, dead)
        passed.deleted += int((~kept).sum())
        batch = batch.where(kept)
    return batch


def _alive_native(
    batch: NativeBatch, dead: Sequence[tuple[int, int]], passed: Passed
) -> NativeBatch:
    kept = np.ones(batch.time_ms.size, dtype=bool)
    for first, last in dead:
        kept &= (batch.time_ms < first) | (batch.time_ms > last)
    passed.deleted += int((~kept).sum())
    return batch if kept.all() else batch.where(kept)


def _pass_over(encoding: int, passed: Passed) -> None:
    name = ENCODINGS.get(encoding)
    if name is None:
        raise _BadSegmentError(f"a chunk has the unknown encoding {encoding}")
    name = f"native {name}s" if encoding in HISTOGRAMS else f"encoding {name}"
    passed.chunks[name] = passed.chunks.get(name, 0) + 1


def _alive(
    waiting: list[IndexedSeries], batch: SampleBatch, dead: dict[int, list[tuple[int, int]]]
) -> NDArray[np.bool_]:
    kept = np.ones(batch.time_ms.size, dtype=bool)
    ends = np.cumsum(batch.counts)
    for series, begin, end in zip(waiting, ends - batch.counts, ends, strict=True):
        times = batch.time_ms[begin:end]
        for first, last in dead.get(series.reference, ()):
            kept[begin:end] &= (times < first) | (times > last)
    return kept


def _tombstones(file: Path) -> dict[int, list[tuple[int, int]]]:
    """Read which spans of which series are deleted, both ends included."""
    if not file.is_file():
        return {}
    content = file.read_bytes()
    if len(content) < 9 or int.from_bytes(content[:4], "big") != TOMBSTONE_MAGIC:
        raise _BadSegmentError("tombstones: no list of deletions")
    body, checksum = content[5:-4], int.from_bytes(content[-4:], "big")
    if content[4] != 1 or crc32c_of(body) != checksum:
        raise _BadSegmentError("tombstones: wrong format or checksum")
    numbers = read_varints(np.frombuffer(body, dtype=np.uint8))
    if numbers.size % 3:
        raise _BadSegmentError("tombstones: cut off")
    dead: dict[int, list[tuple[int, int]]] = {}
    times = unzigzag(numbers)
    for reference, first, last in zip(
        numbers[::3].tolist(), times[1::3].tolist(), times[2::3].tolist(), strict=True
    ):
        dead.setdefault(reference, []).append((first, last))
    return dead
