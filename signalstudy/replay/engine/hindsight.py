"""Plans made in hindsight, tried in the engine: the clairvoyant's, and the best fixed fleet."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from signalstudy.replay.clairvoyant import FILLS
from signalstudy.replay.engine.run import Plan
from signalstudy.replay.engine.score import (
    STEP_SECONDS,
    attainment,
    gpu_hours_of,
    score_run,
    steps_of,
    work_per_step,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from signalstudy.replay.engine.run import Job, Ran
    from signalstudy.replay.engine.setting import Setting
    from signalstudy.replay.grounds import Grounds
    from signalstudy.replay.replay import Run

    Floats = NDArray[np.float64]

HINDSIGHT = ("fixed-peak", "clairvoyant")
FIRST_FILL = 1.0
SMOOTHED_SECONDS = 60.0
MOST_TRIED = 12
AMPLE = 1.6
"""How much dearer than the first guess the other pools' options are while one pool is searched."""
HOPED, LEAST_MISSED = 1.2, 1e-6
"""Combinations are run where pools alone miss at most so many times what may be missed."""


@dataclass(frozen=True, slots=True)
class Option:
    """A plan of one pool: what it is, its replicas per step (n,), and about what it costs."""

    label: str
    replicas: Floats
    gpu_seconds: float


