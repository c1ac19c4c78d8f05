"""Blocks of time and their weights: one block bootstrap that every measure shares."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from signalstudy.evidence.autocorrelation import MOST_CARRY_OVER
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from signalstudy.vocabulary.estimate import Status

    Floats = NDArray[np.float64]
    Integers = NDArray[np.intp]

REPLICATES = 1000
DAY_SECONDS = 86400.0
LONGEST_BLOCK_SECONDS = 7200.0
"""Two hours: raw correlations then cover nominally from 7 days on (methods, section 3)."""
BLOCKS_WANTED = 24
SHORTEST_BLOCK_STEPS = 4
FEWEST_BLOCKS = 6
FEWEST_DAYS = 3
"""Days from which on each hour is redrawn from the same hour of other days."""
SHARE_OF_REPLICATES_NEEDED = 0.9
NORMAL_QUANTILE = 1.959964
LEAST_FREEDOM = 3.0


@dataclass(frozen=True, slots=True)
class Scale:
    """A scale on which a number errs as much upwards as downwards, and the way back."""

    there: Callable[[Floats], Floats]
    back: Callable[[Floats], Floats]


PLAIN = Scale(lambda x: x, lambda x: x)
GROWTH = Scale(lambda x: np.log1p(np.maximum(x, 0.0)), np.expm1)
"""ln(1 + x), of ratios of positive numbers that may be zero."""
FACTOR = Scale(
    lambda x: -np.sign(x) * np.log1p(-np.abs(x)), lambda x: -np.sign(x) * np.expm1(-np.abs(x))
)
"""The logarithm of what is left, of shares of the larger one: 1 - exp(-factor)."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """A record of `steps` steps, cut into `count` runs of `size` steps (the last may be shorter).

    `weights` (replicates, count): how often each block is drawn in each replicate; a block that
    holds nothing is never drawn. All measures of one signal share them, and all signals that are
    known in the same blocks. `drawn` (m,): the blocks that hold something, in order of time.
    `strata`: among how many separate groups they are drawn. `carry_over`: correlation of
    neighbouring blocks that intervals assume at least. `pieces`: how many independent pieces of
    evidence there are at most, however many blocks.
    """

    steps: int
    size: int
    weights: Floats
    drawn: Integers
    strata: int = 1
    carry_over: float = 0.0
    pieces: float = np.inf

    @property
    def count(self) -> int:
        """Number of blocks."""
        return -(-self.steps // self.size)

    @property
    def of_step(self) -> Integers:
        """Block of each step (n,)."""
        return np.repeat(np.arange(self.count), self.size)[: self.steps]

    def sums(self, values: Floats) -> Floats:
        """Sum `values` (n, ...) within each block (count, ...); unknown values count nothing."""
        known = np.where(np.isfinite(values), values, 0.0)
        starts = np.arange(0, self.steps, self.size)
        return np.asarray(np.add.reduceat(known, starts, axis=0), dtype=np.float64)

    def products(self, steps: Integers, columns: Floats) -> Floats:
        """Sum products of each two of k `columns` (k, m), known at `steps` (m,), by block.

        `steps` in order of time. Returns (count, k, k).
        """
        edges = np.searchsorted(steps, self.size * np.arange(self.count + 1))
        used = np.flatnonzero(np.diff(edges))
        table = np.zeros((self.count, len(columns), len(columns)))
        for i, j in combinations_with_replacement(range(len(columns)), 2):
            sums = np.add.reduceat(columns[i] * columns[j], edges[used])
            table[used, i, j] = table[used, j, i] = sums
        return table


def cut_blocks(
    steps: int, step_seconds: float, seed: int, known: NDArray[np.bool_] | None = None
) -> Blocks:
    """Cut a record into blocks of 2 h, or a 24th of it where that is less, of at least 4 steps.

    Blocks without a step that is `known` (n,) are not drawn. From three days on, a block is drawn
    from those of the same time of day: the daily rhythm is no chance, and drawing two nights for
    one day would make it one.
    """
    longest = int(LONGEST_BLOCK_SECONDS / step_seconds)
    size = max(SHORTEST_BLOCK_STEPS, min(longest, steps // BLOCKS_WANTED))
    steps_a_day = DAY_SECONDS / step_seconds
    blocks_a_day = -(-int(steps_a_day) // size)
    strata = 1
    if steps >= FEWEST_DAYS * steps_a_day and steps_a_day % blocks_a_day == 0.0:
        size, strata = int(steps_a_day) // blocks_a_day, blocks_a_day
    count = -(-steps // size)
    starts = np.arange(0, steps, size)
    holds = np.ones(count, np.bool_) if known is None else np.logical_or.reduceat(known, starts)
    return Blocks(steps, size, *_draw(holds.tobytes(), strata, seed))


@lru_cache(maxsize=16)
def _draw(holds: bytes, strata: int, seed: int) -> tuple[Floats, Integers, int]:
    """Draw multinomial block weights (replicates, count), W ~ Multinomial(m, 1/m), by stratum.

    A stratum of a single block would not vary, so such strata are drawn as one.
    """
    drawn = np.flatnonzero(np.frombuffer(holds, dtype=np.bool_))
    stratum = drawn % strata
    if strata > 1 and (np.bincount(stratum)[stratum] < FEWEST_DAYS - 1).any():
        stratum = np.zeros_like(stratum)
    rng = np.random.default_rng(seed)
    weights = np.zeros((REPLICATES, len(holds)))
    for group in np.unique(stratum):
        members = drawn[stratum == group]
        weights[:, members] = rng.multinomial(
            members.size, np.full(members.size, 1.0 / members.size), size=REPLICATES
        )
    weights.setflags(write=False)
    return weights, drawn, int(np.unique(stratum).size)


def central_range(replicates: Floats) -> tuple[float, float]:
    """Give the 2.5 % and 97.5 % quantiles of the replicates that could be computed."""
    finite = replicates[np.isfinite(replicates)]
    if finite.size < SHARE_OF_REPLICATES_NEEDED * replicates.size:
        raise NotEnoughDataError(
            "Too few blocks of time hold what this number rests on: it cannot be computed in "
            f"{replicates.size - finite.size} of {replicates.size} resampled records."
        )
    places = np.array((0.025, 0.975)) * (finite.size - 1)
    left = places.astype(np.intp)
    right = np.minimum(left + 1, finite.size - 1)
    ordered = np.partition(finite, np.concatenate((left, right)))
    low, high = ordered[left] + (places - left) * (ordered[right] - ordered[left])
    return float(low), float(high)


def influence_of(replicates: Floats, blocks: Blocks) -> Floats:
    """Say what drawing each block once more adds to the result of the replicates (m,).

    The covariance of its weight with the result (infinitesimal jackknife; Efron 2014, JASA 109).
    """
    finite = np.isfinite(replicates)
    weights = blocks.weights if finite.all() else blocks.weights[finite]
    shift = replicates[finite] - replicates[finite].mean()
    # The shifts add up to zero, so the mean weight need not be taken off.
    return np.asarray((shift @ weights)[blocks.drawn] / max(shift.size, 1), dtype=np.float64)


def skewing(influence: Floats) -> float:
    """Give by how many standard errors a percentile interval is too short where errors are skewed.

    Positive above, negative below: where a few blocks stand far out on one side, records that hold
    none of them err to the other, and resampling shows the opposite. An interval of Student's t,
    resampled, reaches (2 z2 + 1) g / 6 farther there, a percentile (z2 - 1) g / 6: what is lacking
    is (z2 + 2) g / 6, g the skewness of the sum, sum u3 / (sum u2)^1.5 (Johnson 1978; Hall 1992).
    """
    power = float((influence**2).sum())
    skewness = float((influence**3).sum()) / power**1.5 if power > 0.0 else 0.0
    return skewness * (NORMAL_QUANTILE**2 + 2.0) / 6.0


def widening(influence: Floats, blocks: Blocks) -> float:
    """Give the factor by which a percentile interval of few, related blocks is too narrow.

    sqrt(m / (m - strata)) for means being taken out, t / z for a spread estimated from few, and
    sqrt((1 + rho) / (1 - rho)) where neighbouring blocks err alike. rho: correlation of the
    influence of each block (m,) with that of the next. Two dozen blocks tell rho badly, so it is
    at least `blocks.carry_over`, from the noise itself. Few are also those that count where few
    blocks have most of the influence: 3 (sum u^2)^2 / sum u^4, which is m for normal u.
    """
    m = blocks.drawn.size
    power = float((influence**2).sum())
    rho = float((influence[1:] * influence[:-1]).sum()) / power if power > 0.0 else 0.0
    # The correlation of a short series is too small by about this much (Kendall 1954).
    rho = float(np.clip(rho + (1.0 + 3.0 * rho) / m, blocks.carry_over, MOST_CARRY_OVER))
    fourth = float((influence**4).sum())
    alike = 3.0 * power**2 / fourth - 1.0 if fourth > 0.0 else float(m)
    freedom = min(min(m - blocks.strata, alike) * (1.0 - rho) / (1.0 + rho), blocks.pieces)
    student = float(stdtrit(max(freedom, LEAST_FREEDOM), 0.975)) / NORMAL_QUANTILE
    return student * float(np.sqrt(m / (m - blocks.strata) * (1.0 + rho) / (1.0 - rho)))


def interval_of(
    value: float,
    replicates: Floats,
    blocks: Blocks,
    *,
    reflected: bool = False,
    wider: float = 1.0,
) -> tuple[float, float]:
    """Give the 95 % interval around `value` of its bootstrap replicates (replicates,).

    The percentile interval, farther on the side that skewed errors need (`skewing`), widened for
    few and related blocks, and `wider` times. `reflected`: that of the basic bootstrap below, at
    least half of the percentile range, and the farther of both above, for what noise pushes to one
    side and resampling once more.
    """
    if blocks.drawn.size < FEWEST_BLOCKS:
        raise NotEnoughDataError(
            f"Only {blocks.drawn.size} blocks of time hold both the signal and demand; at least "
            f"{FEWEST_BLOCKS} are needed to say how sure a number is."
        )
    low, high = central_range(replicates)
    if reflected:
        half = max(high - value, (high - low) / 2.0)
        low, high = value - half, max(high, 2.0 * value - low)
    influence = influence_of(replicates, blocks)
    farther = skewing(influence) * float(np.nanstd(replicates))
    below, above = min(low - value, 0.0), max(high - value, 0.0)
    factor = wider * widening(influence, blocks)
    return value + factor * (below + min(farther, 0.0)), value + factor * (
        above + max(farther, 0.0)
    )


def bootstrapped(
    value: float,
    replicates: Floats,
    blocks: Blocks,
    *,
    method: str,
    note: str = "",
    status: Status = "ok",
    bounds: tuple[float, float] = (-np.inf, np.inf),
    floor: float = 0.0,
    reflected: bool = False,
    scale: Scale = PLAIN,
    wider: float = 1.0,
) -> Estimate:
    """Make an Estimate with the interval of its replicates, held within `bounds`.

    `floor`: what the method itself errs by, 95 % of the time: an error of its own, which is added
    by squares and which the interval reaches on both sides in any case.
    `scale`: on which the number errs as much upwards as downwards; its interval is found there.
    `wider`: a factor for what resampling does not show.
    """
    low, high = interval_of(
        float(scale.there(np.array(float(value)))),
        np.asarray(scale.there(replicates)),
        blocks,
        reflected=reflected,
        wider=wider,
    )
    low, high = scale.back(np.array((low, high))).tolist()
    low, high = (
        value + side * np.hypot(end - value, floor) for side, end in ((-1, low), (1, high))
    )
    return Estimate(
        value=float(value),
        low=min(max(float(low), bounds[0]), float(value)),
        high=max(min(float(high), bounds[1]), float(value)),
        status=status,
        note=note,
        method=method,
    )
