"""The Replay: what each policy and rival would have cost, and how many requests it had kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from signalstudy.vocabulary.spoken import spoken_estimate
from signalstudy.vocabulary.tables import html_table, text_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from signalstudy.replay.candidates import Standing
    from signalstudy.replay.moments import Moment
    from signalstudy.vocabulary.estimate import Estimate

    Floats = NDArray[np.float64]

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class PoolRun:
    """One pool over the replayed span, arrays (n,), for drawing.

    `asked_replicas`: running or starting; `ready_replicas`: serving. `offered_per_second`: work
    that reached the pool, `capacity_per_second`: what its ready replicas bear, in the pool's work.
    `wait_seconds`: how long the work that waits at the end of the step has to wait.
    """

    pool: str
    asked_replicas: Floats
    ready_replicas: Floats
    offered_per_second: Floats
    capacity_per_second: Floats
    wait_seconds: Floats


@dataclass(frozen=True, slots=True)
class Placement:
    """How decisions found places in an inventory.

    `unplaced_replica_hours`: replicas wanted without a place, over time. `fragmentation_ratio`:
    mean share of free GPUs that no further group could use. `refused_decisions`: not, or not all,
    done.
    """

    unplaced_replica_hours: Estimate
    fragmentation_ratio: Estimate
    refused_decisions: Estimate


@dataclass(frozen=True, slots=True)
class Run:
    """One policy, rival, or what really happened ("recorded").

    `gpu_hours` run from the decision to the removal of a replica. `slo_attainment_ratio`: share of
    offered work within every objective's limit. `uncensored_attainment_ratio`: the same without
    the steps in which the recording served less than was offered. `minutes_over_capacity`: time in
    which work waited or was more than the ready replicas bear. `pd_imbalance_ratio`: mean
    difference between how full the two pools are.
    `given`: what a rival was given or found. `flags`: sentences about what went wrong.
    `late_ratio` (n,): share of each step's requests that miss. `worst_moments`: the worst first.
    `placement`: None where no inventory bounds the run. `uncensored_gpu_hours`: of running and
    starting replicas in the steps of `uncensored_attainment_ratio`.
    """

    name: str
    gpu_hours: Estimate
    slo_attainment_ratio: Estimate
    uncensored_attainment_ratio: Estimate
    minutes_over_capacity: Estimate
    scale_events: Estimate
    pd_imbalance_ratio: Estimate
    replica_seconds: dict[str, float]
    given: str = ""
    flags: tuple[str, ...] = ()
    pools: dict[str, PoolRun] = field(default_factory=dict, repr=False)
    late_ratio: Floats | None = field(default=None, repr=False)
    worst_moments: tuple[Moment, ...] = ()
    placement: Placement | None = None
    uncensored_gpu_hours: Estimate | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give the form of `signalstudy replay --format json`."""
        events = self.scale_events
        return {
            "name": self.name,
            "gpu_hours": self.gpu_hours.as_dict(),
            "slo_attainment_ratio": self.slo_attainment_ratio.as_dict(),
            "uncensored_attainment_ratio": self.uncensored_attainment_ratio.as_dict(),
            "uncensored_gpu_hours": None
            if self.uncensored_gpu_hours is None
            else self.uncensored_gpu_hours.as_dict(),
            "minutes_over_capacity": self.minutes_over_capacity.as_dict(),
            "scale_events": None if events.value is None else round(events.value),
            "scale_events_interval": [events.low, events.high],
            "pd_imbalance_ratio": self.pd_imbalance_ratio.as_dict(),
            "replica_seconds": self.replica_seconds,
            "given": self.given,
            "flags": list(self.flags),
            "worst_moments": [moment.as_dict() for moment in self.worst_moments],
            "placement": None
            if self.placement is None
            else {
                name: getattr(self.placement, name).as_dict()
                for name in self.placement.__dataclass_fields__
            },
        }


