"""Engine replay: policies and rivals, each in its own closed loop with the offline engine."""

from __future__ import annotations

import functools
import importlib.util
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.replay.controller import policy_controller
from signalstudy.replay.draws import draw
from signalstudy.replay.engine.hindsight import HINDSIGHT, hindsight_run
from signalstudy.replay.engine.processes import usual_jobs
from signalstudy.replay.engine.profile import Profile, read_profile
from signalstudy.replay.engine.resample import resample
from signalstudy.replay.engine.run import Fleet, Job, Plan
from signalstudy.replay.engine.score import STEP_SECONDS, score_run, steps_of, work_per_step
from signalstudy.replay.engine.setting import Setting, controlled
from signalstudy.replay.engine.sight import Offered, check_reads
from signalstudy.replay.engine.timing import fit_profile
from signalstudy.replay.engine.trace import Trace, iso, read_trace, reusable_tokens
from signalstudy.replay.engine.tune import Contender, rivals_tuned
from signalstudy.replay.engine.view import view_of
from signalstudy.replay.grounds import lay_grounds
from signalstudy.replay.replay import Replay
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from signalstudy.policy.policy import Policy
    from signalstudy.replay.grounds import Grounds, Studied
    from signalstudy.replay.replay import Run

    Floats = NDArray[np.float64]

GRACE_SECONDS = 1800.0
"""How long after the span requests may still finish; those that have not by then never do."""
TUNED_SECONDS = 7200.0
START_SECONDS = 600.0
START_FILL = 0.75
"""Every fleet starts so full with the work of the first ten minutes."""


def need_engine() -> None:
    """Raise with the way to install it where the engine is not there."""
    try:
        found = importlib.util.find_spec("dynamo._core")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ConfigurationError(
            "--engine dynamo: the engine is not installed. It is in ai-dynamo-runtime, for Linux: "
            "pip install 'signalstudy[replay]'."
        )


