"""Guards: latencies in tiers, the negative feedback beside proportional control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signalstudy.policy.rounding import significant
from signalstudy.policy.window import signal_window_seconds

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from signalstudy.policy.inputs import StudyFacts
    from signalstudy.ranking.ranking import RankedSignal, Ranking
    from signalstudy.vocabulary.objectives import Objective

TIERS = ((1.1, 0.1), (1.2, 0.2))
"""(times the limit, scale-out ratio): +10 % at a moderate breach, +20 % at a severe one.

HeteroScale's negative feedback, arXiv:2508.19559, Algorithm 3.
"""
QUANTILE_SIGNALS = ((0.50, "p50"), (0.90, "p90"), (0.95, "p95"), (0.99, "p99"))
"""The quantiles that have a canonical signal."""


def draft_guards(
    objectives: Sequence[Objective],
    ranking: Ranking,
    pools: Collection[str],
    promql: Mapping[str, str],
    study: StudyFacts,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Give one guard per objective whose latency is in the data, and what is to be said."""
    guards, notes = [], []
    for objective in objectives:
        name = guard_signal(objective)
        pool = responsible_pool(objective, pools)
        seen = _seen(ranking, name, pool)
        if seen is None:
            notes.append(
                f"No guard for {objective}: {name} is not in the data, so that a controller could "
                "not see it either."
            )
            continue
        query = promql.get(f"{pool}.{name}") or promql.get(f"{seen.pool}.{name}")
        guard = {
            "signal": name,
            "pool": pool,
            "windowSeconds": signal_window_seconds(query, study.step_seconds),
            "promql": query,
            "tiers": [
                {"above": significant(times * objective.at_most_seconds), "scaleOutRatio": ratio}
                for times, ratio in TIERS
            ],
        }
        guards.append({key: value for key, value in guard.items() if value is not None})
    return guards, notes


def guard_signal(objective: Objective) -> str:
    """Name the canonical latency nearest to the objective, on the strict side where it can be."""
    name = next(
        (name for quantile, name in QUANTILE_SIGNALS if quantile >= objective.quantile - 1e-9),
        QUANTILE_SIGNALS[-1][1],
    )
    return f"{objective.signal}_{name}_seconds"


def responsible_pool(objective: Objective, pools: Collection[str]) -> str:
    """Name the pool that a breach raises: prefill for TTFT, decode for TBT and end to end."""
    wanted = "prefill" if objective.signal == "ttft" else "decode"
    return next(pool for pool in (wanted, "unified", *sorted(pools)) if pool in pools)


def _seen(ranking: Ranking, name: str, pool: str) -> RankedSignal | None:
    """Find the latency in the data, best where it is measured on the pool or at the gateway."""
    found = {
        signal.pool: signal
        for signal in ranking.signals
        if signal.signal == name and signal.verdict != "unavailable"
    }
    order = [place for place in (pool, "gateway", *sorted(found)) if place in found]
    return found[order[0]] if order else None
