"""Two studies to draft policies from: a disaggregated chat service and a unified one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from signalstudy.policy.draft import draft_policy
from signalstudy.policy.inputs import PoolInput, ProvisioningInput, StudyFacts, TargetRef
from signalstudy.ranking.ranking import RankedSignal, Ranking
from signalstudy.threshold.threshold import Capacity, PdRatio, Threshold
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified
from signalstudy.vocabulary.objectives import Objective

if TYPE_CHECKING:
    from signalstudy.policy.policy import Policy

STUDY = StudyFacts(
    fingerprint="5e1f00d5",
    start="2026-01-05T00:00:00Z",
    end="2026-01-12T00:00:00Z",
    generated_at="2026-01-12T08:30:00Z",
    tool_version="0.1.0",
    step_seconds=15.0,
    study_name="chat",
)
DECODE_QUERY = "sum(rate(vllm:generation_tokens_total[1m]))"


@dataclass(frozen=True)
class Drafting:
    """Everything draft_policy takes; `replace` one part to plant a case."""

    threshold: Threshold
    pd_ratio: PdRatio
    ranking: Ranking
    pool_inputs: dict[str, PoolInput]
    objectives: tuple[Objective, ...]
    service: str = "chat"
    name: str = "chat"
    provisioning: ProvisioningInput = field(default_factory=ProvisioningInput)
    study: StudyFacts = STUDY
    promql: dict[str, str] = field(default_factory=dict)

    def but(self, **changes: Any) -> Drafting:
        return replace(self, **changes)

    def draft(self) -> Policy:
        return draft_policy(
            service=self.service,
            name=self.name,
            threshold=self.threshold,
            pd_ratio=self.pd_ratio,
            ranking=self.ranking,
            objectives=self.objectives,
            provisioning=self.provisioning,
            pool_inputs=self.pool_inputs,
            study=self.study,
            promql=self.promql,
        )


def ranked(pool: str, signal: str, verdict: str, kind: str = "total", **more: Any) -> RankedSignal:
    return RankedSignal(
        pool=pool,
        signal=signal,
        rank=None if verdict == "unavailable" else 1,
        in_confidence_set=verdict == "proportional",
        verdict=verdict,
        reason=more.pop("reason", f"{signal} is {verdict}."),
        measures=more.pop("measures", {}),
        kind=kind,
    )


def known(value: float, low: float, high: float, **more: Any) -> Estimate:
    return Estimate(value, low, high, effective_observations=140.0, days=7.0, **more)


@pytest.fixture
def disaggregated() -> Drafting:
    lag = {"seen_lag_seconds": known(20.0, 12.0, 28.0, method="block bootstrap")}
    decode = known(2310.0, 2240.0, 2390.0, method="isotonic, blocks of a day")
    prefill = known(4100.0, 3900.0, 4300.0, method="isotonic, blocks of a day")
    return Drafting(
        threshold=Threshold(
            signal="decode_tokens_per_second",
            pool="decode",
            per_replica=decode,
            target=known(1890.0, 1800.0, 1960.0, method="lower bound / (R (1 + tol))"),
            binding="tbt",
            max_observed=2600.0,
            headroom_ratio=known(1.08, 1.05, 1.12, method="replay"),
            horizon_seconds=Estimate(180.0, method="seen lag + start-up + evaluation period"),
            tolerance_ratio=0.1,
            capacities={
                "decode": Capacity("decode", "decode_tokens_per_second", decode, "tbt", 2600.0),
                "prefill": Capacity(
                    "prefill", "prefill_uncached_tokens_per_second", prefill, "ttft", 4700.0
                ),
            },
            pool_targets={
                "decode": known(1890.0, 1800.0, 1960.0, method="lower bound / (R (1 + tol))"),
                "prefill": known(3100.0, 2950.0, 3300.0, method="lower bound / (R (1 + tol))"),
            },
        ),
        pd_ratio=PdRatio(
            ratio=known(1.29, 1.24, 1.35, method="both capacities and the token mix"),
            band_low=1.2,
            band_high=1.4,
            token_mix=2.3,
            token_mix_low=2.1,
            token_mix_high=2.5,
        ),
        ranking=Ranking(
            "chat",
            (
                ranked("decode", "decode_tokens_per_second", "proportional", measures=lag),
                ranked("prefill", "prefill_uncached_tokens_per_second", "proportional"),
                ranked("decode", "tbt_p99_seconds", "guard", "intensive"),
                ranked("gateway", "ttft_p99_seconds", "guard", "intensive"),
            ),
            "Follow decode_tokens_per_second.",
        ),
        objectives=(Objective("ttft", 0.99, 1.0), Objective("tbt", 0.99, 0.04)),
        provisioning=ProvisioningInput(
            {"decode": known(120.0, 95.0, 140.0, method="from events")}, {"decode": 2, "prefill": 2}
        ),
        pool_inputs={
            "decode": PoolInput(
                "decode",
                min_replicas=2,
                max_replicas=40,
                target_ref=TargetRef("Deployment", "chat-decode", namespace="llm"),
                observed_min_replicas=8,
                observed_max_replicas=16,
                peak_demand_per_second=26000.0,
            ),
            "prefill": PoolInput("prefill", observed_min_replicas=8, observed_max_replicas=16),
        },
        promql={"decode.decode_tokens_per_second": DECODE_QUERY},
    )


@pytest.fixture
def unified() -> Drafting:
    return Drafting(
        service='search/Größe: #1 "quoted"\n<script>',
        name="search-1-quoted-script-0123abcd",
        threshold=Threshold(
            signal="gpu_utilization_ratio",
            pool="unified",
            per_replica=known(0.82, 0.78, 0.85, status="lower_bound"),
            target=known(0.61, 0.58, 0.64, method="lower bound / (R (1 + tol))"),
            binding="e2e",
            max_observed=0.82,
            headroom_ratio=Estimate(1.16),
            horizon_seconds=unidentified("The start-up time is not known."),
            tolerance_ratio=0.1,
        ),
        pd_ratio=PdRatio(not_applicable("The service is not disaggregated.")),
        ranking=Ranking(
            "search",
            (
                ranked("unified", "gpu_utilization_ratio", "proportional", "intensive"),
                ranked("unified", "e2e_p95_seconds", "unavailable", "intensive"),
            ),
            "Follow gpu_utilization_ratio.",
        ),
        objectives=(Objective("e2e", 0.95, 12.0),),
        pool_inputs={"unified": PoolInput("unified", observed_max_replicas=4)},
    )
