"""The Threshold: the most work per replica that the objectives bear, and the target from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from signalstudy.vocabulary.estimate import Estimate

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ExceedanceCurve:
    """For drawing: share of requests over the limit against work per replica (bins,).

    `share_low`, `share_high`: 95 % block-bootstrap interval of the isotonic fit.
    """

    objective: str
    pool: str
    work_per_replica: Floats
    share: Floats
    fitted: Floats
    share_low: Floats
    share_high: Floats
    requests: Floats
    allowed_share: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one replica of one pool bears.

    `per_replica`: work per second and ready replica, `low` its safe bound. `signal`: canonical
    name of the work. `binding`: the objective that binds (ttft, tbt, e2e) or "".
    `max_observed`: the largest work per replica in the data, None where there is none.
    `by_objective`: the same per objective.
    """

    pool: str
    signal: str
    per_replica: Estimate
    binding: str
    max_observed: float | None
    by_objective: dict[str, Estimate] = field(default_factory=dict)
    curves: tuple[ExceedanceCurve, ...] = ()
    by_hardware: tuple[dict[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Threshold:
    """The target for one signal.

    `per_replica`: capacity in units of the signal; `target` = per_replica.low / (ramp headroom x
    (1 + tolerance)). `headroom_ratio`: the ramp factor R. `horizon_seconds`: seen lag + start-up
    + evaluation period that R covers.
    """

    signal: str
    pool: str
    per_replica: Estimate
    target: Estimate
    binding: str
    max_observed: float | None
    headroom_ratio: Estimate
    horizon_seconds: Estimate
    tolerance_ratio: float
    capacities: dict[str, Capacity] = field(default_factory=dict)
    by_hardware: tuple[dict[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class PdRatio:
    """Prefill replicas per decode replica.

    `ratio` with its interval of knowledge; `band_low`..`band_high` the band to hold in operation
    as the token mix moves; `token_mix`: median uncached prompt tokens per output token, and
    its 5 and 95 % quantiles; `moves_too_much`: whether the mix moves so much that one ratio does
    not serve, with the sentence in `note`.
    """

    ratio: Estimate
    band_low: float | None = None
    band_high: float | None = None
    token_mix: float | None = None
    token_mix_low: float | None = None
    token_mix_high: float | None = None
    moves_too_much: bool = False
    note: str = ""
