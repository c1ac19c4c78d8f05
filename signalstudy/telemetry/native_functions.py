"""What Prometheus makes of native histograms: rate, increase, quantiles.

For parity with dashboards and checks against servers, as prom_functions.py. Version 2 interpolates
linearly inside a bucket; version 3 does so on a logarithmic scale, but in the zero bucket and in
custom buckets, and looks for a quantile from the nearer end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.telemetry.native import NativeBatch
from signalstudy.telemetry.prom_functions import VERSION_3, extrapolation, windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.telemetry.prom_functions import Rules

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]


def native_increase(
    batch: NativeBatch, at_ms: Integers, window_ms: int, rules: Rules = VERSION_3
) -> NativeBatch:
    """Give the increase of a histogram over the windows that end at `at_ms`, extrapolated.

    Samples by time, staleness markers dropped; `batch` has one layout for all. A decrease of the
    count or of any bucket resets the whole. NaN counts where a window holds less than two samples.
    Only version 3 stops at the zero of the count.
    """
    return _extrapolated(batch, at_ms, window_ms, rules, per_seconds=1.0)


def native_rate(
    batch: NativeBatch, at_ms: Integers, window_ms: int, rules: Rules = VERSION_3
) -> NativeBatch:
    """Give the increase a second over the windows that end at `at_ms`; see `native_increase`."""
    return _extrapolated(batch, at_ms, window_ms, rules, per_seconds=window_ms / 1000.0)


def _extrapolated(
    batch: NativeBatch, at_ms: Integers, window_ms: int, rules: Rules, *, per_seconds: float
) -> NativeBatch:
    columns = np.column_stack([batch.count, batch.total, batch.counts])
    found = np.full((at_ms.size, columns.shape[1]), np.nan)
    first, behind = windows(batch.time_ms, at_ms, window_ms, rules)
    some = np.flatnonzero(behind - first >= 2)
    if some.size:
        i, j = first[some], behind[some] - 1
        fell = np.diff(np.delete(columns, 1, axis=1), axis=0) < 0
        is_reset = fell.any(axis=1, keepdims=True)
        dropped = np.where(is_reset, columns[:-1], 0.0)
        lost = np.cumsum(np.vstack([np.zeros_like(columns[:1]), dropped]), axis=0)
        grown = columns[j] - columns[i] + (lost[j] - lost[i])
        start = columns[i, 0] if rules.is_halved_first else np.full(i.size, np.nan)
        factor = extrapolation(
            batch.time_ms, (i, j), at_ms[some], window_ms, (start, grown[:, 0]), rules
        )
        found[some] = grown * (factor / per_seconds)[:, None]
    count, total, counts = found[:, 0], found[:, 1], found[:, 2:]
    return NativeBatch(
        batch.labels, at_ms, count, total, batch.lower, batch.upper, counts, batch.is_custom
    )


def native_quantile(quantile: float, batch: NativeBatch, rules: Rules = VERSION_3) -> Floats:
    """Give a quantile of each sample (n,); NaN where there is no observation.

    Version 2 knows no custom buckets; they are read as version 3 does.
    """
    size = batch.time_ms.size
    if np.isnan(quantile) or not 0 <= quantile <= 1:
        return np.full(size, np.nan if np.isnan(quantile) else np.copysign(np.inf, quantile))
    order = np.argsort(batch.upper, kind="stable")
    lower, upper = _bounds(batch.lower[order], batch.upper[order], is_custom=batch.is_custom)
    counts = batch.counts[:, order]
    # what is no number is counted, stands in no bucket, and makes the sum none
    backward = np.isfinite(batch.total) & (rules.is_halved_first and quantile >= 0.5)
    rank = np.where(backward, 1 - quantile, quantile) * batch.count
    bucket, reached = _bucket_of(counts, rank, backward)
    low, high = lower[bucket], upper[bucket]
    inside = counts[np.arange(size), bucket]
    reached = np.minimum(reached, batch.count)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(backward, reached - rank, rank - (reached - inside)) / inside
        found = low + (high - low) * share
        if rules.is_halved_first and not batch.is_custom:
            log_low, log_high = np.log2(np.abs(low)), np.log2(np.abs(high))
            up = np.exp2(log_low + (log_high - log_low) * share)
            down = -np.exp2(log_high + (log_low - log_high) * (1 - share))
            found = np.where(low > 0, up, np.where(high < 0, down, found))
    found = np.where(reached < rank, high, found)
    found = np.where(np.isposinf(high), low, np.where(low == high, high, found))
    return np.where(batch.count > 0, found, np.nan)


def _bounds(lower: Floats, upper: Floats, *, is_custom: bool) -> tuple[Floats, Floats]:
    """Give the bounds between which a quantile is looked for: (b,) each.

    The lowest custom bucket begins at zero, or is its edge where that is not above. The zero bucket
    ends at zero on the side where there is no other one.
    """
    if is_custom:
        return np.where(np.isneginf(lower), np.minimum(upper, 0.0), lower), upper
    is_zero = (lower <= 0) & (upper >= 0)
    below, above = bool((upper < 0).any()), bool((lower > 0).any())
    low = np.where(is_zero & (above and not below), 0.0, lower)
    return low, np.where(is_zero & (below and not above), 0.0, upper)


def _bucket_of(
    counts: Floats, rank: Floats, backward: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], Floats]:
    """Find the bucket that holds a rank, counted from either end, and what is counted by then."""
    size, buckets = counts.shape
    rows = np.arange(size)
    found, reached = np.zeros(size, dtype=np.intp), np.zeros(size)
    for is_back in (False, True):
        ahead = counts[:, ::-1] if is_back else counts
        summed = np.cumsum(ahead, axis=1)
        holds = (summed >= rank[:, None]) & (ahead > 0)
        last = buckets - 1 - np.argmax(ahead[:, ::-1] > 0, axis=1)
        place = np.where(holds.any(axis=1), np.argmax(holds, axis=1), last)
        mine = backward == is_back
        found[mine] = (buckets - 1 - place if is_back else place)[mine]
        reached[mine] = summed[rows, place][mine]
    return found, reached
