"""Generate a service whose right answers are known.

Open loop: requests arrive, their work is done `lag` seconds later at once, whatever the replicas;
work per replica sets each request's latency. So lag, elasticity (1), noise, knee and cache
distortion are exact, and follow from the specification alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.synthetic.replicas import plan_replicas
from signalstudy.synthetic.responses import (
    as_measured,
    gauges_of,
    latency_signals,
    noise_around,
    over_replicas,
    shapes_of,
)
from signalstudy.synthetic.service import (
    TOTAL_SIGNALS,
    PlantedTruth,
    RequestLog,
    SyntheticPool,
    SyntheticService,
)
from signalstudy.synthetic.traffic import Arrivals, draw_arrivals, hit_ratios, requests_per_second

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.synthetic.service import ServiceSpec

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

GAUGE_NOISE_RATIO = 0.01
UNRELATED_LEVEL = 0.4
INDEPENDENT_WORK = 0.5
"""Where no signal follows demand, latencies are those of half the knee throughout."""


@dataclass(frozen=True, slots=True)
class _Clock:
    """The steps of the recording, and as many before it as the longest lag needs."""

    start_seconds: float
    step_seconds: float
    steps: int
    lead: int

    @property
    def edges_seconds(self) -> Floats:
        """Edges of all steps, lead included (lead + steps + 1,)."""
        count = np.arange(-self.lead, self.steps + 1, dtype=np.float64)
        return self.start_seconds + self.step_seconds * count

    def step_of(self, at_seconds: Floats) -> Integers:
        """Give the step of the recording an instant falls in; negative in the lead."""
        step = np.floor((at_seconds - self.start_seconds) / self.step_seconds)
        return step.astype(np.int64)

    def per_second(self, step: Integers, amount: Floats) -> Floats:
        """Sum amounts over the recording's steps, per second (steps,)."""
        is_inside = (step >= 0) & (step < self.steps)
        sums = np.bincount(step[is_inside], weights=amount[is_inside], minlength=self.steps)
        return sums / self.step_seconds


@dataclass(frozen=True, slots=True)
class _Run:
    """What every part of one generation needs."""

    spec: ServiceSpec
    clock: _Clock
    arrivals: Arrivals
    rng: np.random.Generator


@dataclass(frozen=True, slots=True)
class _Work:
    """What one pool has to do, and with how many replicas.

    `step` (m,): the step each request's work is done in; `per_second` (n,): tokens done.
    """

    pool: str
    step: Integers
    per_second: Floats
    knee: float
    replicas: Floats
    starting: Floats


def generate_service(spec: ServiceSpec, *, seed: int) -> SyntheticService:
    """Generate one service from its specification; equal seeds give equal services."""
    rng = np.random.default_rng(seed)
    longest_lag = max(spec.decode_lag_seconds, spec.prefill_lag_seconds)
    clock = _Clock(
        start_seconds=spec.start_seconds,
        step_seconds=spec.step_seconds,
        steps=round(spec.days * 86400.0 / spec.step_seconds),
        lead=math.ceil(longest_lag / spec.step_seconds) + 1,
    )
    edges = clock.edges_seconds
    hits = hit_ratios(spec, edges.size - 1, rng)
    arrivals = draw_arrivals(spec, edges, requests_per_second(spec, edges, rng), hits, rng)
    run = _Run(spec, clock, arrivals, rng)
    work = {pool: _work_of(run, pool) for pool in ("prefill", "decode")}
    requests = _serve(run, work)
    step = clock.step_of(arrivals.at_seconds)
    prompt = clock.per_second(step, arrivals.prompt_tokens)
    uncached = clock.per_second(step, arrivals.prompt_tokens - arrivals.cached_prompt_tokens)
    hit_ratio = np.divide(
        prompt - uncached, prompt, out=np.full(clock.steps, np.nan), where=prompt > 0.0
    )
    return SyntheticService(
        spec=spec,
        time_seconds=edges[clock.lead + 1 :],
        demand_per_second={
            "prefill": uncached,
            "decode": clock.per_second(step, arrivals.output_tokens),
        },
        prefix_cache_hit_ratio=hit_ratio,
        pools={pool: _record(run, done, requests) for pool, done in work.items()},
        requests=_from_start(requests, spec.start_seconds),
        truth=_truth(spec, work, requests, hits[clock.lead :]),
    )


def _work_of(run: _Run, pool: str) -> _Work:
    spec, clock, arrivals = run.spec, run.clock, run.arrivals
    uncached = arrivals.prompt_tokens - arrivals.cached_prompt_tokens
    tokens = arrivals.output_tokens if pool == "decode" else uncached
    curve, objective = (
        (spec.tbt, spec.tbt_objective) if pool == "decode" else (spec.ttft, spec.ttft_objective)
    )
    step = clock.step_of(arrivals.at_seconds + spec.lag_seconds_of(pool))
    per_second = clock.per_second(step, tokens)
    knee = curve.knee_per_second(objective)
    replicas, starting = plan_replicas(spec, pool, per_second, knee, run.rng)
    return _Work(pool, step, per_second, knee, replicas, starting)


