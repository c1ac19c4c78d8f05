"""run_study: all stages in order, service by service."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.config import StudyConfig, read_config
from signalstudy.evidence.evidence import Evidence
from signalstudy.evidence.gather import gather_evidence
from signalstudy.ranking.rank import rank_signals
from signalstudy.study.apart import apart
from signalstudy.study.regimes import noted_changes, study_regimes, with_regimes
from signalstudy.study.study import ServiceStudy, Study
from signalstudy.study.tuned_policy import with_policy
from signalstudy.telemetry.read import read_telemetry
from signalstudy.telemetry.store import tool_version
from signalstudy.threshold.drift import drift_warnings, measure_drifts
from signalstudy.threshold.fit import fit_threshold
from signalstudy.threshold.points import scatter_warning
from signalstudy.threshold.tolerance import noise_ratio
from signalstudy.timeline.align import align, read_points
from signalstudy.timeline.timeline import QualityCheck, Timeline
from signalstudy.vocabulary.errors import ConfigurationError, unknown_name
from signalstudy.vocabulary.slug import slugs
from signalstudy.vocabulary.unavailable import unavailable_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from signalstudy.ranking.ranking import Ranking
    from signalstudy.study.regimes import Regime
    from signalstudy.telemetry.telemetry import Telemetry
    from signalstudy.threshold.threshold import PdRatio, Threshold
    from signalstudy.timeline.points import OperatingPoints
    from signalstudy.timeline.timeline import Role
    from signalstudy.vocabulary.objectives import Objective

HORIZON_SECONDS = 120.0
EVALUATION_SECONDS = 15.0
ROLES: tuple[Role, Role] = ("production", "pressure-test")
POINTS_SUMMARY = (
    "These are operating points without a time axis: they say how much a replica bears, and "
    "nothing of which signal to follow."
)


def run_study(
    path: str | Path,
    *,
    out: str | Path | None = None,
    service: str | None = None,
    last: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
    finish: Callable[[Study, bool], ServiceStudy] | None = None,
) -> Study:
    """Run every stage of the study that `path` (study.toml) describes and give all it found.

    The store goes into `out` (default `<study name>-study` in the working folder) and is reused
    while the sources are unchanged. `service` limits the study to one. `last`, such as 6h, keeps
    the last part of servers and TSDB folders, in a folder of its own. `finish` is called with a
    study of each service as soon as that is studied, and whether it is the only one; what it gives
    is kept in its stead, so that a fleet need not stay in memory. Raises SignalStudyError.
    """
    config = read_config(path, last=last)
    folder = Path(out) if out is not None else default_folder(config, last)
    telemetry = read_telemetry(config, folder, progress=progress)
    services = telemetry.services
    if service is not None:
        if service not in services:
            raise unknown_name("--service", "service", service, services)
        services = (service,)
    names = slugs(telemetry.services)
    studied = {}
    spans: list[Study] = []
    for name in services:
        progress(f"studying {name}")
        studied[name] = study_service(telemetry, config, name, names[name])
        if finish is not None:
            one = _study(config, telemetry, {name: studied[name]})
            spans.append(replace(one, services={}))
            studied[name] = finish(one, len(services) == 1)
    return _study(config, telemetry, studied, spans)


def default_folder(config: StudyConfig, last: str | None = None) -> Path:
    """Give the folder a study writes to where nobody says: `<study name>-study`.

    A first look at the `last` hours has one of its own, so that it does not push out the whole.
    """
    name = config.study.name
    is_safe = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}", name) is not None
    part = "" if last is None else f"-last-{last.strip()}"
    return Path(f"{name if is_safe else slugs([name])[name]}{part}-study")


def study_service(
    telemetry: Telemetry, config: StudyConfig, service: str, slug: str
) -> ServiceStudy:
    """Study one service: align, gather, rank, fit, draft."""
    objectives = config.objectives_of(service)
    production, pressure_test = _timelines(telemetry, config, service)
    points = read_points(telemetry, service)
    timeline = production or pressure_test
    startup = _startup_seconds(config, timeline)
    seed = config.study.seed
    evidence = _evidence(timeline, service, config, startup)
    regimes = study_regimes(
        timeline, evidence, lambda part: _evidence(part, service, config, startup), seed=seed
    )
    ranking = _ranking(timeline, points, evidence, regimes, seed=seed)

    def fit(ranking: Ranking) -> tuple[Threshold, PdRatio]:
        return fit_of(
            production,
            pressure_test,
            points,
            ranking,
            objectives,
            startup_seconds=config.provisioning.startup_seconds,
            seed=seed,
        )

    threshold, pd_ratio = fit(ranking)
    if knees := _decisive_knees(ranking, threshold):
        ranking = _ranking(timeline, points, evidence, regimes, seed=seed, visited_knees=knees)
        threshold, pd_ratio = fit(ranking)
    threshold = _with_drifts(threshold, production, ranking, objectives, regimes, seed=seed)
    found = ServiceStudy(
        service=service,
        slug=slug,
        timeline=timeline,
        pressure_test=pressure_test,
        points=points,
        objectives=objectives,
        evidence=evidence,
        ranking=ranking,
        threshold=threshold,
        pd_ratio=pd_ratio,
        policy=None,
        policy_note="",
        quality=(
            *apart(telemetry, service),
            *noted_changes(timeline, regimes),
            *_quality(production, pressure_test, points),
        ),
        regimes=regimes,
    )
    found = with_policy(found, config, telemetry)
    warnings = drift_warnings(found.threshold)
    checks = (QualityCheck(f"target of {pool}", "warning", said) for pool, said in warnings.items())
    return replace(found, quality=(*found.quality, *checks))


def _ranking(
    timeline: Timeline | None,
    points: OperatingPoints | None,
    evidence: Evidence,
    regimes: tuple[Regime, ...],
    *,
    seed: int,
    visited_knees: frozenset[str] = frozenset(),
) -> Ranking:
    ranking = rank_signals(evidence, seed=seed, visited_knees=visited_knees)
    if timeline is None and points is not None:
        ranking = replace(ranking, summary=POINTS_SUMMARY)
    return with_regimes(ranking, evidence, regimes)


def _with_drifts(
    threshold: Threshold,
    production: Timeline | None,
    ranking: Ranking,
    objectives: Sequence[Objective],
    regimes: tuple[Regime, ...],
    *,
    seed: int,
) -> Threshold:
    """Add how far a replica bears the same by part of the day and in every regime."""
    lent = _lend(production, driver_of(ranking, production))
    spans = {regime.span: regime.settled_seconds for regime in regimes}
    return replace(threshold, drifts=measure_drifts(lent, threshold, objectives, spans, seed=seed))


def _decisive_knees(ranking: Ranking, threshold: Threshold) -> frozenset[str]:
    """Give the pools whose knee was visited, where that of the leading signal's pool was not.

    What the signals leave open between pools is decided by what is known of their targets.
    """
    knees = frozenset(
        name
        for name, capacity in threshold.capacities.items()
        if capacity.per_replica.status == "ok"
    )
    best = ranking.best
    is_known = best is None or best.pool == "gateway" or best.pool in knees
    return frozenset() if is_known else knees


def _timelines(
    telemetry: Telemetry, config: StudyConfig, service: str
) -> tuple[Timeline | None, Timeline | None]:
    """Align production and pressure test, whichever there are."""
    production, pressure_test = (
        align(
            telemetry,
            service,
            role=role,
            objectives=config.objectives_of(service),
            step_seconds=config.study.step_seconds,
            excluded=[(e.start.timestamp(), e.end.timestamp()) for e in config.exclude],
        )
        for role in ROLES
    )
    return production, pressure_test


def fit_of(
    production: Timeline | None,
    pressure_test: Timeline | None,
    points: OperatingPoints | None,
    ranking: Ranking,
    objectives: Sequence[Objective],
    *,
    startup_seconds: float | None,
    seed: int,
) -> tuple[Threshold, PdRatio]:
    """Fit the threshold of the signal that leads `ranking`, and the P/D ratio."""
    timeline = production or pressure_test
    best = driver_of(ranking, timeline)
    return fit_threshold(
        _lend(production, best),
        best,
        objectives,
        pressure_test=_lend(pressure_test, best),
        points=points,
        startup_seconds=startup_seconds,
        seen_lag_seconds=_seen_lag(ranking),
        noise_ratio=_noise(timeline, ranking),
        evaluation_seconds=EVALUATION_SECONDS,
        seed=seed,
    )


def driver_of(ranking: Ranking, timeline: Timeline | None) -> tuple[str, str] | None:
    """Say which signal drives and which pool's replicas it is divided by; None where none does.

    The gateway has no replicas that scale: what it counts drives the pool that does the work.
    """
    best = ranking.best
    if best is None or timeline is None:
        return None
    pool = best.pool
    if pool == "gateway":
        of_prefill = best.signal.startswith("prefill_")
        hosts = ("prefill", "unified") if of_prefill else ("decode", "unified", "prefill")
        pool = next((host for host in hosts if host in timeline.pools), pool)
    return pool, best.signal


def _lend(timeline: Timeline | None, driver: tuple[str, str] | None) -> Timeline | None:
    """Give the driving pool the gateway's series where it has none of its own."""
    if timeline is None or driver is None or "gateway" not in timeline.pools:
        return timeline
    name, signal = driver
    gateway, pool = timeline.pools["gateway"], timeline.pools.get(name)
    if pool is None or signal in pool.signals or signal not in gateway.signals:
        return timeline
    lent = replace(pool, signals={**pool.signals, signal: gateway.signals[signal]})
    return replace(timeline, pools={**timeline.pools, name: lent})


