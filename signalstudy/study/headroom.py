"""The policy of a service: drafted by formula, then with the ramp factors its replay bears out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from signalstudy.replay.headroom import tune_headrooms
from signalstudy.study.policy import policy_of
from signalstudy.threshold.fit import with_headrooms
from signalstudy.vocabulary.errors import ConfigurationError, NotEnoughDataError

if TYPE_CHECKING:
    from signalstudy.config import StudyConfig
    from signalstudy.study.study import ServiceStudy
    from signalstudy.telemetry.telemetry import Telemetry
    from signalstudy.vocabulary.estimate import Estimate


def with_policy(study: ServiceStudy, config: StudyConfig, telemetry: Telemetry) -> ServiceStudy:
    """Give the study with its policy, and with threshold and P/D ratio as the policy has them.

    The first draft has the formula's ramp factors. It is replayed on the study's own demand with
    others, and drafted anew where others serve better.
    """
    drafted = _drafted(study, config, telemetry)
    headrooms = _replayed(drafted, config)
    if not headrooms:
        return drafted
    threshold, pd_ratio = with_headrooms(study.threshold, headrooms, study.timeline)
    return _drafted(replace(study, threshold=threshold, pd_ratio=pd_ratio), config, telemetry)


def _drafted(study: ServiceStudy, config: StudyConfig, telemetry: Telemetry) -> ServiceStudy:
    policy, note = policy_of(study, config, telemetry)
    return replace(study, policy=policy, policy_note=note)


def _replayed(study: ServiceStudy, config: StudyConfig) -> dict[str, Estimate]:
    """Tune the ramp factors; none where there is no policy, or no production to replay."""
    if study.policy is None or study.timeline is None or study.timeline.role != "production":
        return {}
    given = {str(name) for name, pool in config.policy.pools.items() if pool.max_replicas}
    try:
        return tune_headrooms(study, users_maximum=given, seed=config.study.seed)
    except (NotEnoughDataError, ConfigurationError):
        return {}  # what cannot be replayed keeps the formula's
