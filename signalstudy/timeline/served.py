"""Served work of a pool: what it did, as opposed to what was offered to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.timeline.demand import SERVED_SIGNALS, work_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.timeline.gathered import Gathered
    from signalstudy.timeline.grid import Grid
    from signalstudy.timeline.timeline import Demand, SignalSeries

    Floats = NDArray[np.float64]


def served_of(
    gathered: Gathered,
    pool: str,
    by_pool: dict[str, dict[str, SignalSeries]],
    demand: Demand | None,
) -> Floats | None:
    """Give the work a pool did per second (n,), in the unit of its demand.

    From its own counters, else from the gateway's, else from the request log: output tokens spread
    evenly between first and last token, prompt tokens at the first token.
    """
    for owner in (pool, "gateway"):
        for kind in work_of(pool).kinds:
            signal = by_pool.get(owner, {}).get(SERVED_SIGNALS[kind])
            if signal is not None:
                return signal.values
    if demand is not None and demand.unit == "requests":
        finished = by_pool.get(pool, {}).get("requests_per_second")
        return None if finished is None else finished.values
    return _prompts_of_log(gathered) if pool == "prefill" else _outputs_of_log(gathered)


def _prompts_of_log(gathered: Gathered) -> Floats | None:
    log = gathered.requests
    cached = log["cached_prompt_tokens"]
    tokens = log["prompt_tokens"] - (cached if np.isfinite(cached).any() else 0.0)
    at = log["arrived_seconds"] + log["ttft_seconds"]
    known = np.isfinite(tokens) & np.isfinite(at)
    if not known.any():
        return None
    weights = (tokens * log["requests"])[known]
    return gathered.grid.counts(at[known], weights) / gathered.grid.step_seconds


def _outputs_of_log(gathered: Gathered) -> Floats | None:
    log = gathered.requests
    first = log["arrived_seconds"] + log["ttft_seconds"]
    last = first + np.maximum(log["output_tokens"] - 1.0, 0.0) * log["tbt_seconds"]
    last = np.where(np.isfinite(last), last, log["arrived_seconds"] + log["e2e_seconds"])
    tokens = log["output_tokens"] * log["requests"]
    known = np.isfinite(first + last + tokens)
    if not known.any():
        return None
    return spread_evenly(gathered.grid, first[known], last[known], tokens[known])


def spread_evenly(grid: Grid, starts: Floats, ends: Floats, amounts: Floats) -> Floats:
    """Spread each amount evenly from its start to its end and give the sum per second (n,).

    A rate begins in the step of its start and ends in that of its end; the parts of these steps
    that lie outside are taken off again, so that what is inside the grid adds up exactly.
    """
    seconds = np.maximum(ends - starts, 1e-3)
    rates = amounts / seconds
    begin = grid.time_seconds[0] - grid.step_seconds
    rim = grid.time_seconds[-1]
    inside = (starts < rim) & (starts + seconds > begin)
    rates = rates[inside]
    first = np.clip((starts[inside] - begin) / grid.step_seconds, 0.0, grid.size)
    last = np.clip((starts[inside] + seconds[inside] - begin) / grid.step_seconds, 0.0, grid.size)
    opened, closed = first.astype(np.int64), last.astype(np.int64)

    def added(at: NDArray[np.int64], weights: Floats) -> Floats:
        sums = np.bincount(at, weights=weights, minlength=grid.size + 1)
        return sums[: grid.size].astype(np.float64)

    running = np.cumsum(added(opened, rates) - added(closed, rates))
    missing = added(opened, rates * (first - opened)) - added(closed, rates * (last - closed))
    return np.asarray(running - missing)
