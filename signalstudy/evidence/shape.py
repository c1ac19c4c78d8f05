"""Shape: straight, in proportion, of constant gain, with range."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.blocks import FACTOR, PLAIN, bootstrapped, interval_of
from signalstudy.evidence.response import LEAST_DEMAND_RANGE, weighted_lines
from signalstudy.evidence.series import signal_must_vary, varies
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.prepared import Prepared
    from signalstudy.evidence.response import Response

    Floats = NDArray[np.float64]

LEAST_EXPLAINED = 0.05
FEWEST_POINTS = 4
BINS_PER_SLOPE = 2
LEAST_RESOLUTION = 0.001
CURVATURE_COST = 0.01
MOST_GAIN = 50.0
"""A slope less than a fiftieth of the other is none: its ratio, even its sign, would be chance."""


def linearity_ratio(prepared: Prepared) -> Estimate:
    """Share of what the best monotone curve explains that a straight line explains as well.

    R2_line / R2_isotonic on bin means over the whole range of demand (methods, section 5): 1 is
    straight. Unidentified where even the curve explains less than 5 % of the variance.
    """
    signal_must_vary(prepared.signal)
    response = prepared.response
    total = float(response.squares.sum() - response.sums.sum() ** 2 / response.weights.sum())
    line, curve = _explained(
        response.levels, response.means[None], response.weights[None], response.fit[None]
    )
    if float(curve[0]) < LEAST_EXPLAINED * total:
        raise NotEnoughDataError(
            f"Demand explains only {float(curve[0]) / total:.0%} of the signal's variance, too "
            "little to tell its shape."
        )
    lines, curves = _explained(
        response.levels,
        response.resampled_means,
        response.weights[None],
        response.resampled_fits,
    )
    gap = np.abs(response.fit - _line(response.levels, response.means, response.weights)).max()
    reach = float(np.ptp(response.fit))
    return bootstrapped(
        float(np.clip(line[0] / curve[0], 0.0, 1.0)),
        np.clip(lines / np.maximum(curves, 1e-12 * total), 0.0, 1.0),
        response.blocks,
        bounds=(0.0, 1.0),
        reflected=True,
        method="R2 of a line over R2 of the isotonic curve, block bootstrap",
        note=f"a line explains {float(line[0]) / total:.1%} and the best monotone curve "
        f"{float(curve[0]) / total:.1%} of the variance; they differ by at most {gap / reach:.0%} "
        f"of the curve's range, {prepared.shape_note}",
    )


def demand_elasticity(prepared: Prepared) -> Estimate:
    """Per cent by which the signal moves when demand moves by 1 %, over the 5-95 % demand range.

    Slope of ln s on ln d over the means of equal-count bins (methods, section 5). 1 is what
    proportional control assumes; negative where the signal falls as demand rises.
    """
    response = prepared.response
    usable = response.inner & (response.levels > 0.0)
    positive = usable & (response.means > 0.0)
    if positive.sum() < max(FEWEST_POINTS, usable.sum() / 2.0):
        raise NotEnoughDataError(
            f"The signal is zero or negative in {int((usable & ~positive).sum())} of "
            f"{int(usable.sum())} bins of demand, so it has no logarithmic slope."
        )
    levels = np.log(response.levels[positive])
    if np.exp(np.ptp(levels)) < LEAST_DEMAND_RANGE:
        raise NotEnoughDataError(
            f"Demand varies by a factor of only {np.exp(np.ptp(levels)):.2f} between its 5 % and "
            "95 % quantiles, too little for a logarithmic slope."
        )
    design = np.column_stack((np.ones(levels.size), levels - levels.mean()))
    slope = weighted_lines(
        design, np.log(response.means[None, positive]), response.weights[None, positive]
    )[0, 1]
    resampled = response.resampled_means[:, positive]
    is_positive = resampled > 0.0
    present = np.where(is_positive, response.weights[positive], 0.0)
    # Equal weights in all rows are one system of equations.
    present = present[:1] if is_positive.all() else present
    slopes = weighted_lines(design, np.log(np.where(is_positive, resampled, 1.0)), present)
    enough = (present > 0.0).sum(axis=1) >= FEWEST_POINTS
    left_out = int((usable & ~positive).sum())
    resampled_slopes = np.where(enough, slopes[:, 1], np.nan)
    return bootstrapped(
        float(slope),
        resampled_slopes,
        response.blocks,
        wider=response.few_blocks_factor(resampled_slopes),
        floor=elasticity_resolution(float(slope)),
        method="log-log slope of bin means over the 5-95 % demand range, block bootstrap",
        note=f"{levels.size} bins, demand {response.levels[positive][0]:.4g} to "
        f"{response.levels[positive][-1]:.4g} per second, {prepared.shape_note}"
        + (f"; {left_out} bins at zero or below left out" if left_out else ""),
    )


def elasticity_resolution(elasticity: float) -> float:
    """Half width that the interval of an elasticity b has at least: 0.001 and 0.01 |b (b - 1)|.

    Means over minutes and over bins bend a curve: E[d^b] = E[d]^b (1 + b (b - 1) / 2 var(ln d)),
    and the last factor is not the same at low and at high demand. In proportion, nothing bends.
    """
    bend = CURVATURE_COST * elasticity * (elasticity - 1.0)
    return float(np.hypot(LEAST_RESOLUTION, bend))


def gain_ratio(prepared: Prepared) -> Estimate:
    """Slope of the signal at high demand over its slope at low demand.

    Two lines through the bin means that meet in the middle of the 5-95 % demand range: above 1
    convex (a cliff), below 1 saturating, negative folding back (methods, section 5). A slope at
    low demand that cannot be told from zero makes the ratio a lower bound.
    """
    signal_must_vary(prepared.signal)
    response = prepared.response
    inner = response.inner
    levels = response.levels[inner]
    if levels.size < 2 * BINS_PER_SLOPE:
        raise NotEnoughDataError(
            f"Demand visits only {levels.size} levels within its 5-95 % range, too few for a "
            "slope at low and one at high demand."
        )
    middle = float(levels[0] + levels[-1]) / 2.0
    if min((levels < middle).sum(), (levels > middle).sum()) < BINS_PER_SLOPE:
        middle = float(np.median(levels))
    reach = (levels - middle) / np.ptp(levels)
    design = np.column_stack((np.ones(levels.size), np.minimum(reach, 0.0), np.maximum(reach, 0.0)))
    slopes = weighted_lines(design, response.means[None, inner], response.weights[None, inner])
    resampled = weighted_lines(
        design, response.resampled_means[:, inner], response.weights[None, inner]
    )
    direction = 1.0 if response.is_rising else -1.0
    note = f"slopes below and above a demand of {middle:.4g} per second, {prepared.shape_note}"
    return _gain(direction * slopes[0, 1:], direction * resampled[:, 1:], response, note)


def _gain(slopes: Floats, resampled: Floats, response: Response, note: str) -> Estimate:
    """Divide high by low slope (2,), or bound their ratio where the lower one may be zero.

    `resampled` (replicates, 2). Positive is the direction of the response. A low slope against it
    is what two lines make of a bend above the middle: nothing is known of it but that it is small.
    """
    method = "two lines meeting mid-range on bin means, block bootstrap"
    low, high = (float(slope) for slope in slopes)
    blocks = response.blocks
    low_range, high_range = (
        interval_of(slope, of, blocks, wider=response.few_blocks_factor(of))
        for slope, of in zip((low, high), resampled.T, strict=True)
    )
    if low_range[0] > 0.0 and low * MOST_GAIN >= abs(high):
        lows, highs = resampled.T
        ratios = np.divide(highs, lows, out=np.full(lows.shape, np.nan), where=lows > 0.0)
        wider = response.few_blocks_factor(ratios)
        return bootstrapped(high / low, ratios, blocks, wider=wider, method=method, note=note)
    if high_range[0] <= 0.0 <= high_range[1]:
        raise NotEnoughDataError(
            "Neither the slope at low demand nor the one at high demand can be told from zero."
        )
    steepest_low = max(abs(low_range[0]), abs(low_range[1]))
    least_high = min(abs(high_range[0]), abs(high_range[1]))
    if least_high <= steepest_low:
        raise NotEnoughDataError(
            "The slope at low demand cannot be told from zero, nor from the one at high demand."
        )
    return Estimate(
        value=float(least_high / max(steepest_low, least_high / MOST_GAIN)),
        status="lower_bound",
        method=method,
        note=f"in size; the slope at low demand cannot be told from zero, {note}",
    )


def dynamic_range_ratio(prepared: Prepared) -> Estimate:
    """Share of the signal's height that demand moves: (s(d95) - s(d05)) / the larger of the two.

    s is the monotone curve, d05 and d95 the 5 % and 95 % quantiles of demand (methods, section 5).
    Near 0 for a pinned signal; negative where the signal falls as demand rises.
    """
    response = prepared.response
    if not varies(prepared.signal):
        return Estimate(
            value=0.0, low=0.0, high=0.0, note="the signal never changes", method="constant"
        )
    low, high = response.ends(response.fit)
    top = float(np.maximum(low, high))
    if top <= 0.0:
        raise NotEnoughDataError("The signal is zero or negative, so its range has no height.")
    lows, highs = response.ends(response.resampled_fits)
    tops = np.maximum(lows, highs)
    positive = tops > 0.0
    ratios = np.where(positive, (highs - lows) / np.where(positive, tops, 1.0), np.nan)
    value = float(high - low) / top
    return bootstrapped(
        value,
        ratios,
        response.blocks,
        scale=FACTOR if max(abs(value), float(np.nanmax(np.abs(ratios)))) < 1.0 else PLAIN,
        wider=response.few_blocks_factor(ratios),
        method="monotone curve at the 5 % and 95 % quantiles of demand, block bootstrap",
        note=f"from {float(low):.4g} to {float(high):.4g}, {prepared.shape_note}",
    )


def _explained(
    levels: Floats, means: Floats, weights: Floats, curves: Floats
) -> tuple[Floats, Floats]:
    """Sum of squares that a line, and the monotone curves, explain of bin means: (rows,) each."""
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1.0)
    x = levels[None] - (weights * levels).sum(axis=1, keepdims=True) / total
    y = means - (weights * means).sum(axis=1, keepdims=True) / total
    between = (weights * y**2).sum(axis=1)
    spread = (weights * x**2).sum(axis=1)
    line = (weights * x * y).sum(axis=1) ** 2 / np.maximum(spread, 1e-300)
    return line, between - (weights * (means - curves) ** 2).sum(axis=1)


def _line(levels: Floats, means: Floats, weights: Floats) -> Floats:
    """Weighted least-squares line through bin means, at the levels (bins,)."""
    design = np.column_stack((np.ones(levels.size), (levels - levels.mean()) / np.ptp(levels)))
    return np.asarray(design @ weighted_lines(design, means[None], weights[None])[0])
