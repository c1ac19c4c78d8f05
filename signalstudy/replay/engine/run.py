"""One run of the offline engine, in a process of its own.

The engine blocks until a run ends, and would wait for ever for a fleet without replicas. So every
run has a simulated and a wall-clock limit, no target is ever below 1, and a run that does not end
is killed without taking the replay with it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from signalstudy.policy.state import State
from signalstudy.replay.engine.sight import Offered, Sight
from signalstudy.replay.engine.trace import reusable_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from signalstudy.replay.controller import Controller
    from signalstudy.replay.engine.profile import Profile
    from signalstudy.replay.engine.sight import View
    from signalstudy.replay.engine.trace import Trace

    Floats = NDArray[np.float64]

TICK_SECONDS = 2.0
"""How often the fleet is looked at between scrapes: a look costs about 0.4 ms, and a day of 345,000
requests about 95 s of a processor."""
GRACE_SECONDS = 1800.0
"""How long after the span requests may still finish; those that have not by then never do."""
LARGEST_SHARE_EVICTED = 0.25
"""Where no request needs more of a replica's KV cache, the engine schedules as vLLM does and evicts
the youngest when the cache is full. A few large ones can then evict each other for ever, which the
engine notices and breaks off; beyond this share a request is admitted only where all of it fits, as
TensorRT-LLM does (GUARANTEED_NO_EVICT)."""
REPORT = {
    "arrived_ms": "arrival_time_ms",
    "prompt_tokens": "input_length",
    "output_tokens": "output_length",
    "cached_tokens": "reused_input_tokens",
    "ttft_ms": "ttft_ms",
    "tbt_ms": "itl_ms",
    "e2e_ms": "e2e_latency_ms",
    "first_admit_ms": "first_admit_ms",
    "prefilled_ms": "source_held_ms",
    "decode_admit_ms": "decode_admit_ms",
    "first_token_ms": "first_token_ms",
    "last_token_ms": "last_token_ms",
    "prefill_worker": "prefill_worker_idx",
    "decode_worker": "decode_worker_idx",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Replicas laid down beforehand: from `at_seconds[i]` on, `replicas[pool][i]`."""

    at_seconds: Floats
    replicas: dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is simulated. `start`: replicas ready at time 0, by pool. `sides`: see Sight."""

    sides: dict[str, str]
    start: dict[str, int]
    startup_seconds: float
    gpus: dict[str, float]
    profile: Profile


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a run's process is told.

    `make`: gives the controller, None to follow `plan`. `evicts`: see LARGEST_SHARE_EVICTED.
    """

    name: str
    trace: Path
    trace_block_tokens: int
    fleet: Fleet
    span_seconds: float
    start: float
    longest_seconds: float
    make: Callable[[], Controller] | None
    plan: Plan | None
    view: View
    offered: Offered
    evicts: bool = True
    telemetry_seconds: float | None = None


def job_of(
    trace: Trace, path: Path, fleet: Fleet, view: View, *, telemetry_seconds: float | None = None
) -> Job:
    """Make the job of a trace, which is written to `path`: its fleet stays as it starts."""
    # The engine's clock begins with the first arrival.
    first = float(trace.arrived_seconds[0])
    at = trace.arrived_seconds - first
    trace = replace(trace, start=trace.start + first, arrived_seconds=at)
    trace.write(path)
    cumulated = [
        np.concatenate([[0.0], np.cumsum(values)])
        for values in (trace.prompt_tokens, reusable_tokens(trace))
    ]
    span = float(np.ceil(trace.seconds + 1e-3))
    largest = float((trace.prompt_tokens + trace.output_tokens).max())
    return Job(
        name="",
        trace=path,
        trace_block_tokens=trace.block_tokens,
        fleet=fleet,
        span_seconds=span,
        start=trace.start,
        longest_seconds=span + GRACE_SECONDS,
        make=None,
        plan=Plan(np.zeros(0), {}),
        view=view,
        offered=Offered(at, trace.output_tokens.astype(float), *cumulated),
        evicts=largest <= LARGEST_SHARE_EVICTED * fleet.profile.kv_capacity_tokens,
        telemetry_seconds=telemetry_seconds,
    )


