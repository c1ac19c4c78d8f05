"""Build Study nouns from NumPy, with a day's rhythm, a saturation, a cliff and excluded hours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from signalstudy.evidence.evidence import Evidence, SignalEvidence
from signalstudy.policy.policy import Policy
from signalstudy.policy.schema import validate_policy
from signalstudy.ranking.ranking import RankedSignal, Ranking
from signalstudy.study.study import ServiceStudy, Study
from signalstudy.threshold.threshold import Capacity, ExceedanceCurve, PdRatio, Threshold
from signalstudy.timeline.points import OperatingPoints
from signalstudy.timeline.timeline import (
    Demand,
    PoolTimeline,
    QualityCheck,
    SignalSeries,
    SloCounts,
    Timeline,
)
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified
from signalstudy.vocabulary.objectives import Objective

TTFT = Objective("ttft", 0.99, 1.0)
TBT = Objective("tbt", 0.99, 0.04)
START_SECONDS = 1767571200.0  # 2026-01-05T00:00:00Z
CAPACITY = {"prefill": 14200.0, "decode": 2310.0}


def make_timeline(service: str = "chat", steps: int = 2880, step_seconds: float = 30.0) -> Timeline:
    """Make a day of one P/D-disaggregated service."""
    rng = np.random.default_rng(7)
    time = START_SECONDS + step_seconds * np.arange(1, steps + 1)
    hour = (time - START_SECONDS) / 3600.0 * 86400.0 / (steps * step_seconds)
    rhythm = 0.55 - 0.42 * np.cos((hour - 3.0) / 24.0 * 2 * np.pi) + 0.12 * np.sin(hour * 1.7)
    mix = 5.4 + 0.9 * np.sin(hour / 24.0 * 2 * np.pi + 1.0) + 0.15 * rng.standard_normal(steps)
    decode_demand = 13500.0 * rhythm * (1 + 0.05 * rng.standard_normal(steps))
    prefill_demand = decode_demand * mix
    pools = {
        "prefill": _pool("prefill", prefill_demand, hour, rng),
        "decode": _pool("decode", decode_demand, hour, rng),
    }
    usable = np.ones(steps, dtype=bool)
    usable[int(0.14 * steps) : int(0.18 * steps)] = False
    counts = []
    for objective, pool in ((TTFT, "prefill"), (TBT, "decode")):
        work = pools[pool].demand.per_second / pools[pool].ready_replicas / CAPACITY[pool]
        share = 1.0 / (1.0 + np.exp(-(work - 1.12) / 0.03))
        observed = rng.poisson(np.clip(decode_demand / 400.0 * step_seconds, 0.1, None)) * 1.0
        over = rng.binomial(observed.astype(int), np.clip(share + 0.002, 0, 1)) * 1.0
        edge = objective.at_most_seconds
        counts.append(SloCounts(objective, pool, observed, over, over, "histogram", edge, edge))
    return Timeline(
        service=service,
        role="production",
        time_seconds=time,
        step_seconds=step_seconds,
        pools=pools,
        slo_counts=tuple(counts),
        usable=usable,
        token_mix=mix,
        prefix_cache_hit_ratio=np.clip(0.4 + 0.1 * rng.standard_normal(steps), 0, 1),
        startup_seconds=np.array([110.0, 124.0]),
    )


def _pool(name: str, demand, hour, rng) -> PoolTimeline:
    steps = demand.size
    wanted = np.ceil(np.roll(demand, 10) / (0.93 * CAPACITY[name]))
    ready = wanted[np.arange(steps) // 30 * 30].clip(2, 7)
    work = demand / ready / CAPACITY[name]

    def noisy(values, relative=0.03):
        return values * (1 + relative * rng.standard_normal(steps))

    served = noisy(np.roll(demand, 2), 0.03)
    throughput = "decode_tokens_per_second"
    if name == "prefill":
        throughput = "prefill_uncached_tokens_per_second"
    latency = "ttft_p99_seconds" if name == "prefill" else "tbt_p99_seconds"
    scale = 0.35 if name == "prefill" else 0.021
    cliff = scale * (1 + 0.3 * work + np.exp(np.clip((work - 0.98) / 0.05, -20, 4.5)) / 6)
    saturating = 1 - np.exp(-work / 0.16)
    if name == "prefill":
        saturating = np.clip(0.92 * work, 0, 1)
    signals = {
        throughput: SignalSeries(throughput, "total", served, source="vllm:generation_tokens"),
        "sm_activity_ratio": SignalSeries(
            "sm_activity_ratio", "intensive", np.clip(noisy(saturating, 0.02), 0, 1)
        ),
        "gpu_utilization_ratio": SignalSeries(
            "gpu_utilization_ratio", "intensive", np.clip(noisy(saturating**0.5, 0.02), 0, 1)
        ),
        latency: SignalSeries(latency, "intensive", noisy(cliff, 0.08)),
        "waiting_requests": SignalSeries(
            "waiting_requests",
            "total",
            rng.poisson(np.clip(0.2 + 300 * np.clip(work - 0.97, 0, 0.3), 0, None)) * 1.0,
        ),
        "kv_cache_usage_ratio": SignalSeries(
            "kv_cache_usage_ratio", "intensive", np.clip(noisy(0.12 + 0.5 * work**1.6, 0.06), 0, 1)
        ),
    }
    for series in signals.values():
        series.values[int(0.62 * steps) : int(0.63 * steps)] = np.nan
    return PoolTimeline(
        pool=name,
        ready_replicas=ready,
        starting_replicas=np.zeros(steps),
        signals=signals,
        demand=Demand(demand, "requests"),
        served_per_second=served,
        replicas_source="kube_pod_status_ready",
    )


def known(value, spread=0.05, **more) -> Estimate:
    """Make an estimate with an interval of `spread` times its value on both sides."""
    half = abs(value) * spread
    said = {"effective_observations": 412.7, "days": 1.0, "method": "block bootstrap"} | more
    return Estimate(value, value - half, value + half, **said)


VERDICTS = {
    ("decode", "decode_tokens_per_second"): ("proportional", 0.98, 0.97, 61.0, 4.2),
    ("prefill", "prefill_uncached_tokens_per_second"): ("proportional", 0.97, 0.99, 48.0, 5.1),
    ("prefill", "sm_activity_ratio"): ("proportional", 0.94, 0.93, 30.0, 11.0),
    ("prefill", "gpu_utilization_ratio"): ("undetermined", 0.9, 0.62, 30.0, 12.0),
    ("prefill", "ttft_p99_seconds"): ("guard", 0.71, 2.4, 1.9, 42.0),
    ("decode", "tbt_p99_seconds"): ("guard", 0.66, 0.31, 2.3, 22.0),
    ("prefill", "waiting_requests"): ("guard", 0.58, 3.9, 1.1, 44.0),
    ("decode", "waiting_requests"): ("guard", 0.52, None, 1.0, 63.0),
    ("decode", "kv_cache_usage_ratio"): ("rejected", 0.93, 0.55, 14.0, 30.0),
    ("decode", "sm_activity_ratio"): ("rejected", 0.84, 0.09, 11.0, 8.0),
    ("decode", "gpu_utilization_ratio"): ("rejected", 0.79, 0.05, 9.0, None),
}
REASONS = {
    "proportional": "Moves one for one with demand (elasticity {elasticity}), far above its noise,"
    " and settles within seconds. Capacity was not tested: replicas never changed.",
    "guard": "Flat until about 97 % of capacity, then a cliff: useful to add replicas at once, "
    "useless to say how many.",
    "rejected": "Saturated: it already reads 0.9 at a third of the demand and hardly moves after, "
    "so a controller that follows it holds far too many replicas or far too few.",
    "undetermined": "The interval of its elasticity, 0.48 to 0.79, meets the gate of 0.7 to 1.4 at "
    "its edge only: these data cannot tell.",
}


def make_ranking(service: str = "chat", verdicts=None) -> Ranking:
    """Every verdict, with measures of every status."""
    ranked = []
    for rank, ((pool, signal), row) in enumerate((verdicts or VERDICTS).items(), start=1):
        verdict, correlation, elasticity, noise, lag = row
        measures = {
            "coverage_ratio": Estimate(0.9931, method="share of steps with a value"),
            "demand_correlation": known(correlation, 0.01, method="Spearman, lag-aligned"),
            "demand_elasticity": known(elasticity, 0.06, method="Theil-Sen on logs")
            if elasticity is not None
            else unidentified("The signal is zero in 83 % of the steps, so its logarithm is not."),
            "signal_to_noise_ratio": known(noise, 0.2, method="detrended variance"),
            "lag_seconds": known(lag, 0.3, method="cross-correlation, parabolic peak")
            if lag is not None
            else unidentified("The cross-correlation is flat: it has no peak to place."),
            "seen_lag_seconds": known((lag or 10.0) + 15.0, 0.3),
            "linearity_ratio": known(min(0.99, correlation**2), 0.01),
            "gain_ratio": known(0.96 if verdict == "proportional" else 0.2, 0.1),
            "dynamic_range_ratio": known(7.5, 0.05),
            "capacity_elasticity": unidentified("not tested: replicas never changed."),
            "breach_recall_ratio": not_applicable("Not yet: early warning is not measured."),
        }
        spoken = f"{elasticity:.2f}" if elasticity is not None else "unknown"
        reason = REASONS[verdict].format(elasticity=spoken)
        ranked.append(
            RankedSignal(
                pool, signal, rank, rank <= 2, verdict, reason, measures, "total", "vllm:metric"
            )
        )
    missing = "Not in the data: the DCGM exporter would provide it (DCGM_FI_PROF_DRAM_ACTIVE)."
    ranked += [
        RankedSignal(pool, "dram_activity_ratio", None, False, "unavailable", missing, {})
        for pool in ("prefill", "decode")
    ]
    summary = (
        "Follow decode_tokens_per_second of the decode pool: it moves one for one with demand "
        "(elasticity 0.97 [0.91, 1.03]) and settles in 4 s; GPU utilization would mislead."
    )
    return Ranking(service, tuple(ranked), summary)


def make_curve(pool: str, objective: Objective) -> ExceedanceCurve:
    """Thirty bins of a logistic cliff at the pool's capacity."""
    rng = np.random.default_rng(3)
    work = np.linspace(0.08, 1.16, 30) * CAPACITY[pool]
    truth = 1 / (1 + np.exp(-(work / CAPACITY[pool] - 1.13) / 0.028))
    requests = np.linspace(9000, 700, 30).round()
    share = rng.binomial(requests.astype(int), truth + 0.0008) / requests
    fitted = np.maximum.accumulate(np.minimum(share, truth + 0.002))
    return ExceedanceCurve(
        str(objective),
        pool,
        work,
        share,
        fitted,
        fitted * 0.5,
        np.clip(fitted * 1.9 + 0.001, 0, 1),
        requests,
        objective.allowed_share,
    )


