"""Samples on their way from a reader to the store: Parquet parts in bounded memory.

Every reader of Prometheus history yields batches of series; here they get keys, what is no
measurement is set aside and counted, and parts are written whole or not at all.
"""

from __future__ import annotations

import glob
import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from signalstudy.telemetry.chunks import STALE_BITS
from signalstudy.telemetry.columns import EARLIEST_MS, LATEST_MS
from signalstudy.telemetry.native import NativeBatch
from signalstudy.telemetry.native_parts import NATIVE, Expansion, native_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import duckdb
    from numpy.typing import NDArray

FETCHED = "fetched"
"""Where, in a study's folder, parts wait that a server has sent."""
SAMPLES = pa.schema([("key", pa.uint64()), ("time_ms", pa.int64()), ("value", pa.float64())])
SERIES = pa.schema(
    [
        ("key", pa.uint64()),
        ("metric", pa.string()),
        ("le", pa.string()),
        ("labels", pa.string()),
        ("samples", pa.int64()),
        ("stale", pa.int64()),
        ("not_a_number", pa.int64()),
    ]
)
EXPANDED = "expanded"
"""Name of the part that native histograms become."""
ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"})


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """Samples of some series, series after series; a series may go on in a later batch.

    `labels` with `__name__`, `counts` (series,); `time_ms`, `bits` of the values (samples,).
    """

    labels: tuple[Mapping[str, str], ...]
    counts: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    bits: NDArray[np.uint64]

    def between(self, first_ms: int, last_ms: int) -> SampleBatch:
        """Keep what lies in the span, both ends included."""
        kept = (self.time_ms >= first_ms) & (self.time_ms <= last_ms)
        return self if kept.all() else self.where(kept)

    def where(self, kept: NDArray[np.bool_]) -> SampleBatch:
        """Keep the samples for which `kept` is true."""
        owner = np.repeat(np.arange(self.counts.size), self.counts)[kept]
        counts = np.bincount(owner, minlength=self.counts.size).astype(np.int64)
        return SampleBatch(self.labels, counts, self.time_ms[kept], self.bits[kept])


Batch = SampleBatch | NativeBatch
"""What readers give: samples that are numbers, or samples that are histograms."""


def series_text(labels: Mapping[str, str]) -> str:
    """Write a label set as promtool does, so that a dump and its blocks name series alike."""
    inner = ", ".join(f'{name}="{labels[name].translate(ESCAPES)}"' for name in sorted(labels))
    return f"{{{inner}}}"


def series_key(role: str, labels: Mapping[str, str]) -> int:
    """Give the key of a series: a 64-bit hash over all that identifies it."""
    text = f"{role} {series_text(labels)}".encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


@dataclass(slots=True)
class _Counted:
    labels: Mapping[str, str]
    samples: int = 0
    stale: int = 0
    not_a_number: int = 0


