"""Step response: after a jump in demand, how long nothing happens, and how long until most has.

A first-order response with dead time, G(s) = K exp(-theta s) / (tau s + 1), fitted to the
cross-covariance: c_xy is demand's own covariance, delayed and smeared by the same response. Every
theta and tau of a grid is tried on all resampled records at once, which is one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import CubicSpline

from signalstudy.evidence.blocks import bootstrapped
from signalstudy.evidence.crosscovariance import EDGE_SHARE, covariance_of, identified_range
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.prepared import Prepared
    from signalstudy.vocabulary.estimate import Estimate

    Floats = NDArray[np.float64]

FINE = 4
"""Grid points a step: shifts and smears of less than a quarter of a step are not told apart."""
REACH_STEPS = 24
SMEARS_IN_STEPS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0)
TAIL = 5.0
NINE_TENTHS = float(np.log(10.0))
"""A first-order response has done nine tenths of its way after ln 10 time constants."""
RESOLUTION_SHARE = 1.0 / 2.0
METHOD = "first-order response with dead time, fitted to cross-covariances, block bootstrap"


@dataclass(frozen=True, slots=True)
class StepResponse:
    """Dead time and time constant, in steps, of the record and of each resampled one."""

    dead: float
    smear: float
    resampled_dead: Floats
    resampled_smear: Floats


def dead_time_seconds(prepared: Prepared) -> Estimate:
    """Seconds after a change of demand in which the signal does not move at all.

    Theta of the fitted first-order response; known group delays are taken off, as in
    `lag_seconds`. Never known better than half a step.
    """
    found = prepared.step_response
    step = prepared.view.step_seconds
    return bootstrapped(
        found.dead * step - prepared.known_delay_seconds,
        found.resampled_dead * step - prepared.known_delay_seconds,
        prepared.cut,
        floor=RESOLUTION_SHARE * step,
        method=METHOD,
        note=f"then a time constant of {found.smear * step:.3g} s",
    )


def rise_time_seconds(prepared: Prepared) -> Estimate:
    """Seconds after a jump of demand until the signal shows nine tenths of it (t90).

    Theta + ln(10) tau of the fitted first-order response, group delays taken off.
    """
    found = prepared.step_response
    step = prepared.view.step_seconds
    resampled = found.resampled_dead + NINE_TENTHS * found.resampled_smear
    return bootstrapped(
        (found.dead + NINE_TENTHS * found.smear) * step - prepared.known_delay_seconds,
        resampled * step - prepared.known_delay_seconds,
        prepared.cut,
        floor=RESOLUTION_SHARE * NINE_TENTHS * step,
        method=METHOD,
        note=f"dead time {found.dead * step - prepared.known_delay_seconds:.3g} s and time "
        f"constant {found.smear * step:.3g} s",
    )


def fit_step_response(prepared: Prepared) -> StepResponse:
    """Fit dead time and time constant to the cross-covariance around its peak, or raise why not."""
    search = prepared.lag_search
    identified_range(search, prepared.view.step_seconds)
    peak = round(search.peak_steps)
    limit = search.window.lag
    reach = min(REACH_STEPS, limit - abs(peak))
    if reach < 2:
        raise NotEnoughDataError("The record is too short to tell dead time from a slow rise.")
    lags = slice(limit + peak - reach, limit + peak + reach + 1)
    products, pairs = search.block_products[:, lags], search.block_pairs[:, lags]
    observed = covariance_of(products.sum(axis=0), pairs.sum(axis=0))
    weights = prepared.cut.weights
    resampled = covariance_of(weights @ products, weights @ pairs)
    dead, smear, shapes = _candidates(search.own_covariance, reach)
    sign = np.sign(observed[reach]) or 1.0
    best = int((sign * shapes @ observed).argmax())
    # Single precision: the grid is coarser by far than what it leaves open.
    fits = (sign * resampled).astype(np.float32) @ shapes.T.astype(np.float32)
    chosen = fits.argmax(axis=1)
    at_edge = float((smear[chosen] >= smear.max()).mean())
    if smear[best] >= smear.max() or at_edge > EDGE_SHARE:
        longest = smear.max() * prepared.view.step_seconds
        raise NotEnoughDataError(
            f"The signal answers more slowly than by a time constant of {longest:g} s, the longest "
            "that can be told from a drift."
        )
    return StepResponse(peak + dead[best], smear[best], peak + dead[chosen], smear[chosen])


def _candidates(own: Floats, reach: int) -> tuple[Floats, Floats, Floats]:
    """Give dead times and smears in steps (g,) and the unit covariances they make (g, lags).

    Dead times count from the peak, which a smear delays: from `reach` before it to a step after.
    """
    middle = own.size // 2
    most = min(max(SMEARS_IN_STEPS), reach / 2.0)
    spline = CubicSpline(np.arange(-middle, middle + 1), own)
    behind = round((reach + TAIL * most) * FINE) + reach * FINE
    fine = np.arange(-min(behind, middle * FINE), min(2 * reach + 1, middle) * FINE + 1) / FINE
    at_lags = spline(fine)
    thetas = np.arange(-reach * FINE, FINE + 1) / FINE
    lags = np.arange(-reach, reach + 1)
    places = np.round((lags - thetas[:, None] - fine[0]) * FINE).astype(np.intp)
    is_inside = (places[:, 0] >= 0) & (places[:, -1] < fine.size)
    taus = [tau for tau in SMEARS_IN_STEPS if tau <= most]
    shapes = np.concatenate([_smeared(at_lags, tau)[places[is_inside]] for tau in taus])
    lengths = np.maximum(np.linalg.norm(shapes, axis=1, keepdims=True), 1e-300)
    thetas = thetas[is_inside]
    return np.tile(thetas, len(taus)), np.repeat(taus, thetas.size), shapes / lengths


def _smeared(values: Floats, tau: float) -> Floats:
    """Smear a fine series with a causal exponential of time constant `tau` steps, mean kept."""
    if tau == 0.0:
        return values
    ages = np.arange(round(TAIL * tau * FINE) + 1) / FINE
    kernel = np.exp(-ages / tau)
    kernel[0] /= 2.0
    return np.asarray(np.convolve(values, kernel / kernel.sum())[: values.size], dtype=np.float64)
