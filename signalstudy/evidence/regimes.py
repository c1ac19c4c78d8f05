"""Regimes: does the signal answer demand the same way over the whole record.

A deploy, other hardware, another mix of adapters or of lengths changes what a signal shows at equal
demand. A curve through both regimes describes neither. Known events are asked first: a change at a
time that is given needs no search, and so less of it to be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.blocks import bootstrapped
from signalstudy.evidence.response import left_out_residuals
from signalstudy.evidence.series import demand_must_vary, signal_must_vary
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.prepared import Prepared

    Floats = NDArray[np.float64]

FEWEST_BLOCKS_A_SIDE = 4
FEWEST_HOURS = 6.0
BRIDGE_QUANTILE = 1.480
"""97.5 % of Brownian bridges stay within this distance of zero (Kolmogorov)."""
LEVEL = 0.05
"""Height and slope are searched for changes, each at half of it."""
LEAST_SHARED = 0.1
"""Share of the time of either side at which both sides saw the same demand."""
MOST_CARRY_OVER = 0.8


@dataclass(frozen=True, slots=True)
class Shift:
    """A lasting change of the signal at equal demand, over its usual height.

    `size`: how far the curves after and before stand apart on average over the demand that both
    saw, less what noise makes of that; `resampled` (replicates,). `rise`: the same with its sign.
    `known_as`: what is known to have changed then, or "". `sureness`: above 1 where it is no
    chance.
    """

    at_seconds: float
    known_as: str
    size: float
    rise: float
    resampled: Floats
    sureness: float


def regime_shift_ratio(prepared: Prepared) -> Estimate:
    """Largest lasting change of the signal at equal demand, as a share of its usual height.

    Mean distance of the bin means of the signal after and before, over the demand that both saw. At
    known events, where residuals redrawn by block are so far apart in at most 5 % of the resamples
    (Bonferroni over the events); else where a CUSUM of what demand does not explain, or of that
    times demand, leaves a Brownian bridge (Csorgo and Horvath 1997). 0 where the record shows no
    such change.
    """
    shift = prepared.shift
    if shift is None:
        return Estimate(
            0.0,
            method="CUSUM of what demand does not explain, by blocks of time",
            note="no lasting change at equal demand",
        )
    view = prepared.view
    hours = (shift.at_seconds - float(view.time_seconds[0]) + view.step_seconds) / 3600.0
    is_one_way = abs(shift.rise) > shift.size / 2.0
    moved = f"{100.0 * shift.rise:+.0f} %" if is_one_way else f"{100.0 * shift.size:.0f} % apart"
    return bootstrapped(
        shift.size,
        shift.resampled,
        prepared.blocks,
        bounds=(0.0, np.inf),
        method="distance of the curves after and before "
        + ("a known event" if shift.known_as else "the change that CUSUM finds")
        + ", block bootstrap",
        note=f"{moved} of its usual height at equal demand, {hours:.1f} h after the start"
        + (f", when {shift.known_as}" if shift.known_as else ""),
    )


def find_shift(prepared: Prepared) -> Shift | None:
    """Find the surest lasting change of a signal at equal demand; None where there is none."""
    signal_must_vary(prepared.signal)
    demand_must_vary(prepared.reference)
    view, blocks = prepared.view, prepared.blocks
    hours = view.time_seconds.size * view.step_seconds / 3600.0
    if hours < FEWEST_HOURS:
        raise NotEnoughDataError(
            f"A record of {hours:.1f} h does not tell a lasting change from a queue that fills or "
            f"a cache that warms; at least {FEWEST_HOURS:g} h do."
        )
    counts = blocks.sums(np.isfinite(prepared.noise).astype(np.float64))
    used = np.flatnonzero(counts >= counts.max() / 2.0)
    if used.size < 2 * FEWEST_BLOCKS_A_SIDE:
        raise NotEnoughDataError(
            f"Only {used.size} blocks of time hold the signal and demand; at least "
            f"{2 * FEWEST_BLOCKS_A_SIDE} are needed to tell a lasting change."
        )
    starts = view.time_seconds[used * blocks.size] - view.step_seconds
    known = [
        shift
        for parts, change in _known_changes(starts, blocks.size * view.step_seconds, view.changes)
        if (shift := _compare(prepared, used, parts, change, LEVEL / len(view.changes)))
    ]
    surest = max(known, default=None, key=lambda shift: shift.sureness)
    if surest is not None and surest.sureness > 1.0:
        return surest
    apart = (prepared.reference - np.nanmean(prepared.reference)) / np.nanstd(prepared.reference)
    searched = [
        largest_change(blocks.sums(values)[used] / counts[used])
        for values in (prepared.noise, prepared.noise * apart)
    ]
    split, reach = max(searched, key=lambda item: item[1])
    if reach <= BRIDGE_QUANTILE:
        return None
    return _compare(prepared, used, (0, split, used.size), (float(starts[split]), ""), LEVEL)


def _known_changes(
    starts: Floats, block_seconds: float, changes: tuple[tuple[float, str], ...]
) -> list[tuple[tuple[int, int, int], tuple[float, str]]]:
    """Give each known event with the stretches of blocks before and after it, up to the next."""
    # A block belongs to the side that most of it is on.
    splits = np.searchsorted(starts, [at - block_seconds / 2.0 for at, _ in changes])
    edges = [0, *np.unique(splits).tolist(), starts.size]
    found = []
    for split, change in zip(splits.tolist(), changes, strict=True):
        first = max((edge for edge in edges if edge < split), default=0)
        end = min((edge for edge in edges if edge > split), default=starts.size)
        if min(split - first, end - split) >= FEWEST_BLOCKS_A_SIDE:
            found.append(((first, split, end), change))
    return found


def _compare(
    prepared: Prepared,
    used: NDArray[np.intp],
    parts: tuple[int, int, int],
    change: tuple[float, str],
    level: float,
) -> Shift | None:
    """Compare the signal's bin means after and before a change; None where no demand is shared."""
    response, weights = prepared.response, prepared.blocks.weights
    first, split, end = parts
    sides = (used[first:split], used[split:end])
    counts = [response.counts[side].sum(axis=0) for side in sides]
    shared = np.minimum(*counts)
    if shared.sum() < LEAST_SHARED * min(side.sum() for side in counts):
        return None
    bins = shared > 0.0
    share = shared[bins] / shared.sum()
    usual = float(np.nanmean(np.abs(prepared.signal)))
    means, errors, rhos = [], [], []
    for side, count in zip(sides, counts, strict=True):
        own, sums = response.counts[side][:, bins], response.sums[side][:, bins]
        mean = sums.sum(axis=0) / count[bins]
        left = left_out_residuals(own, sums - own * mean, response.levels[bins])
        rhos.append(_carry_over(left.sum(axis=1)))
        means.append(mean)
        errors.append((weights[:, side] - 1.0) @ left / count[bins])
    gap = (means[1] - means[0]) / usual
    # Neighbouring blocks that err alike are worth fewer; so are few that a mean is taken out of.
    rho, m = max(rhos), prepared.blocks.drawn.size
    wider = np.sqrt(m / (m - prepared.blocks.strata) * (1.0 + rho) / (1.0 - rho))
    strayed = (errors[1] - errors[0]) / usual * wider
    chance = np.abs(strayed) @ share
    size = float(np.abs(gap) @ share)
    resampled = np.abs(gap + strayed) @ share
    true_size = max(size - float(np.median(chance)), 0.0)
    return Shift(
        at_seconds=change[0],
        known_as=change[1],
        size=true_size,
        rise=float(gap @ share),
        resampled=np.asarray(true_size + resampled - resampled.mean(), dtype=np.float64),
        sureness=size / max(float(np.quantile(chance, 1.0 - level)), 1e-12),
    )


