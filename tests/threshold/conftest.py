"""Timelines for the tests of this folder: planted ones, and the recordings of dynamo_offline."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.signal import lfilter
from scipy.stats import norm

from signalstudy.threshold.counts import WorkCounts
from signalstudy.timeline.timeline import (
    Demand,
    PoolTimeline,
    SignalSeries,
    SloCounts,
    Timeline,
)

DATA = Path(__file__).parents[3] / "shared" / "data"


def folder(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"The recording {name} is not beside this checkout.")
    return path


def _totals(samples: pl.DataFrame, pool: str, metric: str, grid: np.ndarray) -> np.ndarray:
    rows = samples.filter((pl.col("metric") == metric) & (pl.col("pool") == pool))
    sums = rows.group_by("timestamp").agg(pl.col("value").sum()).sort("timestamp")
    at = sums["timestamp"].dt.timestamp("ms").to_numpy() / 1000.0
    found = np.full(grid.size, np.nan)
    found[np.searchsorted(grid, at)] = sums["value"].to_numpy()
    return found


def read_run(run: str, role: str, objectives) -> Timeline:
    path = folder(f"dynamo_offline/{run}")
    meta = json.loads((path / "meta.json").read_text())
    step = meta["sample_interval_seconds"]
    metrics = ["vllm:generation_tokens_total", "prefill_uncached_tokens_per_second",
               "waiting_requests", "running_requests", "kv_cache_usage_ratio", "ready_replicas",
               "offered_decode_tokens_per_second", "offered_prefill_tokens_per_second",
               "gpu_utilization_ratio"]  # fmt: skip
    samples = pl.read_parquet(path / "samples.parquet").filter(pl.col("metric").is_in(metrics))
    log = pl.read_parquet(path / "requests.parquet")
    grid = np.unique(samples["timestamp"].dt.timestamp("ms").to_numpy() / 1000.0)
    edges = np.concatenate([[grid[0] - step], grid])

    def per_step(at, weights=None):
        return np.histogram(at, bins=edges, weights=weights)[0].astype(float)

    arrived = log["arrived_at"].dt.timestamp("ms").to_numpy() / 1000.0
    first = arrived + log["ttft_seconds"].to_numpy()
    done = arrived + log["e2e_seconds"].to_numpy()
    latency = {"ttft": (first, log["ttft_seconds"]), "tbt": (done, log["tbt_seconds"]),
               "e2e": (done, log["e2e_seconds"])}  # fmt: skip
    slo = []
    for objective in objectives:
        at, seconds = latency[objective.signal]
        known = seconds.is_not_null().to_numpy()
        over = (seconds.fill_null(0.0) > objective.at_most_seconds).to_numpy()
        k = per_step(at[known & over])
        limit = objective.at_most_seconds
        counts = SloCounts(objective, "gateway", per_step(at[known]), k, k, "log", limit, limit)
        slo.append(counts)
    output = log["output_tokens"].to_numpy().astype(float)
    prompt = (log["prompt_tokens"] - log["cached_prompt_tokens"]).to_numpy().astype(float)
    offered = {"decode": per_step(arrived, output) / step,
               "prefill": per_step(arrived, prompt) / step}  # fmt: skip
    served = {
        "decode": np.concatenate(
            [[np.nan], np.diff(_totals(samples, "decode", metrics[0], grid)) / step]
        ),
        "prefill": _totals(samples, "prefill", metrics[1], grid),
    }
    name = {"decode": "decode_tokens_per_second", "prefill": metrics[1]}
    pools = {}
    for pool in ("prefill", "decode"):
        ready = _totals(samples, pool, "ready_replicas", grid)
        mean = {"kv_cache_usage_ratio", "gpu_utilization_ratio"}
        signals = {name[pool]: SignalSeries(name[pool], "total", served[pool], step)}
        for metric in ("waiting_requests", "running_requests", *sorted(mean)):
            values = _totals(samples, pool, metric, grid)
            kind = "intensive" if metric in mean else "total"
            signals[metric] = SignalSeries(
                metric, kind, values / ready if metric in mean else values
            )
        pools[pool] = PoolTimeline(
            pool, ready, np.zeros(grid.size), signals, Demand(offered[pool], "requests"),
            served[pool],
        )  # fmt: skip
    mix = np.divide(offered["prefill"], offered["decode"], out=np.full(grid.size, np.nan),
                    where=offered["decode"] > 0)  # fmt: skip
    return Timeline(
        run, role, grid, step, pools, tuple(slo), np.ones(grid.size, dtype=bool), mix,
        np.full(grid.size, np.nan), np.empty(0),
    )  # fmt: skip


@pytest.fixture(scope="session")
def recorded_run():
    """Give a function: run name, role, objectives -> Timeline; each is read once."""
    cache = {}

    def recorded(run, role, objectives):
        key = (run, role, tuple(objectives))
        if key not in cache:
            cache[key] = read_run(run, role, objectives)
        return cache[key]

    return recorded


@pytest.fixture(scope="session")
def recordings():
    """Give a function: name -> its folder beside the checkout; skips where it is not there."""
    return folder


def autoregressive(generator, size, bin_seconds, memory_seconds, deviation):
    keep = np.exp(-bin_seconds / memory_seconds)
    shocks = generator.standard_normal(size) * deviation * np.sqrt(1 - keep**2)
    return lfilter([1.0], [1.0, -keep], shocks)


TRUE_CAPACITY = (1 - 0.020 / (0.05 / np.exp(1.6449 * np.hypot(0.25, 0.12)))) / 0.00025
"""Where 5 % of requests exceed 50 ms in the simulation of methods 13."""


def planted_counts(seed, *, days=14, reach=1.25, bin_seconds=60.0):
    """Draw counts of methods 13: TBT = a / (1 - b x), lognormal spread, a daily rhythm of work.

    `reach`: peak work over the true capacity. 300 requests a minute.
    """
    generator = np.random.default_rng(seed)
    size = int(days * 86_400 / bin_seconds)
    time_seconds = np.arange(1, size + 1) * bin_seconds
    daily = 0.55 - 0.45 * np.cos(2 * np.pi * time_seconds / 86_400)
    bursts = 1 + autoregressive(generator, size, bin_seconds, 120.0, 0.05)
    work = np.clip(reach * TRUE_CAPACITY * daily * bursts, 20.0, 0.97 / 0.00025)
    minute = autoregressive(generator, size, bin_seconds, 1800.0, 0.12)
    median_seconds = 0.020 / (1 - 0.00025 * work)
    chance = norm.sf((np.log(0.05 / median_seconds) - minute) / 0.25)
    observed = generator.poisson(5.0 * bin_seconds, size).astype(float)
    over = generator.binomial(observed.astype(int), chance).astype(float)
    return WorkCounts(time_seconds, bin_seconds, work, observed, over, over)


@pytest.fixture(scope="session")
def planted():
    """Give the function that makes counts with a known capacity."""
    return planted_counts


@pytest.fixture(scope="session")
def true_capacity():
    return TRUE_CAPACITY


def pool_of(name, work, replicas, *, demand=None, signals=None, total="decode_tokens_per_second"):
    """One pool that serves `work` per replica."""
    served = np.asarray(work) * replicas
    series = {total: SignalSeries(total, "total", served)}
    series |= signals or {}
    offered = Demand(served if demand is None else demand, "requests")
    return PoolTimeline(
        name, np.asarray(replicas, float), np.zeros(served.size), series, offered, served
    )


def timeline_of(pools, slo, *, step=60.0, role="production", mix=None, events=(), startups=()):
    size = next(iter(pools.values())).ready_replicas.size
    unknown = np.full(size, np.nan)
    return Timeline(
        "planted", role, np.arange(1, size + 1) * step, step, pools, tuple(slo),
        np.ones(size, dtype=bool), unknown if mix is None else mix, unknown,
        np.asarray(startups, dtype=float), events,
    )  # fmt: skip


def slo_of(objective, observed, over, *, over_low=None, pool="gateway", edges=None):
    low, high = edges or (objective.at_most_seconds,) * 2
    least = over if over_low is None else over_low
    return SloCounts(objective, pool, observed, least, over, "planted", low, high)


@pytest.fixture(scope="session")
def build():
    """Give the makers of planted nouns: build.pool, build.timeline, build.slo."""

    class Build:
        pool = staticmethod(pool_of)
        timeline = staticmethod(timeline_of)
        slo = staticmethod(slo_of)

    return Build
