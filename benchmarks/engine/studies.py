"""Studies of simulated fleets: what an engine run would have left in a Prometheus, as tables.

Counters and gauges per replica at 10 s and a request log, in the forms of contract section 3.
Output tokens are spread evenly between a request's first and last token; a prompt is booked when
its prefill ends. Utilization is the busy share of the interval; gauges are those of the instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from benchmarks.study_file import study_toml
from signalstudy.replay.engine.score import lives

if TYPE_CHECKING:
    from pathlib import Path

    from signalstudy.replay.engine.run import Job, Ran

STEP_SECONDS = 10.0
TTFT_EDGES = (0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TBT_EDGES = (0.01, 0.025, 0.03, 0.035, 0.04, 0.05, 0.075, 0.1, 0.15)


def write_study(
    ran: Ran, job: Job, folder: Path, *, name: str, limits: dict[str, float], quantile: float
) -> Path:
    """Write telemetry, request log and study.toml of a run; give the path of study.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    _samples(ran, job, name).write_parquet(folder / "samples.parquet")
    _requests(ran, job, name).write_parquet(folder / "requests.parquet")
    gpus = ", ".join(f"{pool} = {number:g}" for pool, number in job.fleet.gpus.items())
    path = folder / "study.toml"
    sources = [("table", "samples.parquet"), ("requests", "requests.parquet")]
    text = study_toml(
        name,
        sources,
        limits=limits,
        quantile=quantile,
        startup_seconds=job.fleet.startup_seconds,
        gpus=f"{{ {gpus} }}",
    )
    path.write_text(text, encoding="utf-8")
    return path


def _requests(ran: Ran, job: Job, name: str) -> pl.DataFrame:
    rows = ran.requests
    at_ms = np.round(1000.0 * job.start + rows["arrived_ms"]).astype(np.int64)
    return pl.DataFrame({
        "arrived_at": at_ms,
        "service": np.full(at_ms.size, name),
        "prompt_tokens": rows["prompt_tokens"].astype(np.int64),
        "output_tokens": rows["output_tokens"].astype(np.int64),
        "cached_prompt_tokens": rows["cached_tokens"].astype(np.int64),
        "ttft_seconds": rows["ttft_ms"] / 1000.0,
        "tbt_seconds": rows["tbt_ms"] / 1000.0,
        "e2e_seconds": rows["e2e_ms"] / 1000.0,
    }).with_columns(
        pl.from_epoch("arrived_at", time_unit="ms").dt.replace_time_zone("UTC"),
        pl.col("tbt_seconds").fill_nan(None),
    )  # fmt: skip


def _samples(ran: Ran, job: Job, name: str) -> pl.DataFrame:
    ends = STEP_SECONDS * np.arange(1, int(job.span_seconds / STEP_SECONDS) + 1)
    parts: list[pl.DataFrame] = []

    def add(  # noqa: PLR0917 - the columns of a row
        metric: str,
        pool: str,
        replica: str | None,
        at: np.ndarray,
        values: np.ndarray,
        le: str | None = None,
    ) -> None:
        stamps = np.round(1000.0 * (job.start + at)).astype(np.int64)
        size = at.size
        parts.append(pl.DataFrame({
            "timestamp": stamps, "service": [name] * size, "pool": [pool] * size,
            "replica": pl.Series([replica] * size, dtype=pl.String), "metric": [metric] * size,
            "le": pl.Series([le] * size, dtype=pl.String), "value": values.astype(float),
        }))  # fmt: skip

    workers = lives(ran, job)
    for pool in job.fleet.sides:
        mine = [one for one in workers if one.pool == pool]
        ready = sum((one.ready <= ends) & (ends < one.draining) for one in mine)
        starting = sum((one.begin <= ends) & (ends < one.ready) for one in mine)
        add("ready_replicas", pool, None, ends, np.asarray(ready))
        add("starting_replicas", pool, None, ends, np.asarray(starting))
        for number, life in enumerate(mine):
            at = ends[(ends >= life.ready) & (ends <= life.removed)]
            _replica(ran, pool, number, at, add)
    _gauges(ran, job, add)
    frame = pl.concat(parts)
    return frame.with_columns(
        pl.from_epoch("timestamp", time_unit="ms").dt.replace_time_zone("UTC")
    )


