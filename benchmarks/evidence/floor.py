"""The floor: one DuckDB scan of what the store holds, and the Fourier transforms evidence needs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import duckdb
import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

if TYPE_CHECKING:
    from pathlib import Path

SIGNALS, REFERENCES = 12, 2
"""A pool's signals, and what they are judged against: demand, and demand per replica."""
STEPS = 60480
BLOCKS, LAGS = 84, 60
REPEATS = 5


def scan_seconds(store: Path) -> float:
    """CPU seconds of one scan of every column of every part of a store."""
    begin = time.process_time()
    files = [str(file) for file in sorted((store / "telemetry").glob("*/[0-9]*.parquet"))]
    duckdb.connect().sql(
        "SELECT max(COLUMNS(*)) FROM read_parquet($files)", params={"files": files}
    ).fetchall()
    return time.process_time() - begin


def transform_seconds() -> float:
    """CPU seconds of the transforms that one pool of a week needs, batched; the best of five.

    Of all series: circular ones for lags and their null, padded ones for the autocorrelations of
    the series and of what is faster than an hour. Of each signal with its reference: the
    cross-correlation of the record, and of each block of two hours with 10 min on both sides.
    """
    rng = np.random.default_rng(0)
    series = rng.standard_normal((SIGNALS + REFERENCES, STEPS))
    padded = next_fast_len(STEPS + STEPS // 2, real=True)
    reach = next_fast_len(STEPS // BLOCKS + 2 * LAGS, real=True)
    blocks = rng.standard_normal((SIGNALS + REFERENCES, BLOCKS, reach))

    def transform() -> None:
        crossed = rfft(series, axis=1)[:SIGNALS]
        irfft(crossed, STEPS, axis=1)
        for _ in range(2):
            irfft(rfft(series, padded, axis=1), padded, axis=1)
        irfft(rfft(blocks, axis=2)[:SIGNALS], reach, axis=2)

    taken = []
    for _ in range(REPEATS):
        begin = time.process_time()
        transform()
        taken.append(time.process_time() - begin)
    return min(taken)
