"""A small simulated fleet for tests: a planted service, a short trace, a slow replica."""

from __future__ import annotations

import numpy as np

from signalstudy.replay.engine.profile import Profile
from signalstudy.replay.engine.trace import Trace, with_shared_prefix
from tests.replay import planted

START = planted.START
PROMPT_TOKENS, OUTPUT_TOKENS = 400, 60
ENGINE = {
    "num_gpu_blocks": 800,
    "block_size": 64,
    "max_num_seqs": 64,
    "max_num_batched_tokens": 4096,
    "kv_transfer_bytes_per_token": 100_000,
    "kv_transfer_bandwidth": 200.0,
}


def profile() -> Profile:
    """Give a replica that prefills 1000 tokens a second and decodes 20 ms + 4 ms a request."""
    prompts = np.unique(np.rint(np.geomspace(16, 8192, 40)))
    kv = np.linspace(0.0, 51_200.0, 41)
    context = np.unique(np.rint(np.geomspace(16, 8192, 40)))
    running = np.minimum(kv[:, None] / context[None, :], 64.0)
    return Profile(prompts, prompts, kv, context, 20.0 + 4.0 * running, dict(ENGINE), "planted")


def trace(per_second: np.ndarray, *, step: float = 60.0, seed: int = 1, cached: int = 0) -> Trace:
    """Give Poisson arrivals at `per_second` (one value a step); every request is alike."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(np.asarray(per_second) * step)
    at = np.sort(np.repeat(np.arange(counts.size), counts) * step + step * rng.random(counts.sum()))
    size = at.size
    return with_shared_prefix(
        "planted",
        START,
        arrived_seconds=at,
        prompt_tokens=np.full(size, PROMPT_TOKENS),
        output_tokens=np.full(size, OUTPUT_TOKENS),
        cached_tokens=np.full(size, cached) if cached else None,
    )


def service(hours: float = 2.0, **more):
    """Give a P/D study whose replicas bear what those of `profile` do: 600 and 110 tokens/s."""
    decode = planted.Estimate(110.0)
    prefill = planted.Estimate(600.0)
    found = planted.disaggregated(
        planted.day(300.0, hours=hours), mix=PROMPT_TOKENS / OUTPUT_TOKENS
    )
    return found.but(
        threshold=planted.threshold(
            planted.capacity("prefill", planted.TTFT, per_replica=prefill),
            planted.capacity("decode", planted.TBT, per_replica=decode),
        ),
        **more,
    )