@dataclass(frozen=True, slots=True, repr=False)
class Replay:
    """All runs over the same demand.

    `start`, `end`: ISO 8601 UTC. `asked_attainment`: what rivals that are chosen in hindsight were
    asked to reach. `notes`: what holds for every run. `standings`: candidates by study and replay.
    """

    service: str
    engine: str
    start: str
    end: str
    requests: float | None
    step_seconds: float
    seed: int
    draws: int
    asked_attainment: float
    runs: tuple[Run, ...]
    notes: tuple[str, ...] = ()
    time_seconds: Floats | None = field(default=None, repr=False)
    standings: tuple[Standing, ...] = ()

    @property
    def is_censored(self) -> bool:
        """Whether the recording served less than was offered in some of the steps."""
        return any("(censored)" in note for note in self.notes)

    def as_dict(self) -> dict[str, Any]:
        """Give the form of `signalstudy replay --format json` (contract, section 5)."""
        return {
            "schema_version": SCHEMA_VERSION,
            "service": self.service,
            "engine": self.engine,
            "trace": {
                "requests": None if self.requests is None else round(self.requests),
                "start": self.start,
                "end": self.end,
                "step_seconds": self.step_seconds,
            },
            "seed": self.seed,
            "draws": self.draws,
            "asked_attainment": self.asked_attainment,
            "notes": list(self.notes),
            "runs": [run.as_dict() for run in self.runs],
            "candidates": [standing.as_dict() for standing in self.standings],
        }

    def rows(self) -> list[dict[str, Any]]:
        """Give one row a run, for tables."""
        ranks = {one.run: one for one in self.standings}
        bounded = any(run.placement is not None for run in self.runs)
        return [
            {
                "run": run.name,
                **({} if not ranks else _ranks(ranks.get(run.name))),
                "gpu_hours": run.gpu_hours.value,
                "gpu_hours_low": run.gpu_hours.low,
                "gpu_hours_high": run.gpu_hours.high,
                "attainment": run.slo_attainment_ratio.value,
                "attainment_low": run.slo_attainment_ratio.low,
                "attainment_high": run.slo_attainment_ratio.high,
                **(_uncensored(run) if self.is_censored else {}),
                "minutes_over": run.minutes_over_capacity.value,
                "scale_events": run.scale_events.value,
                "pd_imbalance": run.pd_imbalance_ratio.value,
                **({} if not bounded else _placed(run.placement)),
                "remarks": " ".join([run.given, *run.flags]).strip(),
            }
            for run in self.runs
        ]

    def __repr__(self) -> str:
        """Give the runs as a table."""
        return text_table(*self._table(), title=self._title())

    def _repr_html_(self) -> str:
        """Give the runs as a table for notebooks."""
        return html_table(*self._table(), title=self._title())

    def _title(self) -> str:
        return f"{self.service}, {self.engine} replay, {self.start} to {self.end}"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        columns = ["run", "GPU-hours", "attainment", "minutes over", "scale events", "remarks"]
        rows = [
            [
                run.name,
                spoken_estimate(run.gpu_hours),
                spoken_estimate(run.slo_attainment_ratio),
                spoken_estimate(run.minutes_over_capacity),
                spoken_estimate(run.scale_events),
                " ".join([run.given, *run.flags]).strip(),
            ]
            for run in self.runs
        ]
        return columns, rows


def _ranks(standing: Standing | None) -> dict[str, Any]:
    return {
        "study_rank": None if standing is None else standing.study_rank,
        "replay_rank": None if standing is None else standing.replay_rank,
    }


def _uncensored(run: Run) -> dict[str, Any]:
    hours = run.uncensored_gpu_hours
    return {
        "gpu_hours_uncensored": None if hours is None else hours.value,
        "attainment_uncensored": run.uncensored_attainment_ratio.value,
    }


def _placed(placement: Placement | None) -> dict[str, Any]:
    return {
        "unplaced_hours": None if placement is None else placement.unplaced_replica_hours.value,
        "fragmentation": None if placement is None else placement.fragmentation_ratio.value,
    }


def replays_json(replays: Sequence[Replay]) -> str:
    """Give one replay as a JSON object, several services as a list of them."""
    documents = [replay.as_dict() for replay in replays]
    return (
        json.dumps(documents[0] if len(documents) == 1 else documents, indent=1, allow_nan=False)
        + "\n"
    )