def replay_in_engine(
    named: Sequence[tuple[str, Policy]],
    on: Studied,
    *,
    rivals: Sequence[str] = (),
    may_leave_out: bool = False,
    span: tuple[float | None, float | None] = (None, None),
    trace: str | Path | Trace | None = None,
    profile: str | Path | Profile | None = None,
    scale: float = 1.0,
    seed: int = 0,
    attainment: float | None = None,
    startup_seconds: float | None = None,
    gpus_per_replica: Mapping[str, float] | None = None,
    jobs: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Replay:
    """Replay named policies and rivals on a trace in the offline engine.

    `trace`: None draws requests from the study's own rhythm and token mix. `profile`: None fits the
    timing to the study's telemetry. `scale`: times the requests. `span`: cuts the trace; what lies
    before it is what rivals are tuned on. `jobs`: runs side by side, default the processors.
    Raises SignalStudyError.
    """
    need_engine()
    grounds = lay_grounds(on, startup_seconds=startup_seconds, gpus_per_replica=gpus_per_replica)
    sides = _sides(grounds)
    whole = _trace(trace, grounds, seed).scaled(scale, seed)
    replayed, before = whole.between(*span), _before(whole, span)
    timing = _profile(profile, grounds)
    drawn = draw(grounds, 0, seed)
    bears = {pool: float(drawn.capacity[pool][0]) for pool in sides}
    asked = grounds.asked_attainment if attainment is None else attainment
    with tempfile.TemporaryDirectory(prefix="signalstudy-engine-") as scratch:
        folder = Path(scratch)
        startup = float(drawn.startup_seconds[0])
        gpus = {pool: grounds.pools[pool].gpus for pool in sides}
        fleet = Fleet(sides, dict.fromkeys(sides, 1), startup, gpus, timing)
        make = functools.partial(_job, fleet=fleet, grounds=grounds, bears=bears, seed=seed)
        setting = Setting(
            grounds=grounds,
            drawn=drawn,
            template=make(replayed, folder / "trace.jsonl"),
            folder=folder,
            asked=asked,
            at_once=usual_jobs() if jobs is None else jobs,
            progress=progress,
            training=make(before, folder / "training.jsonl"),
        )
        runs, left_out = _runs(setting, named, rivals, may_leave_out=may_leave_out)
    return Replay(
        service=grounds.service,
        engine="dynamo",
        start=iso(replayed.start),
        end=iso(replayed.start + np.ceil(replayed.seconds)),
        requests=float(replayed.requests),
        step_seconds=STEP_SECONDS,
        seed=seed,
        draws=0,
        asked_attainment=asked,
        runs=tuple(runs),
        notes=(*grounds.notes, *replayed.notes, f"Timing: {timing.source}.", *left_out),
        time_seconds=_times(setting.template),
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
    return fit_profile(grounds) if profile is None else read_profile(Path(profile))


def _job(
    trace: Trace, path: Path, *, fleet: Fleet, grounds: Grounds, bears: Mapping[str, float],
    seed: int,
) -> Job:  # fmt: skip
    """Make the job of a trace: its file, its counters, and the replicas that it starts with."""
    # The engine's clock begins with the first arrival.
    first = float(trace.arrived_seconds[0])
    at = trace.arrived_seconds - first
    trace = replace(trace, start=trace.start + first, arrived_seconds=at)
    trace.write(path)
    cumulated = [
        np.concatenate([[0.0], np.cumsum(values)])
        for values in (trace.prompt_tokens, reusable_tokens(trace))
    ]
    span = float(np.ceil(trace.seconds + 1e-3))
    job = Job(
        name="",
        trace=path,
        trace_block_tokens=trace.block_tokens,
        fleet=fleet,
        span_seconds=span,
        start=trace.start,
        longest_seconds=span + GRACE_SECONDS,
        make=None,
        plan=Plan(np.zeros(0), {}),
        view=view_of(grounds, seed),
        offered=Offered(trace.arrived_seconds, trace.output_tokens.astype(float), *cumulated),
    )
    steps = max(round(min(START_SECONDS, span) / STEP_SECONDS), 1)
    start = {}
    for pool in fleet.sides:
        work = work_per_step(job, grounds, pool, steps_of(job))[:steps].mean() / STEP_SECONDS
        start[pool] = max(int(np.ceil(work / (START_FILL * bears[pool]))), 1)
    return replace(job, fleet=replace(fleet, start=start))


def _times(job: Job) -> Floats:
    return job.start + STEP_SECONDS * np.arange(1.0, steps_of(job) + 1.0)


def _runs(
    setting: Setting,
    named: Sequence[tuple[str, Policy]],
    rivals: Sequence[str],
    *,
    may_leave_out: bool,
) -> tuple[list[Run], list[str]]:
    """Run everything: closed loops side by side, then the searches in hindsight."""
    grounds = setting.grounds
    left_out: list[str] = []

    def leave_out(error: Exception) -> None:
        if not may_leave_out:
            raise error
        left_out.append(str(error))

    loops = []
    for name, policy in named:
        make = functools.partial(policy_controller, policy, grounds, name)
        loops.append(Contender(make, make(), ""))
    known = functools.partial(_known, grounds)
    for one in loops:
        check_reads(one.controller, setting.template.view, known)
    loops += rivals_tuned([one for one in rivals if one not in HINDSIGHT], setting, leave_out)
    for one in loops:
        check_reads(one.controller, setting.template.view, known)
    jobs = [controlled(setting.template, one.controller, one.make) for one in loops]
    runs = [
        score_run(ran, job, grounds, setting.drawn, controller=one.controller, given=one.said)
        for ran, job, one in zip(setting.run(jobs), jobs, loops, strict=True)
    ]
    runs += [hindsight_run(name, setting) for name in rivals if name in HINDSIGHT]
    return runs, left_out


def _known(grounds: Grounds, pool: str) -> list[str]:
    places = [grounds.whole.pools[one] for one in (pool, "gateway") if one in grounds.whole.pools]
    return [signal for place in places for signal in place.signals]
