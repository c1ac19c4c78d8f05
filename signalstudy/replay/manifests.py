"""Rivals that are manifests: what each scaler's own documentation would have one write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from signalstudy.policy.yaml_text import dump
from signalstudy.replay.controller import Controller, Reads
from signalstudy.replay.relations import seen_relation
from signalstudy.replay.remembering import Remembering
from signalstudy.scalers import aibrix, dynamo, hpa, keda, kthena
from signalstudy.scalers.manifest import POOL_LABEL
from signalstudy.scalers.plan import identifier
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from signalstudy.replay.grounds import Grounds, PoolGrounds

WINDOW_SECONDS = 60.0
SCRAPE_SECONDS = 15.0
"""What AIBrix reads: it keeps the windows itself."""
MEMORY_SECONDS = 300.0
"""The longest window in these manifests: the default stabilization of a scale-in."""
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Targets to choose from, as shares of what the signal says where a replica bears no more."""
QUEUES = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Waiting requests a replica to choose from."""
QUEUED_TOKENS = (2000.0, 4000.0, 8000.0, 16_000.0, 32_000.0)
"""Queued prompt tokens a worker at which Dynamo's planner adds one; its example says 16,000."""
RATIO_SLACK = 1.5
"""How far the band goes either way of the ratio: a narrow one has no small pairs of whole numbers
in it, and would cost a small fleet dearly."""
IN_PERCENT = 100.0
DYNAMO_DOWN = {"prefill": 2000.0 / 16_000.0, "decode": 50.0 / 80.0}
"""The lower threshold as a share of the upper one, as in the planner's example."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a rival is given for one pool.

    `share`: of its signal at capacity, for queues what may wait at a replica. `floor`: its least
    replicas.
    """

    share: float
    floor: int = 1


