"""Study and ServiceStudy: all that was found, the one thing that renderers read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from signalstudy.evidence.evidence import Evidence
    from signalstudy.policy.policy import Policy
    from signalstudy.ranking.ranking import Ranking
    from signalstudy.threshold.threshold import PdRatio, Threshold
    from signalstudy.timeline.points import OperatingPoints
    from signalstudy.timeline.timeline import QualityCheck, Timeline
    from signalstudy.vocabulary.objectives import Objective


@dataclass(frozen=True, slots=True)
class ServiceStudy:
    """All stages of one service.

    `timeline` is what evidence was gathered on, None where there were operating points only;
    `pressure_test` a second timeline for the threshold. `policy` is None where none can be
    drafted; `policy_note` is the sentence that says why.
    """

    service: str
    slug: str
    timeline: Timeline | None
    pressure_test: Timeline | None
    points: OperatingPoints | None
    objectives: tuple[Objective, ...]
    evidence: Evidence
    ranking: Ranking
    threshold: Threshold
    pd_ratio: PdRatio
    policy: Policy | None
    policy_note: str
    quality: tuple[QualityCheck, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """All services of one study. `start`, `end` are ISO 8601 UTC; `provenance` is for people."""

    name: str
    start: str
    end: str
    step_seconds: float
    seed: int
    tool_version: str
    digest: str
    services: dict[str, ServiceStudy]
    provenance: dict[str, Any] = field(default_factory=dict)
