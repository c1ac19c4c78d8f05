"""Engine replay: policies and rivals, each in its own closed loop with the offline engine."""

from __future__ import annotations

import functools
import importlib.util
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.replay.controller import policy_controller
from signalstudy.replay.engine.hindsight import HINDSIGHT, hindsight_run
from signalstudy.replay.engine.profile import read_profile
from signalstudy.replay.engine.score import STEP_SECONDS, score_run, steps_of
from signalstudy.replay.engine.setting import controlled, setting_of
from signalstudy.replay.engine.sight import check_reads
from signalstudy.replay.engine.silicon import is_named_model
from signalstudy.replay.engine.trace import iso
from signalstudy.replay.engine.tune import Contender, rivals_tuned
from signalstudy.replay.replay import Replay
from signalstudy.vocabulary.errors import ConfigurationError, TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from signalstudy.policy.policy import Policy
    from signalstudy.replay.engine.profile import Profile
    from signalstudy.replay.engine.setting import Setting
    from signalstudy.replay.engine.trace import Trace
    from signalstudy.replay.grounds import Grounds, Studied
    from signalstudy.replay.replay import Run


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


def check_files(trace: str | Path | None, profile: str | Path | None) -> None:
    """Raise what can be said before anything is studied: no engine, no trace, a wrong profile."""
    need_engine()
    if trace is not None and not Path(trace).is_file():
        raise TableError(f"--trace: there is no file {trace}")
    if profile is not None and not is_named_model(str(profile)):
        read_profile(Path(profile))


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
    with tempfile.TemporaryDirectory(prefix="signalstudy-engine-") as scratch:
        setting = setting_of(
            on,
            Path(scratch),
            trace=trace,
            profile=profile,
            scale=scale,
            span=span,
            seed=seed,
            attainment=attainment,
            startup_seconds=startup_seconds,
            gpus_per_replica=gpus_per_replica,
            jobs=jobs,
            progress=progress,
        )
        runs, left_out = _runs(setting, named, rivals, may_leave_out=may_leave_out)
    job = setting.template
    return Replay(
        service=on.service,
        engine="dynamo",
        start=iso(np.floor(job.start)),
        end=iso(np.ceil(job.start + job.span_seconds)),
        requests=float(job.offered.arrived_seconds.size),
        step_seconds=STEP_SECONDS,
        seed=seed,
        draws=0,
        asked_attainment=setting.asked,
        runs=tuple(runs),
        notes=(*setting.notes, *left_out),
        time_seconds=job.start + STEP_SECONDS * np.arange(1.0, steps_of(job) + 1.0),
    )


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
    if any(one.controller.is_soft for one in loops):
        left_out.append(
            "The engine drains a removed replica and cannot put it back: soft scale-in "
            "(observationSeconds) has no effect here."
        )
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
