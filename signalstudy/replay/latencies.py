"""Latencies: what work per replica and waiting do to a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.replay.grounds import ObjectiveGrounds

    Floats = NDArray[np.float64]


def typical_latency(one: ObjectiveGrounds, work_per_replica: Floats, wait: Floats) -> Floats:
    """Give the usual latency in seconds at this work and wait, arrays of one shape.

    It is the measured one at that work plus the wait; TBT is a mean over a request's tokens, so
    that waiting work stretches each of them by wait / tokens.
    """
    usual = 0.0 if one.typical is None else one.typical.at(work_per_replica)
    return np.asarray(usual + wait / one.tokens)


def share_late(one: ObjectiveGrounds, work_per_replica: Floats, wait: Floats) -> Floats:
    """Give the share of a step's requests that miss one objective.

    The fitted share over the limit at that work per replica; all of them where work waits so long
    that the usual request is over the limit.
    """
    share = np.asarray(np.interp(work_per_replica, one.over_work, one.over_share))
    waits = np.nonzero(wait > 0.0)
    seconds = typical_latency(one, work_per_replica[waits], wait[waits])
    share[waits] = np.where(seconds > one.objective.at_most_seconds, 1.0, share[waits])
    return share
