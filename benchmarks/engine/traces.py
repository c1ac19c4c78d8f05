"""The traces of the benchmark, the replica they run on, and how far they are scaled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from signalstudy.replay.engine.profile import Profile, read_profile
from signalstudy.replay.engine.run import LARGEST_SHARE_EVICTED
from signalstudy.replay.engine.trace import (
    Trace,
    read_trace,
    reusable_tokens,
    with_shared_prefix,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PROFILE = DATA / "dynamo_offline" / "h200_llama31_70b_bf16_tp2_vllm0240.npz"
SERVEGEN_MODEL, SERVEGEN_DAY = "m-large", 3
SERVEGEN_SIGMA = 1.0
"""Spread of the logarithm of lengths about the window's mean; the source's distributions are heavy
tailed, its table gives means."""
PEAK_SECONDS = 300.0
FEWEST_REPLICAS = 8
DECODE_TIMES, MOST_LEFT_OUT = (10.0, 5.0, 2.0, 1.0), 0.02
PREFILL_FILL = 0.6
"""How busy prefill may be before requests wait for long (bursts of Poisson arrivals)."""
DECODE_FILL = 0.75
"""How full decode may be before its slowest percent is over the limit (contexts differ)."""


@dataclass(frozen=True)
class Case:
    """A trace, and what is asked of it.

    `is_gated`: issue 6 sets limits on it. `every_pool`: 8 replicas in every pool, else in the one
    that needs most (code has 28 output tokens a prompt of 2,048: eight decode replicas would go
    with 460 of prefill).
    """

    name: str
    trace: Trace
    is_gated: bool
    every_pool: bool


def case(name: str, seed: int) -> Case:
    """Give a case by name, or of a trace file."""
    if name == "day":
        path = DATA / "dynamo_offline" / "day_over" / "requests.parquet"
        return Case(name, read_trace(path, "offline-day-over"), True, True)
    if name == "servegen":
        return Case(name, servegen(seed), True, True)
    if name == "code":
        path = DATA / "azure_llm_2023" / "code_requests.parquet"
        return Case(name, read_trace(path, "azure-code"), False, False)
    if name == "conversation":
        path = DATA / "mooncake_conversation" / "conversation_trace.jsonl.zst"
        return Case(name, read_trace(path, ""), False, False)
    path = Path(name)
    return Case(path.name.split(".")[0], read_trace(path, ""), False, False)


def servegen(seed: int) -> Trace:
    """Draw a day's requests (Poisson) from ServeGen's windows of ten minutes, scaled to 4 a second.

    The rate runs straight between the windows' centres. Tokens a request = tokens/s of the clients
    that are covered / (their share of the rate).
    """
    frame = pl.read_parquet(DATA / "servegen" / "demand_10min.parquet").filter(
        pl.col("service") == SERVEGEN_MODEL
    ).sort("timestamp")  # fmt: skip
    first = frame["timestamp"].min().timestamp() + 86400.0 * SERVEGEN_DAY
    at = frame["timestamp"].dt.epoch("ms").to_numpy() / 1000.0 - first
    rate = frame["offered_requests_per_second"].to_numpy()
    covered = rate * frame["token_coverage_ratio"].to_numpy()
    prompt = frame["offered_prefill_tokens_per_second"].to_numpy() / covered
    output = frame["offered_decode_tokens_per_second"].to_numpy() / covered
    known = np.isfinite(prompt + output + rate)
    seconds = np.arange(86400.0) + 0.5
    per_second = np.interp(seconds, at[known] + 300.0, rate[known])
    per_second *= 4.0 / per_second.mean()
    rng = np.random.default_rng(seed)
    counts = rng.poisson(per_second)
    arrived = np.sort(np.repeat(np.arange(86400), counts) + rng.random(counts.sum()))
    lengths = [
        np.interp(arrived, at[known] + 300.0, mean[known])
        * np.exp(SERVEGEN_SIGMA * rng.standard_normal(arrived.size) - SERVEGEN_SIGMA**2 / 2.0)
        for mean in (prompt, output)
    ]
    tokens = [np.clip(np.round(one), 1, 30_000).astype(np.int64) for one in lengths]
    return with_shared_prefix(
        f"servegen {SERVEGEN_MODEL}", first, arrived_seconds=arrived, prompt_tokens=tokens[0],
        output_tokens=tokens[1], cached_tokens=None,
    )  # fmt: skip


def replica(prefill_times: float, decode_times: float) -> Profile:
    """Give an H200 pair with Llama-3.1-70B, or a smaller replica that a shorter run can fill.

    Prefill takes `prefill_times` as long a token; decode has one `decode_times`-th of the batch and
    KV cache at the same TBT.
    """
    whole = read_profile(PROFILE)
    sizes = {name: whole.engine[name] for name in ("num_gpu_blocks", "max_num_seqs")}
    smaller = {name: max(round(value / decode_times), 8) for name, value in sizes.items()}
    return replace(
        whole,
        prefill_ms=whole.prefill_ms * prefill_times,
        kv_tokens=whole.kv_tokens / decode_times,
        engine=whole.engine | smaller,
        source=f"{PROFILE.name}, prefill {prefill_times:g} times as long, decode batch and KV "
        f"cache / {decode_times:g}",
    )


def longest_context(profile: Profile) -> float:
    """Give the most tokens a request may have: a few long ones would else be a replica's load."""
    return LARGEST_SHARE_EVICTED * profile.kv_capacity_tokens


