"""What is true of the sample: the knees, found by runs at constant rates, and the planted day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from generator.scenario import (
    ALLOWED_SHARE,
    CHAT,
    SEARCH,
    TBT_LIMIT_SECONDS,
    TTFT_LIMIT_SECONDS,
    draw_constant,
)
from generator.simulation import simulate

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from generator.scenario import Pool, Service
    from generator.simulation import Run

    Floats = NDArray[np.float64]

WARM_UP_SECONDS = 300.0
MEASURED_SECONDS = 2400.0
SEEDS = (1, 2)
OTHER_POOL_REPLICAS = 10
"""Of the pool that is not looked at, so many that it cannot bind."""


@dataclass(frozen=True, slots=True)
class KneeSearch:
    """Constant request rates between which one pool's objective begins to fail."""

    service: Service
    pool: Pool
    shared_share: float
    lowest: float
    highest: float
    rates: int = 6


SEARCHES = (
    KneeSearch(CHAT, "decode", 0.45, 2.6, 3.6),
    KneeSearch(CHAT, "prefill", 0.45, 2.2, 4.6),
    KneeSearch(SEARCH, "decode", 0.5, 5.0, 8.0),
    KneeSearch(SEARCH, "prefill", 0.15, 2.8, 5.2),
    KneeSearch(SEARCH, "prefill", 0.5, 3.5, 7.1),
    KneeSearch(SEARCH, "prefill", 0.9, 9.0, 16.5),
)


def _over_limit(pool: Pool, requests: dict[str, Floats]) -> NDArray[np.bool_]:
    if pool == "prefill":
        return requests["ttft_ms"] > 1000.0 * TTFT_LIMIT_SECONDS
    return requests["tbt_ms"] > 1000.0 * TBT_LIMIT_SECONDS


def _constant_run(search: KneeSearch, rate: float, seed: int, folder: Path) -> dict[str, float]:
    """One run at one rate; the rates are means over the measured span, per replica of the pool."""
    service, pool = search.service, search.pool
    seconds = WARM_UP_SECONDS + MEASURED_SECONDS
    offered = draw_constant(service, rate, search.shared_share, seconds, seed)
    prefill = service.prefill_replicas if pool == "prefill" else OTHER_POOL_REPLICAS
    decode = service.decode_replicas if pool == "decode" else OTHER_POOL_REPLICAS
    rows = simulate(offered, prefill, decode, (), folder).requests
    rows = {k: v[rows["arrived_ms"] >= 1000.0 * WARM_UP_SECONDS] for k, v in rows.items()}
    per_second = 1.0 / MEASURED_SECONDS / (prefill if pool == "prefill" else decode)
    prompt, cached = rows["prompt_tokens"].sum(), rows["cached_tokens"].sum()
    return {
        "seed": seed,
        "requests_per_second": round(rows["prompt_tokens"].size / MEASURED_SECONDS, 3),
        "decode_tokens_per_second": round(rows["output_tokens"].sum() * per_second, 1),
        "prefill_uncached_tokens_per_second": round((prompt - cached) * per_second, 1),
        "prefill_tokens_per_second": round(prompt * per_second, 1),
        "prefix_cache_hit_ratio": round(cached / prompt, 4),
        "share_over_limit_ratio": round(float(_over_limit(pool, rows).mean()), 4),
    }


def _crossing(runs: list[dict[str, float]], key: str) -> float:
    """Where the share over the limit reaches the allowed one, by interpolation between runs."""
    ordered = sorted(runs, key=lambda run: run[key])
    shares = np.maximum.accumulate([run["share_over_limit_ratio"] for run in ordered])
    if not shares[0] < ALLOWED_SHARE < shares[-1]:
        raise RuntimeError(f"the rates do not enclose the knee: shares {shares.tolist()}")
    shares += 1e-9 * np.arange(shares.size)
    return round(float(np.interp(ALLOWED_SHARE, shares, [run[key] for run in ordered])), 1)


