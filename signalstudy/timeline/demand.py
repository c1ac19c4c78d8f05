"""Demand: the work offered to each pool, from the best source that the data hold.

The cascade is that of the contract, section 1: request log, gateway arrivals with the gateway's own
token sums, gateway arrivals with mean tokens of finished requests, engine arrivals with the same
means, offered requests, the served work of the other pool, the pool's own served work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.timeline.grid import centred_sum, combine_gauges, sum_of_counts
from signalstudy.timeline.signals import counts_of
from signalstudy.timeline.timeline import Demand
from signalstudy.vocabulary.errors import TableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.timeline.gathered import Gathered
    from signalstudy.timeline.timeline import SignalSeries

    Floats = NDArray[np.float64]

MEAN_TOKENS_SECONDS = 1800.0
CACHE_SECONDS = 300.0
LEAST_COVERAGE = 0.5
PROMPT_POOLS = ("prefill", "unified", "gateway")
OUTPUT_POOLS = ("decode", "unified", "gateway")
UNCACHED, PROMPT, OUTPUT = "uncached prompt tokens", "prompt tokens", "output tokens"
SERVED_SIGNALS = {
    UNCACHED: "prefill_uncached_tokens_per_second",
    PROMPT: "prefill_tokens_per_second",
    OUTPUT: "decode_tokens_per_second",
}
OFFERED_SIGNALS = {
    UNCACHED: "offered_prefill_uncached_tokens_per_second",
    PROMPT: "offered_prefill_tokens_per_second",
    OUTPUT: "offered_decode_tokens_per_second",
}


@dataclass(frozen=True, slots=True)
class Work:
    """What a pool works on, best first, as the data can tell it."""

    pool: str
    kinds: tuple[str, ...]


def work_of(pool: str) -> Work:
    """Say what counts as work of a pool: output tokens for decode, uncached prompts for prefill."""
    if pool == "prefill":
        return Work(pool, (UNCACHED, PROMPT))
    return Work(pool, (OUTPUT,))


def demand_of(
    gathered: Gathered,
    pool: str,
    signals_by_pool: dict[str, dict[str, SignalSeries]],
    hit_ratio: Floats,
) -> Demand | None:
    """Give the demand of one pool by the first rung of the cascade that the data reach.

    `hit_ratio` (n,): the share of prompt tokens found in the prefix cache, NaN where nobody tells.
    """
    notes: list[str] = []
    for rung in (_from_requests, _from_gateway_tokens, _from_arrivals, _from_engine):
        kinds = work_of(pool).kinds
        if rung in (_from_arrivals, _from_engine) and np.isfinite(hit_ratio).any():
            kinds = kinds[::-1]  # the cache moves faster than means over half an hour do
        for kind in kinds:
            found = rung(gathered, kind, notes)
            if found is not None and _covers(found.per_second):
                said = "; ".join([*notes, found.note]).strip("; ")
                found = replace(found, note=said)
                is_missed = pool != "prefill" or kind == UNCACHED
                return found if is_missed else _less_cached(gathered, found, hit_ratio)
    note = "; ".join(notes)
    arrivals = _arrivals(gathered)
    if arrivals is not None and _covers(arrivals):
        found = Demand(arrivals, "offered_requests", unit="requests", note=note)
        return _less_cached(gathered, found, hit_ratio) if pool == "prefill" else found
    served = _served(pool, signals_by_pool, note)
    if served is None or pool != "prefill" or served.source != "served_other_pool":
        return served
    return _less_cached(gathered, served, hit_ratio)


def _less_cached(gathered: Gathered, demand: Demand, hit_ratio: Floats) -> Demand:
    """Take from prompts what the prefix cache held, where the data tell: it costs prefill nothing.

    The hit ratio (n,) is averaged over the five minutes around each step, so that a signal which is
    itself prompts times misses has no noise in common with its demand.
    """
    known = np.isfinite(hit_ratio)
    if not known.any():
        return demand
    steps = max(round(CACHE_SECONDS / gathered.grid.step_seconds), 1)
    number = centred_sum(known.astype(np.float64), steps)
    mean = centred_sum(hit_ratio, steps) / np.maximum(number, 1.0)
    missed = 1.0 - np.clip(np.where(number > 0.0, mean, hit_ratio[known].mean()), 0.0, 1.0)
    note = f"{demand.note}; less the share found in the prefix cache".strip("; ")
    return replace(demand, per_second=demand.per_second * missed, note=note)


def _covers(values: Floats) -> bool:
    known = np.isfinite(values)
    return bool(known.any()) and float(np.nan_to_num(values).max()) > 0


def _from_requests(gathered: Gathered, kind: str, notes: list[str]) -> Demand | None:
    """Rung 1: tokens of the request log, booked at arrival."""
    log = gathered.requests
    if not log["arrived_seconds"].size:
        return None
    tokens = {PROMPT: log["prompt_tokens"], OUTPUT: log["output_tokens"]}.get(kind)
    if tokens is None:
        tokens = log["prompt_tokens"] - log["cached_prompt_tokens"]
    known = np.isfinite(tokens)
    if not known.any():
        return None
    if not _overlaps(gathered, log["arrived_seconds"]):
        sentence = "the request log does not overlap the telemetry in time and is not used"
        if sentence not in notes:
            notes.append(sentence)
        return None
    share = float(known.mean())
    if share < LEAST_COVERAGE:
        return None
    filled = np.where(known, tokens, np.nanmean(tokens))
    per_second = _by_step(gathered, log["arrived_seconds"], filled * log["requests"])
    note = (
        f"{1 - share:.0%} of the requests have no {kind} in the log: their mean is taken"
        if share < 1
        else ""
    )
    return Demand(per_second, "requests", note=note)


def _overlaps(gathered: Gathered, arrived: Floats) -> bool:
    at = gathered.grid.time_seconds
    inside = (arrived > at[0] - gathered.grid.step_seconds) & (arrived <= at[-1])
    return bool(inside.any())


def _by_step(gathered: Gathered, seconds: Floats, weights: Floats) -> Floats:
    """Sum events by step and give them per second (n,).

    Outside the span of the log nothing is known, unless the engines had nothing to do there
    either: then traffic, and not the log, had ended.
    """
    grid = gathered.grid
    rate = grid.counts(seconds, weights) / grid.step_seconds
    before = grid.time_seconds <= seconds.min()
    after = grid.time_seconds - grid.step_seconds >= seconds.max()
    idle_before, idle_after = _idle(gathered, before), _idle(gathered, after, draining=True)
    unknown = (before & (not idle_before)) | (after & (not idle_after))
    return np.where(unknown, np.nan, rate)


def _idle(gathered: Gathered, when: NDArray[np.bool_], *, draining: bool = False) -> bool:
    """Whether engines made next to nothing then; `draining`: at least in the last third of it."""
    steps = np.flatnonzero(when)
    if draining:
        steps = steps[-max(steps.size // 3, 1) :]
    for pool in OUTPUT_POOLS:
        made = counts_of(gathered, pool, "decode_tokens")
        if made is not None and steps.size:
            usual = np.nanmean(made) if np.isfinite(made).any() else 0.0
            return bool(np.nan_to_num(made[steps]).mean() < 0.05 * usual)
    return False


def _one_of_equals(gathered: Gathered, quantity: str) -> Floats | None:
    """Give an offered_* quantity once, however many rows repeat it (n,), per second."""
    rows = gathered.series.get(("gateway", quantity), [])
    if not rows:
        return None
    by_series = np.array([sum_of_counts([s], gathered.grid) for _, s in rows])
    known = np.isfinite(by_series)
    low = np.where(known, by_series, np.inf).min(axis=0)
    high = np.where(known, by_series, -np.inf).max(axis=0)
    differs = known.any(axis=0) & (high - low > 1e-6 * np.maximum(np.abs(high), 1.0))
    if differs.any():
        raise TableError(
            f"{gathered.service}: {quantity} has different values in the rows of one time: it is "
            "demand of the whole service and is repeated in them or stands in one of them"
        )
    return np.where(known.any(axis=0), high, np.nan) / gathered.grid.step_seconds


def _from_gateway_tokens(gathered: Gathered, kind: str, notes: list[str]) -> Demand | None:  # noqa: ARG001 - all rungs are alike
    """Rung 2: tokens offered, or gateway arrivals with the gateway's own token sums."""
    offered = _one_of_equals(gathered, OFFERED_SIGNALS[kind])
    if offered is not None:
        return Demand(offered, "gateway_tokens")
    arrivals = _arrivals(gathered)
    if arrivals is None:
        return None
    if kind == OUTPUT:
        mean = _mean_per(gathered, "gateway", "output_tokens_per_request")
    else:
        mean = _mean_per(gathered, "gateway", "prompt_tokens_per_request")
        cached = _mean_per(gathered, "gateway", "cached_prompt_tokens_per_request")
        if kind == UNCACHED:
            mean = None if mean is None or cached is None else np.maximum(mean - cached, 0.0)
    if mean is None:
        return None
    return Demand(arrivals * mean, "gateway_tokens", note="arrivals x mean tokens at the gateway")


