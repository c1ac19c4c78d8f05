"""Dependence: does the signal move with demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.blocks import interval_of
from signalstudy.evidence.crosscovariance import SIGNIFICANCE
from signalstudy.evidence.response import LEAST_DEMAND_RANGE
from signalstudy.evidence.series import demand_must_vary, signal_must_vary
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.prepared import Prepared

    Floats = NDArray[np.float64]


CLOSEST = 1.0 - 1e-12
"""A correlation of one has no finite z."""


def demand_correlation(prepared: Prepared) -> Estimate:
    """Pearson correlation of the lag-aligned signal with the reference; it describes, no more.

    r = S_xy / sqrt(S_xx S_yy), over the demand that was visited: its range and its rhythm are
    known, not chance, so what is redrawn by block is what demand does not explain (as for shapes).
    Redrawing whole blocks, as methods section 3 has it, takes the hours of a day for chance, and
    covers 100 % on days with a rhythm (benchmarks/calibration). The interval is widened as atanh r
    (Fisher's z), which knows the bounds. Whether the signal follows demand is decided by
    `independence_probability`. Censored where demand hardly varied: r shrinks with its range.
    """
    signal_must_vary(prepared.signal)
    demand_must_vary(prepared.reference)
    blocks, count = prepared.blocks, float(prepared.known.sum())
    (x, _), (y, scale) = (_standardized(of) for of in (prepared.reference, prepared.signal))
    noise = prepared.noise / scale
    columns = np.stack((x, y - noise, noise))
    steps = np.flatnonzero(np.isfinite(columns.sum(axis=0)))
    sums = blocks.products(steps, columns[:, steps] if steps.size < x.size else columns)
    of_x, of_fit, left = sums.sum(axis=0)[:, 2].tolist()
    value = (float(sums[:, 0, 1].sum()) + of_x) / count
    redrawn_x, redrawn_fit = (blocks.weights @ sums[:, :2, 2]).T
    squares = prepared.redrawn_squares / scale**2 - left
    spread = np.maximum(count + 2.0 * (redrawn_fit - of_fit) + squares, 1e-18)
    resampled = (count * value + redrawn_x - of_x) / np.sqrt(count * spread)
    z, z_resampled = (np.arctanh(np.clip(r, -CLOSEST, CLOSEST)) for r in (value, resampled))
    low, high = np.tanh(interval_of(float(z), z_resampled, blocks)).tolist()
    quiet = _quiet_demand(prepared)
    return Estimate(
        value=value,
        low=min(low, value),
        high=max(high, value),
        method=f"Pearson, what demand does not explain redrawn by {blocks.drawn.size} blocks",
        status="censored" if quiet else "ok",
        note=quiet + prepared.alignment[1] + _decision(prepared),
    )


def _quiet_demand(prepared: Prepared) -> str:
    """Say where demand varied too little to move any signal, else nothing."""
    try:
        reach = prepared.response.demand_range
    except NotEnoughDataError:
        return ""
    if reach >= LEAST_DEMAND_RANGE:
        return ""
    return f"demand varied by a factor of only {reach:.2f}; "


def effective_observations(prepared: Prepared) -> Estimate:
    """Count how many independent pairs of signal and demand the autocorrelated record is worth.

    n / (1 + 2 sum (1 - k/n) rho_x rho_y), held within 4..n (Bartlett; Pyper & Peterman 1998).
    """
    signal_must_vary(prepared.signal)
    demand_must_vary(prepared.reference)
    steps = int(prepared.known.sum())
    return Estimate(
        value=prepared.effective_observations,
        note=f"{steps} steps hold both; neighbours repeat one another",
        method="Bartlett, cut where both autocorrelations are below 2/sqrt(n)",
    )


def independence_probability(prepared: Prepared) -> Estimate:
    """Probability of a correlation this strong at some lag if the signal ignored demand.

    Both high-passed, the maximum over lags against that of all circular shifts by more than five
    decorrelation times (methods, section 3). Small means: follows demand, in one direction or the
    other.
    """
    search = prepared.lag_search
    if not prepared.lag_search.can_tell_chance:
        raise NotEnoughDataError(
            "The record is too short for how slowly it changes: it holds only "
            f"{search.independent_shifts:.0f} independent shifts to tell following demand from "
            "chance."
        )
    step = prepared.view.step_seconds
    return Estimate(
        value=float(search.probability),
        note=(
            f"high-passed at {search.window.high_pass * step:g} s, correlation "
            f"{search.correlation:+.2f} at its best lag, lags up to "
            f"{search.window.lag * step:g} s"
        ),
        method="circular shift, maximum over lags",
    )


def _decision(prepared: Prepared) -> str:
    """Say in half a sentence whether the signal follows demand, as far as the record tells."""
    try:
        probability = independence_probability(prepared).value
    except NotEnoughDataError:
        return "; the record cannot tell whether that is chance"
    if probability is None or probability > SIGNIFICANCE:
        return f"; at the speed of scaling not told from chance (p = {probability:.2f})"
    return f"; follows demand at the speed of scaling (p = {probability:.2g})"


def _standardized(values: Floats) -> tuple[Floats, float]:
    """Centre and scale (n,), so that sums of squares keep their digits; and give the scale."""
    known = values[np.isfinite(values)]
    scale = float(known.std())
    return (values - float(known.mean())) / scale, scale
