"""SLO counts: of how many requests how many were over the limit, by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.timeline.latency import over_edge
from signalstudy.timeline.timeline import Attained, SloCounts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from signalstudy.timeline.gathered import Gathered
    from signalstudy.vocabulary.objectives import Objective

    Floats = NDArray[np.float64]

# The gateway sees what the user sees; a decode engine starts its clock after remote prefill.
POOLS_TO_ASK = {
    "ttft": ("gateway", "prefill", "unified", "decode"),
    "tbt": ("gateway", "decode", "unified"),
    "e2e": ("gateway", "decode", "unified"),
}


def charged_pool(signal: str, pools: Sequence[str]) -> str:
    """Say which pool an objective's breaches speak of: TTFT of prefill, the others of decode."""
    wanted = ("prefill", "unified", "decode") if signal == "ttft" else ("decode", "unified")
    return next((pool for pool in wanted if pool in pools), "unified")


def slo_counts(
    gathered: Gathered, objectives: Sequence[Objective], pools: Sequence[str]
) -> tuple[SloCounts, ...]:
    """Count each objective's breaches, from single requests where known, else from histograms."""
    found = []
    for objective in objectives:
        pool = charged_pool(objective.signal, pools)
        counts = _from_requests(gathered, objective, pool) or _from_buckets(
            gathered, objective, pool
        )
        if counts is not None:
            found.append(counts)
    return tuple(found)


def attained(gathered: Gathered, counts: Sequence[SloCounts]) -> Attained | None:
    """Count the requests that kept every limit; None unless the log tells all of their latencies.

    Shares over single limits only bound it: the same request may be late twice. A single token has
    no time between tokens.
    """
    if not counts or any(one.source != "requests" for one in counts):
        return None
    log = gathered.requests
    is_within = np.ones(log["arrived_seconds"].size, dtype=np.bool_)
    for one in counts:
        latency = log[f"{one.objective.signal}_seconds"]
        with np.errstate(invalid="ignore"):  # what never finished is unknown, and not within
            kept = latency <= one.objective.at_most_seconds
            if one.objective.signal == "tbt":
                kept |= np.isnan(latency) & (log["output_tokens"] <= 1.0)
        is_within &= kept
    offered = gathered.grid.counts(log["arrived_seconds"], log["requests"])
    within = gathered.grid.counts(log["arrived_seconds"], log["requests"] * is_within)
    return Attained(offered, within)


def observed_at(requests: dict[str, Floats], signal: str) -> Floats:
    """Say when each request's latency happened (m,): TTFT at the first token, TBT midway."""
    first = requests["arrived_seconds"] + np.nan_to_num(requests["ttft_seconds"])
    last = requests["arrived_seconds"] + requests["e2e_seconds"]
    if signal == "ttft":
        return first
    if signal == "tbt":
        length = np.nan_to_num(requests["output_tokens"] - 1.0).clip(0.0)
        end = np.where(np.isfinite(last), last, first + length * requests["tbt_seconds"])
        return (first + end) / 2.0
    return last


def _from_requests(gathered: Gathered, objective: Objective, pool: str) -> SloCounts | None:
    log = gathered.requests
    latency = log[f"{objective.signal}_seconds"]
    at = observed_at(log, objective.signal)
    known = np.isfinite(latency) & np.isfinite(at)
    if not known.any():
        return None
    weights = log["requests"][known]
    observed = gathered.grid.counts(at[known], weights)
    if not observed.any():
        return None
    over = gathered.grid.counts(at[known], weights * (latency[known] > objective.at_most_seconds))
    limit = objective.at_most_seconds
    return SloCounts(objective, pool, observed, over, over, "requests", limit, limit)


def _from_buckets(gathered: Gathered, objective: Objective, pool: str) -> SloCounts | None:
    for owner in POOLS_TO_ASK[objective.signal]:
        buckets = gathered.buckets.get((owner, objective.signal))
        if buckets is None or not buckets.counts[-1].any() or not np.isinf(buckets.edges[-1]):
            continue
        below, above, over_below, over_above = over_edge(
            buckets.edges, buckets.counts, objective.at_most_seconds
        )
        # Increments of one scrape can be a whisker apart between edges: never less than none.
        over_above, over_below = np.maximum(over_above, 0.0), np.maximum(over_below, 0.0)
        return SloCounts(
            objective,
            pool,
            buckets.counts[-1],
            np.minimum(over_above, over_below),
            np.maximum(over_above, over_below),
            f"histogram of {owner}",
            below,
            above,
        )
    return None
