"""What drafting a policy needs, taken from a service's study and the user's file."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.policy.draft import draft_policy, scale_in_tolerance
from signalstudy.policy.inputs import PoolInput, ProvisioningInput, StudyFacts, TargetRef
from signalstudy.policy.targets import divided
from signalstudy.policy.trail import trail_entry
from signalstudy.policy.window import SHORTEST_SECONDS
from signalstudy.scalers.promql import alive, one_value
from signalstudy.study.grafana import signal_promql, stated_queries
from signalstudy.study.matchers import known_labels
from signalstudy.telemetry.store import tool_version
from signalstudy.threshold.counts import WORK_SIGNALS
from signalstudy.threshold.planner import ongoing_requests, planner_thresholds
from signalstudy.threshold.recovery import estimate_recovery
from signalstudy.threshold.rhythm import measure_rhythm
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from signalstudy.config import StudyConfig
    from signalstudy.policy.policy import Policy
    from signalstudy.study.study import ServiceStudy
    from signalstudy.telemetry.telemetry import Telemetry
    from signalstudy.threshold.rhythm import Rhythm
    from signalstudy.timeline.timeline import PoolTimeline, SignalSeries, Timeline

    Floats = NDArray[np.float64]

PEAK_SECONDS = 60.0
FEWEST_STARTUPS = 3


def policy_of(
    study: ServiceStudy,
    config: StudyConfig,
    telemetry: Telemetry,
    *,
    window_seconds: float = SHORTEST_SECONDS,
    least_replicas: Mapping[str, int] | None = None,
) -> tuple[Policy | None, str]:
    """Draft the policy of a service; where none can be drafted give the sentence that says why.

    `window_seconds`: over how long its signal is averaged, where no query of the user's says.
    `least_replicas`: what a replay found best, by pool, where the user says nothing.
    """
    try:
        policy = draft_policy(
            service=study.service,
            name=study.slug,
            threshold=study.threshold,
            pd_ratio=study.pd_ratio,
            ranking=study.ranking,
            objectives=study.objectives,
            provisioning=_provisioning(study, config),
            pool_inputs=_pool_inputs(study, config, least_replicas or {}),
            study=_facts(study, config, telemetry, window_seconds),
            promql=given_queries(study, config, telemetry, window_seconds=window_seconds),
        )
    except NotEnoughDataError as error:
        return None, str(error)
    return _with_planner(policy, study), ""


def _with_planner(policy: Policy, study: ServiceStudy) -> Policy:
    """Add what Dynamo's planner and Ray Serve scale on to the evidence, for their exporters."""
    if study.timeline is None:
        return policy
    document = copy.deepcopy(policy.document)
    spec = document["spec"]
    found = planner_thresholds(
        study.timeline,
        study.threshold,
        study.objectives,
        scale_in_tolerance=spec["proportional"]["scaleInTolerance"],
        fewest={pool: section["minReplicas"] for pool, section in spec["pools"].items()},
    )
    found |= ongoing_requests(study.timeline, study.threshold)
    spec["evidence"] += [trail_entry(name, estimate) for name, estimate in found.items()]
    return replace(policy, document=document)


def given_queries(
    study: ServiceStudy,
    config: StudyConfig,
    telemetry: Telemetry,
    *,
    window_seconds: float = SHORTEST_SECONDS,
) -> dict[str, str]:
    """Give queries by POOL.SIGNAL, safe for a scaler: one value while a target is up, else none.

    Those that study.toml names, where they tell one pool of the only service: elsewhere labels tell
    them apart, and as they stand they would add up. Else of the metrics in the data, where these
    came from Prometheus and their labels tell the pool. `window_seconds`: of what may drive;
    latencies, which guard, look back a minute.
    """
    timeline = study.timeline
    if timeline is None:
        return {}
    stated, known, found = stated_queries(config), known_labels(telemetry, config), {}
    for pool, signal in ((p, s) for p, one in timeline.pools.items() for s in one.signals):
        series = timeline.pools[pool].signals[signal]
        if signal in stated:
            pools = [name for name, one in timeline.pools.items() if signal in one.signals]
            is_told = len(pools) == 1 and study.service == config.study.name
            query = stated[signal] if is_told else ""
        else:
            step = timeline.step_seconds
            query = signal_promql(
                series,
                pool,
                study.service,
                config,
                step_seconds=step,
                known=known,
                window_seconds=SHORTEST_SECONDS if signal.endswith("_seconds") else window_seconds,
            )
        if query:
            found[f"{pool}.{signal}"] = one_value(query, _together(series), alive(query))
    return found


def _together(series: SignalSeries) -> str:
    """Name how several series of a signal are taken together: of latencies the worst."""
    if series.kind == "total":
        return "sum"
    return "max" if series.name.endswith("_seconds") else "avg"


