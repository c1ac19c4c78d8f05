"""How many replicas serve at each step: a fixed fleet, an autoscaled one, or one redeployed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.synthetic.service import ServiceSpec

    Floats = NDArray[np.float64]

AUTOSCALED_TO_KNEE = 0.75
SCALE_IN_AFTER_SECONDS = 300.0
REDEPLOY_EVERY_SECONDS = 1800.0


def plan_replicas(
    spec: ServiceSpec, pool: str, work_per_second: Floats, knee: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Give serving and starting replicas of a pool at each step (n,), (n,)."""
    planned = spec.replicas_of(pool)
    steps = work_per_second.size
    if spec.replica_plan == "autoscaled":
        return _autoscaled(spec, work_per_second, AUTOSCALED_TO_KNEE * knee)
    serving = np.full(steps, float(planned))
    if spec.replica_plan == "redeployed":
        spans = int(np.ceil(steps * spec.step_seconds / REDEPLOY_EVERY_SECONDS))
        offsets = rng.integers(-1, 2, size=spans)
        span = np.arange(steps) * spec.step_seconds // REDEPLOY_EVERY_SECONDS
        serving += offsets[span.astype(np.int64)]
    return np.maximum(serving, 1.0), np.zeros(steps)


def _autoscaled(spec: ServiceSpec, work_per_second: Floats, target: float) -> tuple[Floats, Floats]:
    """Follow the work of the last minute: out after the start-up time, in by one when calm."""
    steps = work_per_second.size
    window = max(1, round(60.0 / spec.step_seconds))
    startup = max(1, round(spec.startup_seconds / spec.step_seconds))
    calm = max(1, round(SCALE_IN_AFTER_SECONDS / spec.step_seconds))
    summed = np.concatenate([[0.0], np.cumsum(work_per_second)])
    serving, starting = np.empty(steps), np.zeros(steps)
    ready_at: list[int] = []
    current, quiet_since = 0, 0
    for step in range(steps):
        first = max(0, step - window)
        seen = summed[max(step, 1)] - summed[first]
        desired = max(1, int(np.ceil(seen / max(step - first, 1) / target)))
        current = desired if step == 0 else current + sum(at == step for at in ready_at)
        ready_at = [at for at in ready_at if at > step]
        coming = current + len(ready_at)
        if desired > coming:
            ready_at += [step + startup] * (desired - coming)
        if desired >= current:
            quiet_since = step
        elif step - quiet_since >= calm and not ready_at:
            current, quiet_since = current - 1, step
        serving[step], starting[step] = current, len(ready_at)
    return serving, starting
