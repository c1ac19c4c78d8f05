"""What several services have in common, as the index shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signalstudy.evidence.pooling import pool_evidence
from signalstudy.report.present import table_of
from signalstudy.vocabulary.spoken import one_line, spoken_estimate, spoken_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalstudy.evidence.evidence import Evidence

SHOWN = ("demand_correlation", "demand_elasticity", "lag_seconds")


def pooled_table(evidence: Sequence[Evidence]) -> dict[str, list[Any]] | None:
    """Give mean and prediction interval of the telling measures; None where nothing is shared."""
    rows = [
        {
            "signal": one_line(f"{pooled.pool}.{pooled.signal}"),
            "measure": pooled.measure,
            "services": pooled.services,
            "mean": spoken_estimate(pooled.mean),
            "a further service": spoken_estimate(pooled.prediction),
            "I²": spoken_number(pooled.heterogeneity_ratio, digits=2),
        }
        for pooled in pool_evidence(evidence)
        if pooled.measure in SHOWN
    ]
    return table_of(rows) if rows else None
