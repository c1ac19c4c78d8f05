"""Latency signals: quantiles and means from histogram counts or from single requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.timeline.grid import rolling_sum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

QUANTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
FEWEST_OBSERVATIONS = 5
WINDOW_SECONDS = 60.0
STEPS_AT_ONCE = 2048
SMALLEST_SECONDS = 1e-4


def histogram_quantile(edges: Floats, counts: Floats, quantile: float) -> Floats:
    """Give a quantile per step from cumulative bucket counts, as Prometheus does.

    `edges` (e,) ascending upper edges, the last +Inf; `counts` (e, n) cumulative. Linear inside a
    bucket, the lowest from 0 (or flat where its edge is not above 0); a quantile in the +Inf
    bucket gives the last finite edge; counts that fall over the edges are made monotone. NaN
    where nothing was observed or fewer than two buckets exist. (n,)
    """
    number = counts.shape[1] if counts.ndim == 2 else 0
    if edges.size < 2 or not np.isinf(edges[-1]):
        return np.full(number, np.nan)
    return _monotone_quantile(edges, np.maximum.accumulate(counts, axis=0), quantile)


def _monotone_quantile(edges: Floats, cumulative: Floats, quantile: float) -> Floats:
    number = cumulative.shape[1]
    total = cumulative[-1]
    rank = quantile * total
    bucket = np.argmax(cumulative >= rank, axis=0)
    columns = np.arange(number)
    upper = edges[bucket]
    lower = np.where(bucket > 0, edges[np.maximum(bucket - 1, 0)], 0.0)
    before = np.where(bucket > 0, cumulative[np.maximum(bucket - 1, 0), columns], 0.0)
    inside = cumulative[bucket, columns] - before
    with np.errstate(invalid="ignore", divide="ignore"):
        value = lower + (upper - lower) * (rank - before) / inside
    value = np.where((bucket == 0) & (edges[0] <= 0), edges[0], value)
    value = np.where(np.isinf(upper), edges[-2], value)
    return np.where(total > 0, value, np.nan)


def is_top_bucket(edges: Floats, counts: Floats, quantile: float) -> NDArray[np.bool_]:
    """Mark steps whose quantile lies in the +Inf bucket: the value is only a lower bound (n,)."""
    cumulative = np.maximum.accumulate(counts, axis=0)
    total = cumulative[-1]
    if edges.size < 2:
        return np.zeros(counts.shape[1], dtype=np.bool_)
    return np.asarray((total > 0) & (cumulative[-2] < quantile * total))


def over_edge(
    edges: Floats, counts: Floats, limit_seconds: float
) -> tuple[float, float, Floats, Floats]:
    """Count observations over a limit: (edge below, edge above, over the one, over the other).

    Where the limit stands on an edge both are that edge and the counts are exact. `counts` (e, n)
    are cumulative with +Inf last.
    """
    total = counts[-1]
    near = np.isclose(edges, limit_seconds, rtol=1e-9, atol=0.0)
    if near.any():
        at = int(np.argmax(near))
        over = total - counts[at]
        return float(edges[at]), float(edges[at]), over, over
    above = int(np.searchsorted(edges, limit_seconds))
    low = 0.0 if above == 0 else float(edges[above - 1])
    over_below = total if above == 0 else total - counts[above - 1]
    return low, float(edges[above]), over_below, total - counts[above]


def window_quantiles(
    steps: NDArray[np.int64], values: Floats, size: int, window_steps: int
) -> dict[str, Floats]:
    """Give quantiles and mean of single observations over trailing windows, per step.

    `steps` (m,) holds the step index of each observation, `values` theirs. The result has p50,
    p90, p95, p99 and mean, each (size,), NaN where fewer than five were observed. Quantiles are
    taken from a histogram with edges 2 % apart, so that windows are sums and nothing is sorted;
    the histogram is laid out for some steps at a time, so that memory does not follow the span.
    """
    inside = (steps >= 0) & (steps < size)
    steps, values = steps[inside], np.maximum(values[inside], 0.0)
    order = np.argsort(steps, kind="stable")
    steps, values = steps[order], values[order]
    positive = values[values > SMALLEST_SECONDS]
    floor = float(positive.min()) / 1.02 if positive.size else SMALLEST_SECONDS
    top = max(float(values.max(initial=floor)), floor)
    edges = floor * 1.02 ** np.arange(np.ceil(np.log(top / floor) / np.log(1.02)) + 2)
    edges = np.concatenate([[min(SMALLEST_SECONDS, floor / 2.0)], edges, [np.inf]])  # zeros apart
    bins = np.searchsorted(edges, values)
    found = {name: np.full(size, np.nan) for name in (*QUANTILES, "mean")}
    for begin in range(0, size, STEPS_AT_ONCE):
        end = min(begin + STEPS_AT_ONCE, size)
        low = max(begin - window_steps + 1, 0)
        first, last = np.searchsorted(steps, [low, end])
        if first == last:
            continue
        cells = np.zeros((end - low, edges.size))
        np.add.at(cells, (steps[first:last] - low, bins[first:last]), 1.0)
        by_edge: Floats = np.cumsum(cells.T, axis=0, dtype=np.float64)
        cumulative = rolling_sum(by_edge, window_steps)[:, begin - low :]
        observed = cumulative[-1]
        enough = observed >= FEWEST_OBSERVATIONS
        for name, quantile in QUANTILES.items():
            value = _monotone_quantile(edges, cumulative, quantile)
            found[name][begin:end] = np.where(enough, value, np.nan)
        totals = np.bincount(steps[first:last] - low, values[first:last], minlength=end - low)
        sums = rolling_sum(totals.astype(np.float64), window_steps)[begin - low :]
        found["mean"][begin:end] = np.where(enough, sums / np.maximum(observed, 1.0), np.nan)
    return found
