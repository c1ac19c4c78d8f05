"""Offered traffic: a day's rhythm, bursts, requests with their tokens and cache hits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import lfilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.synthetic.service import ServiceSpec

    Floats = NDArray[np.float64]

DAY_SECONDS = 86400.0
HIT_SPREAD = 0.05
"""Standard deviation of one request's hit ratio around that of its time."""
PEAK_QUANTILE = 0.995


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Offered requests (m,): when they arrived (seconds since 1970) and what they ask for."""

    at_seconds: Floats
    prompt_tokens: Floats
    cached_prompt_tokens: Floats
    output_tokens: Floats


def autoregression(
    steps: int, step_seconds: float, memory_seconds: float, rng: np.random.Generator
) -> Floats:
    """Draw a stationary AR(1) series of unit variance with the given decorrelation time (n,)."""
    memory = np.exp(-step_seconds / memory_seconds)
    shocks = rng.standard_normal(steps) * np.sqrt(1.0 - memory**2)
    first = rng.standard_normal()
    series: Floats = lfilter([1.0], [1.0, -memory], shocks, zi=[memory * first])[0]
    return series


def requests_per_second(
    spec: ServiceSpec, edges_seconds: Floats, rng: np.random.Generator
) -> Floats:
    """Draw the expected arrivals per second of each step (n,), from edges (n + 1,).

    Highest at 16 h UTC; scaled so that decode work per planned replica visits the knee.
    """
    centres = 0.5 * (edges_seconds[1:] + edges_seconds[:-1])
    phase = 2.0 * np.pi * (centres / DAY_SECONDS - 10.0 / 24.0)
    bursts = autoregression(centres.size, spec.step_seconds, spec.burst_seconds, rng)
    shape = (1.0 + spec.day_swing * np.sin(phase)) * np.exp(spec.burst_spread * bursts)
    knee = spec.tbt.knee_per_second(spec.tbt_objective)
    peak = spec.peak_over_knee * knee * spec.decode_replicas / spec.output_tokens
    return shape * (peak / np.quantile(shape, PEAK_QUANTILE))


def hit_ratios(spec: ServiceSpec, steps: int, rng: np.random.Generator) -> Floats:
    """Draw the prefix-cache hit ratio of each step (n,), moving slowly within 0.02..0.9."""
    walk = autoregression(steps, spec.step_seconds, spec.hit_seconds, rng)
    return np.clip(spec.hit_ratio + spec.hit_swing * np.tanh(walk), 0.02, 0.9)


def draw_arrivals(
    spec: ServiceSpec, edges_seconds: Floats, expected_per_second: Floats, hits: Floats,
    rng: np.random.Generator,
) -> Arrivals:  # fmt: skip
    """Draw requests from their expected rate (n,) and hit ratio (n,) per step.

    Gamma intervals in operational time (time in which one request is expected per unit), mapped
    back through the integral of the rate.
    """
    expected = np.concatenate([[0.0], np.cumsum(expected_per_second * np.diff(edges_seconds))])
    shape = spec.arrival_regularity
    enough = int(expected[-1] + 10.0 * np.sqrt(expected[-1]) + 10.0)
    operational = np.cumsum(rng.gamma(shape, 1.0 / shape, size=enough))
    operational = operational[operational < expected[-1]]
    at_seconds = np.interp(operational, expected, edges_seconds)
    prompt = _token_counts(spec.prompt_tokens, spec.token_spread, at_seconds.size, rng)
    output = _token_counts(spec.output_tokens, spec.token_spread, at_seconds.size, rng)
    step = np.searchsorted(edges_seconds, at_seconds, side="right") - 1
    hit = hits[np.minimum(step, hits.size - 1)] + HIT_SPREAD * rng.standard_normal(at_seconds.size)
    cached = np.floor(prompt * np.clip(hit, 0.0, 0.95))
    return Arrivals(at_seconds, prompt, cached, output)


def _token_counts(mean: float, spread: float, count: int, rng: np.random.Generator) -> Floats:
    """Draw whole token counts of at least 1, lognormal around the mean."""
    drawn = mean * np.exp(spread * rng.standard_normal(count) - 0.5 * spread**2)
    return np.maximum(np.rint(drawn), 1.0)