def _evidence(
    timeline: Timeline | None, service: str, config: StudyConfig, startup_seconds: float | None
) -> Evidence:
    if timeline is None:
        return Evidence(service=service, signals=())
    horizon = EVALUATION_SECONDS + (HORIZON_SECONDS if startup_seconds is None else startup_seconds)
    # A recording of minutes holds no horizon of minutes.
    span = timeline.time_seconds.size * timeline.step_seconds
    horizon = min(horizon, span / 20.0)
    evidence = gather_evidence(timeline, seed=config.study.seed, horizon_seconds=horizon)
    present = {name: set(pool.signals) for name, pool in timeline.pools.items()}
    named = {own.name: own.promql or own.metric or own.name for own in config.signals}
    return replace(evidence, unavailable=unavailable_signals(present, named))


def _startup_seconds(config: StudyConfig, timeline: Timeline | None) -> float | None:
    if timeline is not None and timeline.startup_seconds.size >= 3:
        return float(np.quantile(timeline.startup_seconds, 0.95))
    return config.provisioning.startup_seconds


def _seen_lag(ranking: Ranking) -> float | None:
    """Give the upper bound of the lag at which a controller sees the best signal, in seconds."""
    best = ranking.best
    lag = None if best is None else best.measures.get("seen_lag_seconds")
    if lag is None or lag.value is None:
        return None
    return lag.high if lag.high is not None else lag.value


