"""What every exporter needs of a policy, pool by pool: what to follow, at what, how far, how fast.

Joint policy on scalers that size each pool alone: a follower reads the driver's signal and divides
it by T / ratio, which is the same as the driver's desired replicas x ratio.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from signalstudy.policy.rules import compile_policy
from signalstudy.policy.yaml_text import one_line
from signalstudy.scalers.promql import alive, one_value, outermost, up
from signalstudy.vocabulary.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from signalstudy.policy.policy import Policy
    from signalstudy.policy.rules import PoolRule, Rules

LONGEST_LABEL_VALUE = 63
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
NAMES = {
    "apiVersion": (rf"({_LABEL}(\.{_LABEL})*/)?v[0-9][a-z0-9]*", 253),
    "kind": ("[A-Za-z][A-Za-z0-9]*", 63),
    "name": (rf"{_LABEL}(\.{_LABEL})*", 253),
    "namespace": (_LABEL, 63),
}
"""What a reference may hold: RFC 1123 names, and how long."""
REPLICAS_METRICS = {
    "Deployment": ("kube_deployment_spec_replicas", "deployment"),
    "StatefulSet": ("kube_statefulset_replicas", "statefulset"),
}
"""kube-state-metrics: a kind's wanted replicas, and the label that holds its name."""


@dataclass(frozen=True, slots=True)
class GuardPlan:
    """A latency to watch. `tiers`: (above, scale-out ratio), in rising order."""

    key: str
    pool: str
    query: str
    window_seconds: float
    tiers: tuple[tuple[float, float], ...]

    @property
    def name(self) -> str:
        """The key as an identifier."""
        return identifier(self.key)


@dataclass(frozen=True, slots=True)
class BandPlan:
    """The other pool's signal, which asks for replicas here too: the band of the ratio.

    Scalers take the largest of several metrics, and so does the policy: a pool has at least what
    the other one's desired replicas leave within the band. `target`: per replica of this pool.
    """

    key: str
    query: str
    target: float

    @property
    def name(self) -> str:
        """The key as an identifier."""
        return identifier(self.key)


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """One pool. `key`: what it follows, POOL.SIGNAL; `target`: of that per replica of this pool.

    `query` is "" where the policy has none. `is_follower`: sized by the ratio from the driver's
    signal. `target_ref` is a guess where the policy names no object (`is_guessed`).
    """

    pool: str
    key: str
    query: str
    is_total: bool
    target: float
    window_seconds: float
    rule: PoolRule
    is_follower: bool
    target_ref: Mapping[str, str]
    is_guessed: bool
    replicas_query: str
    gpus_per_replica: int
    band: BandPlan | None = None

    @property
    def name(self) -> str:
        """The key as an identifier."""
        return identifier(self.key)

    @property
    def metrics(self) -> tuple[PoolPlan | BandPlan, ...]:
        """What sizes it: the largest of these."""
        return (self,) if self.band is None else (self, self.band)


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole policy as exporters see it."""

    name: str
    service: str
    rules: Rules
    pools: tuple[PoolPlan, ...]
    guards: tuple[GuardPlan, ...]
    unsized: tuple[str, ...]
    """Pools that the policy neither follows a signal for nor sizes by a ratio."""
    ratio_band: tuple[float, float] | None
    """Prefill per decode, as kept in operation."""
    objectives: tuple[Mapping[str, Any], ...]
    valid_until: str


@cache
def identifier(text: str) -> str:
    """Give a name as expressions and Prometheus can hold it."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return f"_{plain}" if plain[:1].isdigit() else plain


def object_name(whole: Plan, pool: PoolPlan) -> str:
    """Name the object that scales a pool; KEDA and others put it into a label, so 63 letters."""
    name = f"{whole.name}-{pool.pool}"
    if len(name) <= LONGEST_LABEL_VALUE:
        return name
    apart = blake2b(whole.name.encode(), digest_size=4).hexdigest()
    kept = whole.name[: LONGEST_LABEL_VALUE - len(pool.pool) - len(apart) - 2].rstrip("-")
    return f"{kept}-{apart}-{pool.pool}"


