"""Evidence: what every measure says of every signal, and the arrays a measure may see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from signalstudy.vocabulary.spoken import spoken_estimate
from signalstudy.vocabulary.tables import html_table, text_table

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from signalstudy.timeline.timeline import SloCounts
    from signalstudy.vocabulary.estimate import Estimate

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SignalView:
    """What a measure sees of one signal. All arrays (n,) on one grid, NaN where not known.

    `signal`: as in SignalSeries. `demand`: offered work of the pool per second.
    `reference`: what the signal should be proportional to: demand for a total, demand per ready
    replica for an intensive signal (demand itself where replicas are not known).
    `replicas`: ready replicas. `centre_offset_seconds`: (centre of the signal's sample) minus
    (centre of the demand's sample) of the same step; a lag of k steps is k*step + this.
    `window_seconds`, `scrape_seconds`, `refresh_seconds`: see SignalSeries.
    `circular`: the sentence that says the signal is the demand itself, or "".
    `excluded_steps`: how many steps lie in [[exclude]] spans or before or after all known demand;
    signal or demand is NaN there.
    `slo_counts`: requests and how many of them were late, for each objective that this pool answers
    for. `scale_outs_seconds`: when the pool was given replicas. `horizon_seconds`: how long it
    takes until new capacity serves. `changes`: what is known to have changed, and when (seconds,
    what): a deploy, a version, the mix of lengths.
    """

    pool: str
    name: str
    kind: str
    time_seconds: Floats
    step_seconds: float
    signal: Floats
    demand: Floats
    reference: Floats
    replicas: Floats
    hit_ratio: Floats
    centre_offset_seconds: float = 0.0
    averaged_seconds: float = 0.0
    window_seconds: float = 0.0
    scrape_seconds: float = 0.0
    refresh_seconds: float = 0.0
    circular: str = ""
    seed: int = 0
    excluded_steps: int = 0
    slo_counts: tuple[SloCounts, ...] = ()
    scale_outs_seconds: tuple[float, ...] = ()
    horizon_seconds: float = 120.0
    changes: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SignalEvidence:
    """All measures of one signal.

    `block_losses` (blocks,): held-out loss per block of time when the replicas needed are
    predicted from this signal; blocks are the same for all signals of a pool, NaN where the signal
    has no data; None where it could not be judged. `changed_at_seconds`: when it began to answer
    demand otherwise, `changed_with` what was known to change then; None where it did not.
    """

    pool: str
    signal: str
    kind: str
    measures: dict[str, Estimate]
    block_losses: Floats | None = None
    source: str = ""
    changed_at_seconds: float | None = None
    changed_with: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Evidence:
    """Everything gathered for one service.

    `unavailable`: (pool, signal, sentence) for what the catalogue knows and the data do not hold;
    the sentence says what would provide it. `days`: length of the record.
    """

    service: str
    signals: tuple[SignalEvidence, ...]
    demand_source: dict[str, str] = field(default_factory=dict)
    unavailable: tuple[tuple[str, str, str], ...] = ()
    days: float = 0.0

    def frame(self) -> pl.DataFrame:
        """Give one row per pool, signal and measure: the form of evidence.parquet."""
        import polars as pl  # noqa: PLC0415 (the statistics floor stays light)

        rows = [
            {"service": self.service, "pool": signal.pool, "signal": signal.signal}
            | {"measure": measure}
            | estimate.as_dict()
            for signal in self.signals
            for measure, estimate in signal.measures.items()
        ]
        texts = dict.fromkeys(("service", "pool", "signal", "measure"), pl.String)
        numbers = dict.fromkeys(("value", "low", "high"), pl.Float64)
        rest = dict.fromkeys(("effective_observations", "days"), pl.Float64)
        said = dict.fromkeys(("status", "note"), pl.String)
        return pl.DataFrame(rows, schema=texts | numbers | said | rest | {"method": pl.String})

    def __repr__(self) -> str:
        """Give the first measures, in at most ten lines."""
        return text_table(*self._table(), title=f"Evidence of {self.service}")

    def _repr_html_(self) -> str:
        """Give all measures as a table for notebooks."""
        return html_table(*self._table(), title=f"Evidence of {self.service}")

    def _table(self) -> tuple[list[str], list[list[str]]]:
        rows = [
            [f"{signal.pool}.{signal.signal}", measure, spoken_estimate(estimate), estimate.note]
            for signal in self.signals
            for measure, estimate in signal.measures.items()
        ]
        return ["signal", "measure", "estimate", "note"], rows
