"""Paths: what each pool of a run went through, step by step and lane by lane."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from signalstudy.replay.placement import Placed

    Floats = NDArray[np.float64]


@dataclass(slots=True)
class PoolPath:
    """One pool, (lanes, n): what was asked for, served with, offered, and waited for.

    `strength`: the ready replicas, each counted as what it bears over what a usual one bears; None
    where all are alike. `unplaced`: replicas wanted for which there was no place, None where no
    inventory bounds the fleet. `spared_seconds` (lanes, 1): replica-seconds of draining that were
    not spent because the replicas were put back, None where none can be.
    """

    asked: Floats
    ready: Floats
    offered: Floats
    wait_seconds: Floats
    strength: Floats | None = None
    unplaced: Floats | None = None
    spared_seconds: Floats | None = None

    @property
    def bears(self) -> Floats:
        """Ready replicas in units of usual ones, by which work is divided."""
        return self.ready if self.strength is None else self.strength

    def lane(self, lane: int) -> PoolPath:
        """Give a copy of one lane, (1, n)."""
        return self._each(lambda values: values[lane : lane + 1].copy())

    def until(self, steps: int) -> PoolPath:
        """Give the first `steps` steps."""
        return self._each(lambda values: values[:, :steps])

    def _each(self, cut: Callable[[Floats], Floats]) -> PoolPath:
        return PoolPath(
            cut(self.asked),
            cut(self.ready),
            cut(self.offered),
            cut(self.wait_seconds),
            None if self.strength is None else cut(self.strength),
            None if self.unplaced is None else cut(self.unplaced),
            None if self.spared_seconds is None else cut(self.spared_seconds),
        )


@dataclass(slots=True)
class Journey:
    """A run: its pools, and what the controller of lane 0 saw (n,), by name; NaN: nothing.

    `placed`: how its decisions found places, None where no inventory bounds the fleet.
    `keep_steps`: for how many steps removed replicas can be put back, by pool; absent: not at all.
    """

    pools: dict[str, PoolPath]
    seen: dict[str, Floats] = field(default_factory=dict)
    placed: Placed | None = None
    keep_steps: dict[str, int] = field(default_factory=dict)
