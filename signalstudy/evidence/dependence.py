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

    r = S_xy / sqrt(S_xx S_yy), its interval from resampled block sums (methods, section 3), widened
    as atanh r (Fisher's z), which knows the bounds. Whether the signal follows demand is decided by
    `independence_probability`. Censored where demand hardly varied: r shrinks with its range.
    """
    signal_must_vary(prepared.signal)
    demand_must_vary(prepared.reference)
    x, y = _standardized(prepared.reference), _standardized(prepared.signal)
    sums = prepared.blocks.products(np.ones(x.size), x, y).reshape(-1, 9)
    value = float(_pearson(sums.sum(axis=0)[None, :])[0])
    resampled = _pearson(prepared.blocks.weights @ sums)
    z, z_resampled = (np.arctanh(np.clip(r, -CLOSEST, CLOSEST)) for r in (value, resampled))
    low, high = np.tanh(interval_of(float(z), z_resampled, prepared.blocks)).tolist()
    quiet = _quiet_demand(prepared)
    return Estimate(
        value=value,
        low=min(low, value),
        high=max(high, value),
        status="censored" if quiet else "ok",
        method=f"Pearson, bootstrap of {prepared.blocks.drawn.size} blocks",
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


def _standardized(values: Floats) -> Floats:
    """Centre and scale (n,), so that sums of squares keep their digits."""
    return np.asarray((values - np.nanmean(values)) / np.nanstd(values), dtype=np.float64)


def _pearson(products: Floats) -> Floats:
    """Correlation of x and y from rows of the sums of products of 1, x, y: (rows,)."""
    n, x, y, _, xx, xy, _, _, yy = products.T
    count = np.maximum(n, 1.0)
    spread = (xx - x * x / count) * (yy - y * y / count)
    defined = (n > 0) & (spread > 1e-18)
    return np.where(
        defined,
        np.clip((xy - x * y / count) / np.sqrt(np.where(defined, spread, 1.0)), -1.0, 1.0),
        np.nan,
    )
