"""The policy of a service: drafted by formula, then with the ramp factors its replay bears out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from signalstudy.replay.headroom import tune_headrooms
from signalstudy.study.grafana import stated_queries
from signalstudy.study.policy import policy_of
from signalstudy.threshold.fit import with_headrooms
from signalstudy.threshold.tolerance import noise_ratio, tolerance_ratio, usual_replicas
from signalstudy.vocabulary.errors import ConfigurationError, NotEnoughDataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalstudy.config import StudyConfig
    from signalstudy.study.study import ServiceStudy
    from signalstudy.telemetry.telemetry import Telemetry
    from signalstudy.threshold.threshold import PdRatio, Threshold

SAME_RATIO = 0.01
WINDOWS_SECONDS = (60.0, 120.0, 180.0)
"""What a signal may be averaged over; a rate over more is later than a start-up."""


def with_policy(study: ServiceStudy, config: StudyConfig, telemetry: Telemetry) -> ServiceStudy:
    """Give the study with its policy, and with the threshold as the policy has it.

    The first draft has the formula's ramp factors and a window of a minute. It is replayed on the
    study's own demand with others, and drafted anew where others serve better. The P/D ratio of the
    study stays that of the capacities and says which one the policy keeps.
    """
    policy, note = policy_of(study, config, telemetry)
    drafted = replace(study, policy=policy, policy_note=note)
    if policy is None or study.timeline is None or study.timeline.role != "production":
        return drafted
    tolerances = _tolerances(study, config, policy.document["spec"]["signal"])
    try:
        tuned = tune_headrooms(
            drafted,
            tolerances=tolerances,
            users_minimum={
                str(name)
                for name, pool in config.policy.pools.items()
                if pool.min_replicas is not None
            },
            users_maximum={
                str(name) for name, pool in config.policy.pools.items() if pool.max_replicas
            },
            seed=config.study.seed,
        )
    except (NotEnoughDataError, ConfigurationError):
        return drafted  # what cannot be replayed keeps the formula's
    if not tuned.headrooms:
        return drafted
    threshold, pd_ratio = with_headrooms(
        study.threshold,
        tuned.headrooms,
        study.timeline,
        tolerance_ratio=tolerances.get(tuned.window_seconds),
    )
    found, pd_ratio = _told_apart(study.pd_ratio, pd_ratio, threshold)
    moved = replace(study, threshold=threshold, pd_ratio=pd_ratio)
    policy, note = policy_of(
        moved,
        config,
        telemetry,
        window_seconds=tuned.window_seconds,
        least_replicas=tuned.least_replicas,
    )
    return replace(moved, pd_ratio=found, policy=policy, policy_note=note)


def _told_apart(found: PdRatio, kept: PdRatio, threshold: Threshold) -> tuple[PdRatio, PdRatio]:
    """Say of the ratio of the capacities, and of the one kept, where and why they differ.

    What is said of operation (band, range of the mix, cost) is that of the ratio kept in both.
    """
    ratio, operated = found.ratio.value, kept.ratio.value
    if ratio is None or operated is None or abs(operated / ratio - 1.0) < SAME_RATIO:
        return found, kept
    room = {pool: one.value or 1.0 for pool, one in threshold.pool_headrooms.items()}
    sentence = (
        f"The capacities alone give {ratio:.3g} prefill replicas per decode replica; the policy "
        f"keeps {operated:.3g}, because the replay leaves prefill room for ramps of "
        f"{room['prefill']:.3g} times, decode of {room['decode']:.3g} times."
    )
    return (
        replace(kept, ratio=found.ratio, kept=operated, note=f"{kept.note} {sentence}".strip()),
        replace(kept, note=f"{kept.note} {sentence}".strip()),
    )


def _tolerances(
    study: ServiceStudy, config: StudyConfig, signal: Mapping[str, Any]
) -> dict[float, float]:
    """Give the tolerance of each longer window; none where a query of the user's says its own."""
    best, timeline = study.ranking.best, study.timeline
    if best is None or timeline is None or signal["name"] in stated_queries(config):
        return {}
    series = timeline.pools[best.pool].signals[best.signal]
    replicas = usual_replicas(timeline.pools[study.threshold.pool].ready_replicas)
    return {
        window: tolerance_ratio(
            noise_ratio(series.values, timeline.step_seconds, window_seconds=window),
            replicas,
            window_seconds=window,
        )
        for window in WINDOWS_SECONDS
        if window > signal["windowSeconds"]
    }
