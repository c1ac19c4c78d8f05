"""Flags: sentences about what a policy did that nobody wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.vocabulary.spoken import spoken_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from signalstudy.replay.draws import Draws
    from signalstudy.replay.grounds import Grounds
    from signalstudy.replay.paths import PoolPath

    Floats = NDArray[np.float64]

UNDONE_WITHIN_SECONDS = 900.0
FLAPS_A_DAY = 12.0
"""A scale-out taken back within a quarter of an hour, more often than every two hours."""
STARVES_SECONDS = 300.0
PINNED_SHARE = 0.05


def flags_of(
    grounds: Grounds,
    draws: Draws,
    paths: Mapping[str, PoolPath],
    bounds: Mapping[str, tuple[int, int]],
) -> tuple[str, ...]:
    """Say, on the study's estimates (lane 0), which pool flaps, starves, or never scales."""
    said: list[str] = []
    for name, path in paths.items():
        step = grounds.step_seconds
        said += _flaps(name, path.asked[0], step)
        said += _starves(name, path.wait_seconds[0], step)
        needed = path.offered[0] / (draws.capacity[name][0] * step)
        said += _never(name, path.asked[0], _a_minute(needed, step))
        said += _pinned(name, path.asked[0], path.wait_seconds[0], bounds.get(name))
        said += _unplaced(name, path, step)
    return tuple(said)


def _a_minute(values: Floats, step_seconds: float) -> Floats:
    """Average over a minute, so that one busy step is no need."""
    steps = min(max(round(60.0 / step_seconds), 1), values.size)
    return np.convolve(values, np.full(steps, 1.0 / steps), mode="valid")


def _flaps(pool: str, asked: Floats, step_seconds: float) -> Iterator[str]:
    moves = np.diff(asked)
    at = np.flatnonzero(moves)
    if at.size < 2:
        return
    outward = moves[at] > 0
    is_soon = np.diff(at) * step_seconds <= UNDONE_WITHIN_SECONDS
    undone = int((outward[:-1] & ~outward[1:] & is_soon).sum())
    days = asked.size * step_seconds / 86400.0
    if undone >= 3 and undone / days > FLAPS_A_DAY:
        yield (
            f"Flaps: {undone} scale-outs of {pool} were taken back within "
            f"{spoken_duration(UNDONE_WITHIN_SECONDS)}."
        )


def _starves(pool: str, wait_seconds: Floats, step_seconds: float) -> Iterator[str]:
    waits = np.concatenate([[False], wait_seconds > 0.0, [False]])
    edges = np.flatnonzero(np.diff(waits.astype(int)))
    longest = float((edges[1::2] - edges[::2]).max(initial=0)) * step_seconds
    if longest >= STARVES_SECONDS:
        yield f"Starves: work waited for {pool} {spoken_duration(longest)} on end."


def _never(pool: str, asked: Floats, needed: Floats) -> Iterator[str]:
    least, most = np.ceil(needed.min()), np.ceil(needed.max())
    if np.ptp(asked) == 0.0 and most > least and not least <= asked[0] == most:
        yield (
            f"Never scales {pool}: it stayed at {asked[0]:g} replicas where demand filled "
            f"{least:g} to {most:g}."
        )


def _pinned(
    pool: str, asked: Floats, wait_seconds: Floats, bounds: tuple[int, int] | None
) -> Iterator[str]:
    if bounds is None:
        return
    share = float(((asked >= bounds[1]) & (wait_seconds > 0.0)).mean())
    if share > PINNED_SHARE:
        yield f"{pool} wanted more than maxReplicas {bounds[1]} for {share:.0%} of the time."


def _unplaced(pool: str, path: PoolPath, step_seconds: float) -> Iterator[str]:
    if path.unplaced is None or not path.unplaced[0].any():
        return
    missing = path.unplaced[0]
    lasted = spoken_duration(float((missing > 0.0).sum()) * step_seconds)
    yield (
        f"No place: for {lasted} up to {missing.max():g} more replicas of {pool} were wanted than "
        "the inventory could take."
    )
