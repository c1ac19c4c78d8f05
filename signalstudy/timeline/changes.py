"""What labels tell of changes: other versions, other hardware, replicas that gave way to others.

These are known events. Whether a signal answers demand differently after one is for evidence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.timeline.timeline import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from signalstudy.timeline.gathered import Gathered

    Floats = NDArray[np.float64]

ROLLOUT_SECONDS = 3600.0
"""A rollout replaces one replica after the other; what happens within this is one change."""
EDGE_SECONDS = 300.0
"""What is there this soon after the start, or this shortly before the end, was there all along."""
MOST_REPLICAS = 0.5


def known_changes(gathered: Gathered, pool: str) -> list[Event]:
    """List when versions, hardware or most replicas of a pool changed, in order of time."""
    start = float(gathered.grid.time_seconds[0]) - gathered.grid.step_seconds
    end = float(gathered.grid.time_seconds[-1])
    spans: dict[str, dict[str, tuple[float, float]]] = {"version": {}, "hardware": {}, "deploy": {}}
    for (owner, _), found in gathered.series.items():
        for row, samples in found if owner == pool else ():
            told = {"version": row.version, "hardware": row.hardware, "deploy": row.replica}
            for kind, name in told.items():
                if name and (kind != "deploy" or row.scope == "engine"):
                    first, last = spans[kind].get(name, (np.inf, -np.inf))
                    at = samples.time_seconds
                    spans[kind][name] = (min(first, float(at[0])), max(last, float(at[-1])))
    events = [
        event
        for kind in ("version", "hardware")
        for event in _succession(kind, pool, spans[kind], start, end)
    ]
    known = [event.at_seconds for event in events]
    events += [
        event
        for event in _rollouts(pool, spans["deploy"], start, end)
        if all(abs(event.at_seconds - at) > ROLLOUT_SECONDS for at in known)
    ]
    return sorted(events, key=lambda event: event.at_seconds)


def _succession(
    kind: str, pool: str, spans: Mapping[str, tuple[float, float]], start: float, end: float
) -> list[Event]:
    """Say when a name came that was not there at the start, or went before the end."""
    came = {n: at for n, (at, _) in spans.items() if at > start + EDGE_SECONDS}
    went = {n: at for n, (_, at) in spans.items() if at < end - EDGE_SECONDS}
    events: list[Event] = []
    for at in _apart(sorted({*came.values(), *went.values()})):
        new = sorted(n for n, t in came.items() if at <= t <= at + ROLLOUT_SECONDS)
        old = sorted(n for n, t in went.items() if at <= t <= at + ROLLOUT_SECONDS)
        if len(spans) > 1:
            note = f"{kind} {' and '.join(old) or 'unchanged'} gave way to {' and '.join(new)}"
            if not new:
                note = f"{kind} {' and '.join(old)} was withdrawn"
            elif not old:
                note = f"{kind} {' and '.join(new)} was added"
            events.append(Event(at, pool, kind, note))
    return events


def _rollouts(
    pool: str, spans: Mapping[str, tuple[float, float]], start: float, end: float
) -> list[Event]:
    """Say when at least half of the replicas gave way to as many others within an hour."""
    first = np.array([span[0] for span in spans.values()])
    last = np.array([span[1] for span in spans.values()])
    events: list[Event] = []
    for at in _apart(sorted(set(first[first > start + EDGE_SECONDS].tolist()))):
        until = at + ROLLOUT_SECONDS
        before = (first < at) & (last >= at - EDGE_SECONDS)
        gone = before & (last < min(until, end - EDGE_SECONDS))
        new = int(((first >= at) & (first <= until)).sum())
        if gone.sum() >= MOST_REPLICAS * before.sum() > 0.0 and new >= gone.sum():
            note = f"{int(gone.sum())} of {int(before.sum())} replicas gave way to {new} others"
            events.append(Event(at, pool, "deploy", note))
    return events


def _apart(times: Iterable[float]) -> list[float]:
    """Keep the first of all times within an hour of each other."""
    kept: list[float] = []
    for at in times:
        if not kept or at > kept[-1] + ROLLOUT_SECONDS:
            kept.append(at)
    return kept
