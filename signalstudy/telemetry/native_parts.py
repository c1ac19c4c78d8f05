"""Parts of native histograms, and what becomes of them: the series that a classic one has.

Which edges a metric has is known only when all its samples are: then the parts are read again, a
few thousand samples at a time, and written as cumulative counts. So the result does not depend on
how the history was cut, nor on the order in which it came.
"""

from __future__ import annotations

import glob
import json
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from signalstudy.telemetry.chunks import STALE_BITS
from signalstudy.telemetry.native import NativeBatch, cumulative, edges_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SAMPLES_AT_ONCE = 2_000
NATIVE = pa.schema(
    [
        ("labels", pa.string()),
        ("metric", pa.string()),
        ("time_ms", pa.int64()),
        ("count", pa.float64()),
        ("total", pa.float64()),
        ("lower", pa.list_(pa.float64())),
        ("upper", pa.list_(pa.float64())),
        ("counts", pa.list_(pa.float64())),
    ]
)


def native_table(batch: NativeBatch) -> tuple[pa.Table, int]:
    """Give the samples as rows with their populated buckets; how many were staleness markers."""
    stale = batch.total.view(np.uint64) == np.uint64(STALE_BITS)
    batch = batch.from_zero()
    batch = batch.where(~stale) if stale.any() else batch
    row, bucket = np.nonzero(batch.counts)
    ends = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=batch.time_ms.size))])
    said = json.dumps(dict(batch.labels), ensure_ascii=False, sort_keys=True)
    size = batch.time_ms.size
    lists = [
        pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values, pa.float64()))
        for values in (batch.lower[bucket], batch.upper[bucket], batch.counts[row, bucket])
    ]
    columns = [
        pa.array([said] * size, pa.string()),
        pa.array([batch.labels.get("__name__", "")] * size, pa.string()),
        batch.time_ms,
        batch.count,
        batch.total,
        *lists,
    ]
    return pa.table(columns, schema=NATIVE), int(stale.sum())


class Expansion:
    """Writes the classic series of all native parts in a folder; `key_of` names a series."""

    def __init__(self, folder: Path, key_of: Callable[[Mapping[str, str]], int]) -> None:
        self.files = sorted(folder.glob("*.native"))
        self.key_of = key_of
        self.edges = self._edges() if self.files else {}
        self.series: dict[int, tuple[dict[str, str], int]] = {}
        self.samples = 0
        self._known: dict[str, NDArray[np.uint64]] = {}

    def _edges(self) -> dict[str, Floats]:
        names = ", ".join("'" + glob.escape(str(f)).replace("'", "''") + "'" for f in self.files)
        with duckdb.connect() as connection:
            rows = connection.execute(
                "SELECT metric, lower, upper FROM (SELECT metric, unnest(lower) AS lower, "
                f"unnest(upper) AS upper FROM read_parquet([{names}])) GROUP BY ALL"
            ).fetchall()
            named = connection.execute(
                f"SELECT DISTINCT metric FROM read_parquet([{names}])"
            ).fetchall()
        pairs: dict[str, list[tuple[float, float]]] = {metric: [] for (metric,) in named}
        for metric, lower, upper in rows:
            pairs[metric].append((lower, upper))
        return {
            metric: edges_of((low for low, _ in found), (high for _, high in found))
            for metric, found in pairs.items()
        }

    def tables(
        self, classic: set[int]
    ) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64], Floats]]:
        """Give keys, times and values of the series; none where `classic` has the same already."""
        for file in self.files:
            for batch in pq.ParquetFile(file).iter_batches(SAMPLES_AT_ONCE):
                labels = batch.column("labels").to_pylist()
                for text in dict.fromkeys(labels):
                    which = np.flatnonzero(np.array([found == text for found in labels]))
                    yield from self._of(text, batch.take(pa.array(which)), classic)

    def _of(
        self, text: str, batch: pa.RecordBatch, classic: set[int]
    ) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64], Floats]]:
        labels: dict[str, str] = json.loads(text)
        edges = self.edges[labels["__name__"]]
        if text not in self._known:
            self._known[text] = self._keys(labels, edges)
        keys = self._known[text]
        if int(keys[-2]) in classic:
            return
        native = _read(labels, batch)
        counts = cumulative(native, edges)
        values = np.column_stack([counts, native.count, native.total])
        size = native.time_ms.size
        self.samples += size
        for key in keys.tolist():
            found, number = self.series[key]
            self.series[key] = (found, number + size)
        yield np.repeat(keys, size), np.tile(native.time_ms, keys.size), values.T.ravel()

    def _keys(self, labels: Mapping[str, str], edges: Floats) -> NDArray[np.uint64]:
        """Give the keys of the buckets, the count and the sum, in this order."""
        base = labels["__name__"]
        made = [
            {**labels, "__name__": f"{base}_bucket", "le": le}
            for le in [*(f"{edge:.12g}" for edge in edges), "+Inf"]
        ]
        made += [{**labels, "__name__": f"{base}{part}"} for part in ("_count", "_sum")]
        keys = [self.key_of(one) for one in made]
        self.series.update({key: (one, 0) for key, one in zip(keys, made, strict=True)})
        return np.array(keys, dtype=np.uint64)


def _read(labels: Mapping[str, str], batch: pa.RecordBatch) -> NativeBatch:
    """Read rows of one series back, on all the bounds that any of them has."""
    lists = batch.column("upper")
    size = np.diff(lists.offsets.to_numpy())
    row = np.repeat(np.arange(batch.num_rows), size)
    flat = {name: batch.column(name).flatten().to_numpy() for name in ("lower", "upper", "counts")}
    bounds = np.column_stack([flat["lower"], flat["upper"]])
    unique, which = np.unique(bounds, axis=0, return_inverse=True)
    counts = np.zeros((batch.num_rows, unique.shape[0]))
    np.add.at(counts, (row, which.reshape(-1)), flat["counts"])
    return NativeBatch(
        labels,
        batch.column("time_ms").to_numpy(),
        batch.column("count").to_numpy(),
        batch.column("total").to_numpy(),
        unique[:, 0],
        unique[:, 1],
        counts,
    )
