"""Timing of a replica fitted to a study's own telemetry, where no profile is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.replay.engine.profile import ENGINE, Profile
from signalstudy.threshold.counts import mean_per_bin, steps_per_bin
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.replay.grounds import Grounds
    from signalstudy.timeline.timeline import PoolTimeline

    Floats = NDArray[np.float64]

BIN_SECONDS = 60.0
FEWEST_BINS = 30
BUSY, FULL = 0.1, 0.95
"""Utilization between which busy time grows with work; above it work waits."""
QUIET_SHARE = 0.2
"""The share of bins with the least work, where hardly anything waits."""
PROMPTS = np.unique(np.rint(np.geomspace(16, 131_072, 120)))
CONTEXTS = np.unique(np.rint(np.geomspace(16, 131_072, 60)))


def fit_profile(grounds: Grounds) -> Profile:
    """Fit how long passes last to the telemetry of a study.

    Decode by the batch law, mean TBT = alpha + beta x running requests (methods 8.4), running
    requests being KV tokens / tokens a request holds. Prefill in proportion to its new tokens: the
    seconds a token that utilization says, else those of TTFT where traffic is lightest. The sizes
    of a replica are the usual ones. Raises NotEnoughDataError naming what is missing.
    """
    decode = "decode" if "decode" in grounds.pools else "unified"
    level, slope = _batch_law(grounds, decode)
    seconds_per_token, how = _prefill(grounds)
    kv_tokens = np.linspace(0.0, ENGINE["num_gpu_blocks"] * ENGINE["block_size"], 81)
    running = kv_tokens[:, None] / CONTEXTS[None, :]
    said = (
        f"fitted to the study's telemetry: TBT = {1e3 * level:.3g} ms + {1e3 * slope:.3g} ms a "
        f"running request; {1e3 * seconds_per_token:.3g} ms a prompt token, by {how}; a replica "
        f"of {ENGINE['num_gpu_blocks'] * ENGINE['block_size']:,} KV tokens, as is usual"
    )
    return Profile(
        prefill_tokens=PROMPTS,
        prefill_ms=1e3 * seconds_per_token * PROMPTS,
        kv_tokens=kv_tokens,
        context_tokens=CONTEXTS,
        decode_ms=1e3 * (level + slope * np.minimum(running, ENGINE["max_num_seqs"])),
        source=said,
    )


def _batch_law(grounds: Grounds, pool: str) -> tuple[float, float]:
    source = grounds.whole.pools[pool]
    running = _values(grounds, pool, "running_requests")
    tbt = next(
        (found for name in ("tbt_mean_seconds", "tbt_p50_seconds")
         if (found := _values(grounds, pool, name)) is not None), None,
    )  # fmt: skip
    if running is None or tbt is None:
        raise NotEnoughDataError(
            f"No timing can be fitted: {grounds.service!r} does not show running_requests and TBT "
            f"of {pool}. Give --profile."
        )
    steps = steps_per_bin(grounds.whole.step_seconds, BIN_SECONDS)
    batch = mean_per_bin(running / source.ready_replicas, steps)
    seconds = mean_per_bin(tbt, steps)
    kept = np.isfinite(batch + seconds) & (batch > 0.0)
    if kept.sum() < FEWEST_BINS:
        raise NotEnoughDataError(
            f"No timing can be fitted: {int(kept.sum())} minutes show running requests and TBT of "
            f"{pool}, {FEWEST_BINS} are needed. Give --profile."
        )
    slope, level = np.polyfit(batch[kept], seconds[kept], 1)
    if level <= 0.0 or slope < 0.0:
        return float(np.median(seconds[kept])), 0.0
    return float(level), float(slope)


def _prefill(grounds: Grounds) -> tuple[float, str]:
    """Give seconds a new prompt token, and what tells them."""
    pool = "prefill" if "prefill" in grounds.pools else "unified"
    source = grounds.whole.pools.get(pool)
    names = ("prefill_uncached_tokens_per_second", "prefill_tokens_per_second")
    work = next((found for name in names if (found := _values(grounds, pool, name)) is not None),
                None)  # fmt: skip
    if source is None or work is None:
        raise NotEnoughDataError(
            f"No timing can be fitted: {grounds.service!r} does not show its prompt tokens. Give "
            "--profile."
        )
    steps = steps_per_bin(grounds.whole.step_seconds, BIN_SECONDS)
    each = mean_per_bin(work / source.ready_replicas, steps)
    busy = _values(grounds, pool, "gpu_utilization_ratio")
    if pool == "prefill" and busy is not None:
        share = mean_per_bin(busy, steps)
        kept = np.isfinite(share + each) & (share > BUSY) & (share < FULL) & (each > 0.0)
        if kept.sum() >= FEWEST_BINS:
            return float(np.median(share[kept] / each[kept])), "utilization"
    return _from_ttft(grounds, pool, source, steps), "TTFT where traffic is lightest"


def _from_ttft(grounds: Grounds, pool: str, source: PoolTimeline, steps: int) -> float:
    ttft = next(
        (found for name in ("ttft_p50_seconds", "ttft_mean_seconds")
         if (found := _values(grounds, pool, name)) is not None), None,
    )  # fmt: skip
    tokens = next(
        (found for name in ("prefill_uncached_tokens_per_second", "prefill_tokens_per_second")
         if (found := _values(grounds, pool, name)) is not None), None,
    )  # fmt: skip
    requests = _values(grounds, pool, "requests_per_second")
    if ttft is None or tokens is None or requests is None:
        raise NotEnoughDataError(
            f"No timing can be fitted: {grounds.service!r} shows neither the utilization of "
            f"{source.pool} nor TTFT, prompt tokens and requests. Give --profile."
        )
    seconds, work = mean_per_bin(ttft, steps), mean_per_bin(tokens, steps)
    length = work / np.maximum(mean_per_bin(requests, steps), 1e-9)
    kept = np.isfinite(seconds + length) & (length > 1.0)
    quiet = kept & (work <= np.quantile(work[kept], QUIET_SHARE)) if kept.any() else kept
    if quiet.sum() < 5:
        raise NotEnoughDataError("No timing can be fitted: too few minutes show TTFT.")
    return float(np.median(seconds[quiet] / length[quiet]))


def _values(grounds: Grounds, pool: str, signal: str) -> Floats | None:
    """Find a signal on the pool, on another, or at the gateway."""
    for place in (pool, "gateway", "prefill", "decode", "unified"):
        found = grounds.whole.pools.get(place)
        if found is not None and signal in found.signals:
            return found.signals[signal].values
    return None
