"""Worst moments: when a run missed most requests, and what its controller saw just then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from signalstudy.policy.state import Observation, Reading, State, moves_of
from signalstudy.replay.grounds import iso
from signalstudy.replay.watching import watched
from signalstudy.vocabulary.spoken import spoken_duration, spoken_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.replay.grounds import Grounds
    from signalstudy.replay.paths import Journey

    Floats = NDArray[np.float64]

Explain: TypeAlias = Callable[[State, Observation], str]
MOST_MOMENTS = 3
UNUSUAL, ALL_LATE = 2.0, 0.9
APART_SECONDS = 300.0
"""Two spells nearer than this are one."""
LONGEST_SHOWN_WAIT_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A spell in which requests missed their limits. All else is at its worst step.

    `missed_ratio`: of the run's requests, how many this spell lost. `asked_replicas`,
    `ready_replicas`, `wait_seconds`, `fill_ratio` (offered work over what the ready replicas bear)
    by pool; `saw`: the signals by POOL.SIGNAL, None: not known. `decided`: the policy's own reason.
    """

    at: str
    lasted_seconds: float
    missed_ratio: float
    asked_replicas: dict[str, float]
    ready_replicas: dict[str, float]
    wait_seconds: dict[str, float]
    fill_ratio: dict[str, float | None]
    saw: dict[str, float | None]
    decided: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Give the form of replay.json."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def sentence(self) -> str:
        """Say it in one sentence, and the policy's reason after it."""
        pools = ", ".join(
            f"{pool} had {ready:g} of {self.asked_replicas[pool]:g} ready"
            + (f" and {spoken_duration(wait)} of work waiting" if wait > 0.0 else "")
            for pool, wait in self.wait_seconds.items()
            for ready in [self.ready_replicas[pool]]
        )
        saw = ", ".join(
            f"{key} {spoken_number(value)}" for key, value in self.saw.items() if value is not None
        )
        lasted = spoken_duration(self.lasted_seconds)
        said = f"{self.at}, {lasted} long, {self.missed_ratio:.2%} of all requests missed: {pools}"
        return f"{said}; it saw {saw}. {self.decided}".strip() if saw else f"{said}."


def worst_moments(
    grounds: Grounds, journey: Journey, late: Floats, explain: Explain | None
) -> tuple[Moment, ...]:
    """Find the spells that lost most requests; `late` (n,): share of each step's that missed.

    A spell is where more miss than rivals may let slip, and more than usual. `journey`: lane 0's.
    """
    total = float(grounds.weights.sum())
    missed = late * grounds.weights
    if not total or not missed.any():
        return ()
    busy = late[grounds.weights > 0.0]
    usual = UNUSUAL * float(np.median(busy)) if busy.size else 0.0
    is_bad = late > min(max(1.0 - grounds.asked_attainment, usual), ALL_LATE)
    spells = _spells(is_bad, max(round(APART_SECONDS / grounds.step_seconds), 1))
    lost = [float(missed[begin:end].sum()) for begin, end in spells]
    worst = sorted(range(len(spells)), key=lambda at: -lost[at])[:MOST_MOMENTS]
    waits = sum((path.wait_seconds[0] for path in journey.pools.values()), np.zeros(late.size))
    # Of steps that lose all alike, the one where most waits.
    how_bad = missed * (1.0 + np.minimum(waits, LONGEST_SHOWN_WAIT_SECONDS))
    found = []
    for at in worst:
        begin, end = spells[at]
        step = begin + int(np.argmax(how_bad[begin:end]))
        moment = _moment(grounds, journey, step, explain)
        lasted = (end - begin) * grounds.step_seconds
        found.append(replace(moment, lasted_seconds=lasted, missed_ratio=lost[at] / total))
    return tuple(found)


def _spells(is_bad: NDArray[np.bool_], apart: int) -> list[tuple[int, int]]:
    """Give (first, past last) of each run of bad steps, those near each other as one."""
    at = np.flatnonzero(is_bad)
    if not at.size:
        return []
    breaks = np.flatnonzero(np.diff(at) > apart)
    begins = at[np.concatenate([[0], breaks + 1])]
    ends = at[np.concatenate([breaks, [at.size - 1]])] + 1
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


def _moment(grounds: Grounds, journey: Journey, step: int, explain: Explain | None) -> Moment:
    """Give how things stood at one step."""
    saw = {key: float(values[step]) for key, values in journey.seen.items()}
    fill = {
        pool: path.offered[0, step]
        / (path.bears[0, step] * grounds.step_seconds * (_capacity(grounds, pool)))
        if path.bears[0, step] > 0.0
        else None
        for pool, path in journey.pools.items()
    }
    return Moment(
        at=iso(grounds.time_seconds[step]),
        lasted_seconds=0.0,
        missed_ratio=0.0,
        asked_replicas={pool: float(path.asked[0, step]) for pool, path in journey.pools.items()},
        ready_replicas={pool: float(path.ready[0, step]) for pool, path in journey.pools.items()},
        wait_seconds={
            pool: min(float(path.wait_seconds[0, step]), LONGEST_SHOWN_WAIT_SECONDS)
            for pool, path in journey.pools.items()
        },
        fill_ratio={pool: None if one is None else float(one) for pool, one in fill.items()},
        saw={key: value if np.isfinite(value) else None for key, value in saw.items()},
        decided=explain(_state(grounds, journey, step), _observation(saw)) if explain else "",
    )


def _capacity(grounds: Grounds, pool: str) -> float:
    return grounds.pools[pool].capacity.per_replica.value or 1.0


def _observation(saw: dict[str, float]) -> Observation:
    # A latency that nobody waits for is not late.
    return Observation({key: Reading(value) for key, value in saw.items()})


def _state(grounds: Grounds, journey: Journey, step: int) -> State:
    """Give the state that the controller was in, from the path it took."""
    replicas: dict[str, float] = {}
    kept: dict[str, float] = {}
    out_at: dict[str, float] = {}
    in_at: dict[str, float] = {}
    for pool, path in journey.pools.items():
        asked = path.asked[0, : step + 1]
        steps = np.arange(step + 1)[None]
        keep = journey.keep_steps.get(pool, 0)
        on_watch = watched(path.ready, np.zeros(1, dtype=np.int64), steps, keep)[0]
        back = np.clip(np.diff(asked), 0.0, on_watch[:-1])
        replicas[pool], kept[pool] = float(asked[-1]), float(on_watch[-1])
        ways = moves_of(asked[:-1], asked[1:], back)
        for found, is_way in zip((out_at, in_at), ways, strict=True):
            when = np.flatnonzero(is_way)
            found[pool] = float(grounds.time_seconds[when[-1]]) if when.size else -np.inf
    return State(float(grounds.time_seconds[step]), replicas, out_at, in_at, watched=kept)