def small_enough(trace: Trace) -> float:
    """Say by how much the decode replica is divided: as small as holds nearly all requests."""
    tokens = trace.prompt_tokens + trace.output_tokens
    for times in DECODE_TIMES:
        if np.mean(tokens > longest_context(replica(1.0, times))) <= MOST_LEFT_OUT:
            return times
    return DECODE_TIMES[-1]


def bears(profile: Profile, trace: Trace, tbt_seconds: float) -> dict[str, float]:
    """Give about what a replica bears: uncached prompt tokens, output tokens a second.

    Decode: the batch at which a pass lasts as long as TBT may, at the trace's mean context.
    """
    context = float(trace.prompt_tokens.mean() + trace.output_tokens.mean() / 2.0)
    batches = np.arange(1.0, profile.engine["max_num_seqs"] + 1.0)
    fits = batches * context <= profile.kv_capacity_tokens
    column = np.argmin(np.abs(profile.context_tokens - context))
    lasts = np.interp(batches * context, profile.kv_tokens, profile.decode_ms[:, column]) / 1000.0
    possible = (batches / lasts)[fits & (lasts <= tbt_seconds)]
    prompt = float(trace.prompt_tokens.mean())
    each = np.interp(prompt, profile.prefill_tokens, profile.prefill_ms) / 1000.0 / prompt
    decode = DECODE_FILL * float(possible.max(initial=1.0 / lasts[0]))
    return {"prefill": PREFILL_FILL / each, "decode": decode}


def work_over_time(trace: Trace) -> dict[str, Floats]:
    """Give the work per second of each five minutes (n,), by pool."""
    steps = int(trace.seconds / PEAK_SECONDS) + 1
    at = (trace.arrived_seconds / PEAK_SECONDS).astype(int)
    uncached = trace.prompt_tokens - reusable_tokens(trace)
    return {
        "prefill": np.bincount(at, uncached, steps) / PEAK_SECONDS,
        "decode": np.bincount(at, trace.output_tokens, steps) / PEAK_SECONDS,
    }


def peak_work(trace: Trace) -> dict[str, float]:
    """Give the largest work per second over five minutes, by pool."""
    return {pool: float(work.max()) for pool, work in work_over_time(trace).items()}


def scale_of(one: Case, able: dict[str, float]) -> float:
    """Say by how much to scale so that the peak needs 8 replicas (see Case)."""
    needs = [peak_work(one.trace)[pool] / able[pool] for pool in able]
    return FEWEST_REPLICAS / (min(needs) if one.every_pool else max(needs))


def quickened(trace: Trace, times: float, seed: int) -> Trace:
    """Let the same rates pass in a shorter time: fewer requests, rises and falls are steeper.

    Below 1 in a longer time: more requests, rises and falls are gentler.
    """
    if times == 1.0:
        return trace
    if times < 1.0:
        more = trace.scaled(1.0 / times, seed)
        return more.take(np.arange(more.requests), more.arrived_seconds / times)
    rng = np.random.default_rng([seed, 4])
    rows = np.flatnonzero(rng.random(trace.requests) < 1.0 / times)
    return trace.take(rows, trace.arrived_seconds[rows] / times)
