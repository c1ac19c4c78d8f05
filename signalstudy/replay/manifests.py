"""Rivals that are manifests: what each scaler's own documentation would have one write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from signalstudy.policy.yaml_text import dump
from signalstudy.replay.controller import Controller, Reads
from signalstudy.replay.relations import seen_relation
from signalstudy.replay.remembering import Remembering
from signalstudy.scalers import aibrix, hpa, keda, kthena
from signalstudy.scalers.manifest import POOL_LABEL
from signalstudy.scalers.plan import identifier
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from signalstudy.replay.grounds import Grounds

WINDOW_SECONDS = 60.0
SCRAPE_SECONDS = 15.0
"""What AIBrix reads: it keeps the windows itself."""
MEMORY_SECONDS = 300.0
"""The longest window in these manifests: the default stabilization of a scale-in."""
MOST_REPLICAS = 100
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Targets to choose from, as shares of what the signal says where a replica bears no more."""
QUEUES = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Waiting requests a replica to choose from."""
RATIO_SLACK = 1.5
"""How far the band goes either way of the ratio: a narrow one has no small pairs of whole numbers
in it, and would cost a small fleet dearly."""


@dataclass(frozen=True, slots=True)
class _Metric:
    """What sizes one pool: a signal, its target, and whether it is a total."""

    pool: str
    signal: str
    target: float
    is_total: bool

    @property
    def name(self) -> str:
        """Its name in a manifest, which stands for POOL.SIGNAL of an observation."""
        return identifier(f"{self.pool}.{self.signal}")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A rival: the module of its scaler, signal by pool ("": the pool's work), and the grid.

    `document`: its object for one pool, None where one object sizes both at a ratio.
    """

    scaler: Any
    signals: Mapping[str, str]
    is_total: bool
    grid: tuple[float, ...]
    document: Callable[[_Metric], dict[str, Any]] | None


def contenders(name: str, grounds: Grounds) -> list[tuple[Controller, str]]:
    """Give a rival once with every target to choose from, and what it was given as a sentence.

    Raises NotEnoughDataError with the reason where the recording does not show its signal.
    """
    kind = KINDS[name]
    if kind.document is None and set(grounds.pools) != {"prefill", "decode"}:
        raise NotEnoughDataError(f"{name} is left out: there are not two pools to hold together.")
    found = []
    for share in kind.grid:
        metrics = [_metric(name, kind, pool, share, grounds) for pool in grounds.pools]
        if kind.document is None:
            documents = [_kthena(metrics, grounds)]
        else:
            documents = [kind.document(metric) for metric in metrics]
        text = "---\n".join(dump(document) for document in documents)
        decide = Remembering(kind.scaler.decide, kind.scaler.read(text, name), MEMORY_SECONDS)
        window = SCRAPE_SECONDS if kind.scaler is aibrix else WINDOW_SECONDS
        reads = tuple(Reads(m.pool, m.signal, m.is_total, window, not m.is_total) for m in metrics)
        said = ", ".join(
            f"{metric.pool}.{metric.signal} at {metric.target:.4g}" for metric in metrics
        )
        bounds = dict.fromkeys(grounds.pools, (1, MOST_REPLICAS))
        found.append((Controller(name, reads, {}, bounds, {}, decide, 0.0), said))
    return found


def _metric(name: str, kind: _Kind, pool: str, share: float, grounds: Grounds) -> _Metric:
    """Take the signal of a pool, with its target at `share` of what it says at capacity."""
    capacity = grounds.pools[pool].capacity
    bears = capacity.per_replica.value or 0.0
    signal = kind.signals[pool] or capacity.signal
    if signal == capacity.signal:
        return _Metric(pool, signal, share * bears, kind.is_total)
    relation = seen_relation(grounds.whole, pool, signal)
    if relation is None:
        raise NotEnoughDataError(
            f"{name} is left out: the recording does not show {pool}.{signal}."
        )
    if kind.grid is QUEUES:
        return _Metric(pool, signal, share, kind.is_total)
    limits: dict[str, float] = {
        one.objective.signal: one.objective.at_most_seconds for one in grounds.objectives
    }
    at_capacity = limits.get(signal.split("_", 1)[0], float(relation.at(np.array(bears))))
    if at_capacity <= 0.0:
        raise NotEnoughDataError(f"{name} is left out: {pool}.{signal} is 0 at capacity.")
    return _Metric(pool, signal, share * at_capacity, kind.is_total)


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
            "minReplicas": 1,
            "maxReplicas": MOST_REPLICAS,
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
            "minReplicaCount": 1,
            "maxReplicaCount": MOST_REPLICAS,
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
                "minReplicas": 1,
                "maxReplicas": MOST_REPLICAS,
                "scalingStrategy": strategy,
                "metricsSources": [source],
            }
        }

    return document


def _kthena(metrics: list[_Metric], grounds: Grounds) -> dict[str, Any]:
    """Give one policy for both roles, held to a band around the ratio that the work asks for."""
    need = {
        pool.pool: pool.work.sum() / (pool.capacity.per_replica.value or 1.0)
        for pool in grounds.pools.values()
    }
    ratio = need["prefill"] / need["decode"]
    source = {"serverURL": "http://prometheus:9090", "query": "sum(metric)"}
    roles = {
        metric.pool: {
            "minReplicas": 1,
            "maxReplicas": MOST_REPLICAS,
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


_WORK = {"prefill": "", "decode": "", "unified": ""}
_UTILIZATION = dict.fromkeys(_WORK, "gpu_utilization_ratio")
_WAITING = dict.fromkeys(_WORK, "waiting_requests")
_LATENCY = dict.fromkeys(_WORK, "ttft_mean_seconds") | {"decode": "tbt_mean_seconds"}
# A prefill pool holds neither KV blocks nor requests for long: it goes by its work.
_KV = dict.fromkeys(_WORK, "kv_cache_usage_ratio") | {"prefill": ""}
_RUNNING = dict.fromkeys(_WORK, "running_requests") | {"prefill": ""}
KINDS = {
    "hpa-gpu-utilization": _Kind(hpa, _UTILIZATION, False, SHARES, _hpa),
    "hpa-ttft": _Kind(hpa, _LATENCY, False, SHARES, _hpa),
    "keda-queue": _Kind(keda, _WAITING, True, QUEUES, _keda),
    "keda-kv": _Kind(keda, _KV, False, SHARES, _keda),
    "aibrix-kpa": _Kind(aibrix, _RUNNING, True, SHARES, _aibrix("KPA")),
    "aibrix-apa": _Kind(aibrix, _KV, False, SHARES, _aibrix("APA")),
    "kthena-ratio": _Kind(kthena, _WORK, True, SHARES, None),
}
