"""What the planted pools show of their work: proportional, pinned, concave, convex, cliff, noise.

Rates are means over a step; gauges are points at its end, read from the state between this step
and the next, so that a gauge has no lag of its own beyond its pool's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.synthetic.service import TOTAL_SIGNALS
from signalstudy.synthetic.traffic import autoregression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.synthetic.latency import LatencyCurve
    from signalstudy.synthetic.service import Shape

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

PINNED_AT = 0.9
HALF_PINNED_AT = 0.02
"""Share of the knee at which a pinned gauge has half its value: 2 %, so that it hardly moves."""
NOISE_MEMORY_SECONDS = 300.0
REPLICA_SPREAD = 0.02
"""How far replicas of one pool stand apart, as a share of their mean."""

DECODE_SHAPES: dict[str, Shape] = {
    "decode_tokens_per_second": "proportional",
    "requests_per_second": "proportional",
    "gpu_utilization_ratio": "pinned",
    "sm_activity_ratio": "concave",
    "running_requests": "convex",
    "waiting_requests": "cliff",
    "kv_cache_usage_ratio": "convex",
    "unrelated_ratio": "noise",
}
PREFILL_SHAPES: dict[str, Shape] = {
    "prefill_uncached_tokens_per_second": "proportional",
    "prefill_tokens_per_second": "distorted",
    "gpu_utilization_ratio": "proportional",
    "sm_activity_ratio": "proportional",
    "unrelated_ratio": "noise",
}
LATENCY_QUANTILES = {"p50": 0.5, "p99": 0.99}


def shapes_of(pool: str, *, is_noise: bool) -> dict[str, Shape]:
    """Give what each signal of a pool is, latencies included."""
    latency, shapes = ("tbt", DECODE_SHAPES) if pool == "decode" else ("ttft", PREFILL_SHAPES)
    everything = shapes | dict.fromkeys(_latency_names(latency), "cliff")
    return dict.fromkeys(everything, "noise") if is_noise else everything


def gauges_of(
    pool: str, work_per_replica: Floats, knee: float, curve: LatencyCurve
) -> dict[str, Floats]:
    """Give the noise-free gauges of one replica at each step's work per replica (n,)."""
    at_end = _at_step_end(work_per_replica)
    relative = at_end / knee
    if pool == "prefill":
        return {
            "gpu_utilization_ratio": np.minimum(0.70 * relative, 0.99),
            "sm_activity_ratio": np.minimum(0.55 * relative, 0.95),
        }
    running = at_end * curve.median_seconds(at_end) * np.exp(0.5 * curve.spread**2)
    at_knee = float(knee * curve.median_seconds(np.array([knee]))[0])
    return {
        "gpu_utilization_ratio": PINNED_AT * relative / (relative + HALF_PINNED_AT),
        "sm_activity_ratio": 0.72 * relative / (relative + 1.0 / 3.0),
        "running_requests": running,
        "waiting_requests": 40.0 * np.maximum(relative - 1.0, 0.0),
        "kv_cache_usage_ratio": np.minimum(0.6 * running / at_knee, 0.99),
    }


def over_replicas(name: str, values: Floats, replicas: Floats, rng: np.random.Generator) -> Floats:
    """Share a pool's total, or scatter its mean, over its serving replicas (n, r), else NaN.

    Totals of the replicas add up to `values`, their means to it otherwise: exactly.
    """
    most = int(replicas.max())
    is_serving = np.arange(most) < replicas[:, None]
    weights = np.where(
        is_serving, 1.0 + REPLICA_SPREAD * rng.standard_normal(is_serving.shape), 0.0
    )
    weights /= weights.sum(axis=1, keepdims=True)
    factor = 1.0 if name in TOTAL_SIGNALS else replicas
    shared: Floats = np.where(is_serving, weights * (values * factor)[:, None], np.nan)
    return shared


def noise_around(
    level: float, steps: int, step_seconds: float, rng: np.random.Generator, *, spread: float = 0.2
) -> Floats:
    """Draw a positive series that knows nothing of demand: lognormal AR(1) around `level` (n,)."""
    walk = autoregression(steps, step_seconds, NOISE_MEMORY_SECONDS, rng)
    series: Floats = level * np.exp(spread * walk)
    return series


def latency_signals(latency: str, seconds: Floats, step: Integers, steps: int) -> dict[str, Floats]:
    """Give quantiles and mean of the requests done in each step, NaN where there were none (n,).

    Quantile q of m requests is the ceil(q m)-th smallest.
    """
    order = np.lexsort((seconds, step))
    ordered, counts = seconds[order], np.bincount(step, minlength=steps)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    is_known = counts > 0
    signals: dict[str, Floats] = {}
    for label, quantile in LATENCY_QUANTILES.items():
        place = first + np.maximum(np.ceil(quantile * counts).astype(np.int64) - 1, 0)
        values = np.full(steps, np.nan)
        values[is_known] = ordered[place[is_known]]
        signals[f"{latency}_{label}_seconds"] = values
    sums = np.bincount(step, weights=seconds, minlength=steps)
    mean = np.full(steps, np.nan)
    mean[is_known] = sums[is_known] / counts[is_known]
    signals[f"{latency}_mean_seconds"] = mean
    return signals


def as_measured(name: str, values: Floats, noise_ratio: float, rng: np.random.Generator) -> Floats:
    """Add white measurement noise relative to the value; shares stay within 0..1 (n,)."""
    noisy = values * (1.0 + noise_ratio * rng.standard_normal(values.size))
    clipped: Floats = np.clip(noisy, 0.0, 1.0 if name.endswith("_ratio") else None)
    return clipped


def _at_step_end(per_step: Floats) -> Floats:
    """Read a series of step means at the end of each step: halfway to the next step's mean."""
    following = np.append(per_step[1:], per_step[-1])
    at_end: Floats = 0.5 * (per_step + following)
    return at_end


def _latency_names(latency: str) -> list[str]:
    return [f"{latency}_{label}_seconds" for label in (*LATENCY_QUANTILES, "mean")]
