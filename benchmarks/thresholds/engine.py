"""The same runs in NVIDIA Dynamo's offline engine: real scheduling, batching, KV cache, preemption.

Needs `pip install --no-deps ai-dynamo-runtime==1.6.1` and the timing table and request lengths of
`../shared/data/dynamo_offline`. A run blocks its process: each gets one of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.thresholds.fleet import Arrivals, Served

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.thresholds.fleet import Fleet

    Floats = NDArray[np.float64]

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "dynamo_offline"
BLOCK_TOKENS = 512
ENGINE = {
    "num_gpu_blocks": 5000, "block_size": 64, "max_num_batched_tokens": 8192,
    "kv_transfer_bytes_per_token": 327680, "kv_transfer_bandwidth": 200.0,
}  # fmt: skip


def serve_in_engine(fleet: Fleet, arrivals: Arrivals) -> Served:
    """Serve all requests in the engine, TP2 H200 replicas of Llama 3.1 70B, no shared prefixes."""
    with tempfile.TemporaryDirectory() as folder:
        trace, report = Path(folder) / "trace.jsonl", Path(folder) / "report.jsonl"
        _write_trace(trace, arrivals)
        asked = {
            "trace": str(trace), "report": str(report), "most_running": fleet.most_running,
            "prefill": fleet.prefill_replicas, "decode": fleet.decode_replicas,
            "profile": str(DATA / "h200_llama31_70b_bf16_tp2_vllm0240.npz"),
        }  # fmt: skip
        subprocess.run(
            [sys.executable, __file__, json.dumps(asked)],
            check=True, env=os.environ | {"DYN_LOG": "error"}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return _read_report(report)


def recorded_lengths() -> tuple[Floats, Floats]:
    """Give the prompt and output tokens of the recorded ramp (Azure conversation, CC-BY-4.0)."""
    import polars as pl  # noqa: PLC0415 - the process that runs the engine needs none

    log = pl.read_parquet(DATA / "ramp_p2d2" / "requests.parquet")
    return (
        log["prompt_tokens"].cast(float).to_numpy(),
        log["output_tokens"].cast(float).to_numpy(),
    )


def _write_trace(path: Path, arrivals: Arrivals) -> None:
    rows, fresh = [], 0
    for at, prompt, output in zip(
        (1e3 * arrivals.at_seconds).tolist(), arrivals.prompt_tokens.astype(int).tolist(),
        arrivals.output_tokens.astype(int).tolist(), strict=True,
    ):  # fmt: skip
        blocks = -(-prompt // BLOCK_TOKENS)
        rows.append(
            json.dumps({"timestamp": at, "input_length": prompt, "output_length": output,
                        "hash_ids": list(range(fresh, fresh + blocks))})
        )  # fmt: skip
        fresh += blocks
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def _read_report(path: Path) -> Served:
    names = ("arrival_time_ms", "prefill_admit_ms", "source_held_ms", "decode_admit_ms",
             "first_token_ms", "last_token_ms")  # fmt: skip
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row.get("last_token_ms") is not None]
    rows.sort(key=lambda row: row["arrival_time_ms"])
    at, began, ended, joined, first, last = (
        np.array([float(row[name]) for row in rows]) / 1e3 for name in names
    )
    lengths = [np.array([float(row[name]) for row in rows])
               for name in ("input_length", "output_length")]  # fmt: skip
    return Served(Arrivals(at, *lengths), began, ended, joined, first, last)


def _run(asked: dict[str, object]) -> None:
    """Run the engine; the process ends with it."""
    from dynamo._core import (  # type: ignore[import-not-found]  # noqa: PLC0415
        _normalize_mocker_config,
        run_mocker_trace_replay,
    )

    def arguments(worker: str) -> object:
        timing = {"type": "external", "provider": "dynamo_profile",
                  "config": {"path": asked["profile"]}}  # fmt: skip
        engine = ENGINE | {"worker_type": worker, "timing_model": timing,
                           "max_num_seqs": asked["most_running"]}  # fmt: skip
        return _normalize_mocker_config(
            {"engine": engine, "startup_time": 120.0, "tensor_parallel_size": 2}
        )

    run_mocker_trace_replay(
        [asked["trace"]], prefill_engine_args=arguments("prefill"),
        decode_engine_args=arguments("decode"), num_prefill_workers=asked["prefill"],
        num_decode_workers=asked["decode"], router_mode="round_robin",
        trace_block_size=BLOCK_TOKENS, report_jsonl_path=asked["report"],
    )  # fmt: skip


if __name__ == "__main__":
    _run(json.loads(sys.argv[1]))