class RawParts:
    """Parts of one source in `folder`; what is there already is not written again."""

    def __init__(self, folder: Path, role: str) -> None:
        self.folder = folder
        self.role = role
        self.strange = 0
        folder.mkdir(parents=True, exist_ok=True)

    def holds(self, name: str) -> bool:
        """Whether the part was written, by this run or one before it."""
        return (self.folder / f"{name}.parquet").is_file()

    def write(self, name: str, batches: Iterable[Batch]) -> int:
        """Write one part; gives its number of samples. Nothing is left of a part that fails."""
        target = self.folder / f"{name}.parquet"
        fresh, native = self.folder / f"{name}.fresh", self.folder / f"{name}.fresh-native"
        counted: dict[int, _Counted] = {}
        rows = 0
        try:
            with (
                pq.ParquetWriter(fresh, SAMPLES, compression="zstd") as writer,
                pq.ParquetWriter(native, NATIVE, compression="zstd") as histograms,
            ):
                for batch in batches:
                    if isinstance(batch, NativeBatch):
                        rows += self._append_native(histograms, batch, counted)
                    else:
                        self._append(writer, batch, counted)
            if rows:
                native.rename(self.folder / f"{name}.native")
            self._write_series(name, counted)
            fresh.rename(target)
        finally:
            fresh.unlink(missing_ok=True)
            native.unlink(missing_ok=True)
        return rows + sum(row.samples for row in counted.values())

    def _append_native(
        self, writer: pq.ParquetWriter, batch: NativeBatch, counted: dict[int, _Counted]
    ) -> int:
        strange = (batch.time_ms < EARLIEST_MS) | (batch.time_ms > LATEST_MS)
        self.strange += int(strange.sum())
        table, stale = native_table(batch.where(~strange) if strange.any() else batch)
        writer.write_table(table)
        key = series_key(self.role, batch.labels)
        counted.setdefault(key, _Counted(batch.labels)).stale += stale
        return int(table.num_rows)

    def _append(
        self, writer: pq.ParquetWriter, batch: SampleBatch, counted: dict[int, _Counted]
    ) -> None:
        keys = np.array([series_key(self.role, labels) for labels in batch.labels], np.uint64)
        stale = batch.bits == np.uint64(STALE_BITS)
        values = batch.bits.view(np.float64)
        missing = np.isnan(values)
        strange = (batch.time_ms < EARLIEST_MS) | (batch.time_ms > LATEST_MS)
        self.strange += int(strange.sum())
        owner = np.repeat(np.arange(keys.size), batch.counts)
        of_series = [
            np.bincount(owner[kind], minlength=keys.size)
            for kind in (~missing & ~strange, stale, missing & ~stale)
        ]
        for key, labels, good, old, bad in zip(
            keys.tolist(), batch.labels, *(c.tolist() for c in of_series), strict=True
        ):
            row = counted.setdefault(key, _Counted(labels))
            row.samples += good
            row.stale += old
            row.not_a_number += bad
        kept = ~missing & ~strange
        if kept.any():
            columns = [keys[owner][kept], batch.time_ms[kept], values[kept]]
            writer.write_table(pa.table(columns, schema=SAMPLES))

    def _write_series(self, name: str, counted: dict[int, _Counted]) -> None:
        rows = []
        for key, row in counted.items():
            labels = dict(row.labels)
            metric, le = labels.pop("__name__", ""), labels.pop("le", None)
            said = json.dumps(labels, ensure_ascii=False, sort_keys=True)
            rows.append((key, metric, le, said, row.samples, row.stale, row.not_a_number))
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(SERIES)
        arrays = [pa.array(c, type=f.type) for c, f in zip(columns, SERIES, strict=True)]
        pq.write_table(pa.table(arrays, schema=SERIES), self.folder / f"{name}.series")

    def register(
        self, connection: duckdb.DuckDBPyConnection, number: int, *, is_overlapping: bool = False
    ) -> tuple[str, ...]:
        """Make the views raw_<n> and raw_series_<n>; give notes on what was set aside.

        `is_overlapping`: the same sample may stand in several parts and counts once.
        """
        notes = self._expand()
        distinct = "DISTINCT " * is_overlapping
        connection.execute(
            f"CREATE OR REPLACE TEMP VIEW raw_{number} AS "
            f"SELECT {distinct}key, time_ms, value FROM {self._listed('parquet')}"
        )
        counts = f"(SELECT key, count(*) AS samples FROM raw_{number} GROUP BY key)"
        once = f"SELECT key, any_value(metric) AS metric, any_value(le) AS le, any_value(labels) AS labels, CAST(sum(samples) AS BIGINT) AS samples FROM {self._listed('series')} GROUP BY key HAVING sum(samples) > 0"  # noqa: E501 - one statement
        if is_overlapping:
            once = f"SELECT * REPLACE (counted.samples AS samples) FROM ({once}) AS named INNER JOIN {counts} AS counted USING (key)"  # noqa: E501
        connection.execute(f"CREATE OR REPLACE TEMP TABLE raw_series_{number} AS {once}")
        [(stale, other)] = connection.execute(
            f"SELECT sum(stale), sum(not_a_number) FROM {self._listed('series')}"
        ).fetchall()
        notes += [f"{stale} staleness markers are set aside"] * bool(stale)
        notes += [f"{other} samples are NaN and are set aside"] * bool(other)
        if self.strange:
            notes.append(f"{self.strange} samples are outside the years 1 to 9999 and set aside")
        return tuple(notes)

    def _expand(self) -> list[str]:
        """Write the classic series of native histograms as a part of their own; give notes."""
        for left in self.folder.glob(f"{EXPANDED}.*"):
            left.unlink()
        expansion = Expansion(self.folder, lambda labels: series_key(self.role, labels))
        if not expansion.files:
            return []
        classic: set[int] = set()
        for file in self.folder.glob("*.series"):
            classic.update(pq.read_table(file, columns=["key"]).column(0).to_pylist())
        fresh = self.folder / f"{EXPANDED}.fresh"
        with pq.ParquetWriter(fresh, SAMPLES, compression="zstd") as writer:
            for columns in expansion.tables(classic):
                writer.write_table(pa.table(list(columns), schema=SAMPLES))
        counted = {
            key: _Counted(labels, number)
            for key, (labels, number) in expansion.series.items()
            if number
        }
        self._write_series(EXPANDED, counted)
        fresh.rename(self.folder / f"{EXPANDED}.parquet")
        if not expansion.samples:
            return []
        number = expansion.samples
        return [f"{number} samples of native histograms are read as counts up to bucket edges"]

    def _listed(self, suffix: str) -> str:
        names = sorted(str(path.absolute()) for path in self.folder.glob(f"*.{suffix}"))
        said = ", ".join("'" + glob.escape(name).replace("'", "''") + "'" for name in names)
        return f"read_parquet([{said}])"
