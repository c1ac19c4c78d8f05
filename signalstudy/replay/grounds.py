"""Grounds: what a study says of demand, pools and latencies, cut to the span that is replayed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.ndimage import uniform_filter1d

from signalstudy.replay.offered import (
    censored_steps,
    count_requests,
    gain_of,
    offered_requests,
    residence_seconds,
    spread,
    tokens_per_request,
)
from signalstudy.replay.placement import site_of
from signalstudy.replay.relations import Relation, seen_relation
from signalstudy.threshold.counts import bin_seconds
from signalstudy.vocabulary.errors import ConfigurationError, NotEnoughDataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from signalstudy.policy.policy import Policy
    from signalstudy.ranking.ranking import Ranking
    from signalstudy.replay.inventory import Inventory
    from signalstudy.replay.placement import Site
    from signalstudy.threshold.threshold import Capacity, PdRatio, Threshold
    from signalstudy.timeline.timeline import PoolTimeline, SloCounts, Timeline
    from signalstudy.vocabulary.objectives import Objective

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

LEAST_ASKED = 0.99
FEWEST_STARTUPS = 3
USUAL_STARTUP_SECONDS = 120.0
PEAK_SECONDS, PEAK_MARGIN, FEWEST_AT_MOST = 60.0, 2.0, 4

WORKING_POOLS = ("prefill", "unified", "decode")
"""In the order in which a request passes them."""

LATENCY_POOLS = {"ttft": ("prefill", "unified", "decode"), "tbt": ("decode", "unified"),
                 "e2e": ("decode", "unified")}  # fmt: skip
"""Which pool's queue an objective waits in, the first that is there."""


class Studied(Protocol):
    """What a replay needs of a service's study (`study.ServiceStudy` has it)."""

    @property
    def service(self) -> str: ...  # noqa: D102
    @property
    def timeline(self) -> Timeline | None: ...  # noqa: D102
    @property
    def objectives(self) -> tuple[Objective, ...]: ...  # noqa: D102
    @property
    def ranking(self) -> Ranking: ...  # noqa: D102
    @property
    def threshold(self) -> Threshold: ...  # noqa: D102
    @property
    def pd_ratio(self) -> PdRatio: ...  # noqa: D102
    @property
    def policy(self) -> Policy | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class PoolGrounds:
    """One pool. `work` (n,): offered per step, in the work that its capacity is counted in.

    `residence_seconds`: how long a request's work takes at the usual pace. `recorded_ready`,
    `recorded_starting` (n,), NaN where not known. `gpus`: of one replica.
    """

    pool: str
    work: Floats
    capacity: Capacity
    gpus: float
    residence_seconds: float
    recorded_ready: Floats
    recorded_starting: Floats


@dataclass(frozen=True, slots=True)
class ObjectiveGrounds:
    """One objective: the pool it waits in, what the work there does to it, and what was counted.

    `typical`: the usual latency against work per replica, None where it was not measured.
    `over_work`, `over_share` (bins,): the fitted share over the limit, of the work per replica over
    `over_seconds`: a shorter mean trembles more, and would be beyond the knee by chance. `tokens`:
    output tokens a request, by which waiting is divided (1 unless the objective is per token).
    """

    objective: Objective
    pool: str
    typical: Relation | None
    over_work: Floats
    over_share: Floats
    over_seconds: float
    tokens: float
    counts: SloCounts | None


