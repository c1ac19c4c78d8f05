"""The Ranking: signals in order, each with a verdict and the sentence behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from signalstudy.vocabulary.spoken import spoken_estimate
from signalstudy.vocabulary.tables import html_table, text_table

if TYPE_CHECKING:
    import polars as pl

    from signalstudy.vocabulary.estimate import Estimate

Verdict = Literal["proportional", "guard", "rejected", "undetermined", "unavailable"]

_SHOWN_MEASURES = {
    "correlation": "demand_correlation",
    "elasticity": "demand_elasticity",
    "lag_seconds": "lag_seconds",
}
"""What a table of a ranking shows of each signal: column name -> measure."""


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


@dataclass(frozen=True, slots=True, repr=False)
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

    def frame(self) -> pl.DataFrame:
        """Give one row per signal; a column of the name of each measure holds its value."""
        import polars as pl  # noqa: PLC0415 (the noun stays light)

        measures = sorted({name for signal in self.signals for name in signal.measures})
        said = (
            "pool",
            "signal",
            "rank",
            "in_confidence_set",
            "verdict",
            "reason",
            "kind",
            "source",
        )
        rows: list[dict[str, object]] = [
            {"service": self.service}
            | {name: getattr(signal, name) for name in said}
            | {name: _value(signal, name) for name in measures}
            for signal in self.signals
        ]
        kinds = dict.fromkeys(("service", "pool", "signal"), pl.String) | {
            "rank": pl.Int64,
            "in_confidence_set": pl.Boolean,
        }
        texts = dict.fromkeys(("verdict", "reason", "kind", "source"), pl.String)
        return pl.DataFrame(rows, schema=kinds | texts | dict.fromkeys(measures, pl.Float64))

    def __repr__(self) -> str:
        """Give the verdict and the first signals, in at most ten lines."""
        return text_table(*self._table(), title=f"{self.service}: {self.summary}")

    def _repr_html_(self) -> str:
        """Give all signals that the data hold, as a table for notebooks."""
        columns, rows = self._table(with_reason=True)
        return html_table(columns, rows, title=f"{self.service}: {self.summary}")

    def _table(self, *, with_reason: bool = False) -> tuple[list[str], list[list[str]]]:
        columns = ["rank", "signal", "verdict", *_SHOWN_MEASURES]
        rows = [
            [
                str(signal.rank),
                f"{signal.pool}.{signal.signal}",
                signal.verdict,
                *(spoken_estimate(signal.measures.get(name)) for name in _SHOWN_MEASURES.values()),
                *([signal.reason] if with_reason else []),
            ]
            for signal in self.signals
            if signal.verdict != "unavailable"
        ]
        return columns + (["reason"] if with_reason else []), rows


def _value(signal: RankedSignal, measure: str) -> float | None:
    estimate = signal.measures.get(measure)
    return None if estimate is None else estimate.value
