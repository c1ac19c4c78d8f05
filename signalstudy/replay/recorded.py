"""Recorded replay: a study's demand drives policies and rivals, each in its own closed loop."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.policy.policy import Policy
from signalstudy.replay.clairvoyant import clairvoyant, fixed_peak
from signalstudy.replay.controller import policy_controller
from signalstudy.replay.draws import draw
from signalstudy.replay.flags import flags_of
from signalstudy.replay.grounds import iso, lay_grounds
from signalstudy.replay.heteroscale import heteroscale
from signalstudy.replay.history import recorded_run, start_replicas
from signalstudy.replay.lanes import run_lanes
from signalstudy.replay.manifests import KINDS, contenders
from signalstudy.replay.own_manifest import is_manifest, manifest_controller
from signalstudy.replay.replay import Replay
from signalstudy.replay.score import run_of, score_all
from signalstudy.vocabulary.errors import ConfigurationError, NotEnoughDataError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from signalstudy.replay.controller import Controller
    from signalstudy.replay.draws import Draws
    from signalstudy.replay.grounds import Grounds, Studied
    from signalstudy.replay.replay import Run

DRAWS = 100
ENGINES = ("recorded",)
LATER_ENGINES = ("dynamo",)
IN_HINDSIGHT = {"fixed-peak": fixed_peak, "clairvoyant": clairvoyant}
RIVALS = (*IN_HINDSIGHT, *KINDS, "heteroscale")
LATER_RIVALS = ("dynamo-load",)
TRAINING_SHARE = 0.5
"""The part of the span on which a rival's target is chosen."""


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
    progress: Callable[[str], None] = lambda _: None,
) -> Replay:
    """Replay policies on one service of a study (`study.services[...]`), against rivals.

    `against`: names of RIVALS, manifest files (HPA, KEDA, AIBrix, Kthena), or "all". `span`: Unix
    seconds, None for the ends of the recording. `draws`: how often what is not known exactly is
    drawn, 0 for the estimates alone. `attainment`: what the rivals chosen in hindsight are asked
    for; default: the loosest objective's quantile.
    `startup_seconds`, `gpus_per_replica`: where neither the recording nor its policy says.
    """
    rivals = check_names(engine, against)
    if draws < 0:
        raise ConfigurationError(f"draws is {draws}; it must be 0 or more.")
    grounds = lay_grounds(
        on, span=span, startup_seconds=startup_seconds, gpus_per_replica=gpus_per_replica
    )
    given = [policies] if isinstance(policies, Policy) else list(policies)
    drawn = draw(grounds, draws, seed)
    start = start_replicas(grounds)
    asked = grounds.asked_attainment if attainment is None else attainment
    controllers = [
        policy_controller(policy, grounds, name)
        for policy, name in zip(given, _names(given), strict=True)
    ]
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
            if "all" not in against:
                raise
            left_out.append(str(error))
    return Replay(
        service=grounds.service,
        engine=engine,
        start=iso(grounds.time_seconds[0] - grounds.step_seconds),
        end=iso(grounds.time_seconds[-1]),
        requests=grounds.requests,
        step_seconds=grounds.step_seconds,
        seed=seed,
        draws=draws,
        asked_attainment=asked,
        runs=tuple(runs),
        notes=(*grounds.notes, *_notes(grounds), *left_out),
        time_seconds=grounds.time_seconds,
    )


def check_names(engine: str, against: Sequence[str]) -> list[str]:
    """Give the rivals asked for in order; errors name what is not there or not yet built."""
    if engine in LATER_ENGINES:
        raise ConfigurationError(
            f"--engine {engine}: this engine is not yet built. Built: {', '.join(ENGINES)}."
        )
    if engine not in ENGINES:
        raise unknown_name("--engine", "engine", engine, ENGINES)
    asked = [name for one in against for name in (RIVALS if one == "all" else (one,))]
    names = tuple(dict.fromkeys(asked))
    for name in names:
        if is_manifest(name):
            continue
        if name in LATER_RIVALS:
            raise ConfigurationError(
                f"--against {name}: this rival is not yet built. Built: {', '.join(RIVALS)}."
            )
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
    """Run a rival with the target that suits it best on the first half of the span."""
    if name in IN_HINDSIGHT:
        return IN_HINDSIGHT[name](grounds, drawn, asked)
    if name == "heteroscale":
        controller, said = heteroscale(grounds)
        return replace(_run(controller, grounds, drawn, start), given=said)
    estimate = drawn.part(slice(0, 1))
    if is_manifest(name):
        controller, said = manifest_controller(name, grounds)
        return replace(_run(controller, grounds, estimate, start), given=said)
    training = grounds.until(max(int(TRAINING_SHARE * grounds.time_seconds.size), 1))

    def worth(controller: Controller) -> tuple[bool, float]:
        found = _run(controller, training, estimate, start)
        kept, cost = found.slo_attainment_ratio.value or 0.0, found.gpu_hours.value or 0.0
        return kept < asked, -kept if kept < asked else cost

    tried = [worth(controller) for controller, _ in contenders(name, grounds)]
    # Asked for anew: those that were tried remember what they did.
    controller, said = contenders(name, grounds)[tried.index(min(tried))]
    given = f"{said}, chosen of {len(tried)} on the first half; estimates alone, no draws."
    return replace(_run(controller, grounds, estimate, start), given=given)


def _run(controller: Controller, grounds: Grounds, drawn: Draws, start: Mapping[str, float]) -> Run:
    """Run one controller over all lanes, so many at a time as fit into memory."""
    held = {
        name: float(np.clip(replicas, *controller.bounds.get(name, (0, np.inf))))
        for name, replicas in start.items()
    }
    drains = {
        name: max(controller.observation_seconds.get(name, 0.0), pool.residence_seconds)
        for name, pool in grounds.pools.items()
    }
    scores, first = score_all(
        grounds, drawn, lambda part: run_lanes(controller, grounds, part, held), drains
    )
    flags = flags_of(grounds, drawn, first, controller.bounds)
    return run_of(controller.name, grounds, drawn, scores, first, flags=flags)


def _notes(grounds: Grounds) -> tuple[str, ...]:
    """Say what limits the replay as a whole."""
    said = []
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