@dataclass(frozen=True, slots=True)
class Grounds:
    """One service over the replayed span; arrays (n,), one value a step.

    `known`: demand is known. `censored`: the recording served less than was offered. `weights`:
    requests that arrive (work, where none are counted), by which attainment is weighted. `whole`:
    the timeline of the study. `site`: the places of an inventory, None where nothing bounds it.
    """

    service: str
    time_seconds: Floats
    step_seconds: float
    pools: dict[str, PoolGrounds]
    objectives: tuple[ObjectiveGrounds, ...]
    known: Booleans
    censored: Booleans
    weights: Floats
    startup_seconds: Floats
    requests: float | None
    whole: Timeline
    studied: Studied
    notes: tuple[str, ...] = ()
    site: Site | None = None

    @property
    def asked_attainment(self) -> float:
        """The share within every limit that rivals are to reach: 0.99, or what objectives ask."""
        return max(LEAST_ASKED, min(one.objective.quantile for one in self.objectives))

    def most_replicas(self, pool: str) -> int:
        """Give a maximum that is fair to all: the study's own, else twice what the peak needs."""
        policy = self.studied.policy
        said = {} if policy is None else policy.document["spec"]["pools"].get(pool, {})
        if "maxReplicas" in said:
            return int(said["maxReplicas"])
        bears = (self.pools[pool].capacity.per_replica.value or 1.0) * self.step_seconds
        minute = max(round(PEAK_SECONDS / self.step_seconds), 1)
        peak = uniform_filter1d(self.pools[pool].work, minute, mode="nearest").max()
        return max(int(np.ceil(PEAK_MARGIN * peak / bears - 1e-9)), FEWEST_AT_MOST)

    def part(self, rows: slice) -> Grounds:
        """Give some steps of the span, as a span of its own."""
        pools = {
            name: replace(
                pool,
                work=pool.work[rows],
                recorded_ready=pool.recorded_ready[rows],
                recorded_starting=pool.recorded_starting[rows],
            )
            for name, pool in self.pools.items()
        }
        whole = float(self.weights.sum())
        return replace(
            self,
            time_seconds=self.time_seconds[rows],
            pools=pools,
            known=self.known[rows],
            censored=self.censored[rows],
            weights=self.weights[rows],
            requests=None
            if self.requests is None or not whole
            else self.requests * float(self.weights[rows].sum()) / whole,
        )


def lay_grounds(
    studied: Studied,
    *,
    span: tuple[float | None, float | None] = (None, None),
    startup_seconds: float | None = None,
    gpus_per_replica: Mapping[str, float] | None = None,
    inventory: Inventory | None = None,
) -> Grounds:
    """Take from a study what a replay stands on; errors say what is missing.

    `span`: Unix seconds, None for the ends of the recording. `startup_seconds`: where the
    recording shows no start-ups. `inventory`: where replicas may stand.
    """
    timeline = _timeline(studied)
    rows = _rows(timeline, span)
    startups, startup_note = _startups(studied, timeline, startup_seconds)
    notes = [startup_note]
    names = [name for name in WORKING_POOLS if name in timeline.pools]
    known = np.ones(timeline.time_seconds.size, dtype=bool)
    pools = {}
    for name in names:
        pool = timeline.pools[name]
        capacity = _capacity(studied, pool)
        if pool.demand is None:
            raise NotEnoughDataError(f"No replay: the demand of {name} is not known.")
        known &= np.isfinite(pool.demand.per_second)
        gpus = _gpus(studied, name, gpus_per_replica, notes)
        notes += _capacity_notes(capacity)
        pools[name] = _pool(timeline, pool, capacity, gpus, rows)
    if not pools:
        raise NotEnoughDataError("No replay: the recording has no pool that does work.")
    if not known[rows].any():
        raise NotEnoughDataError("No replay: demand is not known anywhere in the span.")
    first = timeline.pools[names[0]].demand
    assert first is not None  # noqa: S101 - said above; for the type checker
    work = np.nan_to_num(first.per_second) * known * timeline.step_seconds
    weights = offered_requests(timeline, work)
    site = None
    if inventory is not None:
        bears = {name: pool.capacity.per_replica.value or 1.0 for name, pool in pools.items()}
        site = site_of(inventory, {name: pool.gpus for name, pool in pools.items()}, bears)
    return Grounds(
        service=studied.service,
        time_seconds=timeline.time_seconds[rows],
        step_seconds=timeline.step_seconds,
        pools=pools,
        objectives=tuple(_objective(one, studied, timeline) for one in studied.objectives),
        known=known[rows],
        censored=censored_steps(timeline, names)[rows],
        weights=weights[rows],
        startup_seconds=startups,
        requests=count_requests(timeline, rows),
        whole=timeline,
        studied=studied,
        notes=tuple(dict.fromkeys(filter(None, notes))),
        site=site,
    )


def _timeline(studied: Studied) -> Timeline:
    if studied.timeline is None:
        raise NotEnoughDataError(
            f"No replay of {studied.service!r}: operating points have no demand over time."
        )
    if not studied.objectives:
        raise ConfigurationError(
            "No replay without objectives: add [[objectives]] to study.toml, so that there is "
            "something to keep."
        )
    return studied.timeline


def _rows(timeline: Timeline, span: tuple[float | None, float | None]) -> slice:
    """Give the steps that lie wholly within the span."""
    times = timeline.time_seconds
    start, end = times[0] - timeline.step_seconds, times[-1]
    since = start if span[0] is None else span[0]
    until = end if span[1] is None else span[1]
    inside = np.flatnonzero((times - timeline.step_seconds >= since - 1e-6) & (times <= until))
    if since >= until or inside.size < 2:
        raise ConfigurationError(
            f"--from, --to: between {iso(since)} and {iso(until)} there are no two steps of the "
            f"recording. It has {iso(start)} to {iso(end)}."
        )
    return slice(int(inside[0]), int(inside[-1]) + 1)