def _noise(timeline: Timeline | None, ranking: Ranking) -> float | None:
    best = ranking.best
    if timeline is None or best is None:
        return None
    signal = timeline.pools[best.pool].signals[best.signal]
    return noise_ratio(signal.values, timeline.step_seconds)


def _quality(
    production: Timeline | None, pressure_test: Timeline | None, points: OperatingPoints | None
) -> tuple[QualityCheck, ...]:
    rows = list(production.quality if production is not None else ())
    if production is None and pressure_test is not None:
        rows.append(
            QualityCheck(
                "production",
                "warning",
                "there is a pressure test only: signals are judged on it, and say nothing of "
                "production's rhythm, mix and noise",
            )
        )
    if pressure_test is not None:
        rows += [replace(row, check=f"pressure test: {row.check}") for row in pressure_test.quality]
    if production is None and pressure_test is None and points is not None:
        rows.append(
            QualityCheck(
                "telemetry",
                "note",
                f"{points.concurrency_requests.size} operating points without a time axis: they "
                "give a capacity, and say nothing of signals, lags or demand",
            )
        )
    if points is not None and (sentence := scatter_warning(points)):
        rows.append(QualityCheck("operating points", "warning", sentence))
    return tuple(rows)


def _study(
    config: StudyConfig,
    telemetry: Telemetry,
    services: dict[str, ServiceStudy],
    parts: Sequence[Study] = (),
) -> Study:
    """Put services into one study; `parts` tell the span of those whose timelines are gone."""
    timelines = [
        timeline
        for service in services.values()
        for timeline in (service.timeline, service.pressure_test)
        if timeline is not None
    ]
    if not services:
        raise ConfigurationError("the sources hold no service")
    starts = [_iso(t.time_seconds[0]) for t in timelines] + [p.start for p in parts if p.start]
    ends = [_iso(t.time_seconds[-1]) for t in timelines] + [p.end for p in parts if p.end]
    steps = [t.step_seconds for t in timelines] + [p.step_seconds for p in parts if p.start]
    return Study(
        name=config.study.name,
        start=min(starts, default=""),
        end=max(ends, default=""),
        step_seconds=float(np.quantile(steps, 0.5, method="higher")) if steps else 0.0,
        seed=config.study.seed,
        tool_version=tool_version(),
        digest=telemetry.content_digest,
        services=services,
        provenance={
            "sources": list(telemetry.source_files),
            "store": telemetry.digest,
            "seed": config.study.seed,
        },
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).isoformat(timespec="seconds")
