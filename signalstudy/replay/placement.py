"""Placement: where replicas stand, which decisions find a place, and what is left in pieces.

HeteroScale (arXiv:2508.19559, section 4 and Algorithm 4): prefill and decode of a deployment group
stand behind the same switch, together or not at all; places with mixed hardware are used last and
freed first; one replica at a time; what is freed is not used again in the same cycle.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from signalstudy.replay.inventory import Inventory

    Floats = NDArray[np.float64]

PAIR = frozenset({"prefill", "decode"})


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica: its minipod, type of GPU, and the step from which it serves."""

    minipod: int
    hardware: str
    ready_at: int


@dataclass(frozen=True, slots=True)
class Site:
    """An inventory for one service. `gpus` of a replica by pool.

    `strength`: what a replica bears on a type over what the study found, by (pool, type).
    `pieces`: what `fragmentation` has worked out already, shared by all lanes.
    """

    inventory: Inventory
    gpus: Mapping[str, int]
    strength: Mapping[tuple[str, str], float]
    pieces: dict[tuple[object, ...], float] = field(default_factory=dict)

    @property
    def is_paired(self) -> bool:
        """Whether replicas come in groups of prefill and decode."""
        return set(self.gpus) >= PAIR


@dataclass(slots=True)
class Fleet:
    """The replicas of one lane. Changed by `move` alone, wholly or not at all."""

    site: Site
    replicas: dict[str, list[Replica]]
    free: list[dict[str, int]]

    def count(self, pool: str, steps: NDArray[np.int64]) -> Floats:
        """Give how many replicas of a pool serve at each step."""
        return self._sum(pool, steps, weighted=False)

    def strength(self, pool: str, steps: NDArray[np.int64]) -> Floats:
        """Give the same, each replica counted as what it bears over a usual one."""
        return self._sum(pool, steps, weighted=True)

    def move(self, wanted: Mapping[str, int], ready_at: int) -> bool:
        """Ask for `wanted` replicas by pool; say whether that, and all of it, was done.

        What is added must find a place, or nothing is done. What is taken away goes as far as
        groups stay whole.
        """
        more = {pool: count - len(self.replicas[pool]) for pool, count in wanted.items()}
        adds = {pool: count for pool, count in more.items() if count > 0}
        if adds and not self._place(adds, ready_at):
            return False
        return not self._leave({pool: -count for pool, count in more.items() if count < 0})

    def fragmentation(self) -> float:
        """Give the share of free GPUs that no further group (of one pool: replica) could use."""
        key = (
            tuple(tuple(sorted(one.items())) for one in self.free),
            tuple(sorted(self._per_switch().items())),
        )
        if key not in self.site.pieces:
            self.site.pieces[key] = self._pieces()
        return self.site.pieces[key]

    def _pieces(self) -> float:
        free = self._free_gpus()
        if not free:
            return 0.0
        replicas, places = self._kept()
        for domain in sorted({self.site.inventory.domain(at) for at in range(len(self.free))}):
            while self._add_group(domain, 0):
                pass
        left = self._free_gpus()
        self.replicas, self.free = replicas, places
        return left / free

    def _free_gpus(self) -> int:
        return sum(sum(one.values()) for one in self.free)

    def _add_group(self, domain: int, ready_at: int) -> bool:
        """Add one replica of every pool in a domain, or none."""
        return self._or_undo(
            lambda: all(self._add(pool, domain, ready_at) for pool in self.site.gpus)
        )

    def _or_undo(self, done: Callable[[], bool]) -> bool:
        """Do something wholly, or leave everything as it was."""
        replicas, places = self._kept()
        if done():
            return True
        self.replicas, self.free = replicas, places
        return False

    def _kept(self) -> tuple[dict[str, list[Replica]], list[dict[str, int]]]:
        replicas = {pool: list(found) for pool, found in self.replicas.items()}
        return replicas, [dict(one) for one in self.free]

    def _sum(self, pool: str, steps: NDArray[np.int64], *, weighted: bool) -> Floats:
        found = np.zeros(steps.size)
        for one in self.replicas[pool]:
            bears = self.site.strength.get((pool, one.hardware), 1.0) if weighted else 1.0
            found += bears * (steps >= one.ready_at)
        return found

    def _per_switch(self) -> Counter[int]:
        return Counter(
            self.site.inventory.minipods[one.minipod].switch
            for found in self.replicas.values()
            for one in found
        )

    def _in_domain(self, pool: str, domain: int) -> int:
        inventory = self.site.inventory
        return sum(inventory.domain(one.minipod) == domain for one in self.replicas[pool])

    def _place(self, more: Mapping[str, int], ready_at: int) -> bool:
        """Find a place for all of `more`, or change nothing.

        Where the places of one pool run out, some of the other are kept back to open a new group.
        """
        most_kept = min(more.values()) if self.site.is_paired and len(more) > 1 else 0
        return any(
            self._or_undo(partial(self._fill, dict(more), kept_back, ready_at))
            for kept_back in range(most_kept + 1)
        )

    def _fill(self, more: dict[str, int], kept_back: int, ready_at: int) -> bool:
        """Place `more`, where possible; `kept_back` of each pool only once the others stand."""
        for kept in dict.fromkeys((kept_back, 0)):
            domains = sorted(self._domains(), key=lambda one: one[1] and kept < kept_back)
            for domain, has_group in domains:
                if self.site.is_paired and not has_group:
                    is_whole = all(more.get(pool, 0) > kept for pool in PAIR)
                    if not is_whole or not self._add_group(domain, ready_at):
                        continue
                    more = {pool: count - (pool in PAIR) for pool, count in more.items()}
                full: set[str] = set()
                while able := [p for p, count in more.items() if count > kept and p not in full]:
                    for pool in able:  # in turn, so that no pool takes all the room
                        if self._add(pool, domain, ready_at):
                            more[pool] -= 1
                        else:
                            full.add(pool)
        return not any(more.values())

    def _domains(self) -> list[tuple[int, bool]]:
        """List groups' domains, the least scarce first, those that have a group before others."""
        inventory = self.site.inventory
        scarce: dict[int, int] = {}
        for at, pod in enumerate(inventory.minipods):
            domain = inventory.domain(at)
            scarce[domain] = min(scarce.get(domain, pod.priority), pod.priority)
        has = {
            domain: all(self._in_domain(pool, domain) for pool in PAIR & set(self.replicas))
            for domain in scarce
        }
        ordered = sorted(scarce, key=lambda one: (scarce[one], not has[one], one))
        return [(domain, has[domain]) for domain in ordered]

    def _add(self, pool: str, domain: int, ready_at: int) -> bool:
        """Add one replica in a domain: on the least scarce minipod, there on the strongest GPU.

        A type that fewer pools may run on goes first, so that it is not left over.
        """
        inventory, needs = self.site.inventory, self.site.gpus[pool]
        used = self._per_switch()
        places = (at for at in range(len(self.free)) if inventory.domain(at) == domain)
        for at in sorted(places, key=lambda one: (inventory.minipods[one].priority, one)):
            switch = inventory.minipods[at].switch
            limit = inventory.most[switch]
            if limit is not None and used[switch] >= limit:
                continue
            fits = [
                hardware
                for hardware, count in self.free[at].items()
                if count >= needs and inventory.may_run(pool, hardware)
            ]
            if fits:
                best = min(fits, key=lambda one: self._suits(pool, one))
                self.free[at][best] -= needs
                self.replicas[pool].append(Replica(at, best, ready_at))
                return True
        return False

    def _suits(self, pool: str, hardware: str) -> tuple[int, float, str]:
        shared = sum(self.site.inventory.may_run(other, hardware) for other in self.site.gpus)
        return shared, -self.site.strength.get((pool, hardware), 1.0), hardware

    def _leave(self, less: Mapping[str, int]) -> int:
        """Take replicas away, the scarcest place first and there the youngest; say how many stay.

        None goes that would leave a group with one pool alone; then a whole pair may go.
        """
        left = {pool: count for pool, count in less.items() if count > 0}
        while goes := max(self._able_to_go(left), key=self._leaves_first, default=None):
            for pool, one in goes.items():
                self._remove(pool, one)
                left[pool] -= 1
        return sum(left.values())

    def _able_to_go(self, left: Mapping[str, int]) -> Iterator[dict[str, Replica]]:
        """List what may go at once: a replica, or the last of both pools of a group."""
        domain = self.site.inventory.domain
        inside = {
            pool: Counter(domain(one.minipod) for one in found)
            for pool, found in self.replicas.items()
        }
        least = 1 if self.site.is_paired else 0
        for pool in (pool for pool, count in left.items() if count):
            for one in self.replicas[pool]:
                if inside[pool][domain(one.minipod)] > least:
                    yield {pool: one}
        if self.site.is_paired and all(left.get(pool, 0) for pool in PAIR):
            for prefill in self.replicas["prefill"]:
                at = domain(prefill.minipod)
                if all(inside[pool][at] == 1 for pool in PAIR):
                    decode = next(d for d in self.replicas["decode"] if domain(d.minipod) == at)
                    yield {"prefill": prefill, "decode": decode}

    def _leaves_first(self, goes: Mapping[str, Replica]) -> tuple[int, int, int]:
        """Order what may go: the scarcest place, and there the youngest."""
        pods = self.site.inventory.minipods
        return max((pods[one.minipod].priority, one.ready_at, one.minipod) for one in goes.values())

    def _remove(self, pool: str, one: Replica) -> None:
        self.replicas[pool].remove(one)
        self.free[one.minipod][one.hardware] += self.site.gpus[pool]


