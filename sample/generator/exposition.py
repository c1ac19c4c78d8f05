"""From one simulated run to what a Prometheus server would have scraped from it.

Counters are exact at each scrape: prompt tokens are booked when a prompt's prefill ends, output
tokens are spread evenly between a request's first and last token. Series of a replica exist from
its readiness until it is gone, and start at 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from generator.scenario import DAY_SECONDS
from generator.simulation import TELEMETRY_STEP_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from generator.scenario import Pool, Service
    from generator.simulation import Run, Worker

    Floats = NDArray[np.float64]
    CountUntil = Callable[[Floats], Floats]

DAY_MS = DAY_SECONDS * 1000.0
SCRAPE_MS = 15_000.0
HISTOGRAM_SCRAPE_MS = 60_000.0
DCGM_REFRESH_MS = 30_000.0
TTFT_HISTOGRAM = "vllm:time_to_first_token_seconds"
TBT_HISTOGRAM = "vllm:request_time_per_output_token_seconds"
# Of vLLM's own edges those that these services reach; the rest was dropped when the data were kept.
EDGES_SECONDS = {
    TTFT_HISTOGRAM: (0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    TBT_HISTOGRAM: (0.025, 0.05, 0.075, 0.1, 0.15),
}

# DCGM_FI_PROF_SM_ACTIVE, a model: a prefill pass keeps most multiprocessors busy, a decode pass
# (bound by memory) half of them at batch 1 and slowly more as the batch grows.
PREFILL_SM_ACTIVE = 0.88
DECODE_SM_ACTIVE_ALONE = 0.46
DECODE_SM_ACTIVE_PER_SQRT_REQUEST = 0.035


@dataclass(frozen=True, slots=True)
class Series:
    """One time series: its labels (an empty string: no such label) and its samples."""

    metric: str
    service: str
    pool: str
    replica: str
    le: str
    source: str
    at_ms: Floats
    values: Floats


def events_until(at_ms: Floats, weights: Floats | None = None) -> CountUntil:
    """Return a function of time: the (weighted) number of events that happened until then."""
    order = np.argsort(at_ms, kind="stable")
    steps = np.ones(at_ms.size) if weights is None else weights[order]
    totals = np.concatenate([[0.0], np.cumsum(steps)])
    ordered = at_ms[order]
    return lambda times: totals[np.searchsorted(ordered, times, side="right")]


def spread_until(start_ms: Floats, end_ms: Floats, amounts: Floats) -> CountUntil:
    """Return a function of time: the sum of amounts, each spread evenly over its own interval.

    Sum of r (t - start) over the begun minus r (t - end) over the ended, r = amount per time.
    """
    rate = amounts / np.maximum(end_ms - start_ms, 1e-9)
    begun, begun_moment = events_until(start_ms, rate), events_until(start_ms, rate * start_ms)
    ended, ended_moment = events_until(end_ms, rate), events_until(end_ms, rate * end_ms)
    return lambda times: (
        times * (begun(times) - ended(times)) - begun_moment(times) + ended_moment(times)
    )


def _union(start_ms: Floats, end_ms: Floats) -> tuple[Floats, Floats]:
    """Merge overlapping intervals."""
    if start_ms.size == 0:
        return start_ms, end_ms
    order = np.argsort(start_ms)
    start, reach = start_ms[order], np.maximum.accumulate(end_ms[order])
    first = np.concatenate([[True], start[1:] > reach[:-1]])
    return start[first], reach[np.concatenate([np.flatnonzero(first)[1:] - 1, [-1]])]


@dataclass(frozen=True, slots=True)
class _Target:
    """One scraped process, and the series collected from it. `replica` may be empty."""

    service: str
    pool: str
    replica: str
    series: list[Series] = field(default_factory=list)

    def add(
        self, metric: str, at_ms: Floats, values: Floats, *, le: str = "", source: str = ""
    ) -> None:
        labels = (metric, self.service, self.pool, self.replica, le, source)
        self.series.append(Series(*labels, at_ms, values))

    def add_histogram(
        self, metric: str, at_ms: Floats, observed_at_ms: Floats, seconds: Floats
    ) -> None:
        """Add the cumulative buckets, the sum and the count of one histogram."""
        for edge in EDGES_SECONDS[metric]:
            within = events_until(observed_at_ms[seconds <= edge])
            self.add(f"{metric}_bucket", at_ms, within(at_ms), le=f"{edge:g}")
        count = events_until(observed_at_ms)(at_ms)
        total = events_until(observed_at_ms, seconds)(at_ms)
        self.add(f"{metric}_bucket", at_ms, count, le="+Inf")
        self.add(f"{metric}_count", at_ms, count)
        self.add(f"{metric}_sum", at_ms, np.round(total, 3))


def _replica_names(service: Service, workers: list[Worker]) -> dict[tuple[Pool, int], str]:
    """Name each worker: the lowest number that is free, or a name never used again."""
    rng = np.random.default_rng(service.seed + 1)
    letters = np.array(list("bcdfghjklmnpqrstvwxz2456789"))
    names: dict[tuple[Pool, int], str] = {}
    holders: dict[str, Worker] = {}
    for worker in sorted(workers, key=lambda w: (w.starting_ms, w.pool, w.number)):
        stem = f"{service.name}-{worker.pool}-"
        if service.keeps_replica_names:
            number = 0
            while (
                held := holders.get(f"{stem}{number}")
            ) and held.removed_ms >= worker.starting_ms:
                number += 1
            name = f"{stem}{number}"
        else:
            name = stem + "".join(rng.choice(letters, 5))
        holders[name] = worker
        names[worker.pool, worker.number] = name
    return names


def _scrape_times(worker: Worker, step_ms: float, phase_ms: float) -> Floats:
    times = np.arange(phase_ms, DAY_MS + 1.0, step_ms)
    return times[(times >= worker.ready_ms) & (times <= worker.removed_ms)]


def _kv_usage(run: Run, worker: Worker, at_ms: Floats) -> Floats:
    """Return the share of KV blocks in use, at times that are instants of the telemetry."""
    used = np.zeros(at_ms.size)
    for i, sample in enumerate(np.rint(at_ms / TELEMETRY_STEP_MS).astype(int)):
        for row in run.telemetry[sample][f"{worker.pool}_scheduler_metrics"]:
            if row["worker_id"] == worker.number:
                used[i] = row["active_cache_usage"]
    return used


def _whole_tokens(tokens: Floats) -> Floats:
    """Return tokens spread over time as the whole numbers that a counter shows."""
    return np.maximum.accumulate(np.floor(tokens + 1e-6))


def _hardware(target: _Target, run: Run, worker: Worker, at_ms: Floats) -> None:
    """Add GPU utilization and SM activity: means over the 30 s before the exporter's refresh."""
    rows = run.requests
    mine = rows[f"{worker.pool}_worker"] == worker.number
    starts, ends = rows[f"{worker.pool}_start_ms"][mine], rows[f"{worker.pool}_end_ms"][mine]
    held = spread_until(starts, ends, ends - starts)
    starts, ends = _union(starts, ends)
    busy = spread_until(starts, ends, ends - starts)
    phase_ms = 2000.0 + 1000.0 * ((7 * worker.number + 3 * len(worker.pool)) % 28)
    refresh = np.floor((at_ms - phase_ms) / DCGM_REFRESH_MS) * DCGM_REFRESH_MS + phase_ms
    before = refresh - DCGM_REFRESH_MS
    busy_ms = busy(refresh) - busy(before)
    busy_ratio = np.clip(busy_ms / DCGM_REFRESH_MS, 0.0, 1.0)
    if worker.pool == "prefill":
        active = PREFILL_SM_ACTIVE * busy_ratio
    else:
        batch = np.maximum(held(refresh) - held(before), 0.0) / np.maximum(busy_ms, 1.0)
        alone, per_root = DECODE_SM_ACTIVE_ALONE, DECODE_SM_ACTIVE_PER_SQRT_REQUEST
        active = (alone + per_root * np.sqrt(batch)) * busy_ratio
    target.add("DCGM_FI_DEV_GPU_UTIL", at_ms, np.rint(100.0 * busy_ratio))
    target.add("DCGM_FI_PROF_SM_ACTIVE", at_ms, np.round(active, 3))


