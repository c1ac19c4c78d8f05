"""Ready and starting replicas of a pool, and what their changes tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.timeline.grid import Samples, hold_state, live_count
from signalstudy.timeline.timeline import Event

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.timeline.gathered import Gathered

    Floats = NDArray[np.float64]


def replicas_of(gathered: Gathered, pool: str) -> tuple[Floats, Floats, str]:
    """Give ready and starting replicas (n,) and where they are from; NaN where nobody says."""
    ready = _state(gathered, pool, "ready_replicas")
    starting = _state(gathered, pool, "starting_replicas")
    source = gathered.metrics(pool, "ready_replicas")
    if ready is None:
        ready, source = counted_replicas(gathered, pool)
    if starting is None:
        starting = np.full(gathered.grid.size, np.nan)
    return ready, starting, source


def _state(gathered: Gathered, pool: str, quantity: str) -> Floats | None:
    """Hold a state on the grid: the same value in several rows counts once, deployments add."""
    found = gathered.series.get((pool, quantity), [])
    if not found:
        return None
    held = np.array([hold_state(samples, gathered.grid) for _, samples in found])
    known = np.isfinite(held).any(axis=0)
    filled = np.where(np.isfinite(held), held, 0.0)
    adds = all(row.metric != quantity for row, _ in found)
    combined = filled.sum(axis=0) if adds else filled.max(axis=0)
    return np.where(known, combined, np.nan)


def counted_replicas(gathered: Gathered, pool: str) -> tuple[Floats, str]:
    """Count replicas that have live series of their engine (n,); "" where none is labelled.

    A replica lives while any of its series does: one that started again may have new ones.
    """
    seen: dict[str, dict[tuple[float, float, int], Samples]] = {}
    for (owner, _), found in gathered.series.items():
        for row, samples in found:
            is_own = owner == pool and pool != "gateway" and row.scope == "engine"
            if is_own and row.replica is not None:
                at = samples.time_seconds  # series of one scrape have the same times: one will do
                same = (float(at[0]), float(at[-1]), at.size)
                seen.setdefault(row.replica, {})[same] = samples
    if not seen:
        return np.full(gathered.grid.size, np.nan), ""
    lives = [_merged(list(series.values())) for series in seen.values()]
    return live_count(lives, gathered.grid), "counted live series"


def _merged(series: list[Samples]) -> Samples:
    """Give one series that has a sample wherever one of `series` has."""
    at = np.unique(np.concatenate([samples.time_seconds for samples in series]))
    cadence = max(samples.cadence_seconds for samples in series)
    return Samples(at, np.zeros(at.size), np.zeros(at.size), cadence)


def replica_events(time_seconds: Floats, ready: Floats, pool: str) -> list[Event]:
    """List the changes of the number of ready replicas."""
    known = np.flatnonzero(np.isfinite(ready))
    events = []
    for place in np.flatnonzero(np.diff(ready[known])):
        before, after = known[place], known[place + 1]
        kind = "scale_out" if ready[after] > ready[before] else "scale_in"
        note = f"{ready[before]:g} to {ready[after]:g} ready replicas"
        events.append(Event(float(time_seconds[after]), pool, kind, note))
    return events


def startup_durations(time_seconds: Floats, ready: Floats, starting: Floats) -> Floats:
    """Measure how long replicas took to start: from `starting` rising to `ready` rising (m,).

    The first replica asked for is the first to be ready. Good to about one step.
    """
    if not (np.isfinite(starting).any() and np.isfinite(ready).any()):
        return np.array([])
    asked: list[float] = []
    durations = []
    more_starting = np.diff(np.nan_to_num(starting), prepend=np.nan_to_num(starting)[:1])
    more_ready = np.diff(np.nan_to_num(ready), prepend=np.nan_to_num(ready)[:1])
    for step in np.flatnonzero((more_starting != 0) | (more_ready > 0)):
        became_ready = max(int(more_ready[step]), 0)
        # Whoever became ready in this step stopped starting in it: both changes are one move.
        asked += [float(time_seconds[step])] * max(int(more_starting[step]) + became_ready, 0)
        done = min(became_ready, len(asked))
        durations += [float(time_seconds[step]) - at for at in asked[:done]]
        asked = asked[done:]
        still = int(np.nan_to_num(starting)[step])
        del asked[: max(len(asked) - still, 0)]
    return np.array([d for d in durations if d > 0])
