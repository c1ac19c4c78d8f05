"""Blocks of time and their weights: one block bootstrap that every measure shares."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.vocabulary.estimate import Status

    Floats = NDArray[np.float64]

REPLICATES = 1000
LONGEST_BLOCK_SECONDS = 7200.0
"""Two hours: raw correlations then cover nominally from 7 days on (methods, section 3)."""
BLOCKS_WANTED = 24
SHORTEST_BLOCK_STEPS = 4
SHARE_OF_REPLICATES_NEEDED = 0.9


@dataclass(frozen=True, slots=True)
class Blocks:
    """A record of `steps` steps, cut into `count` runs of `size` steps (the last may be shorter).

    `weights` (replicates, count): how often each block is drawn in each replicate. All measures of
    all signals of one pool share them, so that their comparisons are paired.
    """

    steps: int
    size: int
    weights: Floats

    @property
    def count(self) -> int:
        """Number of blocks."""
        return -(-self.steps // self.size)

    @property
    def of_step(self) -> NDArray[np.intp]:
        """Block of each step (n,)."""
        return np.arange(self.steps, dtype=np.intp) // self.size

    def sums(self, values: Floats) -> Floats:
        """Sum `values` (n, ...) within each block (count, ...); unknown values count nothing."""
        known = np.where(np.isfinite(values), values, 0.0)
        starts = np.arange(0, self.steps, self.size)
        return np.asarray(np.add.reduceat(known, starts, axis=0), dtype=np.float64)


def cut_blocks(steps: int, step_seconds: float, seed: int) -> Blocks:
    """Cut a record into blocks of 2 h, or a 24th of it where that is less, of at least 4 steps."""
    longest = int(LONGEST_BLOCK_SECONDS / step_seconds)
    size = max(SHORTEST_BLOCK_STEPS, min(longest, steps // BLOCKS_WANTED))
    return Blocks(steps, size, _draw_weights(-(-steps // size), seed))


@lru_cache(maxsize=16)
def _draw_weights(count: int, seed: int) -> Floats:
    """Draw multinomial block weights (replicates, count): W ~ Multinomial(count, 1/count)."""
    draws = np.random.default_rng(seed).multinomial(
        count, np.full(count, 1.0 / count), size=REPLICATES
    )
    weights = draws.astype(np.float64)
    weights.setflags(write=False)
    return weights


def central_range(replicates: Floats) -> tuple[float, float]:
    """Give the 2.5 % and 97.5 % quantiles of the replicates that could be computed."""
    finite = replicates[np.isfinite(replicates)]
    if finite.size < SHARE_OF_REPLICATES_NEEDED * replicates.size:
        raise NotEnoughDataError(
            "Too few blocks of time hold what this number rests on: it cannot be computed in "
            f"{replicates.size - finite.size} of {replicates.size} resampled records."
        )
    low, high = np.quantile(finite, (0.025, 0.975))
    return float(low), float(high)


def bootstrapped(
    value: float, replicates: Floats, *, method: str, note: str = "", status: Status = "ok"
) -> Estimate:
    """Make an Estimate with the percentile interval of its replicates."""
    low, high = central_range(replicates)
    return Estimate(
        value=float(value),
        low=min(low, float(value)),
        high=max(high, float(value)),
        status=status,
        note=note,
        method=method,
    )
