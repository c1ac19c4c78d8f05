"""The Threshold: the most work per replica that the objectives bear, and the target from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from signalstudy.vocabulary.estimate import Estimate
from signalstudy.vocabulary.spoken import spoken_estimate
from signalstudy.vocabulary.tables import html_table, text_table

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from signalstudy.threshold.drift import Drift

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
class HardwareCapacity:
    """What a replica of one hardware type bears in a pool that mixes several.

    `replicas`: how many there were, the mean over time. `target`: from this capacity, as the
    pool's own is from its own.
    """

    hardware: str
    pool: str
    signal: str
    replicas: float
    per_replica: Estimate
    target: Estimate
    binding: str
    max_observed: float | None

    def as_dict(self) -> dict[str, Any]:
        """Give the form of study.json."""
        return {
            "hardware": self.hardware,
            "pool": self.pool,
            "signal": self.signal,
            "replicas": self.replicas,
            "per_replica": self.per_replica.as_dict(),
            "target": self.target.as_dict(),
            "binding": self.binding,
            "max_observed": self.max_observed,
        }


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


@dataclass(frozen=True, slots=True, repr=False)
class Threshold:
    """The target for one signal.

    `per_replica`: capacity in units of the signal; `target` = per_replica.low / (ramp headroom x
    (1 + tolerance)). `headroom_ratio`: the ramp factor R. `horizon_seconds`: seen lag + start-up
    + evaluation period that R covers. `pool_targets`: the same target for each pool's own work,
    over that pool's own ramp factor (`pool_headrooms`), where pools follow their own signals.
    `by_hardware`: the same per hardware type, for pools that mix several. `drifts`: what a replica
    bears by part of the day and by regime.
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
    by_hardware: tuple[HardwareCapacity, ...] = ()
    pool_targets: dict[str, Estimate] = field(default_factory=dict)
    pool_headrooms: dict[str, Estimate] = field(default_factory=dict)
    drifts: tuple[Drift, ...] = ()

    def target_of(self, pool: str) -> Estimate | None:
        """Give the target of the pool that drives, or of another pool's own work."""
        return self.target if pool == self.pool else self.pool_targets.get(pool)

    def estimates(self) -> dict[str, Estimate]:
        """Give every number of the threshold by name, pools' capacities included."""
        own = {
            "per_replica": self.per_replica,
            "target": self.target,
            "headroom_ratio": self.headroom_ratio,
            "horizon_seconds": self.horizon_seconds,
        }
        pools = {
            f"{pool}.{capacity.signal}": capacity.per_replica
            for pool, capacity in self.capacities.items()
        }
        return own | pools

    def frame(self) -> pl.DataFrame:
        """Give one row per number, with interval, status, method and note."""
        return _estimates_frame(self.estimates())

    def __repr__(self) -> str:
        """Give the numbers in at most ten lines."""
        return text_table(*_estimates_table(self.estimates()), title=self._title())

    def _repr_html_(self) -> str:
        """Give the numbers as a table for notebooks."""
        return html_table(*_estimates_table(self.estimates()), title=self._title())

    def _title(self) -> str:
        bound = f", bound by {self.binding}" if self.binding else ""
        return f"Threshold of {self.pool}.{self.signal} per replica{bound}"


@dataclass(frozen=True, slots=True, repr=False)
class PdRatio:
    """Prefill replicas per decode replica.

    `ratio` with its interval of knowledge; `band_low`..`band_high` the band to hold in operation
    as the token mix moves; `token_mix`: median uncached prompt tokens per output token, and
    its 5 and 95 % quantiles; `moves_too_much`: whether the mix moves so much that one ratio does
    not serve, with the sentence in `note`. `kept`: the ratio of the policy, where a replay gave the
    pools unlike room for their ramps; `ratio` is that of their capacities all the same, the band
    and all else in operation that of `kept`.
    """

    ratio: Estimate
    band_low: float | None = None
    band_high: float | None = None
    token_mix: float | None = None
    token_mix_low: float | None = None
    token_mix_high: float | None = None
    moves_too_much: bool = False
    note: str = ""
    fixed_cost: Estimate | None = None
    holds_to_mix: float | None = None
    kept: float | None = None

    def estimates(self) -> dict[str, Estimate]:
        """Give the ratio and, where known, the token mix behind it."""
        known = {"prefill_per_decode_ratio": self.ratio}
        if self.token_mix is not None:
            known["token_mix_ratio"] = Estimate(
                value=self.token_mix,
                low=self.token_mix_low,
                high=self.token_mix_high,
                note="uncached prompt tokens per output token; 5 to 95 % of the time",
            )
        if self.fixed_cost is not None:
            known["fixed_ratio_cost_ratio"] = self.fixed_cost
        return known

    def frame(self) -> pl.DataFrame:
        """Give one row per number, with interval, status, method and note."""
        return _estimates_frame(self.estimates())

    def __repr__(self) -> str:
        """Give the numbers in at most ten lines."""
        return text_table(*_estimates_table(self.estimates()), title=self.note)

    def _repr_html_(self) -> str:
        """Give the numbers as a table for notebooks."""
        return html_table(*_estimates_table(self.estimates()), title=self.note)


def _estimates_table(estimates: dict[str, Estimate]) -> tuple[list[str], list[list[str]]]:
    rows = [
        [name, spoken_estimate(estimate), estimate.status, estimate.note]
        for name, estimate in estimates.items()
    ]
    return ["quantity", "estimate", "status", "note"], rows


def _estimates_frame(estimates: dict[str, Estimate]) -> pl.DataFrame:
    import polars as pl  # noqa: PLC0415 (the statistics floor stays light)

    numbers = dict.fromkeys(("value", "low", "high"), pl.Float64)
    said = dict.fromkeys(("status", "note"), pl.String)
    rest = dict.fromkeys(("effective_observations", "days"), pl.Float64)
    rows = [{"quantity": name} | estimate.as_dict() for name, estimate in estimates.items()]
    schema = {"quantity": pl.String} | numbers | said | rest | {"method": pl.String}
    return pl.DataFrame(rows, schema=schema)