def _prefill(target: _Target, rows: dict[str, Floats], at_ms: Floats, at_slow_ms: Floats) -> None:
    """Add the counters and the histogram that only a prefill replica exposes."""
    done_ms = rows["prefill_end_ms"]
    prompt = events_until(done_ms, rows["prompt_tokens"])(at_ms)
    hits = events_until(done_ms, rows["cached_tokens"])(at_ms)
    target.add("vllm:prompt_tokens_total", at_ms, prompt)
    target.add("vllm:prefix_cache_queries_total", at_ms, prompt)
    target.add("vllm:prefix_cache_hits_total", at_ms, hits)
    target.add("vllm:prompt_tokens_by_source_total", at_ms, prompt - hits, source="local_compute")
    target.add("vllm:request_success_total", at_ms, events_until(done_ms)(at_ms))
    target.add_histogram(
        TTFT_HISTOGRAM, at_slow_ms, rows["first_token_ms"], rows["ttft_ms"] / 1000.0
    )


def _decode(target: _Target, rows: dict[str, Floats], at_ms: Floats, at_slow_ms: Floats) -> None:
    """Add the counters and the histogram that only a decode replica exposes."""
    done_ms = rows["decode_end_ms"]
    tokens = spread_until(rows["first_token_ms"], done_ms, rows["output_tokens"])
    target.add("vllm:generation_tokens_total", at_ms, _whole_tokens(tokens(at_ms)))
    target.add("vllm:request_success_total", at_ms, events_until(done_ms)(at_ms))
    target.add_histogram(TBT_HISTOGRAM, at_slow_ms, done_ms, rows["tbt_ms"] / 1000.0)


