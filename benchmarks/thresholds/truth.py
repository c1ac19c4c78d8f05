"""The true knee: the constant rate at which the wanted share is just within the limit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.thresholds.fleet import serve, ttft_alone
from benchmarks.thresholds.traffic import constant

if TYPE_CHECKING:
    from benchmarks.thresholds.fleet import Fleet
    from benchmarks.thresholds.traffic import Mix
    from signalstudy.vocabulary.objectives import Objective

RUNS = 3
RUN_REQUESTS = 30_000
WARM_UP_SHARE = 0.1
ROUNDS = 9
PREFILL_TIMES = 10.0
AMPLE_REPLICAS = 64


def true_rate(
    fleet: Fleet, mix: Mix, objective: Objective, *, seed: int, run_requests: int = RUN_REQUESTS
) -> float:
    """Find the knee of the pool that makes the latency, in requests per second, by bisection.

    The other pool is ample, so that it adds no wait: the knee is a pool's own. Each rate is run
    afresh with `RUNS` draws that are the same at every rate, which keeps the share monotone.
    """
    pool = "prefill" if objective.signal == "ttft" else "decode"
    other = "decode" if pool == "prefill" else "prefill"
    alone = replace(fleet, **{f"{other}_replicas": AMPLE_REPLICAS})
    low, high = 0.02, _saturating_rate(fleet, mix, pool)
    for _ in range(ROUNDS):
        middle = 0.5 * (low + high)
        share = _share_over(alone, mix, objective, middle, seed=seed, requests=run_requests)
        if share <= objective.allowed_share:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def work_per_replica(fleet: Fleet, mix: Mix, pool: str, per_second: float) -> float:
    """Turn requests per second into the pool's own work per second and replica."""
    replicas = fleet.prefill_replicas if pool == "prefill" else fleet.decode_replicas
    sizes = mix.lengths(400_000, np.random.default_rng(1))
    return per_second * float(sizes[0 if pool == "prefill" else 1].mean()) / replicas


def _share_over(
    fleet: Fleet, mix: Mix, objective: Objective, per_second: float, *, seed: int, requests: int
) -> float:
    over = observed = 0
    for run in range(RUNS):
        rng = np.random.default_rng((seed, run))
        if objective.signal == "ttft":  # rarer breaches in longer bunches, and quick to run
            longer = PREFILL_TIMES * requests / per_second
            seconds = ttft_alone(fleet, constant(per_second, longer, mix, rng), rng)
        else:
            arrivals = constant(per_second, requests / per_second, mix, rng)
            seconds = serve(fleet, arrivals, rng).tbt_seconds
        kept = seconds[int(WARM_UP_SHARE * seconds.size) :]
        over += int((kept > objective.at_most_seconds).sum())
        observed += kept.size
    return over / observed


def _saturating_rate(fleet: Fleet, mix: Mix, pool: str) -> float:
    if pool == "prefill":
        return fleet.prefill_replicas / (
            fleet.prefill_seconds + fleet.prefill_seconds_per_token * mix.prompt_tokens
        )
    pace = fleet.iteration_seconds()
    most = max(running / pace[running] for running in range(1, len(pace)))
    return fleet.decode_replicas * most / mix.output_tokens