def find_knee(search: KneeSearch, folder: Path) -> dict[str, Any]:
    """Return the largest work per replica at which the objective is just met, and the runs."""
    rates = np.linspace(search.lowest, search.highest, search.rates)
    runs = [_constant_run(search, float(r), seed, folder) for seed in SEEDS for r in rates]
    work = "prefill_uncached" if search.pool == "prefill" else "decode"
    key = f"{work}_tokens_per_second"
    by_seed = [_crossing([run for run in runs if run["seed"] == seed], key) for seed in SEEDS]
    limit = TTFT_LIMIT_SECONDS if search.pool == "prefill" else TBT_LIMIT_SECONDS
    all_tokens = [
        _crossing([run for run in runs if run["seed"] == seed], "prefill_tokens_per_second")
        for seed in SEEDS
    ]
    return {
        "service": search.service.name,
        "pool": search.pool,
        "objective": {
            "signal": "ttft" if search.pool == "prefill" else "tbt",
            "quantile": 1.0 - ALLOWED_SHARE,
            "at_most_seconds": limit,
        },
        "signal": key,
        "per_replica": round(float(np.mean(by_seed)), 1),
        "per_replica_by_seed": by_seed,
        "prefix_cache_hit_ratio": round(
            float(np.mean([run["prefix_cache_hit_ratio"] for run in runs])), 3
        ),
        **(
            {"all_prefill_tokens_per_second_per_replica": round(float(np.mean(all_tokens)), 1)}
            if search.pool == "prefill"
            else {}
        ),
        "runs": runs,
    }


def describe_day(service: Service, run: Run) -> dict[str, Any]:
    """Return what the day held: requests, shares over the limits by hour, hits, correlations."""
    rows = run.requests
    hour = (rows["arrived_ms"] // 3_600_000).astype(int)
    tenth = (rows["arrived_ms"] // 600_000).astype(int)
    prompt = np.bincount(tenth, rows["prompt_tokens"])
    cached = np.bincount(tenth, rows["cached_tokens"])
    by_block: dict[str, Any] = {}
    by_hour: dict[str, list[float]] = {}
    for signal, pool in (("ttft", "prefill"), ("tbt", "decode")):
        over = _over_limit(pool, rows).astype(float)
        share = np.bincount(tenth, over) / np.bincount(tenth)
        is_over = share > ALLOWED_SHARE
        by_block[signal] = {
            "blocks_over": int(is_over.sum()),
            "blocks_within": int((~is_over).sum()),
            "separate_stretches_over": int((np.diff(is_over.astype(int), prepend=0) == 1).sum()),
        }
        by_hour[signal] = np.round(np.bincount(hour, over) / np.bincount(hour), 4).tolist()
    hits = np.bincount(hour, rows["cached_tokens"]) / np.bincount(hour, rows["prompt_tokens"])
    return {
        "service": service.name,
        "requests": int(rows["arrived_ms"].size),
        "mean_prompt_tokens": round(float(rows["prompt_tokens"].mean()), 1),
        "mean_output_tokens": round(float(rows["output_tokens"].mean()), 1),
        "prefix_cache_hit_ratio": round(float(cached.sum() / prompt.sum()), 4),
        "prefix_cache_hit_ratio_by_hour": np.round(hits, 3).tolist(),
        "correlation_of_hits_with_prompt_tokens": round(
            float(np.corrcoef(prompt, cached / prompt)[0, 1]), 3
        ),
        "ten_minute_blocks": by_block,
        "share_over_limit_by_hour": by_hour,
        "replica_changes": [
            {"hour": at, "pool": pool, "replicas": n} for at, pool, n in service.changes
        ],
    }


def prefill_per_decode(knees: list[dict[str, Any]], service: str, day: dict[str, Any]) -> float:
    """Prefill replicas per decode replica at which both pools reach their knee together."""
    knee = {k["pool"]: k["per_replica"] for k in knees if k["service"] == service}
    uncached = day["mean_prompt_tokens"] * (1.0 - day["prefix_cache_hit_ratio"])
    requests_per_decode_replica = knee["decode"] / day["mean_output_tokens"]
    return round(requests_per_decode_replica * uncached / knee["prefill"], 3)