def make_threshold() -> Threshold:
    """Make a threshold bound by TBT, with a curve per pool."""
    capacities = {
        pool: Capacity(
            pool,
            signal,
            Estimate(
                CAPACITY[pool],
                CAPACITY[pool] * 0.97,
                CAPACITY[pool] * 1.03,
                effective_observations=96.0,
                days=1.0,
                method="isotonic fit, block bootstrap",
            ),
            objective.signal,
            CAPACITY[pool] * 1.16,
            {str(objective): known(CAPACITY[pool], 0.03)},
            (make_curve(pool, objective),),
        )
        for pool, signal, objective in (
            ("decode", "decode_tokens_per_second", TBT),
            ("prefill", "prefill_uncached_tokens_per_second", TTFT),
        )
    }
    return Threshold(
        signal="decode_tokens_per_second",
        pool="decode",
        per_replica=capacities["decode"].per_replica,
        target=Estimate(1890.0, 1830.0, 1950.0, method="safe bound / (ramp headroom x 1.1)"),
        binding="tbt",
        max_observed=2679.6,
        headroom_ratio=known(1.08, 0.02),
        horizon_seconds=Estimate(165.0, method="seen lag + start-up + evaluation"),
        tolerance_ratio=0.1,
        capacities=capacities,
    )