@dataclass(slots=True)
class Search:
    """Looks for the cheapest choice that keeps `wanted`.

    `options`: by pool, the cheapest first. `first`: where to begin in each. `try_all` runs choices
    side by side in the engine and gives (share kept, GPU-hours) of each.
    """

    options: Mapping[str, Sequence[Option]]
    first: Mapping[str, int]
    wanted: float
    try_all: Callable[[list[dict[str, int]]], list[tuple[float, float]]]
    known: dict[tuple[int, ...], tuple[float, float]] = field(default_factory=dict)

    def attained(self, choices: Sequence[dict[str, int]]) -> list[float]:
        """Give the share that each choice keeps; each is run once."""
        new = [one for one in choices if self._key(one) not in self.known]
        unique = {self._key(one): one for one in new}
        found = self.try_all(list(unique.values())) if unique else []
        self.known.update(zip(unique, found, strict=True))
        return [self.known[self._key(one)][0] for one in choices]

    def _key(self, choice: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(choice[pool] for pool in self.options)

    def run(self) -> dict[str, int]:
        """Find what each pool needs beside generous others, then try combinations by cost.

        What pools miss about adds up: combinations for which that is clearly too much are not run.
        """
        generous = self._generous()
        if self.attained([generous])[0] < self.wanted:
            return self.best()
        least = self._alone(generous)
        combined = sorted(
            itertools.product(*(range(least[pool], generous[pool] + 1) for pool in self.options)),
            key=lambda at: sum(
                self.options[pool][i].gpu_seconds for pool, i in zip(self.options, at, strict=True)
            ),
        )
        missed = self._missed_alone(generous)
        promising = [
            at
            for at in combined
            if sum(missed[pool][i] for pool, i in zip(self.options, at, strict=True))
            <= HOPED * (1.0 - self.wanted)
        ]
        for at in promising[:MOST_TRIED]:
            choice = dict(zip(self.options, at, strict=True))
            if self.attained([choice])[0] >= self.wanted:
                break
        return self.best()

    def best(self) -> dict[str, int]:
        """Give the cheapest choice run that keeps `wanted`, else the one that keeps most."""
        enough = {key: hours for key, (share, hours) in self.known.items() if share >= self.wanted}
        if enough:
            key = min(enough, key=lambda one: enough[one])
        else:
            key = max(self.known, key=lambda one: self.known[one][0])
        return dict(zip(self.options, key, strict=True))

    def _generous(self) -> dict[str, int]:
        """Give options that keep `wanted`, if any do: somewhat dearer than the guess, else more so.

        A fleet much too large costs the engine several times the time of one that is full.
        """
        most = {pool: len(options) - 1 for pool, options in self.options.items()}
        times = AMPLE
        while True:
            choice = {}
            for pool, options in self.options.items():
                enough = times * options[self.first[pool]].gpu_seconds
                beyond = (at for at in range(most[pool]) if options[at].gpu_seconds >= enough)
                choice[pool] = next(beyond, most[pool])
            if self.attained([choice])[0] >= self.wanted or choice == most:
                return choice
            times *= AMPLE

    def _missed_alone(self, generous: Mapping[str, int]) -> dict[str, Floats]:
        """Give what each option of a pool misses beside generous others, by what was run.

        Between options that were run its logarithm is straight.
        """
        missed = {}
        for axis, pool in enumerate(self.options):
            others = [at for other, at in generous.items() if other != pool]
            seen = sorted(
                (key[axis], max(1.0 - share, LEAST_MISSED))
                for key, (share, _) in self.known.items()
                if [*key[:axis], *key[axis + 1 :]] == others
            )
            at, shares = zip(*seen, strict=True)
            every = np.arange(len(self.options[pool]))
            missed[pool] = np.exp(np.interp(every, at, np.log(shares)))
        return missed

    def _alone(self, generous: Mapping[str, int]) -> dict[str, int]:
        """Find each pool's cheapest option that is enough beside generous others.

        From the first guess in growing strides until it is bracketed, then by halves; all pools
        side by side.
        """
        below = dict.fromkeys(self.options, -1)
        enough = dict(generous)
        at = {pool: min(self.first[pool], enough[pool]) for pool in self.options}
        stride = dict.fromkeys(self.options, 1)
        while True:
            open_pools = [pool for pool in self.options if enough[pool] - below[pool] > 1]
            if not open_pools:
                return enough
            shares = self.attained([{**generous, pool: at[pool]} for pool in open_pools])
            for pool, share in zip(open_pools, shares, strict=True):
                is_enough = share >= self.wanted
                (enough if is_enough else below)[pool] = at[pool]
                is_open_end = below[pool] == -1 if is_enough else enough[pool] == generous[pool]
                if is_open_end:
                    step = -stride[pool] if is_enough else stride[pool]
                    stride[pool] *= 2
                    at[pool] = int(np.clip(at[pool] + step, below[pool] + 1, enough[pool] - 1))
                else:
                    at[pool] = (below[pool] + enough[pool]) // 2
                at[pool] = max(at[pool], 0)


def hindsight_run(name: str, setting: Setting) -> Run:
    """Find the cheapest plan that keeps what was asked for, and give its run."""
    template, grounds, bears = setting.template, setting.grounds, setting.bears
    is_fixed = name == "fixed-peak"
    options = (fixed_options if is_fixed else clairvoyant_options)(template, grounds, bears)
    kept: dict[tuple[int, ...], tuple[Ran, Job]] = {}

    def try_all(choices: list[dict[str, int]]) -> list[tuple[float, float]]:
        jobs = []
        for choice in choices:
            plan, start = plan_of(options, choice)
            fleet = replace(template.fleet, start=start)
            label = f"{name} {_said(options, choice)}"
            jobs.append(replace(template, name=label, plan=plan, fleet=fleet))
        found = []
        for choice, ran, job in zip(choices, setting.run(jobs), jobs, strict=True):
            kept[tuple(choice.values())] = (ran, job)
            found.append((attainment(ran, job, setting.objectives), gpu_hours_of(ran, job)))
        return found

    first = _first_guess(options, template, grounds, bears, is_fixed=is_fixed)
    search = Search(options, first, setting.asked, try_all)
    best = search.run()
    key = tuple(best.values())
    ran, job = kept[key]
    reached, _ = search.known[key]
    flags: tuple[str, ...] = ()
    if reached < setting.asked:
        flags = (f"No plan tried reaches {setting.asked:.4g}; the best reaches {reached:.4g}.",)
    said = f"{_said(options, best)}; the cheapest of {len(search.known)} tried."
    return score_run(ran, replace(job, name=name), grounds, setting.drawn, given=said, flags=flags)


def _said(options: Mapping[str, Sequence[Option]], choice: Mapping[str, int]) -> str:
    return ", ".join(f"{pool} {options[pool][at].label}" for pool, at in choice.items())


def clairvoyant_options(
    job: Job, grounds: Grounds, bears: Mapping[str, float]
) -> dict[str, list[Option]]:
    """Give each pool's plans: ceil(largest work over [t, t + start-up] / (c x capacity)).

    `bears`: work per second that a replica bears, by pool. The cheapest, with the largest c, first.
    """
    ahead = round(job.fleet.startup_seconds / STEP_SECONDS) + 1
    options = {}
    for pool in job.fleet.sides:
        work = _work(job, grounds, pool)
        largest = maximum_filter1d(work, ahead, mode="nearest", origin=-((ahead - 1) // 2))
        options[pool] = [
            _option(job, pool, f"c = {fill:g}", np.ceil(largest / (fill * bears[pool]) - 1e-9))
            for fill in sorted(FILLS, reverse=True)
        ]
    return options


def fixed_options(
    job: Job, grounds: Grounds, bears: Mapping[str, float]
) -> dict[str, list[Option]]:
    """Give each pool's fixed fleets, the smallest first."""
    options = {}
    for pool in job.fleet.sides:
        work = _work(job, grounds, pool)
        most = max(int(np.ceil(work.max() / (min(FILLS) * bears[pool]))), 2)
        options[pool] = [
            _option(job, pool, f"{count}", np.full(work.size, float(count)))
            for count in range(1, most + 1)
        ]
    return options


def _first_guess(
    options: Mapping[str, Sequence[Option]],
    job: Job,
    grounds: Grounds,
    bears: Mapping[str, float],
    *,
    is_fixed: bool,
) -> dict[str, int]:
    """Say where a search begins: at c = 1, or the fleet that holds the peak at it."""
    if not is_fixed:
        at = sorted(FILLS, reverse=True).index(FIRST_FILL)
        return dict.fromkeys(options, at)
    return {
        pool: int(np.clip(np.ceil(_work(job, grounds, pool).max() / (FIRST_FILL * bears[pool])) - 1,
                          0, len(options[pool]) - 1))
        for pool in options
    }  # fmt: skip


def plan_of(
    options: Mapping[str, Sequence[Option]], choice: Mapping[str, int]
) -> tuple[Plan, dict[str, int]]:
    """Give the plan of a choice, and the replicas it starts with."""
    replicas = {pool: options[pool][at].replicas for pool, at in choice.items()}
    start = {pool: int(values[0]) for pool, values in replicas.items()}
    moves = np.any([np.diff(values) != 0.0 for values in replicas.values()], axis=0)
    at = 1 + np.flatnonzero(moves)
    return Plan(
        STEP_SECONDS * at.astype(float), {pool: values[at] for pool, values in replicas.items()}
    ), start


def _work(job: Job, grounds: Grounds, pool: str) -> Floats:
    """Give the work offered per second (n,), spread over a request's stay and a minute."""
    steps = steps_of(job)
    work = work_per_step(job, grounds, pool, steps) / STEP_SECONDS
    size = min(max(round(SMOOTHED_SECONDS / STEP_SECONDS), 1), steps)
    return np.asarray(uniform_filter1d(work, size, mode="nearest"))


def _option(job: Job, pool: str, label: str, replicas: Floats) -> Option:
    replicas = np.maximum(replicas, 1.0)
    gpu_seconds = float(replicas.sum()) * STEP_SECONDS * job.fleet.gpus[pool]
    return Option(label, replicas, gpu_seconds)
