"""Watching: replicas that were removed, still run, and can be put back at once (soft scale-in).

A replica that leaves at a decision in step s serves until s and is watched for `keep` steps. The
latest to leave come back first, so that what can be put back is the most that served in the last
`keep` steps, less what serves now. While any are watched none is starting: a scale-in gives up what
is starting first, and a scale-out takes back what is watched first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import maximum_filter1d

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


def keep_steps(observation_seconds: float, step_seconds: float) -> int:
    """Give for how many whole steps a removed replica is watched."""
    return int(observation_seconds / step_seconds + 1e-9)


def watched(ready: Floats, lanes: Integers, steps: Integers, keep: int) -> Floats:
    """Give how many replicas can be put back at each step (lanes, steps in a row).

    `ready`: what served, (all lanes, all steps). At `keep` steps or more after it left a replica
    is gone.
    """
    if keep < 2:
        return np.zeros(steps.shape)
    before = np.arange(1 - keep, 0)
    span = np.concatenate([steps[:, :1] + before, steps], axis=1)
    served = ready[lanes[:, None], np.maximum(span, 0)]
    # origin: the largest of a step and the keep - 1 before it
    most = maximum_filter1d(served, keep, axis=1, origin=(keep - 1) // 2, mode="nearest")
    return np.asarray((most - served)[:, keep - 1 :])


def spared_steps(
    ready: Floats, lanes: Integers, steps: Integers, keep: int, restored: Floats
) -> Floats:
    """Give how many steps of watching end early (lanes,) where `restored` come back at `steps`."""
    if keep < 2:
        return np.zeros(steps.shape)
    span = steps[:, None] - np.arange(keep)
    most = np.maximum.accumulate(ready[lanes[:, None], np.maximum(span, 0)], axis=1)
    # In j steps those are left that served within the last keep - j.
    left = most[:, 1:] - most[:, :1]
    return np.asarray(np.minimum(left, restored[:, None]).sum(axis=1))
