"""The index of a Prometheus TSDB block (format 2): which series it holds, and where their chunks.

Layout: header, symbols, series, postings and a table of their places, found through the table of
contents at the end. Each part carries its CRC32C, which is checked before anything is believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.telemetry.checksums import crc32c, crc32c_of
from signalstudy.telemetry.varints import VarintError, read_varint, read_varints, unzigzag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

MAGIC, VERSION = 0xBAAAD700, 2
CONTENTS_BYTES = 6 * 8 + 4
SERIES_ALIGNMENT = 16
SERIES_AT_ONCE = 4096


class BadIndexError(ValueError):
    """An index that cannot be believed."""


@dataclass(frozen=True, slots=True)
class IndexedSeries:
    """One series of a block: its labels and its chunks' places, oldest first."""

    reference: int
    labels: dict[str, str]
    chunks: NDArray[np.uint64]


def _number(content: bytes | memoryview, at: int, width: int) -> int:
    if at < 0 or at + width > len(content):
        raise BadIndexError("it is truncated")
    return int.from_bytes(content[at : at + width], "big")


class Index:
    """One index, read into memory as a whole."""

    def __init__(self, path: Path) -> None:
        self.content = memoryview(path.read_bytes())
        self._symbols: list[str] | None = None
        if len(self.content) < 5 + CONTENTS_BYTES or _number(self.content, 0, 4) != MAGIC:
            raise BadIndexError("it is no index of a TSDB block")
        if self.content[4] != VERSION:
            raise BadIndexError(f"its format is {self.content[4]}; read is format {VERSION}")
        table = self.content[-CONTENTS_BYTES:]
        if crc32c_of(bytes(table[:-4])) != _number(table, CONTENTS_BYTES - 4, 4):
            raise BadIndexError("the checksum of its table of contents is wrong")
        self.places = [_number(table, 8 * i, 8) for i in range(6)]

    def series(self, is_wanted: Callable[[str], bool]) -> Iterator[IndexedSeries]:
        """Give the series of all metrics whose name `is_wanted`, in the order of their chunks."""
        try:
            references = [
                reference
                for name, place in self._metric_postings()
                if is_wanted(name)
                for reference in self._postings(place)
            ]
            ordered = sorted(set(references))
            for begin in range(0, len(ordered), SERIES_AT_ONCE):
                yield from self._series(ordered[begin : begin + SERIES_AT_ONCE])
        except VarintError as error:
            raise BadIndexError(str(error)) from None

    def _section(self, at: int) -> memoryview:
        """Give what stands between a length of four bytes and its checksum."""
        length = _number(self.content, at, 4)
        body = self.content[at + 4 : at + 4 + length]
        if crc32c_of(bytes(body)) != _number(self.content, at + 4 + length, 4):
            raise BadIndexError(f"the checksum of the part at {at} is wrong")
        return body

    @property
    def symbols(self) -> list[str]:
        """Every text of the index by its number."""
        if self._symbols is None:
            body = self._section(self.places[0])
            count, at, found = _number(body, 0, 4), 4, []
            for _ in range(count):
                text, at = _text(body, at)
                found.append(text)
            self._symbols = found
        return self._symbols

    def _metric_postings(self) -> Iterator[tuple[str, int]]:
        """Give each metric's name and the place of the list of its series."""
        body = self._section(self.places[5])
        count, at = _number(body, 0, 4), 4
        for _ in range(count):
            parts, at = read_varint(body, at)
            if parts != 2:
                raise BadIndexError("its table of postings holds an entry that is no pair")
            name, at = _text(body, at)
            value, at = _text(body, at)
            place, at = read_varint(body, at)
            if name == "__name__":
                yield value, place

    def _postings(self, at: int) -> list[int]:
        body = self._section(at)
        count = _number(body, 0, 4)
        if len(body) != 4 + 4 * count:
            raise BadIndexError(f"the list of series at {at} has another length than it says")
        found: list[int] = np.frombuffer(body[4:], dtype=">u4").tolist()
        return found

    def _series(self, references: list[int]) -> Iterator[IndexedSeries]:
        """Read some series together: a series is a length, nothing but varints, a checksum."""
        begins, lengths, sums = [], [], []
        for reference in references:
            length, at = read_varint(self.content, reference * SERIES_ALIGNMENT)
            if length == 0 or at + length + 4 > len(self.content):
                raise BadIndexError(f"series {reference} is empty or longer than the index")
            begins.append(at)
            lengths.append(length)
            sums.append(_number(self.content, at + length, 4))
        data = np.frombuffer(self.content, dtype=np.uint8)
        found = crc32c(data, np.array(begins), np.array(lengths))
        wrong = np.flatnonzero(found != np.array(sums, dtype=np.uint32))
        if wrong.size:
            raise BadIndexError(f"the checksum of series {references[int(wrong[0])]} is wrong")
        bodies = [self.content[at : at + n] for at, n in zip(begins, lengths, strict=True)]
        joined = np.frombuffer(b"".join(bodies), dtype=np.uint8)
        ends = np.cumsum(lengths)
        if (joined[ends - 1] >= 128).any():
            raise BadIndexError("a series ends inside a number")
        numbers = read_varints(joined)
        behind = np.cumsum(joined < 128)[ends - 1].tolist()
        for reference, begin, end in zip(references, [0, *behind[:-1]], behind, strict=True):
            yield self._one_series(reference, numbers[begin:end])

    def _one_series(self, reference: int, numbers: NDArray[np.uint64]) -> IndexedSeries:
        """Understand the numbers of one series: pairs of symbols, then chunks."""
        chunks_at = 1 + 2 * int(numbers[0])
        if numbers.size <= chunks_at or numbers.size != chunks_at + 1 + 3 * int(numbers[chunks_at]):
            raise BadIndexError(f"series {reference} has another length than it says")
        said = [self._symbol(number) for number in numbers[1:chunks_at].tolist()]
        labels = dict(zip(said[::2], said[1::2], strict=True))
        # A chunk is three numbers: its start, its length, its place; all but the first are steps.
        steps = numbers[chunks_at + 3 :: 3]
        places = np.concatenate([steps[:1], unzigzag(steps[1:]).view(np.uint64)])
        chunks: NDArray[np.uint64] = np.cumsum(places, dtype=np.uint64)
        return IndexedSeries(reference, labels, chunks)

    def _symbol(self, number: int) -> str:
        if number >= len(self.symbols):
            raise BadIndexError(f"there is no symbol {number}")
        return self.symbols[number]


def _text(body: memoryview, at: int) -> tuple[str, int]:
    length, at = read_varint(body, at)
    if at + length > len(body):
        raise BadIndexError("a text is cut off")
    return bytes(body[at : at + length]).decode("utf-8", errors="replace"), at + length