def make_evidence(service: str = "chat") -> Evidence:
    """Make the evidence that belongs to the ranking."""
    signals = tuple(
        SignalEvidence(signal.pool, signal.signal, signal.kind, signal.measures)
        for signal in make_ranking(service).signals
        if signal.measures
    )
    return Evidence(service, signals, {"prefill": "requests", "decode": "requests"})


QUALITY = (
    QualityCheck("coverage", "ok", "8,553 of 8,640 steps hold every signal."),
    QualityCheck("gaps", "warning", "One gap of 14.4 min at 14:52 UTC in every engine metric."),
    QualityCheck("counter resets", "note", "3 resets in decode, none in prefill."),
    QualityCheck("clock", "failed", "Replica decode-3 is 4.2 s ahead of the others."),
)


def make_service(service: str = "chat", slug: str = "chat", **changes) -> ServiceStudy:
    """Make a service where everything is known; `changes` replace fields."""
    document = {
        "apiVersion": "signalstudy.dev/v1alpha1",
        "kind": "ScalingPolicy",
        "metadata": {"name": slug, "service": service},
        "spec": {
            "objectives": [],
            "signal": {
                "name": "decode_tokens_per_second",
                "kind": "total",
                "perReplicaOf": "decode",
                "windowSeconds": 60,
            },
            "proportional": {
                "targetPerReplica": {"value": 1890.0, "status": "ok"},
                "scaleOutTolerance": 0.1,
                "scaleInTolerance": 0.2,
            },
            "ratio": {"prefillPerDecode": 1.29, "min": 1.1, "max": 1.5},
            "pools": {
                pool: {
                    "minReplicas": 1,
                    "maxReplicas": 60,
                    "gpusPerReplica": 2,
                    "startupSeconds": 120,
                    "scaleOut": {"cooldownSeconds": 180, "maxStepRatio": 1.0},
                    "scaleIn": {"cooldownSeconds": 600, "maxStepRatio": 0.1},
                }
                for pool in ("decode", "prefill")
            },
        },
    }
    validate_policy(document, "the policy of the test")
    whole = ServiceStudy(
        service=service,
        slug=slug,
        timeline=make_timeline(service),
        pressure_test=None,
        points=None,
        objectives=(TTFT, TBT),
        evidence=make_evidence(service),
        ranking=make_ranking(service),
        threshold=make_threshold(),
        pd_ratio=PdRatio(known(1.29, 0.07), 1.1, 1.5, 5.4, 4.3, 6.4, note="The mix is steady."),
        policy=Policy(slug, document, ("The target keeps 8 % for the steepest ramp.",)),
        policy_note="",
        quality=QUALITY,
    )
    return replace(whole, **changes)