def _serve(run: _Run, work: dict[str, _Work]) -> RequestLog:
    """Give every request the latencies of the work per replica in the steps that served it."""
    spec, clock, arrivals = run.spec, run.clock, run.arrivals
    seconds = {}
    for pool, curve in (("prefill", spec.ttft), ("decode", spec.tbt)):
        per_replica = work[pool].per_second / work[pool].replicas
        if spec.independent_noise:
            per_replica = np.full(clock.steps, INDEPENDENT_WORK * work[pool].knee)
        # Work before and after the recording is taken to be that of its first and last step.
        median = curve.median_seconds(per_replica)[np.clip(work[pool].step, 0, clock.steps - 1)]
        seconds[pool] = median * np.exp(curve.spread * run.rng.standard_normal(median.size))
    return RequestLog(
        arrived_seconds=arrivals.at_seconds,
        prompt_tokens=arrivals.prompt_tokens,
        cached_prompt_tokens=arrivals.cached_prompt_tokens,
        output_tokens=arrivals.output_tokens,
        ttft_seconds=seconds["prefill"],
        tbt_seconds=seconds["decode"],
        prefill_step=work["prefill"].step,
        decode_step=work["decode"].step,
    )


def _record(run: _Run, work: _Work, requests: RequestLog) -> SyntheticPool:
    """Record a pool's signals, by replica where a replica has them."""
    spec, clock, rng = run.spec, run.clock, run.rng
    latency, seconds = (
        ("tbt", requests.tbt_seconds) if work.pool == "decode" else ("ttft", requests.ttft_seconds)
    )
    is_inside = (work.step >= 0) & (work.step < clock.steps)
    latencies = latency_signals(latency, seconds[is_inside], work.step[is_inside], clock.steps)
    by_replica = _rates(run, work) | _gauges(run, work)
    by_replica["unrelated_ratio"] = noise_around(
        UNRELATED_LEVEL, clock.steps, spec.step_seconds, rng
    )
    if spec.independent_noise:
        by_replica = {name: _unrelated(values, spec, rng) for name, values in by_replica.items()}
        latencies = {name: _unrelated(values, spec, rng) for name, values in latencies.items()}
    return SyntheticPool(
        pool=work.pool,
        replicas=work.replicas,
        starting=work.starting,
        work_per_second=work.per_second,
        replica_signals={
            name: over_replicas(name, values, work.replicas, rng)
            for name, values in by_replica.items()
        },
        pool_signals=latencies,
    )


def _rates(run: _Run, work: _Work) -> dict[str, Floats]:
    clock, arrivals = run.clock, run.arrivals
    if work.pool == "decode":
        done = {
            "decode_tokens_per_second": work.per_second,
            "requests_per_second": clock.per_second(work.step, np.ones(work.step.size)),
        }
    else:
        done = {
            "prefill_uncached_tokens_per_second": work.per_second,
            "prefill_tokens_per_second": clock.per_second(work.step, arrivals.prompt_tokens),
        }
    return {
        name: as_measured(name, rate, run.spec.noise_ratio, run.rng) for name, rate in done.items()
    }


def _gauges(run: _Run, work: _Work) -> dict[str, Floats]:
    """Give a pool's gauges (n,): totals over its replicas or means, as their names say."""
    curve = run.spec.tbt if work.pool == "decode" else run.spec.ttft
    per_replica = gauges_of(work.pool, work.per_second / work.replicas, work.knee, curve)
    return {
        name: as_measured(
            name,
            value * work.replicas if name in TOTAL_SIGNALS else value,
            GAUGE_NOISE_RATIO,
            run.rng,
        )
        for name, value in per_replica.items()
    }


def _unrelated(values: Floats, spec: ServiceSpec, rng: np.random.Generator) -> Floats:
    level = float(np.nanmean(values))
    return noise_around(level, values.size, spec.step_seconds, rng)


def _from_start(requests: RequestLog, start_seconds: float) -> RequestLog:
    """Leave out the requests that arrived before the recording began."""
    kept = requests.arrived_seconds >= start_seconds
    return RequestLog(
        **{name: getattr(requests, name)[kept] for name in RequestLog.__dataclass_fields__}
    )


def _truth(
    spec: ServiceSpec, work: dict[str, _Work], requests: RequestLog, hits: Floats
) -> PlantedTruth:
    mix = float(requests.uncached_prompt_tokens.sum() / requests.output_tokens.sum())
    knees = {pool: done.knee for pool, done in work.items()}
    terciles = np.array_split(np.sort(1.0 / (1.0 - hits)), 3)
    means = [float(tercile.mean()) for tercile in terciles]
    return PlantedTruth(
        lag_seconds={pool: spec.lag_seconds_of(pool) for pool in work},
        noise_ratio=spec.noise_ratio,
        knee_per_second=knees,
        pd_ratio=mix * knees["decode"] / knees["prefill"],
        token_mix=mix,
        cache_distortion_ratio=(means[-1] - means[0]) / float(np.median(means)),
        shapes={
            (pool, signal): shape
            for pool in work
            for signal, shape in shapes_of(pool, is_noise=spec.independent_noise).items()
        },
    )
