"""Coverage: is the signal there at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from signalstudy.evidence.prepared import Prepared


def coverage_ratio(prepared: Prepared) -> Estimate:
    """Share of the steps where signal and demand are both known.

    Counted are the steps outside [[exclude]] spans, from the first known demand to the last. Where
    the pool has no demand at all, the share where the signal is known.
    """
    view = prepared.view
    considered = view.time_seconds.size - view.excluded_steps
    if considered <= 0:
        raise NotEnoughDataError("Every step lies in an excluded span.")
    signal_known = np.isfinite(view.signal)
    demand_known = np.isfinite(view.reference)
    has_demand = bool(demand_known.any())
    usable = signal_known & demand_known if has_demand else signal_known
    share_of_signal = float(signal_known.sum()) / considered
    note = (
        f"the signal is known at {min(share_of_signal, 1.0):.1%} and demand at "
        f"{float(demand_known.sum()) / considered:.1%} of {considered} steps"
        if has_demand
        else f"of the signal alone, over {considered} steps: the pool has no demand"
    )
    return Estimate(
        value=min(1.0, float(usable.sum()) / considered), note=note, method="share of steps"
    )
