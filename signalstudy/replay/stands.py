"""Stands: where lanes are on their way through the span, and the steps that they run ahead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from signalstudy.replay.controller import Reads
    from signalstudy.replay.fluid import Flow
    from signalstudy.replay.paths import PoolPath
    from signalstudy.replay.relations import Relation

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


@dataclass(slots=True)
class PoolStand:
    """Where each lane stands in one pool, (lanes,).

    `strength`: of what was asked for, once all of it serves. `refused`: what found no place, NaN.
    `keep`: for how many steps a removed replica can be put back. `drain_seconds`: how long it is
    paid for.
    """

    path: PoolPath
    capacity: Floats
    asked: Floats
    settled_at: Integers
    waiting: Floats
    out_at: Floats
    in_at: Floats
    strength: Floats
    refused: Floats
    keep: int
    drain_seconds: float


@dataclass(slots=True)
class SignalStand:
    """One signal as it was measured: cumulated over time (lanes, n + block + 1).

    `per_wait`: what a second of waiting adds to it (a latency), `per_work`: what waiting work adds
    (a queue, in requests).
    """

    reads: Reads
    relation: Relation | None
    noise: Floats
    lag_steps: Floats
    total: Floats
    per_wait: float
    per_work: float


@dataclass(slots=True)
class Block:
    """The steps that are run ahead: (lanes in it, block). `cells`: where they lie in a path."""

    lanes: Integers
    steps: Integers
    cells: Integers
    ready: dict[str, Floats] = field(default_factory=dict)
    bears: dict[str, Floats] = field(default_factory=dict)
    flows: dict[str, Flow] = field(default_factory=dict)
    handed: Floats | None = None