def make_points(service: str = "sweep") -> OperatingPoints:
    """Twelve measured points of a closed-loop sweep."""
    concurrency = 2.0 ** np.arange(12)
    return OperatingPoints(
        service=service,
        concurrency_requests=concurrency,
        ttft_seconds=0.05 + concurrency / 900.0,
        tbt_seconds=0.006 + concurrency / 60000.0,
        prompt_tokens=np.full(12, 2048.0),
        output_tokens=np.full(12, 256.0),
        gpus_per_replica=np.full(12, 2.0),
    )


def make_bare_service(service: str = "sweep", slug: str = "sweep", **changes) -> ServiceStudy:
    """Make a service of operating points only, where nothing can be told."""
    sentence = "No objective is stated in study.toml, so there is no limit to hold."
    ranking = Ranking(
        service,
        (
            RankedSignal(
                "unified",
                "decode_tokens_per_second",
                1,
                False,
                "undetermined",
                "Operating points have no time axis: correlation and lag cannot be told.",
                {"demand_correlation": not_applicable("Operating points have no time axis.")},
            ),
        ),
        "No signal qualifies: operating points have no time axis.",
    )
    nothing = not_applicable(sentence)
    bare = make_service(
        service,
        slug,
        timeline=None,
        points=make_points(service),
        objectives=(),
        evidence=Evidence(service, ()),
        ranking=ranking,
        threshold=Threshold(
            "decode_tokens_per_second", "unified", nothing, nothing, "", None, nothing, nothing, 0.1
        ),
        pd_ratio=PdRatio(not_applicable("The service is not disaggregated.")),
        policy=None,
        policy_note=sentence,
        quality=(),
    )
    return replace(bare, **changes)


def make_study(*services: ServiceStudy, name: str = "spring") -> Study:
    """Make a study of the given services, or of one where everything is known."""
    chosen = services or (make_service(),)
    return Study(
        name=name,
        start="2026-01-05T00:00:00Z",
        end="2026-01-06T00:00:00Z",
        step_seconds=10.0,
        seed=7,
        tool_version="0.1.0",
        digest="9f2c51ab77d04e19",
        services={service.service: service for service in chosen},
        provenance={
            "python": "3.12.1",
            "sources": [{"kind": "table", "path": "data/chat.parquet", "role": "production"}],
        },
    )
