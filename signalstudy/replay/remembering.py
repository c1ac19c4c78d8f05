"""Scalers that look back (stabilization windows, step policies), one moment after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from signalstudy.policy.state import Decision, Observation, Past, Reading, State
from signalstudy.replay.controller import EVALUATION_SECONDS
from signalstudy.scalers.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DecideOne: TypeAlias = Callable[[Manifest, State, Observation], Decision]


class Remembering:
    """A manifest under its scaler's `decide`, as a controller's `decide` for one lane.

    It answers for a block of steps up to the first at which it changes anything; what follows that
    step is asked again. `memory_seconds`: how far its windows look back.
    """

    def __init__(self, decide: DecideOne, manifest: Manifest, memory_seconds: float) -> None:
        self.decide, self.manifest, self.memory_seconds = decide, manifest, memory_seconds
        self.history: dict[str, tuple[Past, ...]] = {}
        self.next_at = -np.inf

    def __call__(self, state: State, observation: Observation) -> Mapping[str, Floats]:
        """Decide step by step: arrays of one lane in, arrays of one lane out."""
        moments = np.asarray(state.now_seconds, dtype=float)[0]
        current = {pool: int(np.asarray(count)[0, 0]) for pool, count in state.replicas.items()}
        readings = {
            key: np.broadcast_to(np.asarray(seen.value, dtype=float), (1, moments.size))[0].tolist()
            for key, seen in observation.readings.items()
        }
        asked = {pool: np.full((1, moments.size), float(count)) for pool, count in current.items()}
        for step, now in enumerate(moments.tolist()):
            if now < self.next_at:
                continue
            self.next_at = now + EVALUATION_SECONDS
            seen = Observation({key: Reading(values[step]) for key, values in readings.items()})
            found = self.decide(self.manifest, State(now, current, history=self.history), seen)
            self._remember(found, now)
            if any(found.replicas[pool] != current[pool] for pool in found.replicas):
                for pool, replicas in found.replicas.items():
                    asked[pool][0, step:] = replicas
                break
        return asked

    def _remember(self, found: Decision, now: float) -> None:
        for pool, step in found.steps.items():
            past = (one for one in self.history.get(pool, ())
                    if one.at_seconds >= now - self.memory_seconds)  # fmt: skip
            counts = float(step.current), float(step.wanted), float(step.replicas)
            latest = Past(now, *counts, step.seen)
            self.history[pool] = (*past, latest)
