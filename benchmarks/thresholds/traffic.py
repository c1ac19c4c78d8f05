"""What a pressure test offers: a ramp of steps or a slope, and what a constant rate offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import lfilter

from benchmarks.thresholds.fleet import Arrivals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mix:
    """Lengths of requests: lognormal with these means and spreads (sd of the logarithm).

    `regularity`: shape of the gamma intervals between arrivals; 1 is Poisson, less is bunched.
    `bursts`: sd of the logarithm of an AR(1) factor on the rate, with a memory of 30 s.
    """

    prompt_tokens: float = 1160.0
    output_tokens: float = 420.0
    prompt_spread: float = 0.8
    output_spread: float = 0.6
    regularity: float = 1.0
    bursts: float = 0.0

    def lengths(self, size: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Draw prompt and output tokens (size,), at least 8 and 2."""
        drawn = [
            mean * np.exp(spread * rng.standard_normal(size) - 0.5 * spread**2)
            for mean, spread in (
                (self.prompt_tokens, self.prompt_spread),
                (self.output_tokens, self.output_spread),
            )
        ]
        return np.maximum(np.rint(drawn[0]), 8.0), np.maximum(np.rint(drawn[1]), 2.0)


@dataclass(frozen=True, slots=True)
class Ramp:
    """`steps` levels of `dwell_seconds` from `first` to `last` requests per second.

    `shuffled`: the levels in an order drawn anew.
    """

    first: float
    last: float
    steps: int = 30
    dwell_seconds: float = 120.0
    shuffled: bool = False

    @property
    def seconds(self) -> float:
        """Give its length."""
        return self.steps * self.dwell_seconds

    def offered(self, mix: Mix, rng: np.random.Generator) -> Arrivals:
        """Draw new arrivals and lengths."""
        levels = np.linspace(self.first, self.last, self.steps)
        if self.shuffled:
            levels = rng.permutation(levels)
        return _draw(np.repeat(levels, round(self.dwell_seconds)), mix, rng)


def constant(per_second: float, seconds: float, mix: Mix, rng: np.random.Generator) -> Arrivals:
    """Draw arrivals at one rate."""
    return _draw(np.full(round(seconds), per_second), mix, rng)


def _draw(per_second: Floats, mix: Mix, rng: np.random.Generator) -> Arrivals:
    """Draw arrivals of a rate per second (n,): gamma intervals in time of one expected arrival."""
    if mix.bursts > 0.0:
        keep = np.exp(-1.0 / 30.0)
        shocks = rng.standard_normal(per_second.size) * np.sqrt(1.0 - keep**2)
        walk = lfilter([1.0], [1.0, -keep], shocks, zi=[keep * rng.standard_normal()])[0]
        per_second = per_second * np.exp(mix.bursts * walk - 0.5 * mix.bursts**2)
    expected = np.concatenate([[0.0], np.cumsum(per_second)])
    enough = int(expected[-1] + 10.0 * np.sqrt(expected[-1] / mix.regularity) + 10.0)
    operational = np.cumsum(rng.gamma(mix.regularity, 1.0 / mix.regularity, size=enough))
    operational = operational[operational < expected[-1]]
    at = np.interp(operational, expected, np.arange(expected.size, dtype=float))
    return Arrivals(at, *mix.lengths(at.size, rng))