@dataclass(slots=True)
class Ran:
    """What a run left.

    `requests`: one column each of REPORT (m,), finished ones only, NaN for "not told". `moves`:
    (seconds, pool, worker, what) of every worker's life. `asked`: (seconds, replicas by pool) from
    each change on. `seen`: (seconds, readings) of every decision. `samples`: the engine's telemetry
    where it was asked for.
    """

    requests: dict[str, Floats]
    moves: list[tuple[float, str, int, str]]
    asked: list[tuple[float, dict[str, int]]]
    summary: dict[str, Any]
    seen: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    processor_seconds: float = 0.0


class Scaler:
    """The engine's scaling hook: looks at every tick, decides when it is time."""

    def __init__(self, job: Job, say: Callable[[float], None]) -> None:
        self.job, self.say = job, say
        self.sight = Sight(job.view, job.offered, job.fleet.sides, job.fleet.profile)
        self.controller = None if job.make is None else job.make()
        self.asked = dict(job.fleet.start)
        self.out_at = dict.fromkeys(self.asked, -np.inf)
        self.in_at = dict.fromkeys(self.asked, -np.inf)
        self.next_at = 0.0
        self.done = 0
        self.log: list[tuple[float, dict[str, int]]] = [(0.0, dict(self.asked))]
        self.seen: list[tuple[float, dict[str, float]]] = []
        self.error: Exception | None = None

    def initial_tick_ms(self) -> float:
        """When the engine asks first."""
        if self.controller is None:
            return 1000.0 * self._next_change()
        return 1000.0 * min(TICK_SECONDS, self.job.view.scrape_seconds)

    def on_tick(self, snapshot: dict[str, Any]) -> dict[str, Any]:
        """Say what is wanted now and when to ask again."""
        now = snapshot["now_ms"] / 1000.0
        answer: dict[str, Any] = {"target_prefill": None, "target_decode": None}
        self.say(now)
        if now >= self.job.span_seconds:
            return answer | {"next_tick_ms": None}
        if self.controller is None:
            wanted, upcoming = self._planned(now)
        else:
            wanted, upcoming = self._decided(self.controller, now, snapshot)
        for pool, replicas in self._changed(now, wanted).items():
            answer[f"target_{self.job.fleet.sides[pool]}"] = replicas
        return answer | {"next_tick_ms": None if upcoming is None else 1000.0 * upcoming}

    def _next_change(self) -> float:
        plan = self.job.plan
        at = self.job.span_seconds
        if plan is not None and self.done < plan.at_seconds.size:
            at = max(float(plan.at_seconds[self.done]), 1e-3)
        return at

    def _planned(self, now: float) -> tuple[dict[str, float], float | None]:
        plan = self.job.plan
        wanted: dict[str, float] = {}
        while plan is not None and self.done < plan.at_seconds.size:
            if plan.at_seconds[self.done] > now + 1e-6:
                break
            wanted = {pool: float(values[self.done]) for pool, values in plan.replicas.items()}
            self.done += 1
        return wanted, self._next_change()

    def _decided(
        self, controller: Controller, now: float, snapshot: dict[str, Any]
    ) -> tuple[dict[str, float], float | None]:
        is_scrape = self.sight.take_tick(snapshot)
        upcoming = min(_next_multiple(now, TICK_SECONDS),
                       _next_multiple(now, self.job.view.scrape_seconds))  # fmt: skip
        every = controller.evaluation_seconds
        if (not is_scrape) if not every else (now < self.next_at - 1e-6):
            return {}, upcoming
        self.next_at = now + every
        as_array = {pool: np.asarray([[float(count)]]) for pool, count in self.asked.items()}
        state = State(
            np.asarray([[self.job.start + now]]),  # type: ignore[arg-type]
            as_array,
            {pool: np.asarray([[at]]) for pool, at in self.out_at.items()},
            {pool: np.asarray([[at]]) for pool, at in self.in_at.items()},
        )
        observation = self.sight.observe(controller, {k: float(v) for k, v in self.asked.items()})
        found = controller.decide(state, observation)
        wanted = {pool: float(np.asarray(value).ravel()[-1]) for pool, value in found.items()}
        saw = {key: float(np.asarray(reading.value).ravel()[0])
               for key, reading in observation.readings.items()}  # fmt: skip
        self.seen.append((now, saw))
        return wanted, upcoming

    def _changed(self, now: float, wanted: Mapping[str, float]) -> dict[str, int]:
        """Keep what differs from what was asked for last. A pool never goes below one replica."""
        changed = {}
        for pool, value in wanted.items():
            replicas = max(round(value), 1)
            before = self.asked[pool]
            if replicas == before:
                continue
            (self.out_at if replicas > before else self.in_at)[pool] = self.job.start + now
            self.asked[pool] = changed[pool] = replicas
        if changed:
            self.log.append((now, dict(self.asked)))
        return changed