def _replica(ran: Ran, pool: str, number: int, at: np.ndarray, add: Any) -> None:
    """Add the counters and histograms of one replica."""
    rows = {name: column[ran.requests[f"{pool}_worker"] == number] / 1.0
            for name, column in ran.requests.items()}  # fmt: skip
    second = {name: column / 1000.0 for name, column in rows.items() if name.endswith("_ms")}
    named = f"{pool}-{number}"
    if pool == "prefill":
        done = second["prefilled_ms"]
        hits = _until(done, rows["cached_tokens"], at)
        add("vllm:prompt_tokens_total", pool, named, at, _until(done, rows["prompt_tokens"], at))
        add("vllm:prefix_cache_queries_total", pool, named, at,
            _until(done, rows["prompt_tokens"], at))  # fmt: skip
        add("vllm:prefix_cache_hits_total", pool, named, at, hits)
        add("vllm:request_success_total", pool, named, at, _until(done, None, at))
        begin = second["first_admit_ms"]
        _histogram("vllm:time_to_first_token_seconds", TTFT_EDGES, second["first_token_ms"],
                   second["ttft_ms"], (pool, named, at, add))  # fmt: skip
    else:
        done, begin = second["last_token_ms"], second["decode_admit_ms"]
        tokens = _spread(second["first_token_ms"], done, rows["output_tokens"], at)
        # Differences of large sums may step back by a rounding error, which would be a reset.
        counted = np.maximum.accumulate(np.floor(tokens + 1e-6))
        add("vllm:generation_tokens_total", pool, named, at, counted)
        add("vllm:request_success_total", pool, named, at, _until(done, None, at))
        known = np.isfinite(second["tbt_ms"])
        _histogram("vllm:request_time_per_output_token_seconds", TBT_EDGES, done[known],
                   second["tbt_ms"][known], (pool, named, at, add))  # fmt: skip
    start, end = _union(begin, done)
    busy = _spread(start, end, end - start, at) - _spread(start, end, end - start,
                                                          at - STEP_SECONDS)  # fmt: skip
    add("gpu_utilization_ratio", pool, named, at, np.clip(busy / STEP_SECONDS, 0.0, 1.0))


def _gauges(ran: Ran, job: Job, add: Any) -> None:
    """Add what the engine's own telemetry says of each worker at each sample."""
    found: dict[tuple[str, int], list[tuple[float, float, float, float]]] = {}
    for sample in ran.samples:
        at = sample["sampled_at_ms"] / 1000.0
        if not 0.0 < at <= job.span_seconds:
            continue
        for pool, side in job.fleet.sides.items():
            for one in sample[f"{side}_scheduler_metrics"]:
                row = (at, one["running_requests"], one["waiting_requests"],
                       one["active_cache_usage"])  # fmt: skip
                found.setdefault((pool, one["worker_id"]), []).append(row)
    names = ("running_requests", "waiting_requests", "kv_cache_usage_ratio")
    for (pool, number), rows in found.items():
        at, *values = np.array(rows).T
        for metric, column in zip(names, values, strict=True):
            add(metric, pool, f"{pool}-{number}", at, column)


def _histogram(metric: str, edges: tuple[float, ...], when: np.ndarray, seconds: np.ndarray,
               place: tuple) -> None:  # fmt: skip
    pool, named, at, add = place
    for edge in edges:
        add(
            f"{metric}_bucket",
            pool,
            named,
            at,
            _until(when[seconds <= edge], None, at),
            f"{edge:g}",
        )
    add(f"{metric}_bucket", pool, named, at, _until(when, None, at), "+Inf")
    add(f"{metric}_count", pool, named, at, _until(when, None, at))
    add(f"{metric}_sum", pool, named, at, _until(when, seconds, at))


def _until(when: np.ndarray, amounts: np.ndarray | None, at: np.ndarray) -> np.ndarray:
    """Give the (weighted) number of events until each time."""
    order = np.argsort(when, kind="stable")
    steps = np.ones(when.size) if amounts is None else amounts[order]
    total = np.concatenate([[0.0], np.cumsum(steps)])
    return total[np.searchsorted(when[order], at, side="right")]


def _spread(start: np.ndarray, end: np.ndarray, amounts: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Give the sum of amounts until each time, each spread evenly over its own interval."""
    rate = amounts / np.maximum(end - start, 1e-9)
    begun = at * _until(start, rate, at) - _until(start, rate * start, at)
    return begun - at * _until(end, rate, at) + _until(end, rate * end, at)


def _union(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge overlapping intervals."""
    if not start.size:
        return start, end
    order = np.argsort(start)
    start, reach = start[order], np.maximum.accumulate(end[order])
    first = np.concatenate([[True], start[1:] > reach[:-1]])
    return start[first], reach[np.concatenate([np.flatnonzero(first)[1:] - 1, [-1]])]
