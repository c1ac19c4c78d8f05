"""Is the first really the best? The Model Confidence Set, and how often each signal comes first.

Both rest on one matrix of bootstrap weights over blocks of time, shared by all signals, so that
every comparison is paired: a hard hour is hard for all of them. The blocks are long (evidence
makes them several decorrelation times long), so they are drawn one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

FEWEST_BLOCKS = 24
"""With 6 blocks the set covers the best signal in 85 % where 90 % are meant (methods.md, 7.3)."""
SIZE = 0.05
REPLICATES = 2000
PRACTICAL_EQUIVALENCE = 0.01
"""Losses, in shares of the fleet, that differ by less are a tie even where enough data tell them
apart: with enough blocks every difference is significant (methods.md, section 5), and one replica
in a hundred is none."""


def block_weights(blocks: int, *, seed: int, replicates: int = REPLICATES) -> Floats:
    """Give weights (replicates, blocks), each row summing to 1: blocks redrawn with replacement."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(blocks, np.full(blocks, 1.0 / blocks), size=replicates)
    return drawn.astype(np.float64) / blocks


def first_place_probabilities(
    losses: Floats, weights: Floats, *, equivalence: float = PRACTICAL_EQUIVALENCE
) -> Floats:
    """Give the share of bootstrap replicates in which each signal has the least mean loss (k,).

    `losses` (blocks, k); `weights` (replicates, blocks). Signals that lose at most `equivalence`
    more than the least share the first place.
    """
    resampled = weights @ losses
    least = resampled.min(axis=1, keepdims=True)
    is_first = resampled <= least + max(equivalence, 1e-9)
    shares: Floats = (is_first / is_first.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def confidence_set(
    losses: Floats,
    weights: Floats,
    *,
    size: float = SIZE,
    equivalence: float = PRACTICAL_EQUIVALENCE,
) -> Booleans:
    """Tell which signals the data cannot tell from the best: the Model Confidence Set (k,).

    Range statistic of Hansen, Lunde and Nason (2011, Econometrica 79): with `d_ij` the mean
    difference of losses and `s_ij` its bootstrap standard deviation, the worst signal leaves while
    `max d_ij / s_ij` exceeds the (1 - size) quantile of the same maximum under the null.
    `losses` (blocks, k); `weights` (replicates, blocks). Signals that lose at most `equivalence`
    more than the least stay in any case.
    """
    mean = losses.mean(axis=0)
    shift = weights @ losses - mean
    difference = mean[:, None] - mean[None, :]
    resampled = shift[:, :, None] - shift[:, None, :]
    spread = np.sqrt(np.mean(resampled**2, axis=0))
    # Signals whose losses differ by less than rounding are one signal: nothing to standardise.
    negligible = 1e-12 * max(float(np.abs(losses).max()), np.finfo(np.float64).tiny)
    is_same = np.abs(difference) <= negligible
    floor = np.maximum(spread, negligible)
    statistic = np.where(is_same, 0.0, difference / floor)
    null = np.where(is_same, 0.0, resampled / floor)
    included = np.ones(mean.size, dtype=np.bool_)
    while included.sum() > 1:
        rows = np.flatnonzero(included)
        standing = statistic[np.ix_(rows, rows)]
        worst = standing.max()
        under_null = null[:, rows[:, None], rows[None, :]].max(axis=(1, 2))
        if worst <= 0.0 or np.mean(under_null >= worst) > size:
            break
        included[rows[np.unravel_index(int(standing.argmax()), standing.shape)[0]]] = False
    is_equivalent: Booleans = mean <= mean.min() + equivalence
    return included | is_equivalent
