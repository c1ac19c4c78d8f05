"""RawSource: one source in the raw form every reader leaves behind.

A reader makes two DuckDB views: `raw_<n>` (key, time_ms, value), one row a sample, and
`raw_series_<n>` (key, metric, le, labels as JSON, samples), one row a series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class RawSource:
    """What a reader found.

    `form`: long, wide, requests, points, or the kind of history. `origin`: the address it came
    from, where that is no file.
    """

    number: int
    role: str
    form: str
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    skipped_lines: int = 0
    origin: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Name the files, or the address, for people."""
        return (self.origin,) if self.origin else tuple(str(file) for file in self.files)
