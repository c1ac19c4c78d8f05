"""Recorded replay: a study's demand drives policies and rivals, each in its own closed loop."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from signalstudy.policy.policy import Policy
from signalstudy.replay.clairvoyant import clairvoyant, fixed_peak
from signalstudy.replay.controller import policy_controller
from signalstudy.replay.draws import draw
from signalstudy.replay.engine.replay import replay_in_engine
from signalstudy.replay.flags import flags_of
from signalstudy.replay.grounds import iso, lay_grounds
from signalstudy.replay.history import recorded_run, start_replicas
from signalstudy.replay.inventory import read_inventory
from signalstudy.replay.lanes import run_lanes
from signalstudy.replay.manifests import KINDS
from signalstudy.replay.own_manifest import is_manifest, manifest_controller
from signalstudy.replay.replay import Replay
from signalstudy.replay.rivals import held_within, tuned_rival
from signalstudy.replay.score import run_of, score_all
from signalstudy.vocabulary.errors import ConfigurationError, NotEnoughDataError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from signalstudy.replay.controller import Controller
    from signalstudy.replay.draws import Draws
    from signalstudy.replay.engine.profile import Profile
    from signalstudy.replay.engine.trace import Trace
    from signalstudy.replay.grounds import Grounds, Studied
    from signalstudy.replay.replay import Run

DRAWS = 100
ENGINES = ("recorded", "dynamo")
IN_HINDSIGHT = {"fixed-peak": fixed_peak, "clairvoyant": clairvoyant}
RIVALS = (*IN_HINDSIGHT, *KINDS, "heteroscale")
MOST_DECISIONS, FEWEST_LANES = 40_000, 6
"""A manifest decides in plain Python, about 30 us each: steps x lanes, and lanes at least."""


def replay_policy(
    policies: Policy | Sequence[Policy],
    on: Studied,
    *,
    against: Sequence[str] = (),
    span: tuple[float | None, float | None] = (None, None),
    engine: str = "recorded",
    draws: int = DRAWS,
    seed: int = 0,
    attainment: float | None = None,
    startup_seconds: float | None = None,
    gpus_per_replica: Mapping[str, float] | None = None,
    inventory: str | Path | None = None,
    trace: str | Path | Trace | None = None,
    profile: str | Path | Profile | None = None,
    scale: float = 1.0,
    jobs: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Replay:
    """Replay policies on one service of a study (`study.services[...]`), against rivals.

    `against`: names of RIVALS, manifest files (HPA, KEDA, AIBrix, Kthena), or "all". `span`: Unix
    seconds, None for the ends of the recording. `draws`: how often what is not known exactly is
    drawn, 0 for the estimates alone. `attainment`: what the rivals chosen in hindsight are asked
    for; default: the loosest objective's quantile.
    `startup_seconds`, `gpus_per_replica`: where neither the recording nor its policy says.
    `inventory`: a file of GPUs and switches in which every decision has to find its place.
    For the engine "dynamo" alone, `trace`: the requests, a Mooncake or request log file (default:
    drawn from the study); `profile`: the timing, an NPZ or "aiconfigurator:MODEL@GPU" (default:
    fitted to the study); `scale`: times the requests; `jobs`: runs side by side (default: the
    processors).
    """
    rivals = check_names(engine, against)
    if draws < 0:
        raise ConfigurationError(f"draws is {draws}; it must be 0 or more.")
    given = [policies] if isinstance(policies, Policy) else list(policies)
    named = list(zip(_names(given), given, strict=True))
    shared: dict[str, Any] = {
        "rivals": rivals,
        "may_leave_out": "all" in against,
        "span": span,
        "seed": seed,
        "attainment": attainment,
        "startup_seconds": startup_seconds,
        "gpus_per_replica": gpus_per_replica,
        "progress": progress,
    }
    if engine == "dynamo" and inventory is not None:
        raise ConfigurationError("--inventory: only the recorded replay places replicas yet.")
    if engine == "dynamo":
        return replay_in_engine(
            named, on, trace=trace, profile=profile, scale=scale, jobs=jobs, **shared
        )
    if trace is not None or profile is not None or scale != 1.0:
        raise ConfigurationError(
            "--trace, --profile, --scale: the recorded replay has the study's own demand. They are "
            "for --engine dynamo."
        )
    return _replay_recorded(named, on, draws=draws, inventory=inventory, **shared)


def _replay_recorded(
    named: Sequence[tuple[str, Policy]],
    on: Studied,
    *,
    rivals: Sequence[str],
    may_leave_out: bool,
    span: tuple[float | None, float | None],
    draws: int,
    seed: int,
    attainment: float | None,
    inventory: str | Path | None,
    startup_seconds: float | None,
    gpus_per_replica: Mapping[str, float] | None,
    progress: Callable[[str], None],
) -> Replay:
    """Replay named policies and rivals on the study's own demand."""
    grounds = lay_grounds(
        on,
        span=span,
        startup_seconds=startup_seconds,
        gpus_per_replica=gpus_per_replica,
        inventory=None if inventory is None else read_inventory(inventory),
    )
    drawn = draw(grounds, draws, seed)
    start = start_replicas(grounds)
    asked = grounds.asked_attainment if attainment is None else attainment
    controllers = [policy_controller(policy, grounds, name) for name, policy in named]
    runs = [recorded_run(grounds, drawn)]
    for controller in controllers:
        progress(f"replaying {controller.name}")
        runs.append(_run(controller, grounds, drawn, start))
    left_out = []
    for name in rivals:
        progress(f"replaying {name}")
        try:
            runs.append(_rival(name, grounds, drawn, start, asked))
        except NotEnoughDataError as error:
            if not may_leave_out:
                raise
            left_out.append(str(error))
    return Replay(
        service=grounds.service,
        engine="recorded",
        start=iso(grounds.time_seconds[0] - grounds.step_seconds),
        end=iso(grounds.time_seconds[-1]),
        requests=grounds.requests,
        step_seconds=grounds.step_seconds,
        seed=seed,
        draws=draws,
        asked_attainment=asked,
        runs=tuple(runs),
        notes=(*grounds.notes, *_notes(grounds, controllers), *left_out),
        time_seconds=grounds.time_seconds,
    )


