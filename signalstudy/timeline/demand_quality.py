"""data_quality of demand: which source told it, and for how much of the record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.timeline.timeline import QualityCheck

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.timeline.timeline import PoolTimeline

    Floats = NDArray[np.float64]

LEAST_SPAN_OF_DEMAND = 0.8
SPOKEN_SOURCES = {
    "requests": "the request log",
    "gateway_tokens": "the gateway's arrivals and tokens",
    "gateway_arrivals": "arrivals at the gateway",
    "engine_arrivals": "the engines' own counts",
    "offered_requests": "offered requests, whatever their length",
    "served_other_pool": "the work that the other pool served",
    "served_own": "the work that the pool itself served",
}


def check_demand(pools: dict[str, PoolTimeline], time_seconds: Floats) -> list[QualityCheck]:
    """Give a row a pool: where its demand is from, what that is worth, and when it is known."""
    rows = []
    for pool in pools.values():
        if pool.pool == "gateway":
            continue
        if pool.demand is None:
            rows.append(
                QualityCheck(
                    f"demand of {pool.pool}",
                    "failed",
                    "nothing in the data tells it: add a request log, gateway arrivals, or the "
                    "engine's token counters",
                )
            )
            continue
        note = f"from {SPOKEN_SOURCES.get(pool.demand.source, pool.demand.source)}"
        note += f" ({pool.demand.note})" if pool.demand.note else ""
        status: str = "ok"
        if pool.demand.source == "served_own":
            status = "warning"
            note += (
                ". Served work cannot exceed capacity and is the signal itself: a request log or "
                "gateway arrivals would tell what was offered"
            )
        elif pool.demand.source == "served_other_pool":
            status = "note"
            note += ". Work that was served, not offered: where a pool saturates it says too little"
        elif pool.demand.note:
            status = "note"
        if (told := _told_span(pool.demand.per_second, time_seconds)) is not None:
            status = "warning"
            note += told
        rows.append(QualityCheck(f"demand of {pool.pool}", status, note))  # type: ignore[arg-type]
    return rows


def _told_span(demand: Floats, time_seconds: Floats) -> str | None:
    """Say from when to when demand is known, where that is much less than the record."""
    known = time_seconds[np.isfinite(demand)]
    share = (known[-1] - known[0]) / (time_seconds[-1] - time_seconds[0]) if known.size > 1 else 1.0
    if share >= LEAST_SPAN_OF_DEMAND:
        return None
    first, last = (datetime.fromtimestamp(at, UTC).strftime("%F %T") for at in known[[0, -1]])
    return f". Known from {first} to {last} only ({share:.0%} of the record), and judged only there"