@dataclass(frozen=True, slots=True)
class _Metric:
    """What sizes one pool: a signal, its target, whether it is a total, and the bounds."""

    pool: str
    signal: str
    target: float
    is_total: bool
    least: int
    most: int

    @property
    def name(self) -> str:
        """Its name in a manifest, which stands for POOL.SIGNAL of an observation."""
        return identifier(f"{self.pool}.{self.signal}")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A rival: the module of its scaler, signal by pool ("": the pool's work), and the grid.

    `document`: its object for one pool; `joint`: its object for both, where one sizes both.
    """

    scaler: Any
    signals: Mapping[str, str]
    is_total: bool
    grid: Mapping[str, tuple[float, ...]]
    document: Callable[[_Metric], dict[str, Any]] | None = None
    joint: Callable[[Sequence[_Metric], Grounds], dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What may be chosen for one pool."""

    shares: tuple[float, ...]
    floors: tuple[int, ...] = (1,)

    @property
    def middle(self) -> Choice:
        """The choice to begin with."""
        return Choice(self.shares[len(self.shares) // 2], self.floors[0])

    def size(self, field: str) -> int:
        """Say how many values a field of a choice has."""
        return len(self.shares if field == "share" else self.floors)

    def at(self, given: Choice, field: str, number: int) -> Choice:
        """Give a choice with another value of one field, the last one where there are fewer."""
        number = min(number, self.size(field) - 1)
        if field == "share":
            return Choice(self.shares[number], given.floor)
        return Choice(given.share, self.floors[number])


def options_of(name: str, grounds: Grounds) -> dict[str, Options]:
    """List what a rival may be given, by pool.

    Who follows a queue knows nothing until work waits, and may have a floor to wait on.
    """
    grid = KINDS[name].grid
    floors = {pool.pool: _floors(pool, grounds) for pool in grounds.pools.values()}
    if QUEUED_TOKENS in grid.values():  # Dynamo's planner has one floor for all its pools
        shared = tuple(sorted({min(some) for some in zip(*floors.values(), strict=False)}))
        return {pool: Options(grid[pool], shared) for pool in grounds.pools}
    return {
        pool: Options(grid[pool], floors[pool] if grid[pool] is QUEUES else (1,))
        for pool in grounds.pools
    }


def _floors(pool: PoolGrounds, grounds: Grounds) -> tuple[int, ...]:
    """Give floors that bear the usual work, and that of a busy hour."""
    bears = (pool.capacity.per_replica.value or 1.0) * grounds.step_seconds
    usual = [float(np.quantile(pool.work, share)) / bears for share in (0.5, 0.9)]
    return tuple(sorted({1, *(max(int(np.ceil(one)), 1) for one in usual)}))


def contender(name: str, grounds: Grounds, given: Mapping[str, Choice]) -> tuple[Controller, str]:
    """Give a rival with a choice for every pool, and what it was given as a sentence.

    Raises NotEnoughDataError with the reason where the recording does not show its signal.
    """
    kind = KINDS[name]
    if kind.joint is not None and set(grounds.pools) != {"prefill", "decode"}:
        raise NotEnoughDataError(f"{name} is left out: there are not two pools to hold together.")
    metrics = [_metric(name, kind, pool, given[pool], grounds) for pool in grounds.pools]
    if kind.joint is not None:
        documents = [kind.joint(metrics, grounds)]
    else:
        assert kind.document is not None  # noqa: S101 - a kind has one of the two
        documents = [kind.document(metric) for metric in metrics]
    text = "---\n".join(dump(document) for document in documents)
    decide = Remembering(kind.scaler.decide, kind.scaler.read(text, name), MEMORY_SECONDS)
    reads = tuple(
        Reads(
            one.pool,
            one.signal,
            one.is_total,
            SCRAPE_SECONDS if kind.scaler is aibrix else WINDOW_SECONDS,
            starting_is_idle=not one.is_total,
            is_own_queue=one.signal == QUEUE_IN_TOKENS,
        )
        for one in metrics
    )
    bounds = {metric.pool: (metric.least, metric.most) for metric in metrics}
    said = ", ".join(_said(metric) for metric in metrics)
    return Controller(name, reads, {}, bounds, {}, decide, 0.0), said


def _said(metric: _Metric) -> str:
    return (
        f"{metric.pool}.{metric.signal} at {metric.target:.4g} with "
        f"{metric.least} to {metric.most} replicas"
    )


def _metric(name: str, kind: _Kind, pool: str, given: Choice, grounds: Grounds) -> _Metric:
    """Take the signal of a pool, with its target at a share of what it says at capacity."""
    capacity = grounds.pools[pool].capacity
    bears = capacity.per_replica.value or 0.0
    signal = kind.signals[pool] or capacity.signal
    # Queued work of the model stands for a queue that was not recorded in tokens.
    is_total = kind.is_total or signal == QUEUE_IN_TOKENS
    bounds = given.floor, max(grounds.most_replicas(pool), given.floor)
    if signal == capacity.signal:
        return _Metric(pool, signal, given.share * bears, is_total, *bounds)
    if signal == QUEUE_IN_TOKENS:
        return _Metric(pool, signal, given.share, is_total, *bounds)
    relation = seen_relation(grounds.whole, pool, signal)
    if relation is None:
        raise NotEnoughDataError(
            f"{name} is left out: the recording does not show {pool}.{signal}."
        )
    if kind.grid[pool] is QUEUES:
        return _Metric(pool, signal, given.share, is_total, *bounds)
    limits: dict[str, float] = {
        one.objective.signal: one.objective.at_most_seconds for one in grounds.objectives
    }
    at_capacity = limits.get(signal.split("_", 1)[0], float(relation.at(np.array(bears))))
    if at_capacity <= 0.0:
        raise NotEnoughDataError(f"{name} is left out: {pool}.{signal} is 0 at capacity.")
    return _Metric(pool, signal, given.share * at_capacity, is_total, *bounds)


def _named(metric: _Metric, api_version: str, kind: str) -> dict[str, Any]:
    """Give the head of an object for a pool."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": f"rival-{metric.pool}", "labels": {POOL_LABEL: metric.pool}},
    }


def _ref(metric: _Metric) -> dict[str, str]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": metric.pool}


def _target(metric: _Metric) -> str:
    return f"{metric.target:.9f}"


def _hpa(metric: _Metric) -> dict[str, Any]:
    """Give an HPA with default behavior on an intensive metric: replicas x value / target."""
    named = {"metric": {"name": metric.name}, "target": {"type": "Value", "value": _target(metric)}}
    return _named(metric, "autoscaling/v2", "HorizontalPodAutoscaler") | {
        "spec": {
            "scaleTargetRef": _ref(metric),
            "minReplicas": metric.least,
            "maxReplicas": metric.most,
            "metrics": [{"type": "External", "external": named}],
        }
    }


def _keda(metric: _Metric) -> dict[str, Any]:
    trigger = {
        "type": "prometheus",
        "name": metric.name,
        "metricType": "AverageValue" if metric.is_total else "Value",
        "metadata": {
            "serverAddress": "http://prometheus:9090",
            "threshold": _target(metric),
            "query": "sum(metric)" if metric.is_total else "avg(metric)",
        },
    }
    return _named(metric, "keda.sh/v1alpha1", "ScaledObject") | {
        "spec": {
            "scaleTargetRef": _ref(metric),
            "minReplicaCount": metric.least,
            "maxReplicaCount": metric.most,
            "triggers": [trigger],
        }
    }


def _aibrix(strategy: str) -> Callable[[_Metric], dict[str, Any]]:
    def document(metric: _Metric) -> dict[str, Any]:
        source = {"metricSourceType": "external" if metric.is_total else "pod",
                  "targetMetric": metric.name, "targetValue": _target(metric)}  # fmt: skip
        if not metric.is_total:
            source |= {"protocolType": "http", "port": "8000", "path": "/metrics"}
        return _named(metric, "autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler") | {
            "spec": {
                "scaleTargetRef": _ref(metric),
                "minReplicas": metric.least,
                "maxReplicas": metric.most,
                "scalingStrategy": strategy,
                "metricsSources": [source],
            }
        }

    return document


def _kthena(metrics: Sequence[_Metric], grounds: Grounds) -> dict[str, Any]:
    """Give one policy for both roles, held to a band around the ratio that the work asks for."""
    need = {
        pool.pool: pool.work.sum() / (pool.capacity.per_replica.value or 1.0)
        for pool in grounds.pools.values()
    }
    ratio = need["prefill"] / need["decode"]
    source = {"serverURL": "http://prometheus:9090", "query": "sum(metric)"}
    roles = {
        metric.pool: {
            "minReplicas": metric.least,
            "maxReplicas": metric.most,
            "metrics": [{"name": metric.name, "targetValue": _target(metric)}],
            "metricSources": {metric.name: {"prometheus": source}},
        }
        for metric in metrics
    }
    head = _named(metrics[0], "workload.serving.volcano.sh/v1alpha1", "AutoscalingPolicy")
    band = {
        "numeratorRole": "prefill",
        "denominatorRole": "decode",
        "minRatio": f"{ratio / RATIO_SLACK:.3f}",
        "maxRatio": f"{ratio * RATIO_SLACK:.3f}",
    }
    target = {"apiVersion": "workload.serving.volcano.sh/v1alpha1", "kind": "ModelServing",
              "name": "rival"}  # fmt: skip
    return head | {
        "spec": {
            "tolerancePercent": 10,
            "disaggregatedTarget": {"targetRef": target, "roles": roles, "ratioConstraint": band},
        }
    }


def _dynamo(metrics: Sequence[_Metric], grounds: Grounds) -> dict[str, Any]:
    """Give a request whose planner scales on load, its thresholds as far apart as its example's."""
    queue, occupancy = (one.target for one in metrics)
    gpus = {pool.pool: max(int(pool.gpus), 1) for pool in grounds.pools.values()}
    planner = {
        "mode": "disagg",
        "backend": "vllm",
        "environment": "kubernetes",
        "optimization_target": "load",
        "prefill_scale_up_queue_tokens": int(queue),
        "prefill_scale_down_queue_tokens": int(DYNAMO_DOWN["prefill"] * queue),
        "decode_scale_up_kv_rate": IN_PERCENT * occupancy,
        "decode_scale_down_kv_rate": IN_PERCENT * DYNAMO_DOWN["decode"] * occupancy,
        "min_endpoint": min(one.least for one in metrics),
        "max_gpu_budget": sum(one.most * gpus[one.pool] for one in metrics),
        "min_gpu_budget": -1,
        "prefill_engine_num_gpu": gpus["prefill"],
        "decode_engine_num_gpu": gpus["decode"],
    }
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeploymentRequest",
        "metadata": {"name": "rival"},
        "spec": {"model": "rival", "backend": "vllm", "features": {"planner": planner}},
    }


QUEUE_IN_TOKENS = "inflight_tokens"
_WORK = {"prefill": "", "decode": "", "unified": ""}
_UTILIZATION = dict.fromkeys(_WORK, "gpu_utilization_ratio")
_WAITING = dict.fromkeys(_WORK, "waiting_requests")
_LATENCY = dict.fromkeys(_WORK, "ttft_mean_seconds") | {"decode": "tbt_mean_seconds"}
# A prefill pool holds neither KV blocks nor requests for long: it goes by its work.
_KV = dict.fromkeys(_WORK, "kv_cache_usage_ratio") | {"prefill": ""}
_RUNNING = dict.fromkeys(_WORK, "running_requests") | {"prefill": ""}
_LOAD = _KV | {"prefill": QUEUE_IN_TOKENS}
_BY_SHARE = dict.fromkeys(_WORK, SHARES)
_BY_QUEUE = dict.fromkeys(_WORK, QUEUES)
_BY_LOAD = _BY_SHARE | {"prefill": QUEUED_TOKENS}
KINDS = {
    "hpa-gpu-utilization": _Kind(hpa, _UTILIZATION, False, _BY_SHARE, _hpa),
    "hpa-ttft": _Kind(hpa, _LATENCY, False, _BY_SHARE, _hpa),
    "keda-queue": _Kind(keda, _WAITING, True, _BY_QUEUE, _keda),
    "keda-kv": _Kind(keda, _KV, False, _BY_SHARE, _keda),
    "aibrix-kpa": _Kind(aibrix, _RUNNING, True, _BY_SHARE, _aibrix("KPA")),
    "aibrix-apa": _Kind(aibrix, _KV, False, _BY_SHARE, _aibrix("APA")),
    "kthena-ratio": _Kind(kthena, _WORK, True, _BY_SHARE, joint=_kthena),
    "dynamo-load": _Kind(dynamo, _LOAD, False, _BY_LOAD, joint=_dynamo),
}