def check_names(engine: str, against: Sequence[str]) -> list[str]:
    """Give the rivals asked for in order; errors name what is not there or not yet built."""
    if engine not in ENGINES:
        raise unknown_name("--engine", "engine", engine, ENGINES)
    asked = [name for one in against for name in (RIVALS if one == "all" else (one,))]
    names = tuple(dict.fromkeys(asked))
    for name in names:
        if is_manifest(name):
            continue
        if name not in RIVALS:
            raise unknown_name("--against", "rival", name, (*RIVALS, "all"))
    return list(names)


def _names(policies: Sequence[Policy]) -> list[str]:
    """Name each policy by itself, with a number where several have the same name."""
    names = [policy.name for policy in policies]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: at + 1].count(name)})"
        for at, name in enumerate(names)
    ]


def _rival(
    name: str, grounds: Grounds, drawn: Draws, start: Mapping[str, float], asked: float
) -> Run:
    """Run a rival with the target that suits it best on the training part, or as its file says."""
    if name in IN_HINDSIGHT:
        return IN_HINDSIGHT[name](grounds, drawn, asked)
    if is_manifest(name):
        _, said = manifest_controller(name, grounds)

        def make() -> Controller:
            return manifest_controller(name, grounds)[0]
    else:
        tuned = tuned_rival(name, grounds, drawn, start, asked)
        said = tuned.said

        def make() -> Controller:
            return tuned.make()[0]

    if name == "heteroscale":
        return replace(_run(make(), grounds, drawn, start), given=said)
    return _run_each(make, said, grounds, drawn, start)


def _run(controller: Controller, grounds: Grounds, drawn: Draws, start: Mapping[str, float]) -> Run:
    """Run one controller over all lanes, so many at a time as fit into memory."""
    held = held_within(start, controller)
    scores, first = score_all(
        grounds,
        drawn,
        lambda part: run_lanes(controller, grounds, part, held),
        controller.drain_seconds(grounds),
    )
    flags = flags_of(grounds, drawn, first.pools, controller.bounds)
    return run_of(
        controller.name, grounds, drawn, scores, first, flags=flags, explain=controller.explain
    )


def _run_each(
    make: Callable[[], Controller],
    said: str,
    grounds: Grounds,
    drawn: Draws,
    start: Mapping[str, float],
) -> Run:
    """Run what remembers its past one lane after the other, and so fewer of them."""
    lanes = min(drawn.lanes, max(MOST_DECISIONS // grounds.time_seconds.size, FEWEST_LANES))
    some, one = drawn.part(slice(0, lanes)), make()
    held = held_within(start, one)
    scores, first = score_all(
        grounds,
        some,
        lambda part: run_lanes(make(), grounds, part, held),
        one.drain_seconds(grounds),
        lanes_at_once=1,
    )
    flags = flags_of(grounds, some, first.pools, one.bounds)
    if 1 < lanes < drawn.lanes:
        said = f"{said} {lanes - 1} draws."
    return run_of(one.name, grounds, some, scores, first, given=said, flags=flags)


def _notes(grounds: Grounds, controllers: Sequence[Controller]) -> tuple[str, ...]:
    """Say what limits the replay as a whole."""
    said = []
    if grounds.site is not None:
        said.append(
            "The inventory bounds policies and scalers. What really happened and plans made in "
            "hindsight are not bound by it."
        )
        if any(one.is_soft for one in controllers):
            said.append(
                "A removed replica leaves its place in the inventory at once: soft scale-in "
                "(observationSeconds) is paid for here, but nothing is put back."
            )
    hours = grounds.censored.sum() * grounds.step_seconds / 3600.0
    if hours:
        said.append(
            f"In {hours:.3g} h the recording served less than was offered (censored): users may "
            "have asked less, or again; attainment is given without these minutes as well."
        )
    unknown = (~grounds.known).sum() * grounds.step_seconds / 60.0
    if unknown:
        said.append(f"Demand is not known in {unknown:.3g} min; nothing arrives in them.")
    for name, pool in grounds.whole.pools.items():
        if name in grounds.pools and pool.demand and pool.demand.source.startswith("served"):
            said.append(
                f"The demand of {name} is what was served ({pool.demand.source}): where the "
                "recording was saturated it was higher than replayed here."
            )
    return tuple(said)
