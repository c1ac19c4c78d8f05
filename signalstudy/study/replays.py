"""Replays of a whole study: each policy on the service it is for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from signalstudy.config import read_config
from signalstudy.policy.read import read_policy
from signalstudy.replay.engine.replay import check_files
from signalstudy.replay.grounds import WORKING_POOLS
from signalstudy.replay.inventory import read_inventory
from signalstudy.replay.recorded import DRAWS, check_names, replay_policy
from signalstudy.replay.replay import replays_json
from signalstudy.study.candidates import replay_candidates
from signalstudy.study.run import default_folder, run_study
from signalstudy.vocabulary.errors import ConfigurationError, unknown_name
from signalstudy.vocabulary.rows import render_rows
from signalstudy.vocabulary.spoken import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from signalstudy.policy.policy import Policy
    from signalstudy.replay.replay import Replay
    from signalstudy.study.study import Study

HIDDEN_IN_TABLES = ("remarks",)
"""They stand below a table, where there is room for sentences."""


def replay_files(
    paths: Sequence[Path],
    on: Path,
    *,
    out: Path | None = None,
    service: str | None = None,
    engine: str = "recorded",
    against: str = "",
    since: str | None = None,
    until: str | None = None,
    draws: int = DRAWS,
    attainment: float | None = None,
    candidates: bool = False,
    inventory: Path | None = None,
    trace: Path | None = None,
    profile: str | Path | None = None,
    scale: float = 1.0,
    jobs: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Replay]:
    """Replay policy files on the study that `on` describes, one Replay a service.

    A policy is replayed on the service it names; a lone service takes any policy. `against`: rivals
    or manifest files, with commas between. `since`, `until`: ISO 8601, UTC where they do not say.
    `candidates`: a policy for every usable signal of every service as well. `inventory`: a file of
    GPUs and switches.
    """
    if not paths and not candidates:
        raise ConfigurationError("Nothing to replay: name a policy file, or say --candidates.")
    rivals = [name.strip() for name in against.split(",") if name.strip()]
    # before the study is run
    check_names(engine, rivals)
    if engine == "dynamo":
        check_files(trace, profile)
    if inventory is not None:
        read_inventory(inventory)
    span = (_seconds("--from", since), _seconds("--to", until))
    policies = [read_policy(path) for path in paths]
    study = run_study(on, out=out, service=service, progress=progress)
    provisioning = read_config(on).provisioning
    gpus = {pool: number for pool in WORKING_POOLS if (number := provisioning.gpus_of(pool))}
    options: dict[str, Any] = {
        "engine": engine,
        "against": rivals,
        "span": span,
        "draws": draws,
        "seed": study.seed,
        "attainment": attainment,
        "startup_seconds": provisioning.startup_seconds,
        "gpus_per_replica": gpus,
        "inventory": inventory,
        "trace": trace,
        "profile": profile,
        "scale": scale,
        "jobs": jobs,
        "progress": progress,
    }
    given = _by_service(study, policies)
    if candidates:
        return [
            replay_candidates(one, policies=given.get(name, ()), **options)
            for name, one in study.services.items()
        ]
    return [replay_policy(mine, study.services[name], **options) for name, mine in given.items()]


def replay_folder(on: Path, out: Path | None) -> Path:
    """Say where a replay is written: beside the study that it is of."""
    return default_folder(read_config(on)) if out is None else out


def printed(replays: Sequence[Replay], form: str, *, width: int) -> str:
    """Give replays as `table`, `json` (one service: an object, several: a list) or `csv`."""
    if form == "json":
        return replays_json(replays)
    if form == "csv":
        rows = [{"service": replay.service} | row for replay in replays for row in replay.rows()]
        return render_rows(rows, "csv")
    return "\n".join(_text(replay, width) for replay in replays)


def _text(replay: Replay, width: int) -> str:
    """Give the runs of a service as a table, and below it what is to be said of them."""
    rows = [
        {name: value for name, value in row.items() if name not in HIDDEN_IN_TABLES}
        for row in replay.rows()
    ]
    lines = [f"{one_line(replay.service)}, {replay.start} to {replay.end}"]
    lines.append(render_rows(rows, "table", width=width).rstrip())
    for run in replay.runs:
        lines += [f"  {one_line(run.name)}: {said}" for said in (run.given, *run.flags) if said]
    lines += [f"  {one_line(one.run)}: {one_line(one.finding)}"
              for one in replay.standings if one.finding]  # fmt: skip
    lines += [
        f"  {one_line(run.name)} at worst: {one_line(run.worst_moments[0].sentence())}"
        for run in replay.runs
        if run.worst_moments and not (run.given or replay.standings)
    ]
    lines += [f"  note: {one_line(note)}" for note in replay.notes]
    return "\n".join(lines) + "\n"


def _by_service(study: Study, policies: Sequence[Policy]) -> dict[str, list[Policy]]:
    found: dict[str, list[Policy]] = {}
    for policy in policies:
        service = str(policy.document["metadata"]["service"])
        if service not in study.services:
            if len(study.services) != 1:
                raise unknown_name(policy.name, "service", service, study.services)
            service = next(iter(study.services))
        found.setdefault(service, []).append(policy)
    return found


def _seconds(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{option} {text!r} is no time. Write 2026-01-05T00:00:00Z."
        ) from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