def largest_change(means: Floats) -> tuple[int, float]:
    """Find the split (first block after it) and how far the CUSUM leaves its bridge there."""
    m = means.size
    path = np.cumsum(means - means.mean())[:-1]
    inner = slice(FEWEST_BLOCKS_A_SIDE - 1, m - FEWEST_BLOCKS_A_SIDE)
    split = int(np.abs(path[inner]).argmax()) + FEWEST_BLOCKS_A_SIDE
    left = np.concatenate(
        (means[:split] - means[:split].mean(), means[split:] - means[split:].mean())
    )
    power = float((left**2).sum())
    if power <= 0.0:
        return split, np.inf if np.abs(path).max() > 0.0 else 0.0
    rho = _carry_over(left)
    deviation = np.sqrt(power / (m - 2) * (1.0 + rho) / (1.0 - rho))
    return split, float(np.abs(path[split - 1]) / (deviation * np.sqrt(m)))


def _carry_over(errors: Floats) -> float:
    """Correlation of neighbouring errors (m,) of mean 0; within 0 and 0.8."""
    power = float((errors**2).sum())
    rho = float((errors[1:] * errors[:-1]).sum()) / power if power > 0.0 else 0.0
    # The correlation of a short series is too small by about this much (Kendall 1954).
    return float(np.clip(rho + (1.0 + 3.0 * rho) / errors.size, 0.0, MOST_CARRY_OVER))
