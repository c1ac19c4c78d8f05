"""A fleet's recording: services of a prefill and a decode pool, a week at 10 s, 12 signals a pool.

Drawn as arrays, all signals of a pool at once; what they are to measure is planted only roughly,
because speed, not truth, is asked of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import ndtr

from benchmarks.study_file import study_toml
from signalstudy.synthetic.traffic import autoregression

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STEP_SECONDS = 10.0
DAYS = 7.0
START_SECONDS = 1767571200
POOLS = ("prefill", "decode")
LATENCY = {
    "prefill": ("vllm:time_to_first_token_seconds", 0.35, (0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0)),
    "decode": (
        "vllm:request_time_per_output_token_seconds",
        0.022,
        (0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5),
    ),
}
SPREAD = 0.3
STUDY = study_toml(
    "fleet",
    [("table", "signals-*.parquet"), ("table", "latencies-*.parquet")],
    step_seconds=10.0,
)


@dataclass(frozen=True, slots=True)
class Pool:
    """What one pool of a service records at each step (n,)."""

    columns: dict[str, Floats]
    """Eight signals, offered demand and ready replicas."""
    requests: Floats
    """Requests that began in each step."""
    median_seconds: Floats
    """Median latency of the requests of each step; four more signals are its quantiles."""


def write_fleet(folder: Path, services: int) -> int:
    """Write a study of `services` services into `folder`; give the number of values."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    return sum(_write_service(folder, number) for number in range(services))


def _write_service(folder: Path, number: int) -> int:
    rng = np.random.default_rng((20260105, number))
    steps = round(DAYS * 86400.0 / STEP_SECONDS)
    hits = 0.4 + 0.25 * np.tanh(autoregression(steps, STEP_SECONDS, 3600.0, rng))
    offered = _rhythm(steps) * np.exp(0.15 * autoregression(steps, STEP_SECONDS, 300.0, rng))
    names = [f"service-{number:03d}", *POOLS]
    pools = [_draw_pool(pool, offered, hits, rng) for pool in POOLS]
    wide = [_wide(names[0], name, pool) for name, pool in zip(POOLS, pools, strict=True)]
    long = [_buckets(names[0], name, pool) for name, pool in zip(POOLS, pools, strict=True)]
    signals, latencies = pl.concat(wide, how="diagonal"), pl.concat(long)
    signals.write_parquet(folder / f"signals-{number:03d}.parquet")
    latencies.write_parquet(folder / f"latencies-{number:03d}.parquet")
    return latencies.height + sum(pool.columns["ready_replicas"].size * 10 for pool in pools)


def _rhythm(steps: int) -> Floats:
    """Give a day's rhythm around 1, of which two days of seven are lower (n,)."""
    day = STEP_SECONDS * np.arange(steps) / 86400.0
    weekend = np.where(day % 7.0 >= 5.0, 0.7, 1.0)
    return np.asarray(weekend * (1.0 + 0.6 * np.sin(2.0 * np.pi * day)), dtype=np.float64)


def _draw_pool(pool: str, offered: Floats, hits: Floats, rng: np.random.Generator) -> Pool:
    """Draw one pool: its work follows demand by 2 steps, replicas change every few hours."""
    steps = offered.size
    replicas = np.repeat(rng.integers(4, 8, steps // 1500 + 1), 1500)[:steps].astype(np.float64)
    work = np.roll(offered, 2)
    used = work / replicas * 3.5

    def noisy(values: Floats, ratio: float) -> Floats:
        noise = autoregression(steps, STEP_SECONDS, 60.0, rng)
        return np.maximum(values * (1.0 + ratio * noise), 0.0)

    columns = {
        "requests_per_second": noisy(20.0 * work, 0.05),
        "running_requests": np.rint(noisy(60.0 * work, 0.05)),
        "waiting_requests": np.rint(noisy(30.0 * np.maximum(used - 1.0, 0.0) ** 2, 0.2)),
        "gpu_utilization_ratio": noisy(np.tanh(1.6 * used), 0.02),
        "sm_activity_ratio": noisy(0.8 * np.tanh(used), 0.03),
        "gpu_power_watts": noisy(150.0 + 400.0 * np.tanh(used), 0.02),
        "ready_replicas": replicas,
    }
    tokens = 20000.0 if pool == "prefill" else 6000.0
    if pool == "prefill":
        columns |= {
            "prefill_tokens_per_second": noisy(tokens * work / (1.0 - hits), 0.02),
            "prefill_uncached_tokens_per_second": noisy(tokens * work, 0.02),
            "offered_prefill_uncached_tokens_per_second": tokens * offered,
        }
    else:
        columns |= {
            "decode_tokens_per_second": noisy(tokens * work, 0.02),
            "kv_cache_usage_ratio": noisy(0.4 * used, 0.05),
            "offered_decode_tokens_per_second": tokens * offered,
        }
    late = 1.0 / np.maximum(1.35 - used, 0.15)
    return Pool(columns, rng.poisson(200.0 * offered), LATENCY[pool][1] * noisy(late, 0.05))


def _wide(service: str, pool: str, drawn: Pool) -> pl.DataFrame:
    frame = pl.DataFrame({"timestamp": _instants(drawn.requests.size), **drawn.columns})
    return frame.with_columns(pl.lit(service).alias("service"), pl.lit(pool).alias("pool"))


def _buckets(service: str, pool: str, drawn: Pool) -> pl.DataFrame:
    """Give the cumulative buckets of a lognormal latency, as an engine's counter shows them."""
    metric, _, edges = LATENCY[pool]
    frames = []
    for edge in (*edges, np.inf):
        share = ndtr((np.log(edge) - np.log(drawn.median_seconds)) / SPREAD)
        frames.append(
            pl.DataFrame(
                {
                    "timestamp": _instants(drawn.requests.size),
                    "value": np.cumsum(np.rint(drawn.requests * share)),
                }
            ).with_columns(pl.lit("+Inf" if np.isinf(edge) else f"{edge:g}").alias("le"))
        )
    labels = {"service": service, "pool": pool, "metric": f"{metric}_bucket"}
    return pl.concat(frames).with_columns(pl.lit(text).alias(name) for name, text in labels.items())


def _instants(steps: int) -> pl.Series:
    ends = START_SECONDS + STEP_SECONDS * np.arange(1.0, steps + 1.0)
    return pl.Series((ends * 1000.0).astype(np.int64)).cast(pl.Datetime("ms", "UTC"))
