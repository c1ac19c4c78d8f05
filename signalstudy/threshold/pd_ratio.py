"""P/D ratio: prefill replicas per decode replica, from both capacities and the token mix."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.threshold.threshold import PdRatio
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.threshold.threshold import Capacity
    from signalstudy.timeline.timeline import Timeline
    from signalstudy.vocabulary.estimate import Status

    Floats = NDArray[np.float64]

WINDOW_SECONDS = 3600.0
FEWEST_WINDOWS = 6
SHORTEST_WINDOW_SECONDS = 300.0
FARTHEST_SPREAD = 2.0
"""One ratio serves while the 95 % quantile of the mix is at most twice its 5 % quantile: beyond,
no point between them leaves either pool less than sqrt(2) away from its target."""


LEAST_COST_TO_WARN = 0.05
"""A twentieth of the fleet's throughput is worth a sentence."""


@dataclass(frozen=True, slots=True)
class TokenMix:
    """Uncached prompt tokens per output token: median over windows, 5 and 95 % quantiles.

    `of_window`, `output_tokens`, `start_seconds` (windows,): each window's mix, its output tokens
    offered per second, and when it began.
    """

    median: float
    low: float
    high: float
    window_seconds: float
    of_window: Floats
    output_tokens: Floats
    start_seconds: Floats

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return int(self.of_window.size)

    @property
    def moves_too_much(self) -> bool:
        """Whether the mix moves more than one ratio can serve."""
        return self.high > FARTHEST_SPREAD * self.low