def _mean_per(gathered: Gathered, pool: str, quantity: str) -> Floats | None:
    total = counts_of(gathered, pool, f"{quantity}_sum")
    number = counts_of(gathered, pool, f"{quantity}_count")
    return None if total is None or number is None else _rolling_mean(gathered, total, number)


def _rolling_mean(gathered: Gathered, tokens: Floats, finished: Floats) -> Floats | None:
    """Mean tokens of finished requests over the half hour around each step (n,).

    Around it, not before it: a mean that comes late would make every signal look early, and
    distorted where lengths move.
    """
    known = np.isfinite(tokens) & np.isfinite(finished)
    tokens, finished = np.where(known, tokens, 0.0), np.where(known, finished, 0.0)
    if not finished.sum() > 0:
        return None
    steps = max(round(MEAN_TOKENS_SECONDS / gathered.grid.step_seconds), 1)
    number = centred_sum(finished, steps)
    overall = tokens.sum() / finished.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = centred_sum(tokens, steps) / number
    # Too few to average over: the mean of the whole recording says more.
    return np.where(number >= 30, mean, overall)


def _arrivals(gathered: Gathered) -> Floats | None:
    """Give requests per second that arrived, seen outside the engine (n,)."""
    log = gathered.requests
    if log["arrived_seconds"].size and _overlaps(gathered, log["arrived_seconds"]):
        return _by_step(gathered, log["arrived_seconds"], log["requests"])
    offered = _one_of_equals(gathered, "offered_requests_per_second")
    if offered is not None:
        return offered
    started = counts_of(gathered, "gateway", "started_requests")
    return None if started is None else started / gathered.grid.step_seconds


