"""Hysteresis: does the signal remember where demand came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.blocks import bootstrapped
from signalstudy.evidence.lag import RESOLUTION_SHARE
from signalstudy.evidence.series import (
    demand_must_vary,
    moving_mean,
    shifted,
    signal_must_vary,
)
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.prepared import Prepared
    from signalstudy.vocabulary.estimate import Estimate

    Floats = NDArray[np.float64]

TREND_SECONDS = 3600.0
TREND_SHARE = 1.0 / 24.0
LEAST_SIDE = 0.1
RESOLUTION = 0.002
"""Half width that the interval has at least."""
NO_ONE_LAG = 0.5
"""Steps that an alignment is off by where there is no one lag."""
EARLIER_SHARE = 1.0 / 3.0
"""Of a time constant: bursts tell the lag, and slow demand is later by up to so much more."""


def hysteresis_ratio(prepared: Prepared) -> Estimate:
    """Height of the signal on the way up less that on the way down, at equal demand.

    As a share of its range from low to high demand: the width of the loop (methods, section 5).
    Up and down by the means of demand in the hour after and the hour before. The lag, which would
    look the same, is taken out first: whole steps of the signal, the rest of its loop. Positive
    where the signal stands higher while demand rises. Queues that drain, fragmented memory and warm
    caches make one.
    """
    signal_must_vary(prepared.signal)
    demand_must_vary(prepared.reference)
    view, response = prepared.view, prepared.response
    low, high = (float(end) for end in response.ends(response.fit))
    if high == low:
        raise NotEnoughDataError("The signal has no range over demand to compare with.")
    n = view.signal.size
    width = max(2, min(round(TREND_SECONDS / view.step_seconds), int(n * TREND_SHARE)))
    trend = prepared.shared.once(
        "trend of demand",
        lambda: _trend(prepared.reference, width),
        view.reference,
        known=prepared.known,
    )
    noise = np.where(np.isfinite(trend), prepared.noise, np.nan)
    known = np.isfinite(noise)
    sides = [known & (trend > 0.0), known & (trend < 0.0)]
    if min(side.sum() for side in sides) < LEAST_SIDE * max(known.sum(), 1):
        raise NotEnoughDataError(
            "Demand hardly rises or hardly falls in these data, so there is no loop to see."
        )
    columns = [part for side in sides for part in (side, np.where(side, noise, 0.0))]
    sums = prepared.blocks.sums(np.column_stack(columns).astype(np.float64))
    # The signal is aligned by whole steps only. What the rest of its lag makes of a loop is known.
    curve = prepared.signal - prepared.noise
    a_step = (shifted(curve, 1) - shifted(curve, -1)) / 2.0
    moved = [float(np.nanmean(a_step[side])) for side in sides]
    by_a_step = (moved[1] - moved[0]) / abs(high - low)
    late = prepared.unaligned_steps
    made = (late or 0.0) * by_a_step
    resolution = by_a_step * _steps_unsure(prepared)
    value = _loop(sums.sum(axis=0)[None])[0] / abs(high - low) - made
    return bootstrapped(
        float(value),
        _loop(prepared.blocks.weights @ sums) / abs(high - low) - made,
        prepared.blocks,
        floor=float(np.hypot(RESOLUTION, resolution)),
        method="held-out residuals while demand rises less those while it falls, block bootstrap",
        note=f"rising and falling by means of {width * view.step_seconds:g} s, "
        f"{prepared.alignment[1]}",
    )


def _steps_unsure(prepared: Prepared) -> float:
    """Say by how many steps of lag the alignment may be off, which makes a loop of its own."""
    if prepared.unaligned_steps is None:
        return NO_ONE_LAG
    if not prepared.lag_search.is_smeared:
        return RESOLUTION_SHARE
    try:
        return max(NO_ONE_LAG, EARLIER_SHARE * prepared.step_response.smear)
    except NotEnoughDataError:
        return NO_ONE_LAG


def _trend(demand: Floats, width: int) -> Floats:
    """Mean of the `width` steps of demand around half of them later less that before (n,)."""
    means = moving_mean(demand, width)
    return shifted(means, width // 2) - shifted(means, -(width // 2))


def _loop(sums: Floats) -> Floats:
    """Difference of two means from rows of n up, sum up, n down, sum down: (rows,)."""
    up, of_up, down, of_down = sums.T
    return np.asarray(of_up / np.maximum(up, 1.0) - of_down / np.maximum(down, 1.0))
