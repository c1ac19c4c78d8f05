"""Draft one policy for every signal that could drive, to be replayed before one is chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from signalstudy.policy.draft import draft_policy
from signalstudy.policy.guards import guard_signal
from signalstudy.policy.inputs import PoolInput, ProvisioningInput, StudyFacts
from signalstudy.replay.candidates import Candidate, stand
from signalstudy.replay.recorded import replay_policy
from signalstudy.study.run import driver_of, fit_of
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from signalstudy.policy.policy import Policy
    from signalstudy.ranking.ranking import RankedSignal, Ranking
    from signalstudy.replay.replay import Replay
    from signalstudy.study.study import ServiceStudy
    from signalstudy.threshold.threshold import Threshold

USABLE = ("proportional", "guard", "undetermined")
LATENCIES = ("ttft", "tbt", "e2e", "queue_wait")


def replay_candidates(
    study: ServiceStudy, *, policies: Sequence[Policy] = (), seed: int = 0, **options: Any
) -> Replay:
    """Replay a policy for every usable signal of a service; `standings` compare with the ranking.

    Usable are signals that can drive, guards and undetermined ones; of latencies only those that
    the objectives are about, held at their limit. `policies` are replayed beside them. `options`:
    as of `replay_policy`.
    """
    found, left_out = draft_candidates(study, options.get("startup_seconds"), seed)
    if not found:
        why = left_out[0] if left_out else study.ranking.summary
        raise NotEnoughDataError(f"No candidates for {study.service!r}: {why}")
    drafted = [one.policy for one in found]
    replay = replay_policy([*policies, *drafted], study, seed=seed, **options)
    runs = {run.name: run for run in replay.runs}
    standings = stand(found, {one.key: runs[one.key] for one in found}, replay.asked_attainment)
    return replace(replay, standings=standings, notes=(*replay.notes, *left_out))


def draft_candidates(
    study: ServiceStudy, startup_seconds: float | None = None, seed: int = 0
) -> tuple[list[Candidate], list[str]]:
    """Draft a policy a usable signal, in the order of the ranking; and who is left out, and why.

    Bounds, start-up and GPUs are those of the study's own policy, where it has one.
    """
    found, left_out = [], []
    for ranked in _usable(study):
        try:
            found.append(_draft(study, ranked, startup_seconds, seed))
        except NotEnoughDataError as error:
            left_out.append(f"No policy on {ranked.pool}.{ranked.signal}: {error}")
    return found, left_out


def _usable(study: ServiceStudy) -> Iterator[RankedSignal]:
    """Give the signals to try: each latency of an objective once, where it is ranked first."""
    wanted = {guard_signal(objective) for objective in study.objectives}
    seen: set[tuple[str, str]] = set()
    for ranked in study.ranking.signals:
        driver = driver_of(_led_by(study.ranking, ranked), study.timeline)
        is_latency = ranked.signal.split("_p")[0].split("_mean")[0] in LATENCIES
        is_twin = driver in seen or (is_latency and ranked.signal in {name for _, name in seen})
        if ranked.verdict not in USABLE or driver is None or is_twin:
            continue
        if is_latency and ranked.signal not in wanted:
            continue
        seen.add(driver)
        yield ranked


def _led_by(ranking: Ranking, ranked: RankedSignal) -> Ranking:
    """Give the ranking as it were if this signal were the one to follow."""
    first = replace(ranked, verdict="proportional")
    others = tuple(one for one in ranking.signals if one is not ranked)
    return replace(ranking, signals=(first, *others))


def _draft(
    study: ServiceStudy, ranked: RankedSignal, startup_seconds: float | None, seed: int
) -> Candidate:
    ranking = _led_by(study.ranking, ranked)
    threshold, pd_ratio = fit_of(
        study.timeline,
        study.pressure_test,
        study.points,
        ranking,
        study.objectives,
        startup_seconds=startup_seconds,
        seed=seed,
    )
    threshold = _held_at_limit(threshold, study)
    key = f"{ranked.pool}.{ranked.signal}"
    policy = draft_policy(
        service=study.service,
        name=study.slug,
        threshold=threshold,
        pd_ratio=pd_ratio,
        ranking=ranking,
        objectives=study.objectives,
        provisioning=_provisioning(study),
        pool_inputs=_pools(study),
        study=_facts(study),
        promql={},
    )
    lag = ranked.measures.get("seen_lag_seconds")
    return Candidate(
        key, ranked.rank or 0, ranked.verdict, replace(policy, name=key), threshold.target, lag
    )


def _held_at_limit(threshold: Threshold, study: ServiceStudy) -> Threshold:
    """Hold a latency at its limit within tolerance: what else it says below, no demand asked for.

    A capacity in seconds of latency would only repeat the largest that was seen.
    """
    for objective in study.objectives:
        if threshold.signal == guard_signal(objective):
            most = objective.at_most_seconds
            target = Estimate(
                most / (1.0 + threshold.tolerance_ratio), method="the limit / (1 + tolerance)"
            )
            return replace(threshold, target=target, per_replica=Estimate(most, low=most))
    return threshold


def _own(study: ServiceStudy) -> dict[str, Any]:
    return {} if study.policy is None else study.policy.document["spec"]["pools"]


def _provisioning(study: ServiceStudy) -> ProvisioningInput:
    own = _own(study)
    return ProvisioningInput(
        startup_seconds={
            pool: Estimate(float(said["startupSeconds"]), method="as in the study's policy")
            for pool, said in own.items()
            if "startupSeconds" in said
        },
        gpus_per_replica={
            pool: int(said["gpusPerReplica"])
            for pool, said in own.items()
            if "gpusPerReplica" in said
        },
    )


def _pools(study: ServiceStudy) -> dict[str, PoolInput]:
    own = _own(study)
    timeline = study.timeline
    found = {}
    for name, pool in {} if timeline is None else timeline.pools.items():
        if name == "gateway":
            continue
        known = pool.ready_replicas[np.isfinite(pool.ready_replicas)]
        found[name] = PoolInput(
            name,
            min_replicas=own.get(name, {}).get("minReplicas"),
            max_replicas=own.get(name, {}).get("maxReplicas"),
            observed_min_replicas=float(known.min()) if known.size else None,
            observed_max_replicas=float(known.max()) if known.size else None,
        )
    return found


def _facts(study: ServiceStudy) -> StudyFacts:
    timeline = study.timeline
    times = np.zeros(1) if timeline is None else timeline.time_seconds
    start, end = (str(np.datetime64(round(float(at)), "s")) for at in (times[0], times[-1]))
    step = 0.0 if timeline is None else timeline.step_seconds
    return StudyFacts("", start, end, end, "", step)
