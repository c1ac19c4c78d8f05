"""Inventory: what GPUs there are, of which type, behind which network switch."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from signalstudy.policy.read import read_text
from signalstudy.policy.yaml_text import one_line, parse
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

Affinity = Literal["s1", "s2", "none"]
LOW, MEDIUM, HIGH = 0, 1, 2
"""How scarce a minipod is: its switch holds one type of GPU; its switch holds several, itself one;
itself several. Replicas go to the least scarce first and leave the scarcest first."""


@dataclass(frozen=True, slots=True)
class Minipod:
    """Nodes below one S1 switch. `gpus`: by type; `switch`: which S2 switch it hangs on."""

    name: str
    switch: int
    gpus: Mapping[str, int]
    priority: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """A fleet's places. `most` by switch: replicas of all pools, None: no limit.

    `affinity`: what prefill and decode of a group must share. `allowed`: pools by GPU type, absent
    where all may run on it. `capacity`: (pool, type) to work per second and replica.
    """

    minipods: tuple[Minipod, ...]
    most: tuple[int | None, ...]
    affinity: Affinity = "s2"
    allowed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    capacity: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def domain(self, minipod: int) -> int:
        """Say which deployment group a minipod belongs to."""
        return {"s1": minipod, "s2": self.minipods[minipod].switch, "none": 0}[self.affinity]

    def may_run(self, pool: str, hardware: str) -> bool:
        """Say whether a pool may run on a type of GPU."""
        return pool in self.allowed.get(hardware, frozenset({pool}))


@cache
def inventory_schema() -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of an inventory, as it ships with the package."""
    text = files("signalstudy.replay").joinpath("inventory.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def read_inventory(path: str | Path) -> Inventory:
    """Read an inventory file (YAML); ConfigurationError names the place of what is wrong."""
    place = str(path)
    document = parse(read_text(Path(path)), place)
    error = best_match(Draft202012Validator(inventory_schema()).iter_errors(document))
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path)
        said = one_line(error.message)[:300]
        raise ConfigurationError(f"{place}{f', {where}' if where else ''}: {said}.")
    return _inventory(cast("dict[str, Any]", document), place)


def _inventory(document: dict[str, Any], place: str) -> Inventory:
    switches, hardware = document["switches"], document.get("hardware", {})
    names = [one["name"] for one in switches]
    names += [pod["name"] for one in switches for pod in one["minipods"]]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ConfigurationError(f"{place}: the name {one_line(twice[0])!r} stands twice.")
    minipods = []
    for number, switch in enumerate(switches):
        kinds = {
            pod["name"]: sorted(name for name, count in pod["gpus"].items() if count)
            for pod in switch["minipods"]
        }
        is_one_type = len({name for found in kinds.values() for name in found}) <= 1
        for pod in switch["minipods"]:
            is_mixed = len(kinds[pod["name"]]) > 1
            priority = HIGH if is_mixed else LOW if is_one_type else MEDIUM
            minipods.append(Minipod(pod["name"], number, dict(pod["gpus"]), priority))
    there = {name for pod in minipods for name in pod.gpus}
    strange = sorted(set(hardware) - there)
    if strange:
        raise ConfigurationError(
            f"{place}, hardware: no minipod has {one_line(strange[0])!r}. "
            f"There are: {', '.join(one_line(name) for name in sorted(there))}."
        )
    return Inventory(
        minipods=tuple(minipods),
        most=tuple(switch.get("maxReplicas") for switch in switches),
        affinity=document.get("affinity", "s2"),
        allowed={
            name: frozenset(said["pools"]) for name, said in hardware.items() if "pools" in said
        },
        capacity={
            (pool, name): float(value)
            for name, said in hardware.items()
            for pool, value in said.get("capacityPerReplica", {}).items()
        },
    )