def _next_multiple(now: float, seconds: float) -> float:
    return ((now + 1e-6) // seconds + 1.0) * seconds


def run(job: Job, folder: Path, say: Callable[[float], None] = lambda _: None) -> Ran:
    """Run the engine on a job until its last request has finished, or for `longest_seconds`."""
    from dynamo._core import run_mocker_trace_replay  # noqa: PLC0415 - an optional extra

    scaler = Scaler(job, say)
    npz = folder / "profile.npz"
    job.fleet.profile.write(npz)
    samples: list[dict[str, Any]] = []

    def take(sample: dict[str, Any]) -> None:
        scaler.sight.take_sample(sample)
        if job.telemetry_seconds is not None:
            samples.append(sample)

    every = job.view.scrape_seconds if job.telemetry_seconds is None else job.telemetry_seconds
    wants_samples = job.make is not None or job.telemetry_seconds is not None
    began = time.process_time()
    result = run_mocker_trace_replay(
        [str(job.trace)],
        **_workers(job, npz),
        router_mode="round_robin",
        trace_block_size=job.trace_block_tokens,
        arrival_speedup_ratio=1.0,
        scaling_policy=scaler,
        telemetry_callback=take if wants_samples else None,
        telemetry_sample_interval_ms=1000.0 * every,
        report_jsonl_path=str(folder / "report.jsonl"),
        max_sim_time_ms=1000.0 * job.longest_seconds,
    )
    ran = Ran(
        read_report(folder / "report.jsonl"),
        _moves(result.lifecycle_operations, job.fleet.sides),
        scaler.log,
        dict(result.summary),
        scaler.seen,
        samples,
    )
    ran.processor_seconds = time.process_time() - began
    return ran


def _workers(job: Job, npz: Path) -> dict[str, Any]:
    fleet = job.fleet
    if "prefill" not in fleet.sides.values():
        [pool] = fleet.sides
        return {"extra_engine_args": _arguments(job, pool, "aggregated", npz),
                "num_workers": fleet.start[pool]}  # fmt: skip
    return {
        "prefill_engine_args": _arguments(job, "prefill", "prefill", npz),
        "decode_engine_args": _arguments(job, "decode", "decode", npz),
        "num_prefill_workers": fleet.start["prefill"],
        "num_decode_workers": fleet.start["decode"],
    }


def _arguments(job: Job, pool: str, worker_type: str, npz: Path) -> Any:
    from dynamo._core import _normalize_mocker_config  # noqa: PLC0415 - an optional extra

    fleet = job.fleet
    timing = {"type": "external", "provider": "dynamo_profile", "config": {"path": str(npz)}}
    backend = {} if job.evicts else {"backend": "trtllm"}
    return _normalize_mocker_config(
        {
            "engine": fleet.profile.arguments()
            | {"worker_type": worker_type, "timing_model": timing}
            | backend,
            "startup_time": float(fleet.startup_seconds),
            "tensor_parallel_size": max(round(fleet.gpus[pool]), 1),
        }
    )


def read_report(path: Path) -> dict[str, Floats]:
    """Read the finished requests by column, in order of arrival (the report has its own order)."""
    kinds = dict.fromkeys(REPORT.values(), "DOUBLE")
    columns = "{" + ", ".join(f"{name}: '{kind}'" for name, kind in kinds.items()) + "}"
    if not path.is_file() or path.stat().st_size == 0:
        return {name: np.zeros(0) for name in REPORT}
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        found = connection.execute(
            f"SELECT {', '.join(REPORT.values())} FROM read_json($path, columns = {columns}, "
            "format = 'newline_delimited') ORDER BY arrival_time_ms, e2e_latency_ms",
            {"path": str(path)},
        ).fetchnumpy()
    return {
        name: np.ma.filled(np.ma.asarray(found[key], dtype=float), np.nan)
        for name, key in REPORT.items()
    }


def _moves(
    operations: list[dict[str, Any]], sides: Mapping[str, str]
) -> list[tuple[float, str, int, str]]:
    names = {side: pool for pool, side in sides.items()} | {"agg": next(iter(sides))}
    return [
        (float(one["at_ms"]) / 1000.0, names[one["pool"]], int(move["worker_id"]),
         str(move["transition"]).removeprefix("worker_"))
        for one in operations
        for move in one["transitions"]
    ]  # fmt: skip
