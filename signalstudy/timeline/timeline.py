"""The Timeline: everything known about one service, on one grid of time.

Arrays share one axis. `time_seconds[i]` is the END of step i, in seconds since 1970 UTC. Rates and
counter increments are means over the interval that ends there; gauges are points. NaN is "not
known" and is never filled. Names end in their unit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from signalstudy.vocabulary.objectives import Objective

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

SignalKind = Literal["total", "intensive"]
Role = Literal["production", "pressure-test"]


@dataclass(frozen=True, slots=True)
class SignalSeries:
    """One candidate signal of one pool.

    `values` (n,): the pool's sum where `kind` is total (throughput, queues, in-flight work), the
    mean over the pool's replicas where it is intensive (shares, latencies, watts per replica).
    `averaged_seconds`: each value is the mean over this long before its time (0: a point);
    its centre is half of that earlier. `window_seconds`: a further rate window that was applied
    before the data reached us (PromQL `[1m]`), a known group delay of half of it.
    `scrape_seconds`: median interval between native samples. `refresh_seconds`: period at which
    the exporter really renews the value, where that is longer than the scrape; else 0.
    `source`: the metric names it was made of, for people. `judged_by`: the pool whose demand and
    replicas it is judged against, where that is not its own (what the gateway measures).
    """

    name: str
    kind: SignalKind
    values: Floats
    averaged_seconds: float = 0.0
    window_seconds: float = 0.0
    scrape_seconds: float = 0.0
    refresh_seconds: float = 0.0
    source: str = ""
    unit: str = ""
    judged_by: str = ""


@dataclass(frozen=True, slots=True)
class Demand:
    """The work offered to one pool, per second (n,), a mean over the step that ends at the time.

    `source` names the rung of contract section 1: requests, gateway_tokens, gateway_arrivals,
    engine_arrivals, offered_requests, served_other_pool, served_own. `unit`: tokens or requests.
    `same_as`: names of this pool's signals that are the very series demand was made of (served
    work): correlation and linearity of those are not_applicable.
    """

    per_second: Floats
    source: str
    unit: str = "tokens"
    same_as: frozenset[str] = frozenset()
    note: str = ""


@dataclass(frozen=True, slots=True)
class SloCounts:
    """For one objective, per step: requests observed and how many were over the limit.

    `observed`, `over_low`, `over_high` (n,), whole numbers: exact where the limit is a bucket edge
    or the requests are known one by one (then over_low equals over_high), else the counts over the
    neighbouring edge above (`over_low`) and below (`over_high`) bracket the truth.
    """

    objective: Objective
    pool: str
    observed: Floats
    over_low: Floats
    over_high: Floats
    source: str
    edge_low_seconds: float
    edge_high_seconds: float

    @property
    def is_exact(self) -> bool:
        """Whether the limit stands on an edge, so that counts are exact."""
        return self.edge_low_seconds == self.edge_high_seconds


@dataclass(frozen=True, slots=True)
class Attained:
    """Requests by the step of their arrival: `offered`, and those `within` every limit (n,).

    Known only where a request log tells every latency of each; what never finished is not within.
    """

    offered: Floats
    within: Floats


@dataclass(frozen=True, slots=True)
class PoolTimeline:
    """One pool of one service. `ready_replicas`, `starting_replicas` (n,), NaN where not known."""

    pool: str
    ready_replicas: Floats
    starting_replicas: Floats
    signals: dict[str, SignalSeries]
    demand: Demand | None
    served_per_second: Floats | None
    """The pool's own work actually done, in the unit of demand, or None: decode tokens, uncached
    (else all) prompt tokens."""
    replicas_source: str = ""
    hardware: tuple[str, ...] = ()
    promql: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HardwarePart:
    """The replicas of one hardware type in a pool that mixes several, as a pool of their own."""

    hardware: str
    pool: PoolTimeline
    slo_counts: tuple[SloCounts, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a pool, at `at_seconds` since 1970.

    `scale_out`, `scale_in`, `counter_reset` (at 0: when is not known), `gap`; and what may begin
    another regime: `deploy` (most replicas gave way to others), `version`, `hardware` (labels).
    """

    at_seconds: float
    pool: str
    kind: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class QualityCheck:
    """One row of data_quality: `status` is ok, note, warning or failed."""

    check: str
    status: Literal["ok", "note", "warning", "failed"]
    note: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """One service over one span of one role.

    `usable` (n,): False inside [[exclude]] spans, which evidence leaves out.
    `token_mix` (n,): uncached prompt tokens offered per output token offered, NaN where unknown.
    `prefix_cache_hit_ratio` (n,) of the prompt work, NaN where unknown.
    """

    service: str
    role: Role
    time_seconds: Floats
    step_seconds: float
    pools: dict[str, PoolTimeline]
    slo_counts: tuple[SloCounts, ...]
    usable: Booleans
    token_mix: Floats
    prefix_cache_hit_ratio: Floats
    startup_seconds: Floats
    """Measured start-up times of replicas (m,), in seconds; empty where none was seen."""
    events: tuple[Event, ...] = ()
    quality: tuple[QualityCheck, ...] = ()
    hardware_parts: tuple[HardwarePart, ...] = ()
    attained: Attained | None = None

    def between(self, start_seconds: float, end_seconds: float) -> Timeline:
        """Give the steps that end after `start_seconds` and by `end_seconds`, as a record."""
        inside = (self.time_seconds > start_seconds) & (self.time_seconds <= end_seconds)
        return replace(
            self,
            time_seconds=self.time_seconds[inside],
            pools={name: _part_of_pool(pool, inside) for name, pool in self.pools.items()},
            slo_counts=tuple(
                replace(
                    counts,
                    observed=counts.observed[inside],
                    over_low=counts.over_low[inside],
                    over_high=counts.over_high[inside],
                )
                for counts in self.slo_counts
            ),
            usable=self.usable[inside],
            token_mix=self.token_mix[inside],
            prefix_cache_hit_ratio=self.prefix_cache_hit_ratio[inside],
            events=tuple(e for e in self.events if start_seconds < e.at_seconds <= end_seconds),
            attained=None
            if self.attained is None
            else Attained(self.attained.offered[inside], self.attained.within[inside]),
        )

    @property
    def days(self) -> float:
        """Length of the span in days."""
        return (self.time_seconds.size * self.step_seconds) / 86400.0


def _part_of_pool(pool: PoolTimeline, inside: Booleans) -> PoolTimeline:
    demand, served = pool.demand, pool.served_per_second
    return replace(
        pool,
        ready_replicas=pool.ready_replicas[inside],
        starting_replicas=pool.starting_replicas[inside],
        signals={
            name: replace(signal, values=signal.values[inside])
            for name, signal in pool.signals.items()
        },
        demand=None if demand is None else replace(demand, per_second=demand.per_second[inside]),
        served_per_second=None if served is None else served[inside],
    )
