"""The nouns of a planted service: what was asked for, what is true, and what one would record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from signalstudy.synthetic.latency import LatencyCurve
from signalstudy.vocabulary.objectives import Objective

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

ReplicaPlan = Literal["fixed", "autoscaled", "redeployed"]
Shape = Literal["proportional", "distorted", "pinned", "concave", "convex", "cliff", "noise"]

TBT = LatencyCurve(idle_seconds=0.020, ceiling_per_second=4000.0, spread=0.25)
TTFT = LatencyCurve(idle_seconds=0.150, ceiling_per_second=6000.0, spread=0.40)
TBT_OBJECTIVE = Objective("tbt", quantile=0.99, at_most_seconds=0.050)
TTFT_OBJECTIVE = Objective("ttft", quantile=0.99, at_most_seconds=1.0)


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service with a prefill and a decode pool, to be generated.

    Demand has a day's rhythm (`day_swing` of its mean) and AR(1) bursts (`burst_spread`, the
    standard deviation of their logarithm, over `burst_seconds`). It is scaled so that decode work
    per replica of the planned fleet reaches `peak_over_knee` times the knee at its 99.5 % quantile.
    `arrival_regularity`: shape of the gamma intervals between arrivals; 1 is Poisson.
    `noise_ratio`: relative measurement noise of the work signals, per pool and step.
    `replica_plan`: `fixed`; `autoscaled` on decode work; `redeployed`: one more or one less at
    times that have nothing to do with demand.
    `independent_noise`: every signal is noise that knows nothing of demand.
    """

    name: str = "planted"
    days: float = 1.0
    step_seconds: float = 15.0
    start_seconds: float = 1767571200.0
    prefill_replicas: int = 2
    decode_replicas: int = 3
    prompt_tokens: float = 1000.0
    output_tokens: float = 300.0
    token_spread: float = 0.3
    day_swing: float = 0.7
    burst_spread: float = 0.15
    burst_seconds: float = 300.0
    arrival_regularity: float = 4.0
    hit_ratio: float = 0.4
    hit_swing: float = 0.25
    hit_seconds: float = 7200.0
    decode_lag_seconds: float = 12.0
    prefill_lag_seconds: float = 3.0
    noise_ratio: float = 0.02
    tbt: LatencyCurve = TBT
    ttft: LatencyCurve = TTFT
    tbt_objective: Objective = TBT_OBJECTIVE
    ttft_objective: Objective = TTFT_OBJECTIVE
    peak_over_knee: float = 1.15
    replica_plan: ReplicaPlan = "fixed"
    startup_seconds: float = 120.0
    independent_noise: bool = False

    def lag_seconds_of(self, pool: str) -> float:
        """Give how long after arrival a pool's work is done."""
        return self.decode_lag_seconds if pool == "decode" else self.prefill_lag_seconds

    def replicas_of(self, pool: str) -> int:
        """Give the number of replicas planned for a pool."""
        return self.decode_replicas if pool == "decode" else self.prefill_replicas


@dataclass(frozen=True, slots=True)
class PlantedTruth:
    """The right answers.

    `lag_seconds`: of each pool's signals after offered demand. `noise_ratio`: relative noise of
    its work signal. `knee_per_second`: the most decode tokens (decode) or uncached prompt tokens
    (prefill) per second and replica that the pool's objective bears. `pd_ratio`: prefill replicas
    per decode replica at the knees and the mean token mix. `cache_distortion_ratio`: what the
    moving hits do to all-token prefill throughput, range over median of tercile means of
    1 / (1 - hit ratio). `shapes`: what each signal of each pool is, by (pool, signal).
    """

    lag_seconds: dict[str, float]
    noise_ratio: float
    knee_per_second: dict[str, float]
    pd_ratio: float
    token_mix: float
    cache_distortion_ratio: float
    shapes: dict[tuple[str, str], Shape]


@dataclass(frozen=True, slots=True)
class RequestLog:
    """One entry per request (m,). `prefill_step`, `decode_step`: the step its work was done in."""

    arrived_seconds: Floats
    prompt_tokens: Floats
    cached_prompt_tokens: Floats
    output_tokens: Floats
    ttft_seconds: Floats
    tbt_seconds: Floats
    prefill_step: Integers
    decode_step: Integers

    @property
    def uncached_prompt_tokens(self) -> Floats:
        """Prompt tokens that missed the cache, and so are work (m,)."""
        return self.prompt_tokens - self.cached_prompt_tokens

    @property
    def e2e_seconds(self) -> Floats:
        """Time from arrival to the last token (m,)."""
        return self.ttft_seconds + (self.output_tokens - 1.0) * self.tbt_seconds


@dataclass(frozen=True, slots=True)
class SyntheticPool:
    """One pool as one would record it, n steps and at most r replicas.

    `replicas`, `starting` (n,). `work_per_second` (n,): done by the pool, without measurement
    noise. `replica_signals`: name -> (n, r), NaN where the replica does not serve.
    `pool_signals`: name -> (n,), what exists only for the pool (latency quantiles).
    """

    pool: str
    replicas: Floats
    starting: Floats
    work_per_second: Floats
    replica_signals: dict[str, Floats]
    pool_signals: dict[str, Floats]


@dataclass(frozen=True, slots=True)
class SyntheticService:
    """A generated service: demand by pool (n,), pools, requests, and the truth behind them.

    `time_seconds` (n,) are the ends of the steps. Demand is booked at arrival, tokens per second.
    """

    spec: ServiceSpec
    time_seconds: Floats
    demand_per_second: dict[str, Floats]
    prefix_cache_hit_ratio: Floats
    pools: dict[str, SyntheticPool]
    requests: RequestLog
    truth: PlantedTruth


TOTAL_SIGNALS = frozenset(
    {
        "prefill_tokens_per_second",
        "prefill_uncached_tokens_per_second",
        "decode_tokens_per_second",
        "requests_per_second",
        "running_requests",
        "waiting_requests",
    }
)
"""Signals that add up over a pool's replicas; all others are means over them."""


def is_rate(signal: str) -> bool:
    """Whether values are means over the step that ends at their time, not points."""
    return signal.endswith("_per_second")
