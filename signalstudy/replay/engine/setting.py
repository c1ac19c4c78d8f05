"""The Setting of an engine replay: what all of its runs share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from signalstudy.replay.engine.processes import run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from signalstudy.replay.controller import Controller
    from signalstudy.replay.draws import Draws
    from signalstudy.replay.engine.run import Job, Ran
    from signalstudy.replay.grounds import Grounds
    from signalstudy.vocabulary.objectives import Objective


@dataclass(frozen=True, slots=True)
class Setting:
    """`template`: the job of the span that is replayed; `training`: of what rivals are tuned on.

    `asked`: the attainment that rivals are tuned and plans are searched for.
    """

    grounds: Grounds
    drawn: Draws
    template: Job
    training: Job
    folder: Path
    asked: float
    at_once: int
    progress: Callable[[str], None]

    @property
    def objectives(self) -> list[Objective]:
        """What a request must keep."""
        return [one.objective for one in self.grounds.objectives]

    @property
    def bears(self) -> dict[str, float]:
        """Work per second that a replica bears, by pool."""
        return {pool: float(self.drawn.capacity[pool][0]) for pool in self.grounds.pools}

    def run(self, jobs: Sequence[Job]) -> list[Ran]:
        """Run jobs side by side."""
        return run_all(jobs, at_once=self.at_once, folder=self.folder, progress=self.progress)


def controlled(job: Job, controller: Controller, make: Callable[[], Controller]) -> Job:
    """Make a job follow a controller; it starts within the controller's bounds."""
    start = {}
    for pool, count in job.fleet.start.items():
        least, most = controller.bounds.get(pool, (1, count))
        start[pool] = min(max(count, least, 1), max(most, 1))
    return replace(
        job, name=controller.name, make=make, plan=None, fleet=replace(job.fleet, start=start)
    )