@dataclass(slots=True)
class Placed:
    """How decisions found places, by lane (lanes,): decisions not done, and pieces over time.

    `pieces`: (step, fragmentation) at each change, one list a lane.
    """

    refused: NDArray[np.int64]
    pieces: list[list[tuple[int, float]]]

    @classmethod
    def empty(cls, lanes: int) -> Placed:
        """Give what stands before the first decision."""
        return cls(np.zeros(lanes, dtype=np.int64), [[] for _ in range(lanes)])

    def note(self, lane: int, step: int, fleet: Fleet, *, is_done: bool) -> None:
        """Note one decision."""
        self.refused[lane] += not is_done
        self.pieces[lane].append((step, fleet.fragmentation()))

    def fragmentation(self, steps: int) -> Floats:
        """Average the fragmentation over the span (lanes,), weighted by time; NaN if none moved."""
        found = []
        for changes in self.pieces:
            at = np.array([step for step, _ in changes] + [steps], dtype=float)
            values = np.array([value for _, value in changes])
            lasted = np.diff(at)
            found.append(float(values @ lasted / lasted.sum()) if lasted.sum() else np.nan)
        return np.array(found)


def site_of(inventory: Inventory, gpus: Mapping[str, float], capacity: Mapping[str, float]) -> Site:
    """Make an inventory ready for a service; `capacity`: of a replica by pool, as studied.

    Raises ConfigurationError where a pool fits nowhere.
    """
    whole = {pool: max(round(count), 1) for pool, count in gpus.items()}
    for pool, needs in whole.items():
        most = max(
            (
                count
                for pod in inventory.minipods
                for hardware, count in pod.gpus.items()
                if inventory.may_run(pool, hardware)
            ),
            default=0,
        )
        if most < needs:
            raise ConfigurationError(
                f"--inventory: a replica of {pool} needs {needs} GPUs of one minipod; the largest "
                f"that it may use has {most}."
            )
    strength = {
        (pool, hardware): bears / capacity[pool]
        for (pool, hardware), bears in inventory.capacity.items()
        if pool in capacity
    }
    return Site(inventory, whole, strength)


def settle(site: Site, start: Mapping[str, float]) -> Fleet:
    """Place the replicas of the beginning, already serving; ConfigurationError where none fits."""
    fleet = Fleet(
        site, {pool: [] for pool in site.gpus}, [dict(one.gpus) for one in site.inventory.minipods]
    )
    wanted = {pool: int(count) for pool, count in start.items()}
    if not fleet.move(wanted, 0):
        said = ", ".join(f"{count} {pool}" for pool, count in wanted.items())
        raise ConfigurationError(
            f"--inventory: it has no place for the replicas that the replay begins with ({said})."
        )
    return fleet
