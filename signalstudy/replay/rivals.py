"""Rivals: each with what suits it best on the training part, or with its published defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.replay.heteroscale import SHARES_OF_CAPACITY, heteroscale
from signalstudy.replay.lanes import run_lanes
from signalstudy.replay.manifests import Options, contender, options_of
from signalstudy.replay.score import score_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from signalstudy.replay.controller import Controller
    from signalstudy.replay.draws import Draws
    from signalstudy.replay.grounds import Grounds
    from signalstudy.replay.manifests import Choice

    Given = Mapping[str, Choice]

TRAINING_SHARE = 0.5
LONGEST_TRAINING_SECONDS = 86400.0
"""A day holds the rhythm that a target has to stand."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """A rival with the choice that suits it best, and what it might have been given instead.

    `said`: what it was given, and how that was found.
    """

    name: str
    training: Grounds
    options: Mapping[str, Options]
    given: Given
    said: str

    def make(self, given: Given | None = None) -> tuple[Controller, str]:
        """Give a new controller, with another choice if one is given, and what it was given.

        Each that is made remembers what it did, and nothing of the others.
        """
        return rival_of(self.name, self.training, self.given if given is None else given)


def tuned_rival(
    name: str, grounds: Grounds, draws: Draws, start: Mapping[str, float], asked: float
) -> Tuned:
    """Give a rival with the choice that suits it best.

    Best on the training part is the cheapest that keeps `asked` of the requests, else the one that
    keeps most. All pools' targets are moved together first, then their floors, then each target.
    `draws`: lane 0, the study's estimates, is what is tuned on. `start`: replicas by pool.
    Raises NotEnoughDataError where the recording does not show the rival's signal.
    """
    estimate = draws.part(slice(0, 1))
    training = training_part(grounds)
    options = _options(name, training)
    tried: dict[tuple[Choice, ...], tuple[bool, float]] = {}

    def worth(given: Given) -> tuple[bool, float]:
        key = tuple(given.values())
        if key not in tried:
            tried[key] = _worth(
                rival_of(name, training, given)[0], training, estimate, start, asked
            )
        return tried[key]

    best: Given = {pool: one.middle for pool, one in options.items()}
    for pools, name_of_field in _sweeps(options):
        moved = [
            {
                pool: one.at(best[pool], name_of_field, at) if pool in pools else best[pool]
                for pool, one in options.items()
            }
            for at in range(max(one.size(name_of_field) for one in options.values()))
        ]
        best = min([best, *moved], key=worth)
    misses, value = worth(best)
    hours = training.time_seconds.size * grounds.step_seconds / 3600.0
    found = f"none kept {asked:g}, this one {-value:.4g}" if misses else f"{value:.4g} GPU-hours"
    given_said = rival_of(name, training, best)[1]
    said = f"{given_said}; the best of {len(tried)} tried on {hours:.3g} h of the first half"
    return Tuned(name, training, options, best, f"{said} ({found}).")


def _sweeps(options: Mapping[str, Options]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Say what is moved together: all targets, all floors, then each pool's target alone."""
    together = tuple(options)
    yield together, "share"
    yield together, "floor"
    if len(together) > 1:
        for pool in together:
            yield (pool,), "share"


def training_part(grounds: Grounds) -> Grounds:
    """Give what a rival is tuned on: of the first half the busiest day."""
    half = max(int(TRAINING_SHARE * grounds.time_seconds.size), 1)
    return busiest_part(grounds.part(slice(0, half)), LONGEST_TRAINING_SECONDS)


def busiest_part(grounds: Grounds, longest_seconds: float) -> Grounds:
    """Give the part with most requests, `longest_seconds` long where there is so much."""
    most = max(int(longest_seconds / grounds.step_seconds), 1)
    if grounds.time_seconds.size <= most:
        return grounds
    total = np.concatenate([[0.0], np.cumsum(grounds.weights)])
    begin = int(np.argmax(total[most:] - total[:-most]))
    return grounds.part(slice(begin, begin + most))


def held_within(start: Mapping[str, float], controller: Controller) -> dict[str, float]:
    """Give the replicas that a controller starts with: as given, within its bounds."""
    return {
        name: float(np.clip(replicas, *controller.bounds.get(name, (0, np.inf))))
        for name, replicas in start.items()
    }


def rival_of(name: str, training: Grounds, given: Given) -> tuple[Controller, str]:
    """Give a rival with a choice, and what it was given."""
    if name == "heteroscale":
        return heteroscale(training, given["both"].share)
    return contender(name, training, given)


def _options(name: str, training: Grounds) -> dict[str, Options]:
    if name == "heteroscale":
        return {"both": Options(SHARES_OF_CAPACITY)}
    return options_of(name, training)


def _worth(
    controller: Controller,
    grounds: Grounds,
    estimate: Draws,
    start: Mapping[str, float],
    asked: float,
) -> tuple[bool, float]:
    """Order choices: those that keep what is asked by cost, the others by what they miss."""
    held = held_within(start, controller)
    [found], _ = score_all(
        grounds,
        estimate,
        lambda part: run_lanes(controller, grounds, part, held),
        controller.drain_seconds(grounds),
    )
    kept, cost = float(found.attainment[0]), float(found.gpu_hours[0])
    return kept < asked, -kept if kept < asked else cost
