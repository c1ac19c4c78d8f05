"""From exporters that know nodes and pods to the pools that engines know.

DCGM's instance is a node and kube-state-metrics names no model; both name pods, some behind
`exported_` where the scrape put its own pod first. The engines' series say whose pods those are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalstudy.telemetry.labels import Identity

OUTSIDE = ("gpu", "state")
OWNERS = ("deployment", "statefulset", "replicaset")
Place = tuple[str, str | None]


@dataclass(slots=True)
class Pods:
    """Whose pods there are: (namespace, pod) and (namespace, owner) -> (service, pool).

    `strangers`: series by metric that name a pod which no engine names.
    """

    of_pod: dict[tuple[str, str], set[Place]] = field(default_factory=lambda: defaultdict(set))
    of_owner: dict[tuple[str, str], set[Place]] = field(default_factory=lambda: defaultdict(set))
    strangers: Counter[str] = field(default_factory=Counter)

    def add(self, labels: Mapping[str, str], identity: Identity) -> None:
        """Learn from an engine's series whose pod it is."""
        pod = labels.get("pod") or labels.get("exported_pod")
        if pod is None or identity.pool is None:
            return
        place = (identity.service, identity.pool)
        for namespace in {labels.get("namespace", ""), ""}:
            self.of_pod[namespace, pod].add(place)
            # a deployment's pods end in two words of their own, a set's in one
            for words in (1, 2):
                owner = pod.rsplit("-", words)[0]
                if owner != pod:
                    self.of_owner[namespace, owner].add(place)

    def join(
        self, metric: str, labels: Mapping[str, str], identity: Identity, *, names_service: bool
    ) -> Identity:
        """Give a GPU's or the cluster's series the place of its pod, where it has none itself."""
        if (names_service and identity.pool) or not self.of_pod:
            return identity
        namespace = labels.get("exported_namespace") or labels.get("namespace", "")
        owner = next((labels[name] for name in OWNERS if name in labels), None)
        pod = labels.get("exported_pod") or labels.get("pod")
        if owner is not None:
            found, replica = self._one(self.of_owner, namespace, owner), None
        elif pod is not None:
            found, replica = self._one(self.of_pod, namespace, pod), pod
            leader, _, number = pod.rpartition("-")
            if found is None and number.isdecimal():
                # a replica of several pods: the leader alone exports, workers bear its name
                found, replica = self._one(self.of_pod, namespace, leader), leader
        else:
            return identity
        if found is None:
            self.strangers[metric] += 1
            return identity
        service, pool = found
        return replace(
            identity,
            service=identity.service if names_service else service,
            pool=identity.pool or pool,
            replica=replica,
        )

    @staticmethod
    def _one(
        places: Mapping[tuple[str, str], set[Place]], namespace: str, name: str
    ) -> Place | None:
        found = places.get((namespace, name), set())
        return next(iter(found)) if len(found) == 1 else None

    def notes(self) -> list[str]:
        """Say which series could not be joined."""
        return [
            f"{count} series of {metric} name a pod or owner that no engine's series name, or that "
            "several services share: not joined to a pool"
            for metric, count in sorted(self.strangers.items())
        ]
