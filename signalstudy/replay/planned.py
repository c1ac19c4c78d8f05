"""Plans: replicas laid down beforehand, run through the same queues as a policy's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import minimum_filter1d

from signalstudy.replay.fluid import flow, handed_on
from signalstudy.replay.paths import Journey, PoolPath

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from signalstudy.replay.draws import Draws
    from signalstudy.replay.grounds import Grounds

    Floats = NDArray[np.float64]


def run_plan(
    grounds: Grounds, draws: Draws, asked: Mapping[str, Floats], ready: Mapping[str, Floats]
) -> Journey:
    """Run a plan: `asked` and `ready` (n,) by pool, the same for every lane; give (lanes, n)."""
    lanes, steps = draws.lanes, grounds.time_seconds.size
    at = np.broadcast_to(np.arange(steps), (lanes, steps))
    totals = {
        name: np.concatenate([[0.0], np.cumsum(pool.work)]) for name, pool in grounds.pools.items()
    }
    paths: dict[str, PoolPath] = {}
    waiting = np.zeros((lanes, steps))
    for name, pool in grounds.pools.items():
        offered = np.broadcast_to(pool.work, (lanes, steps))
        if name == "decode" and "prefill" in grounds.pools:
            handed = handed_on(waiting, at, totals["prefill"], totals["decode"])
            offered = np.maximum(np.diff(handed, axis=1, prepend=0.0), 0.0)
        has = np.broadcast_to(ready[name], (lanes, steps))
        capacity = has * (draws.saturation[name] * grounds.step_seconds)[:, None]
        found = flow(offered, capacity, np.zeros(lanes), grounds.step_seconds)
        waiting = found.waiting
        paths[name] = PoolPath(
            np.broadcast_to(asked[name], (lanes, steps)), has, offered, found.wait_seconds
        )
    return Journey(paths)


def ready_by_plan(asked: Floats, startup_seconds: float, step_seconds: float) -> Floats:
    """Say what is ready (n,) where replicas take a start-up time: what was asked for throughout.

    The plan's first replicas are there at the beginning.
    """
    steps = int(np.ceil(startup_seconds / step_seconds - 1e-9))
    # The window holds this step and `steps` before it.
    size = steps + 1
    return np.asarray(minimum_filter1d(asked, size, mode="nearest", origin=(size - 1) // 2))
