"""One run of the offline engine of `ai-dynamo-runtime`, and what it says about each request."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

os.environ.setdefault("DYN_LOG", "warn")

from dynamo._core import _normalize_mocker_config, run_mocker_trace_replay

from generator.scenario import STARTUP_SECONDS, TBT_LIMIT_SECONDS, TTFT_LIMIT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from generator.scenario import Pool, Requests

    Floats = NDArray[np.float64]

GPUS_PER_REPLICA = 2
TRACE_BLOCK_TOKENS = 512
TELEMETRY_STEP_MS = 5000.0

# A 70-billion-parameter model with 8-bit weights on two GPUs of the 80 GB class; plausible numbers
# of our own, measured nowhere.
PREFILL_BASE_MS = 18.0
PREFILL_MS_PER_TOKEN = 0.20
PREFILL_MS_PER_SQUARE_TOKEN = 1.5e-6
DECODE_BASE_MS = 26.0  # reading the weights, and the exchange between the GPUs
DECODE_MS_PER_KV_TOKEN = 1.5e-4  # reading the KV cache
DECODE_MS_PER_REQUEST = 0.40  # what grows with the batch
KV_BYTES_PER_TOKEN = 327_680  # 80 layers x 8 heads x 128 x 2 (K, V) x 2 bytes
ENGINE: dict[str, Any] = {
    "num_gpu_blocks": 3500,
    "block_size": 64,
    "max_num_seqs": 256,
    "max_num_batched_tokens": 8192,
    "kv_transfer_bytes_per_token": KV_BYTES_PER_TOKEN,
    "kv_transfer_bandwidth": 100.0,  # GB/s
}

REPORT_FIELDS = {
    "arrived_ms": "arrival_time_ms",
    "prompt_tokens": "input_length",
    "output_tokens": "output_length",
    "cached_tokens": "reused_input_tokens",
    "ttft_ms": "ttft_ms",
    "tbt_ms": "itl_ms",
    "e2e_ms": "e2e_latency_ms",
    "prefill_worker": "prefill_worker_idx",
    "decode_worker": "decode_worker_idx",
    "prefill_start_ms": "prefill_admit_ms",
    "prefill_end_ms": "source_held_ms",
    "decode_start_ms": "decode_admit_ms",
    "first_token_ms": "first_token_ms",
    "decode_end_ms": "last_token_ms",
}


@dataclass(slots=True)
class Worker:
    """The life of one worker of the engine, in simulated milliseconds."""

    pool: Pool
    number: int
    starting_ms: float = 0.0
    ready_ms: float = 0.0
    draining_ms: float = np.inf
    removed_ms: float = np.inf


@dataclass(frozen=True, slots=True)
class Run:
    """What one run left: the finished requests by column, samples of telemetry, the workers."""

    requests: dict[str, Floats]
    telemetry: list[dict[str, Any]]
    workers: list[Worker]


@dataclass(slots=True)
class ScheduledReplicas:
    """The engine's scaling hook: sets replicas at fixed hours, whatever the demand."""

    changes: Sequence[tuple[float, Pool, int]]
    done: int = field(default=0)

    def initial_tick_ms(self) -> float:
        """When the engine asks first."""
        return self.changes[0][0] * 3_600_000.0

    def on_tick(self, snapshot: dict[str, Any]) -> dict[str, Any]:
        """Carry out the change that is due; say when the next one is."""
        answer: dict[str, Any] = {"target_prefill": None, "target_decode": None}
        while self.done < len(self.changes):
            hour, pool, replicas = self.changes[self.done]
            if hour * 3_600_000.0 > snapshot["now_ms"] + 1.0:
                return answer | {"next_tick_ms": hour * 3_600_000.0}
            answer[f"target_{pool}"] = replicas
            self.done += 1
        return answer | {"next_tick_ms": None}


def write_timing_table(path: Path) -> None:
    """Write the engine's timing table from the formulae above.

    prefill(n) = a + b n + c n^2 for n new tokens in a pass. A decode pass over B requests that hold
    `kv` tokens in all takes alpha + beta kv + gamma B; the engine looks it up by kv and by the
    tokens per request, kv / B.
    """
    prompt = np.unique(np.rint(np.geomspace(1, 16_384, 80)))
    kv = np.linspace(0.0, 240_000.0, 121)
    context = np.unique(np.rint(np.geomspace(16, 12_000, 90)))
    kv_grid, context_grid = np.meshgrid(kv, context, indexing="ij")
    np.savez(
        path,
        prefill_isl=prompt,
        prefill_ttft_ms=PREFILL_BASE_MS
        + PREFILL_MS_PER_TOKEN * prompt
        + PREFILL_MS_PER_SQUARE_TOKEN * prompt**2,
        decode_active_kv_tokens=kv,
        decode_context_length=context,
        decode_itl=DECODE_BASE_MS
        + DECODE_MS_PER_KV_TOKEN * kv_grid
        + DECODE_MS_PER_REQUEST * kv_grid / context_grid,
    )


