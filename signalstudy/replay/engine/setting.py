"""The Setting of an engine replay: what all of its runs share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.replay.draws import draw
from signalstudy.replay.engine.processes import run_all, usual_jobs
from signalstudy.replay.engine.profile import Profile, read_profile
from signalstudy.replay.engine.resample import resample
from signalstudy.replay.engine.run import Fleet, Job, job_of
from signalstudy.replay.engine.score import STEP_SECONDS, steps_of, work_per_step
from signalstudy.replay.engine.silicon import is_named_model, profile_of
from signalstudy.replay.engine.timing import fit_profile
from signalstudy.replay.engine.trace import Trace, read_trace
from signalstudy.replay.engine.view import view_of
from signalstudy.replay.grounds import lay_grounds
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from signalstudy.replay.controller import Controller
    from signalstudy.replay.draws import Draws
    from signalstudy.replay.engine.run import Ran
    from signalstudy.replay.grounds import Grounds, Studied
    from signalstudy.vocabulary.objectives import Objective

TUNED_SECONDS = 7200.0
START_SECONDS = 600.0
START_FILL = 0.75
"""Every fleet starts so full with the work of the first ten minutes."""
ADMITS_WHOLE = (
    "Some requests fill more than a quarter of a replica's KV cache: the engine admits a request "
    "only where all of it fits."
)


@dataclass(frozen=True, slots=True)
class Setting:
    """`template`: the job of the span that is replayed; `training`: of what rivals are tuned on.

    `asked`: the attainment that rivals are tuned and plans are searched for. `notes`: what holds
    for every run.
    """

    grounds: Grounds
    drawn: Draws
    template: Job
    training: Job
    folder: Path
    asked: float
    at_once: int
    notes: tuple[str, ...]
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


def setting_of(
    on: Studied,
    folder: Path,
    *,
    trace: str | Path | Trace | None = None,
    profile: str | Path | Profile | None = None,
    scale: float = 1.0,
    span: tuple[float | None, float | None] = (None, None),
    seed: int = 0,
    attainment: float | None = None,
    startup_seconds: float | None = None,
    gpus_per_replica: Mapping[str, float] | None = None,
    jobs: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Setting:
    """Lay down what a replay in the engine stands on; the arguments are `replay_in_engine`'s."""
    grounds = lay_grounds(on, startup_seconds=startup_seconds, gpus_per_replica=gpus_per_replica)
    sides = _sides(grounds)
    timing = _profile(profile, grounds)
    whole = _trace(trace, grounds, seed).scaled(scale, seed).fitting(timing.kv_capacity_tokens)
    replayed, before = whole.between(*span), _before(whole, span)
    drawn = draw(grounds, 0, seed)
    gpus = {pool: grounds.pools[pool].gpus for pool in sides}
    startup = float(drawn.startup_seconds[0])
    fleet = Fleet(sides, dict.fromkeys(sides, 1), startup, gpus, timing)
    view = view_of(grounds, seed)
    bears = {pool: float(drawn.capacity[pool][0]) for pool in sides}
    template = _started(job_of(replayed, folder / "trace.jsonl", fleet, view), grounds, bears)
    scheduled = "" if template.evicts else ADMITS_WHOLE
    return Setting(
        grounds=grounds,
        drawn=drawn,
        template=template,
        training=_started(job_of(before, folder / "training.jsonl", fleet, view), grounds, bears),
        folder=folder,
        asked=grounds.asked_attainment if attainment is None else attainment,
        at_once=usual_jobs() if jobs is None else jobs,
        notes=tuple(
            filter(None, (*grounds.notes, *replayed.notes, f"Timing: {timing.source}.", scheduled))
        ),
        progress=progress,
    )


def controlled(job: Job, controller: Controller, make: Callable[[], Controller]) -> Job:
    """Make a job follow a controller; it starts within the controller's bounds."""
    start = {}
    for pool, count in job.fleet.start.items():
        least, most = controller.bounds.get(pool, (1, count))
        start[pool] = min(max(count, least, 1), max(most, 1))
    return replace(
        job, name=controller.name, make=make, plan=None, fleet=replace(job.fleet, start=start)
    )


def _sides(grounds: Grounds) -> dict[str, str]:
    pools = set(grounds.pools)
    if pools == {"prefill", "decode"}:
        return {"prefill": "prefill", "decode": "decode"}
    if len(pools) == 1 and pools & {"unified", "decode"}:
        return dict.fromkeys(pools, "decode")
    raise ConfigurationError(
        f"--engine dynamo: {grounds.service!r} has the pools {', '.join(sorted(pools))}; the "
        "engine simulates prefill and decode, or one pool that does both."
    )


def _trace(trace: str | Path | Trace | None, grounds: Grounds, seed: int) -> Trace:
    if isinstance(trace, Trace):
        return trace
    if trace is None:
        return resample(grounds, seed)
    return read_trace(Path(trace), grounds.service)


def _before(whole: Trace, span: tuple[float | None, float | None]) -> Trace:
    """Give what rivals are tuned on: the trace before the span, else the first half of the span."""
    since = whole.start if span[0] is None else span[0]
    at = whole.start + whole.arrived_seconds
    if int((at < since).sum()) >= 2 and since - whole.start >= START_SECONDS:
        return _busiest(whole.between(None, since))
    inside = whole.between(*span)
    return _busiest(inside.between(None, inside.start + max(inside.seconds / 2.0, 1.0)))


def _busiest(trace: Trace) -> Trace:
    """Cut to the hours with the most requests: there a target shows whether it holds."""
    if trace.seconds <= TUNED_SECONDS:
        return trace
    at = trace.arrived_seconds
    held = np.searchsorted(at, at + TUNED_SECONDS) - np.arange(at.size)
    begin = min(float(at[held.argmax()]), trace.seconds - TUNED_SECONDS)
    return trace.between(trace.start + begin, trace.start + begin + TUNED_SECONDS)


def _profile(profile: str | Path | Profile | None, grounds: Grounds) -> Profile:
    if isinstance(profile, Profile):
        return profile
    if profile is None:
        return fit_profile(grounds)
    if is_named_model(str(profile)):
        return profile_of(str(profile), _tensor_parallel(grounds))
    return read_profile(Path(profile))


def _tensor_parallel(grounds: Grounds) -> int:
    """Give the GPUs of a replica, over which a named model is spread."""
    counts = {max(round(pool.gpus), 1) for pool in grounds.pools.values()}
    if len(counts) > 1:
        raise ConfigurationError(
            "--profile: the pools have replicas of different sizes "
            f"({', '.join(map(str, sorted(counts)))} GPUs); give an NPZ."
        )
    return counts.pop()


def _started(job: Job, grounds: Grounds, bears: Mapping[str, float]) -> Job:
    """Let a fleet start with what the work of the first minutes needs."""
    steps = max(round(min(START_SECONDS, job.span_seconds) / STEP_SECONDS), 1)
    start = {}
    for pool in job.fleet.sides:
        work = work_per_step(job, grounds, pool, steps_of(job))[:steps].mean() / STEP_SECONDS
        start[pool] = max(int(np.ceil(work / (START_FILL * bears[pool]))), 1)
    return replace(job, fleet=replace(job.fleet, start=start))
