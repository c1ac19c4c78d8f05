"""The Ranking: signals in order, each with a verdict and the sentence behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from signalstudy.vocabulary.estimate import Estimate

Verdict = Literal["proportional", "guard", "rejected", "undetermined", "unavailable"]


@dataclass(frozen=True, slots=True)
class RankedSignal:
    """One line of a ranking. `rank` is None for signals that are unavailable."""

    pool: str
    signal: str
    rank: int | None
    in_confidence_set: bool
    verdict: Verdict
    reason: str
    measures: dict[str, Estimate]
    kind: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Ranking:
    """All signals of one service, best first."""

    service: str
    signals: tuple[RankedSignal, ...]
    summary: str
    """The verdict in one sentence: what to follow, or why nothing qualifies."""

    @property
    def best(self) -> RankedSignal | None:
        """The first signal that can drive proportional control, or None."""
        return next((s for s in self.signals if s.verdict == "proportional"), None)