def _write_trace(path: Path, requests: Requests) -> None:
    """Write the requests in Mooncake form; equal leading ids are a shared prefix."""
    with path.open("w") as trace:
        for i in range(requests.arrived_ms.size):
            prompt = int(requests.prompt_tokens[i])
            shared = int(requests.shared_tokens[i]) // TRACE_BLOCK_TOKENS
            blocks = -(-prompt // TRACE_BLOCK_TOKENS)
            text = int(requests.shared_text[i])
            ids = [100 * text + j if j < shared else 10_000 + 100 * i + j for j in range(blocks)]
            row = {
                "timestamp": float(requests.arrived_ms[i]),
                "input_length": prompt,
                "output_length": int(requests.output_tokens[i]),
                "hash_ids": ids,
            }
            trace.write(json.dumps(row) + "\n")


def _engine_arguments(pool: Pool, timing_table: Path) -> Any:
    timing = {"type": "external", "provider": "dynamo_profile"}
    return _normalize_mocker_config(
        {
            "engine": ENGINE
            | {
                "worker_type": pool,
                "timing_model": timing | {"config": {"path": str(timing_table)}},
            },
            "startup_time": STARTUP_SECONDS,
            "tensor_parallel_size": GPUS_PER_REPLICA,
        }
    )


def simulate(
    requests: Requests,
    prefill_replicas: int,
    decode_replicas: int,
    changes: Sequence[tuple[float, Pool, int]],
    folder: Path,
) -> Run:
    """Run the requests through the engine until the last one has finished."""
    timing_table, trace = folder / "timing.npz", folder / "trace.jsonl"
    report, telemetry = folder / "report.jsonl", folder / "telemetry.jsonl"
    write_timing_table(timing_table)
    _write_trace(trace, requests)
    result = run_mocker_trace_replay(
        [str(trace)],
        prefill_engine_args=_engine_arguments("prefill", timing_table),
        decode_engine_args=_engine_arguments("decode", timing_table),
        num_prefill_workers=prefill_replicas,
        num_decode_workers=decode_replicas,
        router_mode="round_robin",
        trace_block_size=TRACE_BLOCK_TOKENS,
        arrival_speedup_ratio=1.0,
        sla_ttft_ms=TTFT_LIMIT_SECONDS * 1000.0,
        sla_itl_ms=TBT_LIMIT_SECONDS * 1000.0,
        scaling_policy=ScheduledReplicas(changes) if changes else None,
        telemetry_jsonl_path=str(telemetry),
        telemetry_sample_interval_ms=TELEMETRY_STEP_MS,
        report_jsonl_path=str(report),
        max_sim_time_ms=None,
    )
    workers = _workers(prefill_replicas, decode_replicas, result.lifecycle_operations)
    with telemetry.open() as lines:
        samples = [json.loads(line) for line in lines]
    return Run(_read_report(report), samples, workers)


def _read_report(path: Path) -> dict[str, Floats]:
    """Read the finished requests by column, in order of arrival (the report has its own order)."""
    keys = tuple(REPORT_FIELDS.values())
    with path.open() as lines:
        rows = np.array([[json.loads(line)[key] for key in keys] for line in lines], dtype=float)
    rows = rows[np.lexsort((rows[:, keys.index("e2e_latency_ms")], rows[:, 0]))]
    return dict(zip(REPORT_FIELDS, rows.T, strict=True))


def _workers(
    prefill_replicas: int, decode_replicas: int, operations: list[dict[str, Any]]
) -> list[Worker]:
    workers = {("prefill", i): Worker("prefill", i) for i in range(prefill_replicas)}
    workers |= {("decode", i): Worker("decode", i) for i in range(decode_replicas)}
    for operation in operations:
        for transition in operation["transitions"]:
            key = (operation["pool"], transition["worker_id"])
            worker = workers.setdefault(key, Worker(*key))
            at_ms = float(operation["at_ms"])
            match transition["transition"]:
                case "worker_starting":
                    worker.starting_ms = at_ms
                case "worker_ready":
                    worker.ready_ms = at_ms
                case "worker_draining":
                    worker.draining_ms = at_ms
                case "worker_removed":
                    worker.removed_ms = at_ms
                    worker.draining_ms = min(worker.draining_ms, at_ms)
    return list(workers.values())
