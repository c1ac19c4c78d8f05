"""What was wrong with the samples of each series, counted while they pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

GAP_INTERVALS = 2.5  # an interval longer than this many usual ones is a gap (ingestion.md 2)
INTERVAL_BITS = np.uint64(42)  # 139 years in milliseconds; the rest tells four million series
LONGEST_MS = (1 << 42) - 1
MERGED_AT = 2_000_000


class SeriesCounts:
    """Counts by series, each an array (series,); intervals as (series, milliseconds) -> number.

    Intervals of one series take few values, so that their exact median needs little memory.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.intervals = 0
        self.named = {
            name: np.zeros(size, dtype=np.int64)
            for name in ("copies", "conflicts", "resets", "repeats", "changes")
        }
        self.first_ms = np.full(size, np.iinfo(np.int64).max)
        self.last_ms = np.full(size, np.iinfo(np.int64).min)
        self._seen: list[tuple[NDArray[np.uint64], Integers]] = []
        self._waiting = 0

    def add_copies(
        self, place: Integers, time_ms: Integers, twice: Flags, *, differs: Flags
    ) -> None:
        """Count samples that another one follows at the same instant of the same series."""
        self._add("copies", place[1:][twice])
        # an instant is in conflict once, however many values it has
        bad = np.flatnonzero(twice & differs)
        instants = np.unique(np.stack([place[bad], time_ms[bad]]), axis=1)
        self._add("conflicts", instants[0])

    def add(
        self,
        place: Integers,
        time_ms: Integers,
        interval_ms: Integers,
        is_reset: Flags,
        change: Floats,
    ) -> None:
        """Count samples in order, at least one; `interval_ms` is below 0 where none came before."""
        self._add("resets", place[is_reset])
        self._add("repeats", place[change == 0])
        self._add("changes", place[(change != 0) & ~np.isnan(change)])
        turns = np.flatnonzero(np.diff(place) != 0)
        first, last = np.append(0, turns + 1), np.append(turns, place.size - 1)
        self.first_ms[place[first]] = np.minimum(self.first_ms[place[first]], time_ms[first])
        self.last_ms[place[last]] = np.maximum(self.last_ms[place[last]], time_ms[last])
        follows = interval_ms >= 0
        self.intervals += int(follows.sum())
        span = np.minimum(interval_ms[follows], LONGEST_MS).astype(np.uint64)
        pair = (place[follows].astype(np.uint64) << INTERVAL_BITS) | span
        # most series are scraped at a steady pace: runs of one interval are counted at once
        begin = np.flatnonzero(np.concatenate([[True], np.diff(pair) != 0])[: pair.size])
        seen, which = np.unique(pair[begin], return_inverse=True)
        runs = np.diff(np.append(begin, pair.size))
        number = np.bincount(which, weights=runs, minlength=seen.size).astype(np.int64)
        self._seen.append((seen, number))
        self._waiting += seen.size
        if self._waiting > MERGED_AT:
            self._merged()

    def _add(self, name: str, places: Integers) -> None:
        if places.size:
            low, high = int(places[0]), int(places[-1]) + 1
            self.named[name][low:high] += np.bincount(places - low, minlength=high - low)

    def _merged(self) -> tuple[NDArray[np.uint64], Integers]:
        if not self._seen:
            return np.zeros(0, np.uint64), np.zeros(0, np.int64)
        every = np.concatenate([seen for seen, _ in self._seen])
        number = np.concatenate([number for _, number in self._seen])
        seen, which = np.unique(every, return_inverse=True)
        summed = np.bincount(which, weights=number, minlength=seen.size).astype(np.int64)
        self._seen = [(seen, summed)]
        self._waiting = 0
        return seen, summed

    def facts(self, keys: NDArray[np.uint64]) -> pl.DataFrame:
        """Give a row a series that had samples: the fields of SeriesFacts."""
        cadence, gaps = self._cadences()
        had = self.first_ms <= self.last_ms
        columns = {
            "key": keys,
            "copies": self.named["copies"],
            "conflicts": self.named["conflicts"],
            "gaps": gaps,
            "resets": self.named["resets"],
            "first_ms": self.first_ms,
            "last_ms": self.last_ms,
            "cadence_ms": cadence,
            "repeats": self.named["repeats"],
            "changes": self.named["changes"],
        }
        frame = pl.DataFrame({name: column[had] for name, column in columns.items()})
        return frame.with_columns(pl.col("cadence_ms").fill_nan(None))

    def _cadences(self) -> tuple[Floats, Integers]:
        """Give the median interval of each series, NaN where it has none, and its gaps."""
        seen, number = self._merged()
        place = (seen >> INTERVAL_BITS).astype(np.int64)
        span = (seen & np.uint64(LONGEST_MS)).astype(np.float64)
        behind = np.cumsum(number)
        total = np.bincount(place, weights=number, minlength=self.size).astype(np.int64)
        begin = np.cumsum(total) - total
        cadence = np.full(self.size, np.nan)
        some = np.flatnonzero(total)
        middles = [begin[some] + (total[some] - 1) // 2, begin[some] + total[some] // 2]
        low, high = (span[np.searchsorted(behind, middle, side="right")] for middle in middles)
        cadence[some] = (low + high) / 2.0
        is_gap = span > GAP_INTERVALS * cadence[place]
        gaps = np.bincount(place[is_gap], weights=number[is_gap], minlength=self.size)
        return cadence, gaps.astype(np.int64)
