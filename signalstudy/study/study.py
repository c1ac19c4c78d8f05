"""Study and ServiceStudy: all that was found, the one thing that renderers read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from signalstudy.vocabulary.spoken import spoken_estimate
from signalstudy.vocabulary.tables import html_table, text_table

if TYPE_CHECKING:
    import polars as pl

    from signalstudy.evidence.evidence import Evidence
    from signalstudy.policy.policy import Policy
    from signalstudy.ranking.ranking import Ranking
    from signalstudy.study.regimes import Regime
    from signalstudy.threshold.threshold import PdRatio, Threshold
    from signalstudy.timeline.points import OperatingPoints
    from signalstudy.timeline.timeline import QualityCheck, Timeline
    from signalstudy.vocabulary.objectives import Objective


@dataclass(frozen=True, slots=True, repr=False)
class ServiceStudy:
    """All stages of one service.

    `timeline` is what evidence was gathered on, None where there were operating points only;
    `pressure_test` a second timeline for the threshold. `policy` is None where none can be
    drafted; `policy_note` is the sentence that says why.
    `regimes`: the parts of the record, where signals changed their answer to demand in it.
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
    regimes: tuple[Regime, ...] = ()

    def __repr__(self) -> str:
        """Give the verdict in one line."""
        return f"{self.service}: {self.ranking.summary}"

    def _repr_html_(self) -> str:
        """Give the ranking, the threshold and the P/D ratio as tables for notebooks."""
        nouns = (self.ranking, self.threshold, self.pd_ratio)
        return "".join(noun._repr_html_() for noun in nouns)


@dataclass(frozen=True, slots=True, repr=False)
class StudyRanking:
    """The rankings of all services, one under the other."""

    rankings: tuple[Ranking, ...]

    def frame(self) -> pl.DataFrame:
        """Give one row per service and signal."""
        import polars as pl  # noqa: PLC0415 - the noun stays light

        return pl.concat([ranking.frame() for ranking in self.rankings], how="diagonal")

    def __repr__(self) -> str:
        """Give the verdict on each service, in at most ten lines."""
        rows = [[ranking.service, ranking.summary] for ranking in self.rankings]
        return text_table(["service", "verdict"], rows)

    def _repr_html_(self) -> str:
        """Give every service's ranking as a table for notebooks."""
        return "".join(r._repr_html_() for r in self.rankings)


@dataclass(frozen=True, slots=True, repr=False)
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

    @property
    def ranking(self) -> StudyRanking:
        """The signals of all services."""
        return StudyRanking(tuple(service.ranking for service in self.services.values()))

    def __repr__(self) -> str:
        """Give what to follow and at what value, a line a service, in at most ten lines."""
        return text_table(*self._table(), title=self._title())

    def _repr_html_(self) -> str:
        """Give the same as a table for notebooks."""
        return html_table(*self._table(), title=self._title())

    def _title(self) -> str:
        span = f", {self.start} to {self.end}" if self.start else ""
        return f"Study {self.name}{span}, signalstudy {self.tool_version}"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        rows = []
        for service in self.services.values():
            best, threshold = service.ranking.best, service.threshold
            rows.append(
                [
                    service.service,
                    "nothing qualifies" if best is None else f"{best.pool}.{best.signal}",
                    f"{spoken_estimate(threshold.target)} ({threshold.target.status})",
                    "no policy" if service.policy is None else f"policy/{service.policy.name}.yaml",
                ]
            )
        return ["service", "follow", "target per replica", "policy"], rows