def _mean_tokens(gathered: Gathered, kind: str) -> Floats | None:
    """Mean tokens of finished requests, from whichever pool serves them."""
    pools = OUTPUT_POOLS if kind == OUTPUT else PROMPT_POOLS
    quantity = {UNCACHED: "prefill_uncached_tokens", PROMPT: "prefill_tokens"}.get(
        kind, "decode_tokens"
    )
    for pool in pools:
        tokens = counts_of(gathered, pool, quantity)
        if tokens is None and kind == OUTPUT:
            tokens = counts_of(gathered, pool, "output_tokens_per_request_sum")
        if tokens is None:
            continue
        for owner in (pool, "gateway"):
            finished = counts_of(gathered, owner, "finished_requests")
            if finished is not None:
                return _rolling_mean(gathered, tokens, finished)
        completed = gathered.requests["arrived_seconds"] + gathered.requests["e2e_seconds"]
        done = np.isfinite(completed)
        if done.any():
            weights = gathered.requests["requests"][done]
            finished = gathered.grid.counts(completed[done], weights)
            return _rolling_mean(gathered, tokens, finished)
    return None


def _from_arrivals(gathered: Gathered, kind: str, notes: list[str]) -> Demand | None:  # noqa: ARG001 - all rungs are alike
    """Rung 3: arrivals outside the engine, with the mean tokens of finished requests."""
    arrivals, mean = _arrivals(gathered), _mean_tokens(gathered, kind)
    if arrivals is None or mean is None:
        return None
    return Demand(
        arrivals * mean, "gateway_arrivals", note=f"arrivals x mean {kind} of finished requests"
    )


def _from_engine(gathered: Gathered, kind: str, notes: list[str]) -> Demand | None:  # noqa: ARG001 - all rungs are alike
    """Rung 4: what finished or was aborted, and the change of what is in the engine."""
    mean = _mean_tokens(gathered, kind)
    if mean is None:
        return None
    grid = gathered.grid
    for pool in ("prefill", "unified", "decode"):
        finished = counts_of(gathered, pool, "finished_requests")
        if finished is None:
            continue
        aborted = counts_of(gathered, pool, "aborted_requests")
        arrived = finished if aborted is None else finished + np.nan_to_num(aborted)
        inside = [
            combine_gauges(series, grid, total=True)
            for name in ("running_requests", "waiting_requests")
            if (series := gathered.samples(pool, name))
        ]
        if not inside:
            continue
        held = np.sum(inside, axis=0)
        arrived = np.maximum(arrived + np.diff(held, prepend=held[:1]), 0.0)
        return Demand(
            arrived / grid.step_seconds * mean,
            "engine_arrivals",
            same_as=frozenset({"requests_per_second"}),  # arrivals are made of what finished
            note=f"arrivals reckoned from the {pool} engines x mean {kind} of finished requests",
        )
    return None


def _served(
    pool: str, signals_by_pool: dict[str, dict[str, SignalSeries]], note: str
) -> Demand | None:
    """Rungs 6 and 7: served work, of the other pool where there is one, else the pool's own."""
    # Decode answers every prompt, whether or not the cache held it.
    others = {"prefill": ("decode", (OUTPUT,)), "decode": ("prefill", (PROMPT, UNCACHED))}
    if pool in others:
        other, kinds = others[pool]
        for kind in kinds:
            signal = signals_by_pool.get(other, {}).get(SERVED_SIGNALS[kind])
            if signal is not None and _covers(signal.values):
                return Demand(
                    signal.values,
                    "served_other_pool",
                    note="; ".join([note, f"{signal.name} of {other}"]).strip("; "),
                )
    for kind in (*work_of(pool).kinds, PROMPT):
        signal = signals_by_pool.get(pool, {}).get(SERVED_SIGNALS[kind])
        if signal is not None and _covers(signal.values):
            return Demand(signal.values, "served_own", same_as=frozenset({signal.name}), note=note)
    finished = signals_by_pool.get(pool, {}).get("requests_per_second")
    if finished is not None and _covers(finished.values):
        return Demand(
            finished.values,
            "served_own",
            unit="requests",
            same_as=frozenset({"requests_per_second"}),
            note=note,
        )
    return None
