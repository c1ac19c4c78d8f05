"""What only a policy says: evidence, ratio, guards, start-up, validity."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from signalstudy.lint.finding import error, warning
from signalstudy.lint.queries import query_findings, range_seconds
from signalstudy.vocabulary.signals import signals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from signalstudy.lint.facts import Facts
    from signalstudy.lint.finding import Finding
    from signalstudy.policy.policy import Policy

UNIT_FACTOR = 20.0
"""A guard this many times above or below its objective is in another unit."""


def policy_findings(
    policy: Policy, where: str, facts: Facts | None, now: datetime
) -> Iterator[Finding]:
    """Check what a policy says beyond its signals."""
    spec = policy.document["spec"]
    yield from _validity(policy.document["metadata"], where, facts, now)
    yield from _targets(spec, where)
    yield from _pools(spec, where)
    yield from _ratio(spec, where, facts)
    yield from _guards(spec, where)


def _validity(
    metadata: Mapping[str, Any], where: str, facts: Facts | None, now: datetime
) -> Iterator[Finding]:
    until = metadata.get("validUntil")
    if until is not None and _instant(until) < now:
        yield warning(
            "expired", f"{where} metadata.validUntil", f"the policy was valid until {until}."
        )
    digest = (metadata.get("study") or {}).get("fingerprint")
    if facts is not None and digest and facts.digest and digest != facts.digest:
        yield warning(
            "stale_digest",
            f"{where} metadata.study.fingerprint",
            f"the policy rests on data {digest[:12]}, the study on {facts.digest[:12]}.",
        )


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _targets(spec: Mapping[str, Any], where: str) -> Iterator[Finding]:
    targets = {f"{where} spec.proportional": spec["proportional"]["targetPerReplica"]}
    kinds = {f"{where} spec.proportional": spec["signal"]}
    for pool, section in spec["pools"].items():
        if "targetPerReplica" in section:
            targets[f"{where} spec.pools.{pool}"] = section["targetPerReplica"]
            kinds[f"{where} spec.pools.{pool}"] = section["signal"]
    safe = next(
        (e.get("low") for e in spec.get("evidence", []) if e["number"] == "threshold.perReplica"),
        None,
    )
    for path, target in targets.items():
        place = f"{path}.targetPerReplica"
        most, value = target.get("maxObserved"), target["value"]
        if target["status"] == "extrapolated":
            yield warning("evidence", place, "the target lies beyond the data it was fitted on.")
        if target.get("low") is None or target.get("high") is None:
            yield warning("evidence", place, "the target has no interval: nobody knows its error.")
        elif not target["low"] <= value <= target["high"]:
            yield error(
                "evidence",
                place,
                f"the target {value:g} is outside its own interval "
                f"{target['low']:g}..{target['high']:g}.",
            )
        if most is not None and value > most:
            yield error(
                "unreachable",
                place,
                f"the target {value:g} is above the largest value seen, {most:g}.",
            )
        name, kind = kinds[path]["name"], kinds[path]["kind"]
        known = signals().get(name)
        if known is not None and known.kind != kind:
            yield error(
                "average_as_total" if kind == "total" else "total_times_replicas",
                f"{path}.signal" if "pools" in path else f"{where} spec.signal",
                f"{name} is {known.kind}, the policy takes it as {kind}.",
            )
    if safe is not None and spec["proportional"]["targetPerReplica"]["value"] >= safe:
        yield error(
            "target_at_saturation",
            f"{where} spec.proportional.targetPerReplica",
            f"the target is not below {safe:g}, what a replica safely bears.",
        )


def _pools(spec: Mapping[str, Any], where: str) -> Iterator[Finding]:
    for pool, section in spec["pools"].items():
        place = f"{where} spec.pools.{pool}"
        startup, cool = section.get("startupSeconds"), section["scaleOut"]["cooldownSeconds"]
        if startup is not None and cool < startup:
            yield error(
                "cooldown_shorter_than_start",
                f"{place}.scaleOut.cooldownSeconds",
                f"a replica takes {startup:g} s to start, the next scale-out comes after {cool:g} "
                "s: the same error is answered twice.",
            )
        said = section.get("signal") or spec["signal"]
        window = range_seconds(said.get("promql", ""))
        if window is not None and abs(window - said["windowSeconds"]) > 0.5 * window:
            yield warning(
                "long_window",
                place,
                f"the query looks back {window:g} s, windowSeconds says {said['windowSeconds']:g}.",
            )
        watched = section["scaleIn"].get("observationSeconds", 0.0)
        if 0.0 < watched < said["windowSeconds"]:
            yield warning(
                "without_effect",
                f"{place}.scaleIn.observationSeconds",
                f"a removed replica is watched for {watched:g} s, and the signal looks back "
                f"{said['windowSeconds']:g} s: it is gone before anything could call it back.",
            )


def _ratio(spec: Mapping[str, Any], where: str, facts: Facts | None) -> Iterator[Finding]:
    ratio, place = spec.get("ratio"), f"{where} spec.ratio"
    if ratio is None:
        return
    value, lowest, highest = ratio["prefillPerDecode"], ratio["min"], ratio["max"]
    if not lowest <= value <= highest:
        yield error(
            "ratio", place, f"the ratio {value:g} is outside its own band {lowest:g}..{highest:g}."
        )
    prefill, decode = spec["pools"]["prefill"], spec["pools"]["decode"]
    if (
        prefill["maxReplicas"] < lowest * max(1, decode["minReplicas"])
        or prefill["minReplicas"] > highest * decode["maxReplicas"]
    ):
        yield error(
            "ratio_unreachable",
            place,
            f"no numbers of replicas within both pools' bounds have a ratio in "
            f"{lowest:g}..{highest:g}.",
        )
    elif prefill["maxReplicas"] < int(lowest * decode["maxReplicas"]):
        yield warning(
            "ratio_unreachable",
            place,
            f"prefill stops at {prefill['maxReplicas']}; decode at its maximum of "
            f"{decode['maxReplicas']} needs {lowest * decode['maxReplicas']:.0f}.",
        )
    known = None if facts is None else facts.ratio_bounds
    if known is not None and not known[1] <= value <= known[2]:
        yield error(
            "ratio",
            place,
            f"the study finds {known[0]:.3g} [{known[1]:.3g}, {known[2]:.3g}], the "
            f"policy keeps {value:g}.",
        )


def _guards(spec: Mapping[str, Any], where: str) -> Iterator[Finding]:
    limits = {one["signal"]: one["atMostSeconds"] for one in spec["objectives"]}
    for number, guard in enumerate(spec.get("guards", [])):
        place = f"{where} spec.guards[{number}]"
        yield from query_findings(guard.get("promql", ""), place)
        tiers = sorted((tier["above"], tier["scaleOutRatio"]) for tier in guard["tiers"])
        limit = limits.get(guard["signal"].split("_")[0])
        if limit is not None and not limit / UNIT_FACTOR < tiers[0][0] < limit * UNIT_FACTOR:
            yield error(
                "unit",
                place,
                f"the first tier {tiers[0][0]:g} and the objective of {limit:g} s are not in the "
                "same unit.",
            )
        if any(after[1] <= before[1] for before, after in pairwise(tiers)):
            yield error(
                "guard_tiers", place, "a higher tier asks for no more replicas than a lower one."
            )
