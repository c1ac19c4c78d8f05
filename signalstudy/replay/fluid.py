"""The fluid queue: work flows into a pool and out of it as fast as its ready replicas bear.

All arrays are (lanes, steps): a lane is one draw of what is not known, a step one of the timeline.
A pool serves min(offered + waiting, ready x saturation); what is left waits, first come first
served. Between capacity and saturation work is served, and the fitted curve says how many are late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NOTHING = 1e-9
"""Waiting work below this share of a step's capacity is rounding, not a queue."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One pool over some steps. `served`, `waiting`: work in the step, and left at its end.

    `wait_seconds`: how long what is left waits at the present capacity, infinite without any.
    """

    served: Floats
    waiting: Floats
    wait_seconds: Floats


def flow(offered: Floats, capacity: Floats, waiting: Floats, step_seconds: float) -> Flow:
    """Let `offered` (lanes, steps) flow through `capacity`, both work per step.

    `waiting` (lanes,): left from before. Lindley's recursion w' = max(0, w + offered - capacity),
    for all steps at once: with x the cumulated sum it is x - min(0, smallest x so far).
    """
    before = waiting[:, None]
    balance = before + np.cumsum(offered - capacity, axis=1)
    left = balance - np.minimum.accumulate(np.minimum(balance, 0.0), axis=1)
    left = np.where(left > NOTHING * np.maximum(capacity, offered), left, 0.0)
    served = offered + np.concatenate([before, left[:, :-1]], axis=1) - left
    wait = np.divide(left, capacity, out=np.full(left.shape, np.inf), where=capacity > 0)
    return Flow(np.maximum(served, 0.0), left, np.where(left > 0.0, wait, 0.0) * step_seconds)


def handed_on(
    waiting: Floats, steps: NDArray[np.int64], first_total: Floats, second_total: Floats
) -> Floats:
    """Give the work that the second pool has been handed by the end of each step, cumulated.

    A request's second half starts when its first is done: what is handed on by step t is what
    arrived until the moment whose first work is done by t. `waiting`, `steps` (lanes, steps): what
    waits before the first pool and which step it is; totals (n + 1,) are cumulated arrivals.
    """
    steps = np.broadcast_to(steps, waiting.shape)
    arrived = second_total[steps + 1]
    late = np.nonzero(waiting > 0.0)
    done = first_total[steps[late] + 1] - waiting[late]
    arrived[late] = np.minimum(np.interp(done, first_total, second_total), arrived[late])
    return arrived
