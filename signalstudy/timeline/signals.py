"""The candidate signals of a pool, on the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.timeline.grid import Samples, combine_gauges, rolling_sum, sum_of_counts
from signalstudy.timeline.latency import (
    FEWEST_OBSERVATIONS,
    QUANTILES,
    WINDOW_SECONDS,
    histogram_quantile,
)
from signalstudy.timeline.timeline import SignalSeries
from signalstudy.vocabulary.signals import quantities, signals
from signalstudy.vocabulary.units import UNIT_OF_SUFFIX, unit_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.timeline.gathered import Gathered

    Floats = NDArray[np.float64]

LATENCIES = ("ttft", "tbt", "e2e", "queue_wait")
# Where an engine has no counter, the sum of a histogram of lengths is one.
COUNTED_BY_LENGTHS = {
    "prefill_tokens_per_second": "prompt_tokens_per_request_sum",
    "prefill_uncached_tokens_per_second": "uncached_prompt_tokens_per_request_sum",
    "decode_tokens_per_second": "output_tokens_per_request_sum",
}
CACHED = ("prompt_tokens_cached", "cached_prompt_tokens_per_request_sum", "prefix_cache_hits")


def signals_of(gathered: Gathered, pool: str) -> dict[str, SignalSeries]:
    """Make every candidate signal of a pool that the data hold, by canonical name."""
    found: dict[str, SignalSeries] = {}
    for owner, quantity in gathered.series:
        if owner != pool:
            continue
        signal = _rate(gathered, pool, quantity) or _gauge(gathered, pool, quantity)
        if signal is not None:
            found.setdefault(signal.name, signal)
    for name, quantity in COUNTED_BY_LENGTHS.items():
        if name not in found and gathered.samples(pool, quantity):
            found[name] = _from_counts(gathered, pool, quantity, name)
    uncached = _uncached(gathered, pool)
    if uncached is not None:
        found.setdefault(uncached.name, uncached)
    ratio = _hit_ratio(gathered, pool)
    if ratio is not None:
        found[ratio.name] = ratio
    own = [name for owner, name in gathered.buckets if owner == pool and name not in quantities()]
    for family in (*LATENCIES, *own):
        for signal in _latencies(gathered, pool, family):
            found.setdefault(signal.name, signal)
    return found


def counts_of(gathered: Gathered, pool: str, quantity: str) -> Floats | None:
    """Sum a counted quantity of a pool by step (n,), None where nobody counts it."""
    series = gathered.samples(pool, quantity)
    return sum_of_counts(series, gathered.grid) if series else None


def _cadence(gathered: Gathered, pool: str, quantity: str) -> float:
    series = gathered.samples(pool, quantity)
    return float(np.median([s.cadence_seconds for s in series])) if series else 0.0


def _from_counts(gathered: Gathered, pool: str, quantity: str, name: str) -> SignalSeries:
    step = gathered.grid.step_seconds
    counts = sum_of_counts(gathered.samples(pool, quantity), gathered.grid)
    cadence = _cadence(gathered, pool, quantity)
    return SignalSeries(
        name=name,
        kind="total",
        values=counts / step,
        averaged_seconds=max(step, cadence),
        scrape_seconds=cadence,
        source=gathered.metrics(pool, quantity),
        unit=unit_of(name),
    )


def _rate(gathered: Gathered, pool: str, quantity: str) -> SignalSeries | None:
    """Make the rate of a counted quantity, or of an own column that is one."""
    rows = gathered.series[(pool, quantity)]
    if rows[0][0].form == "gauge":
        return None
    known = quantities().get(quantity)
    name = known.signal if known is not None else quantity
    if known is None and (quantity.endswith(("_sum", "_count")) or quantity in signals()):
        return None
    if not name.endswith("_per_second"):
        if known is not None:
            return None
        name = f"{name}_per_second"
    if name in signals() and not signals()[name].is_candidate:
        return None
    return _from_counts(gathered, pool, quantity, name)


def _gauge(gathered: Gathered, pool: str, quantity: str) -> SignalSeries | None:
    rows = gathered.series[(pool, quantity)]
    known = signals().get(quantity)
    if rows[0][0].form != "gauge" or (known is not None and not known.is_candidate):
        return None
    is_total = rows[0][0].kind == "total"
    series = [samples for _, samples in rows]
    refresh = max((_refresh(s) for s in series), default=0.0) if rows[0][0].scope == "gpu" else 0.0
    return SignalSeries(
        name=quantity,
        kind="total" if is_total else "intensive",
        values=combine_gauges(series, gathered.grid, total=is_total),
        scrape_seconds=_cadence(gathered, pool, quantity),
        refresh_seconds=refresh,
        source=gathered.metrics(pool, quantity),
        unit=unit_of(quantity) if known is not None else "",
    )


def _refresh(samples: Samples) -> float:
    """Estimate how often an exporter renews its value: the median run of equal values, in seconds.

    A staircase of two samples or more a step betrays an exporter slower than the scrape; 0 where
    there is none, or where too little changes to tell.
    """
    values, times = samples.values, samples.time_seconds
    changes = np.flatnonzero(np.diff(values) != 0)
    if changes.size < 10:
        return 0.0
    runs = np.diff(times[changes + 1])
    typical = float(np.median(runs))
    return typical if typical >= 1.5 * samples.cadence_seconds else 0.0


def _uncached(gathered: Gathered, pool: str) -> SignalSeries | None:
    """Derive uncached prompt tokens: all less those found in the cache, where both are tokens."""
    name = "prefill_uncached_tokens_per_second"
    if gathered.samples(pool, "prefill_uncached_tokens"):
        return None
    for whole in ("prefill_tokens", "prompt_tokens_per_request_sum"):
        for part in CACHED:
            if not (gathered.samples(pool, whole) and gathered.samples(pool, part)):
                continue
            if "gpu_prefix_cache" in gathered.metrics(pool, part):
                continue  # blocks, not tokens
            every = _from_counts(gathered, pool, whole, name)
            cached = _from_counts(gathered, pool, part, name)
            return SignalSeries(
                name=name,
                kind="total",
                values=np.maximum(every.values - cached.values, 0.0),
                averaged_seconds=every.averaged_seconds,
                scrape_seconds=every.scrape_seconds,
                source=f"{every.source} - {cached.source}",
                unit=every.unit,
            )
    return None


def _window_steps(gathered: Gathered, cadence: float) -> int:
    """Choose the trailing window of ratios and quantiles: a minute, less for short recordings."""
    grid = gathered.grid
    span = grid.size * grid.step_seconds
    wanted = max(min(WINDOW_SECONDS, span / 20.0), cadence, grid.step_seconds)
    return max(round(wanted / grid.step_seconds), 1)


def _hit_ratio(gathered: Gathered, pool: str) -> SignalSeries | None:
    hits = counts_of(gathered, pool, "prefix_cache_hits")
    asked = counts_of(gathered, pool, "prefix_cache_queries")
    if hits is None or asked is None:
        return None
    cadence = _cadence(gathered, pool, "prefix_cache_hits")
    steps = _window_steps(gathered, cadence)
    over = rolling_sum(asked, steps)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.clip(rolling_sum(hits, steps) / over, 0.0, 1.0)
    return SignalSeries(
        name="prefix_cache_hit_ratio",
        kind="intensive",
        values=np.where(np.isfinite(asked) & (over > 0), values, np.nan),
        averaged_seconds=steps * gathered.grid.step_seconds,
        scrape_seconds=cadence,
        source=f"{gathered.metrics(pool, 'prefix_cache_hits')} / "
        f"{gathered.metrics(pool, 'prefix_cache_queries')}",
        unit="ratio",
    )


def _latencies(gathered: Gathered, pool: str, family: str) -> list[SignalSeries]:
    """Make quantiles from buckets and the mean from sum and count, over a trailing window.

    `family` is a latency of the catalogue, or a histogram of the user's own.
    """
    made: dict[str, Floats] = {}
    cadence = _cadence(gathered, pool, f"{family}_sum")
    buckets = gathered.buckets.get((pool, family))
    cadence = max(cadence, buckets.cadence_seconds if buckets else 0.0)
    steps = _window_steps(gathered, cadence)
    if buckets is not None:
        counts = rolling_sum(buckets.counts, steps)
        enough = counts[-1] >= FEWEST_OBSERVATIONS
        for name, quantile in QUANTILES.items():
            value = histogram_quantile(buckets.edges, counts, quantile)
            made[name] = np.where(enough, value, np.nan)
    total = counts_of(gathered, pool, f"{family}_sum")
    number = counts_of(gathered, pool, f"{family}_count")
    if number is None and total is not None:
        number = counts_of(gathered, pool, "finished_requests")
    if total is not None and number is not None:
        observed = rolling_sum(number, steps)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = rolling_sum(total, steps) / observed
        made["mean"] = np.where((observed > 0.5) & np.isfinite(number), mean, np.nan)
    metric = gathered.metrics(pool, f"{family}_sum").replace("_sum", "")
    stem, unit = (family, "seconds") if family in quantities() else _stem_and_unit(family)
    return [
        SignalSeries(
            name=f"{stem}_{name}_{unit}".rstrip("_"),
            kind="intensive",
            values=values,
            averaged_seconds=steps * gathered.grid.step_seconds,
            scrape_seconds=cadence,
            source=metric or "histogram",
            unit=unit,
        )
        for name, values in made.items()
    ]


def _stem_and_unit(name: str) -> tuple[str, str]:
    """Part an own histogram's name: `tool_wait_seconds` gives `tool_wait_p99_seconds`."""
    stem, _, unit = name.rpartition("_")
    return (stem, unit) if stem and unit in UNIT_OF_SUFFIX else (name, "")
