"""How the signals fit for proportional control did against each other on held-out blocks of time.

Losses are paired: block b is the same stretch of time for every signal of a pool. What they are
losses of, the replicas that the pool needs, differs between pools, so each pool has a race of its
own, and every pool with a qualified signal has a winner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.ranking.confidence_set import (
    FEWEST_BLOCKS,
    PRACTICAL_EQUIVALENCE,
    REPLICATES,
    block_weights,
    confidence_set,
    first_place_probabilities,
)
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from signalstudy.evidence.evidence import SignalEvidence

    Floats = NDArray[np.float64]

LEAST_COMMON_BLOCKS = 0.8
"""A signal whose losses cover less than this share of the blocks is not compared: the blocks it
lacks would be taken from all others."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one signal did against the others of its pool.

    `regret_ratio`: its mean loss over the least of its pool, minus 1; None where not compared.
    `tied_with`: the others that the data cannot tell from the best, if this is among them.
    """

    rank_probability: Estimate
    in_confidence_set: bool = False
    regret_ratio: float | None = None
    tied_with: tuple[str, ...] = ()


NOT_COMPETING = Standing(
    not_applicable("Only signals fit for proportional control compete for rank 1.")
)


def standings_of(qualified: Sequence[SignalEvidence], *, seed: int) -> list[Standing]:
    """Compare the qualified signals of a service, pool by pool; give them in their order."""
    standings = [NOT_COMPETING] * len(qualified)
    for pool in dict.fromkeys(signal.pool for signal in qualified):
        places = [place for place, signal in enumerate(qualified) if signal.pool == pool]
        compared = _compare([qualified[place] for place in places], seed=seed)
        for place, standing in zip(places, compared, strict=True):
            standings[place] = standing
    return standings


def _compare(signals: Sequence[SignalEvidence], *, seed: int) -> list[Standing]:
    names = [f"{signal.pool} {signal.signal}" for signal in signals]
    blocks = max((s.block_losses.size for s in signals if s.block_losses is not None), default=0)
    table = np.full((blocks, len(signals)), np.nan)
    for column, signal in enumerate(signals):
        if signal.block_losses is not None:
            table[:, column] = signal.block_losses
    finite = np.isfinite(table)
    covered = finite.sum(axis=0)
    compared = np.flatnonzero(covered >= max(1.0, LEAST_COMMON_BLOCKS * covered.max()))
    losses = table[finite[:, compared].all(axis=1)][:, compared]
    if compared.size == 0 or losses.shape[0] < FEWEST_BLOCKS:
        return _all_tied(names, losses.shape[0] if compared.size else 0)
    standings = [_not_compared()] * len(signals)
    for place, standing in zip(
        compared.tolist(), _race([names[p] for p in compared.tolist()], losses, seed), strict=True
    ):
        standings[place] = standing
    return standings


def _race(names: Sequence[str], losses: Floats, seed: int) -> list[Standing]:
    """Run the paired comparison on losses (blocks, signals) without gaps."""
    blocks = losses.shape[0]
    weights = block_weights(blocks, seed=seed)
    means = losses.mean(axis=0)
    least = float(means.min())
    included = confidence_set(losses, weights)
    in_set = [name for name, is_in in zip(names, included, strict=True) if is_in]
    return [
        Standing(
            rank_probability=Estimate(
                float(probability),
                effective_observations=float(blocks),
                method=(
                    f"paired bootstrap of {blocks} blocks, {REPLICATES} replicates; signals within "
                    f"{100.0 * PRACTICAL_EQUIVALENCE:g} % of the fleet share the first place"
                ),
            ),
            in_confidence_set=bool(is_in),
            regret_ratio=float(mean) / least - 1.0 if least > 0.0 else 0.0,
            tied_with=tuple(other for other in in_set if is_in and other != name),
        )
        for name, probability, is_in, mean in zip(
            names, first_place_probabilities(losses, weights), included, means, strict=True
        )
    ]


def _all_tied(names: Sequence[str], blocks: int) -> list[Standing]:
    """Keep all signals in the set where there are too few blocks to tell them apart."""
    note = (
        f"Only {blocks} common blocks of time with held-out losses, fewer than the "
        f"{FEWEST_BLOCKS} a comparison needs: all that qualify stay in the confidence set."
    )
    return [
        Standing(
            unidentified(note),
            in_confidence_set=True,
            tied_with=tuple(other for other in names if other != name),
        )
        for name in names
    ]


def _not_compared() -> Standing:
    return Standing(
        unidentified("Its held-out losses cover too few blocks to be compared with the others.")
    )