def plan(policy: Policy) -> Plan:
    """Take a policy apart for an exporter.

    ExportError names an object whose name Kubernetes would refuse.
    """
    spec, rules = policy.document["spec"], compile_policy(policy)
    signals = {
        pool: section.get("signal") or (spec["signal"] if pool == rules.driver else None)
        for pool, section in spec["pools"].items()
    }
    ratio, pools, unsized = spec.get("ratio"), [], []
    for rule in rules.pools:
        leader = rule if rule.signal is not None else _driver(rules)
        signal, share = leader.signal, 1.0 if leader is rule else rules.follower_ratio
        if signal is None or share is None:
            unsized.append(rule.pool)
            continue
        said = signals[leader.pool] or {}
        ref = _checked_ref(rule.pool, spec["pools"][rule.pool].get("targetRef"))
        guess = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": f"{policy.name}-{rule.pool}",
        }
        pools.append(
            PoolPlan(
                pool=rule.pool,
                key=signal.key,
                query=_query(policy, said, leader.pool, "sum" if signal.is_total else "avg"),
                is_total=signal.is_total,
                target=signal.target_per_replica / share,
                window_seconds=float(said["windowSeconds"]),
                rule=rule,
                is_follower=leader is not rule,
                target_ref={"apiVersion": "apps/v1", **ref} if ref else guess,
                is_guessed=ref is None,
                replicas_query=_replicas_query(policy, rule.pool, ref),
                gpus_per_replica=spec["pools"][rule.pool].get("gpusPerReplica", 1),
            )
        )
    return Plan(
        name=policy.name,
        service=policy.document["metadata"]["service"],
        rules=rules,
        pools=_banded(pools, rules),
        guards=tuple(_guard(policy, guard) for guard in spec.get("guards", [])),
        unsized=tuple(unsized),
        ratio_band=(float(ratio["min"]), float(ratio["max"])) if ratio else None,
        objectives=tuple(spec["objectives"]),
        valid_until=policy.document["metadata"].get("validUntil", ""),
    )


def _checked_ref(pool: str, ref: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Refuse what no object of Kubernetes is called, before it is written anywhere."""
    for key, value in (ref or {}).items():
        pattern, longest = NAMES[key]
        if len(value) > longest or not re.fullmatch(pattern, value):
            raise ExportError(
                f"spec.pools.{pool}.targetRef.{key}: {one_line(value)[:80]!r} is nothing that "
                "Kubernetes would take."
            )
    return ref


def _banded(pools: list[PoolPlan], rules: Rules) -> tuple[PoolPlan, ...]:
    """Hold two totals to the band, each by the other's signal."""
    if rules.band is None or len(pools) != 2 or not all(pool.is_total for pool in pools):
        return tuple(pools)
    lowest, highest = rules.band
    by_name = {pool.pool: pool for pool in pools}
    prefill, decode = by_name["prefill"], by_name["decode"]
    bands = {
        "prefill": BandPlan(decode.key, decode.query, decode.target / lowest),
        "decode": BandPlan(prefill.key, prefill.query, prefill.target * highest),
    }
    return tuple(replace(pool, band=bands[pool.pool]) for pool in pools)


def _driver(rules: Rules) -> PoolRule:
    return next(rule for rule in rules.pools if rule.pool == rules.driver)


def _query(policy: Policy, said: Mapping[str, Any], pool: str, aggregation: str) -> str:
    query = said.get("promql")
    if not query:
        return ""
    named = policy.queries.get(f"{pool}.up")
    return one_value(query, aggregation, up(named) if named else alive(query))


def _guard(policy: Policy, guard: Mapping[str, Any]) -> GuardPlan:
    tiers = sorted((float(tier["above"]), float(tier["scaleOutRatio"])) for tier in guard["tiers"])
    return GuardPlan(
        key=f"{guard['pool']}.{guard['signal']}",
        pool=guard["pool"],
        query=_query(policy, guard, guard["pool"], "max"),
        window_seconds=float(guard["windowSeconds"]),
        tiers=tuple(tiers),
    )


def _replicas_query(policy: Policy, pool: str, ref: Mapping[str, str] | None) -> str:
    """Give the query of a pool's wanted replicas, "" where its kind has no metric."""
    named = policy.queries.get(f"{pool}.replicas")
    if named:
        return named if outermost(named) else f"max({named})"
    if ref is None or ref.get("kind") not in REPLICAS_METRICS:
        return ""
    metric, label = REPLICAS_METRICS[ref["kind"]]
    matchers = [f"{label}={json.dumps(ref['name'])}"]  # PromQL quotes text as JSON does
    if ref.get("namespace"):
        matchers.insert(0, f"namespace={json.dumps(ref['namespace'])}")
    return f"max({metric}{{{','.join(matchers)}}})"


def need_queries(wanted: Iterable[PoolPlan | GuardPlan], scaler: str) -> None:
    """Raise ExportError naming every signal whose query is not known."""
    missing = sorted({one.key for one in wanted if not one.query})
    if missing:
        options = " ".join(f"--query '{key}=PROMQL'" for key in missing)
        raise ExportError(
            f"{scaler} needs a query for {', '.join(missing)}: the policy has no promql for it, "
            f"its data came without one. Give it with {options}; `signalstudy explain STUDY.TOML "
            f"--signal {missing[0]}` shows one to start from."
        )


def need_totals(whole: Plan, scaler: str) -> None:
    """Raise ExportError where a follower cannot read what the ratio needs."""
    for pool in whole.pools:
        if pool.is_follower and not pool.is_total:
            raise ExportError(
                f"{scaler} cannot size {pool.pool} from {pool.key}: the signal is intensive, so "
                "its value says nothing without the driver's replicas. Give the pool a signal of "
                "its own, or use a signal that adds up."
            )