def iso(seconds: float) -> str:
    """Write Unix seconds as ISO 8601 in UTC."""
    at = np.datetime64(round(seconds), "s")
    return f"{at}Z"


def _startups(studied: Studied, timeline: Timeline, configured: float | None) -> tuple[Floats, str]:
    """Give start-up times to draw from (m,): measured, else configured, else the usual."""
    seen = timeline.startup_seconds
    if seen.size >= FEWEST_STARTUPS:
        return seen, ""
    if configured is None and studied.policy is not None:
        said = [
            pool["startupSeconds"]
            for pool in studied.policy.document["spec"]["pools"].values()
            if "startupSeconds" in pool
        ]
        configured = max(said, default=None)
    if configured is not None:
        return np.array([float(configured)]), ""
    return np.array([USUAL_STARTUP_SECONDS]), (
        f"Start-up times are neither in the data nor in study.toml: {USUAL_STARTUP_SECONDS:g} s "
        "is assumed; write [provisioning] startup_seconds."
    )


def _capacity(studied: Studied, pool: PoolTimeline) -> Capacity:
    capacity = studied.threshold.capacities.get(pool.pool)
    if capacity is None or not capacity.per_replica.value:
        why = "" if capacity is None else f" {capacity.per_replica.note}"
        raise NotEnoughDataError(
            f"No replay: what a replica of {pool.pool} bears is not known.{why}"
        )
    return capacity


def _capacity_notes(capacity: Capacity) -> list[str]:
    estimate = capacity.per_replica
    if estimate.status == "ok":
        return []
    name = f"The capacity of {capacity.pool}, {estimate.value:.4g} a replica"
    if estimate.status == "lower_bound":
        return [f"{name}, is a lower bound: a real replica bears more, and needs to wait less."]
    return [f"{name}, is {estimate.status}. {estimate.note}"]


def _gpus(
    studied: Studied, pool: str, given: Mapping[str, float] | None, notes: list[str]
) -> float:
    if given is not None and pool in given:
        return float(given[pool])
    if studied.policy is not None:
        said = studied.policy.document["spec"]["pools"].get(pool, {}).get("gpusPerReplica")
        if said is not None:
            return float(said)
    notes.append(
        "GPUs of a replica are not known: one each is counted; write [provisioning] "
        "gpus_per_replica."
    )
    return 1.0


def _pool(
    timeline: Timeline, pool: PoolTimeline, capacity: Capacity, gpus: float, rows: slice
) -> PoolGrounds:
    assert pool.demand is not None  # noqa: S101 - lay_grounds says so; for the type checker
    work = np.nan_to_num(pool.demand.per_second) * timeline.step_seconds * gain_of(timeline, pool)
    residence = residence_seconds(timeline, pool)
    if pool.pool != "prefill" and capacity.signal != "requests_per_second":
        work = spread(work, residence / timeline.step_seconds)
    return PoolGrounds(
        pool=pool.pool,
        work=work[rows],
        capacity=capacity,
        gpus=gpus,
        residence_seconds=residence,
        recorded_ready=pool.ready_replicas[rows],
        recorded_starting=pool.starting_replicas[rows],
    )


def _objective(objective: Objective, studied: Studied, timeline: Timeline) -> ObjectiveGrounds:
    pool = next(name for name in LATENCY_POOLS[objective.signal] if name in timeline.pools)
    capacity = studied.threshold.capacities.get(pool)
    curves = [] if capacity is None else capacity.curves
    curve = next((one for one in curves if one.objective == str(objective)), None)
    none = np.array([0.0])
    names = (f"{objective.signal}_mean_seconds", f"{objective.signal}_p50_seconds")
    typical = seen_relation(timeline, pool, *names)
    counted = next((one for one in timeline.slo_counts if one.objective == objective), None)
    per_token = objective.signal == "tbt"
    return ObjectiveGrounds(
        objective=objective,
        pool=pool,
        typical=typical,
        over_work=none if curve is None else curve.work_per_replica,
        over_share=none if curve is None else np.nan_to_num(curve.fitted),
        over_seconds=bin_seconds(timeline, objective.signal),
        tokens=(tokens_per_request(timeline) or 1.0) if per_token else 1.0,
        counts=counted,
    )