def _facts(
    study: ServiceStudy, config: StudyConfig, telemetry: Telemetry, window_seconds: float
) -> StudyFacts:
    timeline = study.timeline
    # A policy is dated by its data, so that the same data give the same file.
    start, end = (
        (float(timeline.time_seconds[0]), float(timeline.time_seconds[-1]))
        if timeline is not None
        else (0.0, 0.0)
    )
    return StudyFacts(
        fingerprint=telemetry.content_digest,
        start=_iso(start),
        end=_iso(end),
        generated_at=datetime.now(UTC).isoformat(timespec="seconds"),
        tool_version=tool_version(),
        step_seconds=timeline.step_seconds if timeline is not None else 0.0,
        study_name=config.study.name,
        signal_window_seconds=window_seconds,
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _provisioning(study: ServiceStudy, config: StudyConfig) -> ProvisioningInput:
    pools = _work_pools(study.timeline)
    seen = study.timeline.startup_seconds if study.timeline is not None else np.array([])
    step = study.timeline.step_seconds if study.timeline is not None else 0.0
    startup: dict[str, Estimate] = {}
    for pool in pools:
        if seen.size >= FEWEST_STARTUPS:
            startup[pool] = Estimate(
                value=float(np.quantile(seen, 0.95)),
                low=max(0.0, float(seen.min()) - step),
                high=float(seen.max()) + step,
                effective_observations=float(seen.size),
                method="95 % quantile of the start-ups seen; low and high: the extremes, a step "
                "further, because states are seen once a step",
            )
        elif config.provisioning.startup_seconds is not None:
            startup[pool] = Estimate(
                value=config.provisioning.startup_seconds, method="study.toml, [provisioning]"
            )
    gpus = {
        pool: int(number)
        for pool in pools
        if (number := config.provisioning.gpus_of(pool)) is not None
    }
    return ProvisioningInput(startup_seconds=startup, gpus_per_replica=gpus)


def _pool_inputs(
    study: ServiceStudy, config: StudyConfig, least_replicas: Mapping[str, int]
) -> dict[str, PoolInput]:
    if study.timeline is None:
        return {}
    inputs = {}
    said = {str(name): pool for name, pool in config.policy.pools.items()}
    for name in _work_pools(study.timeline):
        user = said.get(name)
        target = user.target if user is not None else None
        low, high = _extent(study.timeline.pools[name].ready_replicas)
        inputs[name] = PoolInput(
            pool=name,
            min_replicas=user.min_replicas if user is not None else None,
            max_replicas=user.max_replicas if user is not None else None,
            target_ref=None
            if target is None
            else TargetRef(
                kind=target.kind,
                name=target.name,
                api_version=target.api_version,
                namespace=target.namespace or "",
            ),
            replayed_min_replicas=least_replicas.get(name),
            observed_min_replicas=low,
            observed_max_replicas=high,
            peak_demand_per_second=peak_per_second(
                study.timeline.pools[name],
                study.timeline.step_seconds,
                study.threshold.signal if name == study.threshold.pool else "",
            ),
            peak_replicas_by_work=_peak_by_work(study, name),
            recovery_seconds=estimate_recovery(
                study.timeline,
                study.timeline.pools[name],
                scale_in_tolerance(study.threshold.tolerance_ratio),
            ),
            rhythm=_rhythm(study.timeline, study.timeline.pools[name], config.study.seed),
        )
    return inputs


def _peak_by_work(study: ServiceStudy, name: str) -> Estimate | None:
    """Give the replicas that a pool's peak asks for, by its own work and what a replica bears."""
    target = study.threshold.pool_targets.get(name)
    if study.timeline is None or target is None or not target.value:
        return None
    peak = peak_per_second(study.timeline.pools[name], study.timeline.step_seconds, "")
    return None if peak is None else divided(peak, target)


def _rhythm(timeline: Timeline, pool: PoolTimeline, seed: int) -> Rhythm | None:
    """Measure what the clock tells of a pool's demand in production, in the unit of its work."""
    if timeline.role != "production" or pool.demand is None or pool.demand.unit != "tokens":
        return None
    return measure_rhythm(timeline, pool, seed=seed)


def _work_pools(timeline: Timeline | None) -> list[str]:
    return [] if timeline is None else [name for name in timeline.pools if name != "gateway"]


def _extent(values: Floats) -> tuple[float | None, float | None]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else (None, None)


def peak_per_second(pool: PoolTimeline, step_seconds: float, signal: str) -> float | None:
    """Give the largest demand sustained for a minute, in the unit of the pool's signal.

    Demand is in tokens; a pool that follows requests is sized in requests, as they were served.
    `signal`: what the pool follows, "" for its work.
    """
    steps = max(round(PEAK_SECONDS / step_seconds), 1)
    if signal and signal not in WORK_SIGNALS.get(pool.pool, ()):
        series = pool.signals.get(signal)
        if series is None or series.kind != "total":
            return None
        values = series.values
    elif pool.demand is None or pool.demand.unit != "tokens":
        return None
    else:
        values = pool.demand.per_second
    if values.size < steps:
        return None
    means = np.convolve(np.nan_to_num(values), np.full(steps, 1.0 / steps), mode="valid")
    return float(means.max()) or None
