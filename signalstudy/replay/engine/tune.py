"""Rivals in the engine: each with the targets that suited the training part."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalstudy.replay.engine.score import attainment, gpu_hours_of
from signalstudy.replay.engine.setting import controlled
from signalstudy.replay.history import start_replicas
from signalstudy.replay.own_manifest import is_manifest, manifest_controller
from signalstudy.replay.rivals import rival_of, tuned_rival
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from signalstudy.replay.controller import Controller
    from signalstudy.replay.engine.setting import Setting
    from signalstudy.replay.manifests import Choice
    from signalstudy.replay.rivals import Tuned

STEPS = (-2, -1, 0, 1)
"""How far all targets of a rival are moved along their grids in the engine, from what the study's
recording found best; a lower one is the safer one."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A controller that can be made anew in another process, and what it was given."""

    make: Callable[[], Controller]
    controller: Controller
    said: str


def contender_of(make: Callable[[], tuple[Controller, str]], said: str = "") -> Contender:
    """Make a contender of what gives a controller and says what it was given."""
    controller, given = make()
    return Contender(functools.partial(_made, make), controller, said or given)


def _made(make: Callable[[], tuple[Controller, str]]) -> Controller:
    return make()[0]


def rivals_tuned(
    names: Sequence[str], setting: Setting, leave_out: Callable[[Exception], None]
) -> list[Contender]:
    """Give each rival with what suits it best: attainment first, then cost.

    Its targets and floors are chosen on the study by the fluid model, which tries many; then all
    its targets are moved together in the engine, on the training part. `leave_out` is told why a
    rival cannot be built, or raises.
    """
    grids: dict[str, list[Contender]] = {}
    start = start_replicas(setting.grounds)
    for name in names:
        try:
            if is_manifest(name):
                make = functools.partial(manifest_controller, name, setting.grounds)
                grids[name] = [contender_of(make)]
            else:
                setting.progress(f"tuning {name}")
                tuned = tuned_rival(name, setting.grounds, setting.drawn, start, setting.asked)
                grids[name] = _grid(tuned)
        except NotEnoughDataError as error:
            leave_out(error)
    tried = [one for grid in grids.values() if len(grid) > 1 for one in grid]
    jobs = [controlled(setting.training, one.controller, one.make) for one in tried]
    worth = iter([
        (attainment(ran, job, setting.objectives), gpu_hours_of(ran, job))
        for ran, job in zip(setting.run(jobs), jobs, strict=True)
    ])  # fmt: skip
    return [
        grid[0] if len(grid) == 1 else _best(grid, [next(worth) for _ in grid], setting)
        for grid in grids.values()
    ]


def _grid(tuned: Tuned) -> list[Contender]:
    """Give a rival with its targets moved along their grids, each choice once."""
    choices: dict[tuple[Choice, ...], Mapping[str, Choice]] = {}
    for step in STEPS:
        given = {}
        for pool, options in tuned.options.items():
            at = options.shares.index(tuned.given[pool].share) + step
            given[pool] = options.at(tuned.given[pool], "share", max(at, 0))
        choices.setdefault(tuple(given.values()), given)
    return [
        contender_of(functools.partial(rival_of, tuned.name, tuned.training, given))
        for given in choices.values()
    ]


def _best(
    grid: Sequence[Contender], worth: Sequence[tuple[float, float]], setting: Setting
) -> Contender:
    """Give the cheapest that keeps what is asked, else the one that keeps most."""
    ranked = [
        (kept < setting.asked, -kept if kept < setting.asked else hours, at)
        for at, (kept, hours) in enumerate(worth)
    ]
    misses, value, at = min(ranked)
    one, hours = grid[at], setting.training.span_seconds / 3600.0
    found = f"none kept {setting.asked:g}, this one {-value:.4g}" if misses else "it kept enough"
    said = (
        f"{one.said}, chosen on the study and then of {len(grid)} in the engine on {hours:.2g} h "
        f"of training ({found})."
    )
    return Contender(one.make, one.controller, said)
