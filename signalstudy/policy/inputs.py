"""What drafting needs beyond threshold and ranking: facts of the study, the fleet and the user."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from signalstudy.policy.window import SHORTEST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalstudy.threshold.rhythm import Rhythm
    from signalstudy.vocabulary.estimate import Estimate


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """Where the numbers come from.

    `start`, `end`, `generated_at` are ISO 8601 UTC; `fingerprint` names the content of the sources.
    `signal_window_seconds`: over how long the driving signal is averaged, where no query says.
    """

    fingerprint: str
    start: str
    end: str
    generated_at: str
    tool_version: str
    step_seconds: float
    valid_days: int = 30
    study_name: str = ""
    signal_window_seconds: float = SHORTEST_SECONDS


@dataclass(frozen=True, slots=True)
class TargetRef:
    """The Kubernetes object to scale, as the user names it."""

    kind: str
    name: str
    api_version: str = "apps/v1"
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class PoolInput:
    """One pool: what the user says of it (None: nothing) and what the data show.

    `replayed_min_replicas`: the floor that a replay found better than more room at all sizes.
    `peak_demand_per_second`: the largest sustained work per second, in the unit of the pool's own
    signal. `peak_replicas_by_work`: what the same peak asks for by the pool's own work, where the
    signal is none that adds up. `recovery_seconds`: 90 % quantile of the time until demand is back
    at an earlier peak. `rhythm`: what the clock tells of its demand.
    """

    pool: str
    min_replicas: int | None = None
    max_replicas: int | None = None
    target_ref: TargetRef | None = None
    replayed_min_replicas: int | None = None
    observed_min_replicas: float | None = None
    observed_max_replicas: float | None = None
    peak_demand_per_second: float | None = None
    peak_replicas_by_work: Estimate | None = None
    recovery_seconds: Estimate | None = None
    rhythm: Rhythm | None = None


@dataclass(frozen=True, slots=True)
class ProvisioningInput:
    """How long a replica takes to serve, and what it is made of; by pool, absent where not known.

    `startup_seconds`: the 95 % quantile from the decision to the first token served.
    """

    startup_seconds: Mapping[str, Estimate] = field(default_factory=dict)
    gpus_per_replica: Mapping[str, int] = field(default_factory=dict)
