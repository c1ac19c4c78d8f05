"""Requests drawn from a study: its rhythm and its token mix, where no trace is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter1d

from signalstudy.replay.engine.trace import with_shared_prefix
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.replay.engine.trace import Trace
    from signalstudy.replay.grounds import Grounds
    from signalstudy.timeline.timeline import Timeline

    Floats = NDArray[np.float64]

MIX_SECONDS = 600.0
"""Over which the tokens of a request are averaged; the rhythm is that of the steps."""
RHYTHM_SECONDS = 60.0
LENGTH_SIGMA = 0.7
"""Spread of the logarithm of prompt and output lengths about their mean of the moment; telemetry
has no lengths of single requests. Public traces have 0.6 to 1.2."""
LONGEST_TOKENS = 100_000


def resample(grounds: Grounds, seed: int) -> Trace:
    """Draw requests (Poisson) at the study's rate, with lognormal lengths about its mean of then.

    Raises NotEnoughDataError where the study does not tell requests from tokens.
    """
    timeline, step = grounds.whole, grounds.step_seconds
    rate = _requests_per_second(timeline)
    output = _offered(timeline, ("decode", "unified"))
    if rate is None or output is None:
        raise NotEnoughDataError(
            f"No requests can be drawn: {grounds.service!r} has no count of requests beside its "
            "output tokens. Give --trace."
        )
    mean_output = _per_request(output, rate, step)
    mean_prompt = _mean_prompt(grounds, rate, mean_output)
    rng = np.random.default_rng([seed, 3])
    smooth = uniform_filter1d(np.nan_to_num(rate), max(round(RHYTHM_SECONDS / step), 1))
    counts = rng.poisson(smooth * step)
    rows = np.repeat(np.arange(rate.size), counts)
    if rows.size < 2:
        raise NotEnoughDataError(f"No requests can be drawn: {grounds.service!r} has none.")
    arrived = np.sort((rows + rng.random(rows.size)) * step)
    rows = np.minimum((arrived / step).astype(int), rate.size - 1)
    prompt, output_tokens = (_lengths(mean[rows], rng) for mean in (mean_prompt, mean_output))
    hits = np.nan_to_num(timeline.prefix_cache_hit_ratio)
    cached = np.round(hits[rows] * prompt).astype(np.int64) if hits.any() else None
    note = (
        "Requests are drawn from the study's rhythm and token mix: Poisson arrivals, lognormal "
        f"lengths (sigma {LENGTH_SIGMA:g}) about the mean of ten minutes."
    )
    start = float(timeline.time_seconds[0] - step)
    return with_shared_prefix(
        grounds.service,
        start,
        arrived_seconds=arrived,
        prompt_tokens=prompt,
        output_tokens=output_tokens,
        cached_tokens=cached,
        notes=(note,),
    )


def _requests_per_second(timeline: Timeline) -> Floats | None:
    """Give arrivals per second (n,): demand in requests, else requests counted as they finish."""
    for pool in timeline.pools.values():
        if pool.demand is not None and pool.demand.unit == "requests":
            return pool.demand.per_second
    for counts in timeline.slo_counts:
        if counts.objective.signal != "tbt" or counts.source == "requests":
            return counts.observed / timeline.step_seconds
    for name in ("gateway", "unified", "decode", "prefill"):
        place = timeline.pools.get(name)
        if place is not None and "requests_per_second" in place.signals:
            return place.signals["requests_per_second"].values
    return None


def _offered(timeline: Timeline, names: tuple[str, ...]) -> Floats | None:
    for name in names:
        pool = timeline.pools.get(name)
        if pool is not None and pool.demand is not None and pool.demand.unit == "tokens":
            return pool.demand.per_second
    return None


def _per_request(tokens: Floats, rate: Floats, step_seconds: float) -> Floats:
    """Give tokens a request (n,): the ratio of means over ten minutes, the whole span's where none.

    A request is counted at one end and its tokens at the other; over ten minutes it hardly matters.
    """
    known = np.isfinite(tokens + rate)
    size = max(round(MIX_SECONDS / step_seconds), 1)
    amount = uniform_filter1d(np.where(known, tokens, 0.0), size)
    count = uniform_filter1d(np.where(known, rate, 0.0), size)
    overall = float(tokens[known].sum() / rate[known].sum()) if rate[known].sum() else 1.0
    fewest = 5.0 / MIX_SECONDS
    return np.asarray(
        np.divide(amount, count, out=np.full(rate.size, overall), where=count > fewest)
    )


def _mean_prompt(grounds: Grounds, rate: Floats, mean_output: Floats) -> Floats:
    timeline = grounds.whole
    prompt = _offered(timeline, ("prefill",))
    hits = np.clip(np.nan_to_num(timeline.prefix_cache_hit_ratio), 0.0, 0.95)
    if prompt is not None:
        capacity = grounds.pools["prefill"].capacity.signal if "prefill" in grounds.pools else ""
        is_uncached = capacity == "prefill_uncached_tokens_per_second"
        return _per_request(prompt / (1.0 - hits) if is_uncached else prompt, rate,
                            grounds.step_seconds)  # fmt: skip
    mix = timeline.token_mix
    if not np.isfinite(mix).any():
        raise NotEnoughDataError(
            f"No requests can be drawn: {grounds.service!r} does not tell its prompt tokens. Give "
            "--trace."
        )
    usual = float(np.nanmedian(mix))
    return np.asarray(np.where(np.isfinite(mix), mix, usual) * mean_output / (1.0 - hits))


def _lengths(mean: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    drawn = mean * np.exp(LENGTH_SIGMA * rng.standard_normal(mean.size) - LENGTH_SIGMA**2 / 2.0)
    return np.clip(np.round(drawn), 1, LONGEST_TOKENS).astype(np.int64)