def measure_token_mix(timeline: Timeline) -> TokenMix | None:
    """Measure the token mix in windows of an hour (a twelfth of the span where that is shorter).

    A window's mix is the ratio of its sums: the mean of m weighted by output tokens offered.
    """
    decode = timeline.pools.get("decode")
    if decode is None or decode.demand is None or timeline.time_seconds.size == 0:
        return None
    weight = decode.demand.per_second
    known = timeline.usable & np.isfinite(timeline.token_mix) & np.isfinite(weight) & (weight > 0)
    if not known.any():
        return None
    span_seconds = timeline.days * 86_400.0
    window_seconds = max(SHORTEST_WINDOW_SECONDS, min(WINDOW_SECONDS, span_seconds / 12.0))
    at = timeline.time_seconds[known]
    window = ((at - at.min()) // window_seconds).astype(np.int64)
    prompt = np.bincount(window, weights=(timeline.token_mix * weight)[known]).astype(float)
    output = np.bincount(window, weights=weight[known]).astype(float)
    held = output > 0
    mix = prompt[held] / output[held]
    median, low, high = (float(q) for q in np.quantile(mix, [0.5, 0.05, 0.95]))
    if low <= 0.0:
        return None
    starts = at.min() + window_seconds * np.flatnonzero(held)
    return TokenMix(median, low, high, window_seconds, mix, output[held].astype(float), starts)


def fit_pd_ratio(
    timeline: Timeline | None,
    decode: Capacity | None,
    prefill: Capacity | None,
    *,
    decode_headroom_ratio: float,
    prefill_headroom_ratio: float,
    decode_target: float | None = None,
) -> PdRatio:
    """Estimate P/D = m x [x_decode / R_D] / [x_prefill / R_P] (methods 9).

    m: uncached prompt tokens per output token. The interval joins those of both capacities and of
    the median mix, as independent relative errors. The band moves the ratio with the 5 and 95 %
    quantiles of m. `decode_target`: decode tokens/s per decode replica, whose range of the mix is
    told as well.
    """
    if decode is None or prefill is None:
        return PdRatio(not_applicable("The service is not split into prefill and decode."))
    mix = measure_token_mix(timeline) if timeline is not None else None
    if mix is None:
        sentence = (
            "Prompt and output tokens offered are not known together, so the ratio of their work "
            "is not."
        )
        return PdRatio(unidentified(sentence), note=sentence)
    ratio = _ratio(decode, prefill, mix, prefill_headroom_ratio / decode_headroom_ratio)
    found = PdRatio(
        ratio,
        token_mix=mix.median,
        token_mix_low=mix.low,
        token_mix_high=mix.high,
        moves_too_much=mix.moves_too_much,
        note=_mix_sentence(mix),
    )
    if ratio.value is None or prefill.per_replica.low is None:
        return found
    bears = (decode.per_replica.value or 0.0) / decode_headroom_ratio
    serves = (prefill.per_replica.value or 0.0) / prefill_headroom_ratio
    cost = fixed_ratio_cost(ratio, mix, bears, serves)
    holds_to = None
    if decode_target is not None:
        holds_to = ratio.value * prefill.per_replica.low / (prefill_headroom_ratio * decode_target)
    sentences = [found.note, *_cost_sentences(cost, mix, ratio.value)]
    if holds_to is not None:
        sentences.append(_range_sentence(decode_target or 0.0, ratio.value, holds_to, mix))
    return replace(
        found,
        band_low=ratio.value * mix.low / mix.median,
        band_high=ratio.value * mix.high / mix.median,
        fixed_cost=cost,
        holds_to_mix=holds_to,
        note=" ".join(sentences),
    )


def decode_per_replica(ratio: Floats | float, mix: Floats, bears: float, serves: float) -> Floats:
    """Give the decode tokens/s that each replica of the whole fleet is worth, by mix (n,).

    With r prefill per decode replica the fleet is held up by what saturates first:
    min(x_decode, r x_prefill / m) / (1 + r), `bears` = x_decode and `serves` = x_prefill.
    """
    held = np.minimum(bears, np.asarray(ratio) * serves / mix)
    return np.asarray(held / (1.0 + np.asarray(ratio)))


def fixed_ratio_cost(ratio: Estimate, mix: TokenMix, bears: float, serves: float) -> Estimate:
    """Estimate the share of throughput that one fixed ratio costs beside the best one by window.

    `value`: over all windows by the output tokens offered; `high`: the 95 % quantile of windows.
    """
    best = decode_per_replica(mix.of_window * bears / serves, mix.of_window, bears, serves)
    fixed = decode_per_replica(ratio.value or 0.0, mix.of_window, bears, serves)
    lost = np.clip(1.0 - fixed / best, 0.0, 1.0)
    return Estimate(
        float(np.average(lost, weights=mix.output_tokens)),
        low=float(np.quantile(lost, 0.05)),
        high=max(
            float(np.quantile(lost, 0.95)), float(np.average(lost, weights=mix.output_tokens))
        ),
        status="ok" if ratio.status == "ok" else "extrapolated",
        note="" if ratio.status == "ok" else "Capacities are bounds, so this is a rough figure.",
        effective_observations=mix.windows,
        method="1 - min(x_decode, r x_prefill / m) / (1 + r) over its best by window; low and high "
        "are 5 and 95 % of windows",
    )


def _cost_sentences(cost: Estimate, mix: TokenMix, ratio: float) -> list[str]:
    """Warn where a fixed ratio costs throughput, with how much and when."""
    if (cost.high or 0.0) < LEAST_COST_TO_WARN or cost.value is None:
        return []
    farthest = int(np.argmax(np.abs(np.log(mix.of_window / mix.median))))
    at = datetime.fromtimestamp(float(mix.start_seconds[farthest]), UTC)
    extreme = mix.of_window[farthest]
    sentence = (
        f"Held at {ratio:.3g} throughout, the fleet bears {cost.value:.0%} less than at the best "
        f"ratio of each window, {cost.high:.0%} less in the worst twentieth; the mix is farthest "
        f"from its median ({extreme:.3g}) around {at:%a %H:%M} UTC."
    )
    return [sentence]


def _range_sentence(target: float, ratio: float, holds_to: float, mix: TokenMix) -> str:
    """Say for which ratio and mix the decode target holds."""
    sentence = (
        f"The target of {target:.4g} decode tokens/s per decode replica holds at {ratio:.3g} "
        f"prefill per decode replica up to a mix of {holds_to:.3g}; beyond it prefill saturates "
        "first"
    )
    if holds_to >= mix.high:
        return f"{sentence}, which is above 95 % of the windows."
    share = float((mix.of_window > holds_to).mean())
    return f"{sentence}, as in {share:.0%} of the windows."


def _ratio(decode: Capacity, prefill: Capacity, mix: TokenMix, headroom: float) -> Estimate:
    """Divide the capacities, with the status that the two of them leave."""
    x_decode, x_prefill = decode.per_replica, prefill.per_replica
    for capacity in (decode, prefill):
        if capacity.per_replica.value is None or capacity.per_replica.low is None:
            return unidentified(
                f"The capacity of a {capacity.pool} replica is not known: "
                f"{capacity.per_replica.note}"
            )
    assert x_decode.value is not None  # noqa: S101 (said above; for the type checker)
    assert x_prefill.value is not None  # noqa: S101
    value = mix.median * headroom * x_decode.value / x_prefill.value
    status, note = _status(x_decode, x_prefill)
    low, high = None, None
    if status == "ok" and mix.windows >= FEWEST_WINDOWS:
        below = math.hypot(_fall(x_decode), _rise(x_prefill), _mix_error(mix))
        above = math.hypot(_rise(x_decode), _fall(x_prefill), _mix_error(mix))
        low, high = value * math.exp(-below), value * math.exp(above)
    return Estimate(
        value,
        low=low,
        high=high,
        status=status,
        note=note,
        method="token mix x decode capacity / prefill capacity, each over its ramp factor",
    )


def _status(decode: Estimate, prefill: Estimate) -> tuple[Status, str]:
    """Say which way the ratio is open when a knee was not visited."""
    open_decode, open_prefill = decode.status != "ok", prefill.status != "ok"
    if open_decode and open_prefill:
        return "censored", (
            "Neither pool's knee was visited: the ratio of the most work seen in each only repeats "
            "the shape of the fleet that was recorded; it kept what was seen within the "
            "objectives, and need not be the cheapest."
        )
    if open_decode:
        return "lower_bound", (
            "The knee of decode was not visited: a decode replica may bear more, and would then "
            "need more prefill beside it. The ratio fits a decode target at this bound."
        )
    if open_prefill:
        return "censored", (
            "The knee of prefill was not visited: a prefill replica may bear more, so fewer of "
            "them may do."
        )
    return "ok", ""


def _fall(estimate: Estimate) -> float:
    """Give the relative distance from the value down to its bound, as a logarithm."""
    return math.log((estimate.value or 1.0) / (estimate.low or 1.0))


def _rise(estimate: Estimate) -> float:
    """Give the relative distance from the value up to its bound; as far as down where unknown."""
    if estimate.high is None:
        return _fall(estimate)
    return math.log(estimate.high / (estimate.value or 1.0))


def _mix_error(mix: TokenMix) -> float:
    """Give the 95 % half-width of the median mix's logarithm: 1.25 sd / sqrt(windows), sd by IQR.

    The 5..95 % range of a normal spread is 3.29 sd; the median's error is 1.25 times the mean's.
    """
    spread = math.log(mix.high / mix.low) / 3.29
    return 1.96 * 1.25 * spread / math.sqrt(mix.windows)


def _mix_sentence(mix: TokenMix) -> str:
    """Say how far the mix moves, and what follows."""
    minutes = mix.window_seconds / 60.0
    moves = (
        f"Uncached prompt tokens per output token range from {mix.low:.3g} to {mix.high:.3g} "
        f"(5 to 95 % of {mix.windows} windows of {minutes:.0f} min, median {mix.median:.3g})"
    )
    if mix.moves_too_much:
        return (
            f"{moves}: a factor of {mix.high / mix.low:.3g}, too much for one ratio. Each pool "
            "should follow its own work, and the ratio is only a band."
        )
    return f"{moves}: one ratio serves."
