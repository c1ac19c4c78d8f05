"""Time a fleet's evidence, stage by stage and part by part, in this process."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import signalstudy as ss
from signalstudy.evidence.gather import view_signal
from signalstudy.evidence.losses import block_losses
from signalstudy.evidence.measures import MEASURES
from signalstudy.evidence.prepared import Prepared
from signalstudy.evidence.shared import Shared
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from signalstudy.timeline.timeline import Timeline

PARTS: dict[str, Callable[[Prepared], object]] = {
    "lag: cross-covariances, peak, null": lambda p: p.lag_search,
    "alignment": lambda p: (p.signal, p.reference),
    "effective observations": lambda p: p.effective_observations,
    "held-out curves, noise": lambda p: (p.noise, p.noise_squares),
    "response: bins, curves of all replicates": lambda p: p.response.resampled_fits,
    "step response": lambda p: p.step_response,
    "alarms before breaches": lambda p: p.alarms,
}
"""What measures share is timed under its own name, before the measures that ask for it."""


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    begin = time.process_time()
    with suppress(NotEnoughDataError):
        yield
    seconds[name] += time.process_time() - begin


def time_fleet(folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Give CPU seconds of every stage over all services, and of every part over the first one."""
    stages: dict[str, float] = defaultdict(float)
    parts: dict[str, float] = defaultdict(float)
    config = ss.read_config(folder / "study.toml")
    with _timed(stages, "read"):
        telemetry = ss.read_telemetry(config, folder / "out")
    for service in telemetry.services:
        with _timed(stages, "align"):
            timeline = ss.align(telemetry, service, objectives=config.objectives_of(service))
        if timeline is None:
            raise AssertionError(service)
        with _timed(stages, "gather"):
            evidence = ss.gather_evidence(timeline, seed=config.study.seed)
        with _timed(stages, "rank"):
            ss.rank_signals(evidence, seed=config.study.seed)
        if not parts:
            _time_parts(timeline, parts)
    return dict(stages), dict(parts)


def _time_parts(timeline: Timeline, seconds: dict[str, float]) -> None:
    for pool in timeline.pools.values():
        shared = Shared()
        for series in pool.signals.values():
            with _timed(seconds, "views"):
                prepared = Prepared(view_signal(timeline, pool, series, shared=shared), shared)
            for name, part in PARTS.items():
                with _timed(seconds, name):
                    part(prepared)
            for name, measure in MEASURES.items():
                with _timed(seconds, name):
                    measure.function(prepared)
            with _timed(seconds, "held-out losses for the ranking"):
                block_losses(prepared, prepared.view.horizon_seconds)
