"""The study as plain values: what study.json and evidence.parquet hold."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signalstudy.evidence.pooling import agreement_of_days, agreement_of_services, pool_evidence
from signalstudy.study.regimes import summarise_regime

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from signalstudy.ranking.ranking import RankedSignal
    from signalstudy.study.study import ServiceStudy, Study
    from signalstudy.threshold.threshold import Threshold
    from signalstudy.vocabulary.estimate import Estimate

SCHEMA_VERSION = 1


@cache
def study_schema() -> dict[str, Any]:
    """Give the JSON Schema of study.json."""
    text = Path(__file__).with_name("study.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def summarise(study: Study) -> dict[str, Any]:
    """Give everything found, in the form of study.json (contract, section 5)."""
    evidence = [found.evidence for found in study.services.values()]
    return {
        "schema_version": SCHEMA_VERSION,
        "study": {
            "name": study.name,
            "start": study.start,
            "end": study.end,
            "step_seconds": study.step_seconds,
            "tool_version": study.tool_version,
            "seed": study.seed,
            "digest": study.digest,
        },
        "services": [summarise_service(service) for service in study.services.values()],
        "pooled": [
            {
                "pool": pooled.pool,
                "signal": pooled.signal,
                "measure": pooled.measure,
                "services": pooled.services,
                "mean": pooled.mean.as_dict(),
                "prediction": pooled.prediction.as_dict(),
                "heterogeneity_ratio": pooled.heterogeneity_ratio,
                "shrunk": pooled.shrunk,
            }
            for pooled in pool_evidence(evidence)
        ],
        "rank_agreement": _as_dicts(agreement_of_services(evidence)),
    }


def summarise_service(study: ServiceStudy) -> dict[str, Any]:
    """Give everything found for one service."""
    threshold, pd_ratio = study.threshold, study.pd_ratio
    return {
        "service": study.service,
        "summary": study.ranking.summary,
        "demand_source": {
            pool: source
            for pool, source in study.evidence.demand_source.items()
            if pool != "gateway"
        },
        "objectives": [
            {"signal": o.signal, "quantile": o.quantile, "at_most_seconds": o.at_most_seconds}
            for o in study.objectives
        ],
        "signals": [_signal(signal) for signal in study.ranking.signals],
        "rank_agreement": _as_dicts(agreement_of_days(study.evidence)),
        "regimes": [summarise_regime(regime) for regime in study.regimes],
        "threshold": _threshold(threshold),
        "pd_ratio": pd_ratio.ratio.as_dict()
        | {
            "band_low": pd_ratio.band_low,
            "band_high": pd_ratio.band_high,
            "token_mix": pd_ratio.token_mix,
            "token_mix_low": pd_ratio.token_mix_low,
            "token_mix_high": pd_ratio.token_mix_high,
            "moves_too_much": pd_ratio.moves_too_much,
            "mix_note": pd_ratio.note,
            "holds_to_mix": pd_ratio.holds_to_mix,
            "kept": pd_ratio.kept,
            "fixed_cost": None if pd_ratio.fixed_cost is None else pd_ratio.fixed_cost.as_dict(),
        },
        "policy": None if study.policy is None else f"policy/{study.policy.name}.yaml",
        "policy_note": study.policy_note,
        "data_quality": [
            {"check": row.check, "status": row.status, "note": row.note} for row in study.quality
        ],
    }


def _threshold(threshold: Threshold) -> dict[str, Any]:
    return {
        "signal": threshold.signal,
        "pool": threshold.pool,
        "per_replica": threshold.per_replica.as_dict(),
        "target": threshold.target.as_dict(),
        "binding": threshold.binding,
        "max_observed": threshold.max_observed,
        "headroom_ratio": threshold.headroom_ratio.as_dict(),
        "horizon_seconds": threshold.horizon_seconds.as_dict(),
        "tolerance_ratio": threshold.tolerance_ratio,
        "capacities": [
            {
                "pool": capacity.pool,
                "signal": capacity.signal,
                "per_replica": capacity.per_replica.as_dict(),
                "binding": capacity.binding,
                "max_observed": capacity.max_observed,
                "by_objective": {
                    name: estimate.as_dict() for name, estimate in capacity.by_objective.items()
                },
            }
            for capacity in threshold.capacities.values()
        ],
        "by_hardware": [one.as_dict() for one in threshold.by_hardware],
        "drifts": [one.as_dict() for one in threshold.drifts],
    }


def _as_dicts(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.as_dict() for name, estimate in estimates.items()}


def _signal(signal: RankedSignal) -> dict[str, Any]:
    return {
        "pool": signal.pool,
        "signal": signal.signal,
        "rank": signal.rank,
        "in_confidence_set": signal.in_confidence_set,
        "verdict": signal.verdict,
        "reason": signal.reason,
        "kind": signal.kind,
        "source": signal.source,
        "measures": {name: estimate.as_dict() for name, estimate in signal.measures.items()},
    }


def evidence_frame(study: Study) -> pl.DataFrame:
    """Give one row per service, pool, signal and measure (evidence.parquet)."""
    import polars as pl  # noqa: PLC0415 - the summary itself needs no tables

    rows = [
        {
            "service": service.service,
            "pool": signal.pool,
            "signal": signal.signal,
            "verdict": signal.verdict,
            "rank": signal.rank,
            "measure": name,
            **estimate.as_dict(),
        }
        for service in study.services.values()
        for signal in service.ranking.signals
        for name, estimate in signal.measures.items()
    ]
    texts = ("service", "pool", "signal", "verdict", "measure", "status", "note", "method")
    numbers = ("value", "low", "high", "effective_observations", "days")
    order = [
        "service", "pool", "signal", "verdict", "rank", "measure", "value", "low", "high",
        "status", "note", "effective_observations", "days", "method",
    ]  # fmt: skip
    types: dict[str, Any] = dict.fromkeys(texts, pl.String) | dict.fromkeys(numbers, pl.Float64)
    types["rank"] = pl.Int64
    return pl.DataFrame(rows, schema={name: types[name] for name in order})