def _engine(target: _Target, run: Run, worker: Worker) -> None:
    """Add what one replica exposes. Targets are scraped 5 s apart, as a server spreads them."""
    phase_ms = TELEMETRY_STEP_MS * ((worker.number + len(worker.pool)) % 3)
    at_ms = _scrape_times(worker, SCRAPE_MS, phase_ms)
    at_slow_ms = _scrape_times(worker, HISTOGRAM_SCRAPE_MS, phase_ms)
    mine = run.requests[f"{worker.pool}_worker"] == worker.number
    rows = {name: column[mine] for name, column in run.requests.items()}
    (_prefill if worker.pool == "prefill" else _decode)(target, rows, at_ms, at_slow_ms)
    came_ms = rows["arrived_ms" if worker.pool == "prefill" else "prefill_end_ms"]
    came, begun = events_until(came_ms)(at_ms), events_until(rows[f"{worker.pool}_start_ms"])(at_ms)
    ended = events_until(rows[f"{worker.pool}_end_ms"])(at_ms)
    target.add("vllm:num_requests_waiting", at_ms, came - begun)
    target.add("vllm:num_requests_running", at_ms, begun - ended)
    target.add("vllm:kv_cache_usage_perc", at_ms, np.round(_kv_usage(run, worker, at_ms), 3))
    _hardware(target, run, worker, at_ms)


def _replica_counts(target: _Target, members: list[Worker]) -> None:
    """Add ready and starting replicas of a pool, as kube-state-metrics would know them."""
    at_ms = np.arange(0.0, DAY_MS + 1.0, SCRAPE_MS)
    ready = [(w.ready_ms <= at_ms) & (at_ms < w.draining_ms) for w in members]
    starting = [(w.starting_ms <= at_ms) & (at_ms < w.ready_ms) for w in members]
    target.add("ready_replicas", at_ms, np.sum(ready, axis=0, dtype=float))
    target.add("starting_replicas", at_ms, np.sum(starting, axis=0, dtype=float))


def _gateway(target: _Target, rows: dict[str, Floats]) -> None:
    """Add what a Dynamo frontend exposes: arrivals when they come, tokens as they are served."""
    at_ms = np.arange(10_000.0, DAY_MS + 1.0, SCRAPE_MS)
    arrived, first, last = rows["arrived_ms"], rows["first_token_ms"], rows["decode_end_ms"]
    streamed = spread_until(first, last, rows["output_tokens"])(at_ms)
    for name, values in (
        ("requests_started_total", events_until(arrived)(at_ms)),
        ("requests_total", events_until(last)(at_ms)),
        ("input_sequence_tokens_sum", events_until(arrived, rows["prompt_tokens"])(at_ms)),
        ("input_sequence_tokens_count", events_until(arrived)(at_ms)),
        ("cached_tokens_sum", events_until(first, rows["cached_tokens"])(at_ms)),
        ("cached_tokens_count", events_until(first)(at_ms)),
        ("output_tokens_total", _whole_tokens(streamed)),
        ("output_sequence_tokens_sum", events_until(last, rows["output_tokens"])(at_ms)),
        ("output_sequence_tokens_count", events_until(last)(at_ms)),
    ):
        target.add(f"dynamo_frontend_{name}", at_ms, values)


def expose(service: Service, run: Run, *, with_gateway: bool) -> list[Series]:
    """Return all series of one service, sorted by their labels."""
    names = _replica_names(service, run.workers)
    targets: list[_Target] = []
    for worker in run.workers:
        target = _Target(service.name, worker.pool, names[worker.pool, worker.number])
        _engine(target, run, worker)
        targets.append(target)
    for pool in ("prefill", "decode"):
        target = _Target(service.name, pool, "")
        _replica_counts(target, [worker for worker in run.workers if worker.pool == pool])
        targets.append(target)
    if with_gateway:
        target = _Target(service.name, "gateway", f"{service.name}-frontend-0")
        _gateway(target, run.requests)
        targets.append(target)
    return sorted(
        (series for target in targets for series in target.series if series.at_ms.size),
        key=lambda s: (s.metric, s.service, s.pool, s.le, s.source, s.replica, s.at_ms[0]),
    )
