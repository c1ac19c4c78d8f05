"""export: a policy in the form of one scaler; adding a scaler is a module and a line here."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import yaml

from signalstudy.scalers import aibrix, dynamo, hpa, keda, kthena, prometheus_rules, ray_serve
from signalstudy.vocabulary.errors import ConfigurationError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from signalstudy.policy.policy import Policy
    from signalstudy.policy.state import Decision, Observation, State
    from signalstudy.scalers.manifest import Manifest

SIGNALS_OF_A_POOL = ("up", "replicas")
"""What an exporter may ask of a pool beyond the policy's own signals."""


@dataclass(frozen=True, slots=True)
class Scaler:
    """What a scaler's module does; rules for people are written only."""

    write: Callable[[Policy], str]
    read: Callable[[str, str], Manifest] | None = None
    decide: Callable[[Manifest, State, Observation], Decision] | None = None


SCALERS: dict[str, Scaler] = {
    "hpa": Scaler(hpa.write, hpa.read, hpa.decide),
    "keda": Scaler(keda.write, keda.read, keda.decide),
    "aibrix": Scaler(aibrix.write, aibrix.read, aibrix.decide),
    "kthena": Scaler(kthena.write, kthena.read, kthena.decide),
    "dynamo": Scaler(dynamo.write, dynamo.read, dynamo.decide),
    "ray-serve": Scaler(ray_serve.write, ray_serve.read, ray_serve.decide),
    "prometheus-rules": Scaler(prometheus_rules.write),
}


def export(policy: Policy, to: str, queries: Mapping[str, str] | None = None) -> str:
    """Write a policy for one scaler; ExportError says what it cannot express or needs.

    `queries`: PromQL by POOL.SIGNAL (or the signal alone where only one pool has it), before that
    of the policy; `POOL.up` and `POOL.replicas` tell a pool's targets and replicas.
    """
    if to not in SCALERS:
        raise unknown_name("--to", "scaler", to, SCALERS)
    return SCALERS[to].write(with_queries(policy, queries or {}))


def as_json(manifests: str) -> str:
    """Give YAML documents as a JSON list of them, without the comments."""
    documents = list(yaml.safe_load_all(manifests))
    return json.dumps(documents, indent=1, allow_nan=False) + "\n"


def parse_queries(options: tuple[str, ...]) -> dict[str, str]:
    """Read the command line's SIGNAL=PROMQL."""
    queries = {}
    for option in options:
        name, sign, query = option.partition("=")
        if not (sign and name.strip() and query.strip()):
            raise ConfigurationError(f"--query {option!r}: it has the form SIGNAL=PROMQL.")
        queries[name.strip()] = query.strip()
    return queries


def with_queries(policy: Policy, queries: Mapping[str, str]) -> Policy:
    """Put queries where the policy would have them."""
    document = copy.deepcopy(policy.document)
    spec = document["spec"]
    places = {f"{spec['signal']['perReplicaOf']}.{spec['signal']['name']}": [spec["signal"]]}
    for pool, section in spec["pools"].items():
        if "signal" in section:
            key = f"{pool}.{section['signal']['name']}"
            places.setdefault(key, []).append(section["signal"])
    for guard in spec.get("guards", []):
        places.setdefault(f"{guard['pool']}.{guard['signal']}", []).append(guard)
    others = {f"{pool}.{name}" for pool in spec["pools"] for name in SIGNALS_OF_A_POOL}
    further = {}
    for name, query in queries.items():
        keys = [
            key
            for key in {**places, **dict.fromkeys(others)}
            if name in (key, key.split(".", 1)[1])
        ]
        if len(keys) != 1:
            raise unknown_name("--query", "signal", name, {*places, *others})
        for place in places.get(keys[0], []):
            place["promql"] = query
        if keys[0] in others:
            further[keys[0]] = query
    return replace(policy, document=document, queries={**policy.queries, **further})
