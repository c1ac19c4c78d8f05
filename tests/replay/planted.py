"""Planted services to replay: demand, capacities and signals are known exactly."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from signalstudy.policy.policy import Policy
from signalstudy.policy.schema import validate_policy
from signalstudy.ranking.ranking import RankedSignal, Ranking
from signalstudy.threshold.threshold import Capacity, ExceedanceCurve, PdRatio, Threshold
from signalstudy.timeline.timeline import Demand, PoolTimeline, SignalSeries, SloCounts, Timeline
from signalstudy.vocabulary.estimate import Estimate, not_applicable
from signalstudy.vocabulary.objectives import Objective

START = 1767571200.0  # Monday, 5 January 2026, 00:00 UTC
STEP = 15.0
TTFT, TBT = Objective("ttft", 0.99, 1.0), Objective("tbt", 0.99, 0.04)
CAPACITY = {"prefill": 4000.0, "decode": 2000.0, "unified": 1000.0}
WORK = {"prefill": "prefill_uncached_tokens_per_second"}


@dataclass(frozen=True)
class Service:
    """What a study hands to a replay."""

    timeline: Timeline | None
    threshold: Threshold
    objectives: tuple[Objective, ...]
    ranking: Ranking = field(default_factory=lambda: Ranking("chat", (), ""))
    pd_ratio: PdRatio = field(default_factory=lambda: PdRatio(not_applicable("One pool.")))
    policy: Policy | None = None
    service: str = "chat"

    def but(self, **changes: Any) -> Service:
        return replace(self, **changes)


def day(level: float = 4000.0, swing: float = 0.6, hours: float = 24.0) -> np.ndarray:
    """Give a daily rhythm around `level`, lowest at the ends."""
    at = np.arange(int(hours * 3600 / STEP)) * STEP / (hours * 3600.0)
    return level * (1.0 - swing * np.cos(2 * np.pi * at))


def steps(*levels: float, minutes: float = 60.0) -> np.ndarray:
    return np.repeat(np.asarray(levels, dtype=float), int(minutes * 60 / STEP))


def pool(name: str, offered: np.ndarray, replicas: float = 4.0, **more: Any) -> PoolTimeline:
    """Give a pool whose work is served as it is offered, and utilization in proportion to it."""
    ready = np.full(offered.size, replicas)
    work = WORK.get(name, "decode_tokens_per_second")
    filled = np.nan_to_num(offered) / (ready * CAPACITY[name])
    signals = {
        work: SignalSeries(work, "total", offered),
        "gpu_utilization_ratio": SignalSeries("gpu_utilization_ratio", "intensive", 0.8 * filled),
        "running_requests": SignalSeries("running_requests", "total", offered / 50.0),
    }
    return PoolTimeline(
        pool=name,
        ready_replicas=more.get("ready", ready),
        starting_replicas=np.zeros(offered.size),
        signals=signals,
        demand=Demand(offered, more.get("source", "requests")),
        served_per_second=more.get("served", offered),
    )


def estimate(name: str, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(CAPACITY[name], low, high)


def capacity(name: str, objective: Objective, **more: Any) -> Capacity:
    """Give a capacity whose curve lets nothing slip below it."""
    curve = ExceedanceCurve(
        str(objective), name, np.array([0.0, CAPACITY[name]]), np.zeros(2), np.zeros(2),
        np.zeros(2), np.zeros(2), np.full(2, 1e4), objective.allowed_share,
    )  # fmt: skip
    work = WORK.get(name, "decode_tokens_per_second")
    return Capacity(
        name, work, more.get("per_replica", estimate(name)), objective.signal, None, {}, (curve,)
    )


def threshold(*capacities: Capacity) -> Threshold:
    known = Estimate(1.0)
    return Threshold(
        signal=capacities[-1].signal, pool=capacities[-1].pool, per_replica=known, target=known,
        binding="", max_observed=None, headroom_ratio=known, horizon_seconds=known,
        tolerance_ratio=0.1, capacities={one.pool: one for one in capacities},
    )  # fmt: skip


def timeline(pools: dict[str, PoolTimeline], objectives: tuple[Objective, ...]) -> Timeline:
    size = next(iter(pools.values())).ready_replicas.size
    ten = np.full(size, 10.0)
    counts = tuple(
        SloCounts(one, "decode", ten, np.zeros(size), np.zeros(size), "requests",
                  one.at_most_seconds, one.at_most_seconds)
        for one in objectives
    )  # fmt: skip
    return Timeline(
        service="chat", role="production", time_seconds=START + STEP * np.arange(1, size + 1),
        step_seconds=STEP, pools=pools, slo_counts=counts, usable=np.ones(size, dtype=bool),
        token_mix=np.full(size, 2.0), prefix_cache_hit_ratio=np.zeros(size),
        startup_seconds=np.array([120.0, 120.0, 120.0]),
    )  # fmt: skip


def unified(offered: np.ndarray, replicas: float = 4.0, **more: Any) -> Service:
    """Give a service of one pool; a replica bears 1000 tokens per second."""
    objectives = (TTFT,)
    pools = {"unified": pool("unified", offered, replicas, **more)}
    return Service(
        timeline(pools, objectives),
        threshold(capacity("unified", TTFT, **{k: more[k] for k in more if k == "per_replica"})),
        objectives,
    )


def disaggregated(offered: np.ndarray, replicas: float = 4.0, mix: float = 2.0) -> Service:
    """Give a P/D service: 2000 decode and 4000 prompt tokens per second and replica."""
    pools = {
        "prefill": pool("prefill", mix * offered, replicas),
        "decode": pool("decode", offered, replicas),
    }
    return Service(
        timeline(pools, (TTFT, TBT)),
        threshold(capacity("prefill", TTFT), capacity("decode", TBT)),
        (TTFT, TBT),
        pd_ratio=PdRatio(Estimate(1.0)),
    )


def ranked(pool_name: str, signal: str, lag: Estimate) -> Ranking:
    measures = {"lag_seconds": lag}
    line = RankedSignal(pool_name, signal, 1, True, "proportional", "", measures, "total")
    return Ranking("chat", (line,), "")


def rule(least: int = 1, most: int = 50, *, out: int = 180, back: int = 600, **more: Any) -> dict:
    return {
        "minReplicas": least,
        "maxReplicas": most,
        "scaleOut": {"cooldownSeconds": out, "maxStepRatio": 10.0},
        "scaleIn": {"cooldownSeconds": back, "maxStepRatio": 1.0},
        **more,
    }


def policy(name: str = "chat", *, target: float = 700.0, **spec: Any) -> Policy:
    """Give a policy of the unified pool on its tokens; `spec` replaces parts of it."""
    tolerances = {"scaleOutTolerance": 0.1, "scaleInTolerance": 0.2}
    document = {
        "apiVersion": "signalstudy.dev/v1alpha1",
        "kind": "ScalingPolicy",
        "metadata": {"name": name, "service": "chat"},
        "spec": {
            "objectives": [],
            "signal": {
                "name": "decode_tokens_per_second", "kind": "total", "perReplicaOf": "unified",
                "windowSeconds": 60,
            },
            "proportional": {"targetPerReplica": {"value": target, "status": "ok"}, **tolerances},
            "pools": {"unified": rule()},
            **spec,
        },
    }  # fmt: skip
    validate_policy(document, "test")
    return Policy(name, document)


def split_policy(*, target: float = 1400.0, ratio: float = 1.0, **spec: Any) -> Policy:
    """Give a P/D policy on decode tokens; prefill follows by the ratio."""
    signal = {
        "name": "decode_tokens_per_second", "kind": "total", "perReplicaOf": "decode",
        "windowSeconds": 60,
    }  # fmt: skip
    return policy(
        target=target,
        signal=signal,
        ratio={"prefillPerDecode": ratio, "min": ratio, "max": ratio},
        **{"pools": {"decode": rule(), "prefill": rule()}, **spec},
    )
