"""A refit: which numbers of a policy in force move, and why."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from signalstudy.policy.origins import numbers_of
from signalstudy.policy.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

_BESIDE_A_NUMBER = ("low", "high", "status", "binding", "maxObserved")
"""Keys that describe a number; they follow the refit without a word."""
_DERIVED = ("scaleOutTolerance", "scaleInTolerance", "min", "max", "cooldownSeconds")
KEPT = "as it stood in the policy in force"
DERIVED_SLACK = 0.05
"""Stands in for the interval of a number that is derived and has none."""


def refitted(old: Policy, new: Policy) -> tuple[Policy, list[str]]:
    """Give `new` with the numbers of `old` that the refit does not refute, and what moved.

    A number with an interval keeps its old value while the interval holds it. A target whose knee
    the new data did not visit (`lower_bound`) is never lowered: without a breach there is no
    evidence against the old one, and it would sink with every refit (methods section 8.3).
    Where signal, kind or objectives differ, the old numbers answer another question: none is kept.
    """
    document = copy.deepcopy(new.document)
    before, after = old.document["spec"], document["spec"]
    sentences: list[str] = []
    if _keeps_schedule(before, after):
        _keep_schedule(before, after)
    _keep_derived(before, after)
    if _question(before) == _question(after):
        for entry in after.get("evidence", []):
            sentences += _settle(entry, before, after)
    _hold_ratio(after)
    reported = {sentence.split(":", 1)[0] for sentence in sentences}
    for path, was, now in _differences(before, after, "spec"):
        if path not in reported:
            sentences.append(_moved(path, was, now, "set, or derived without an interval"))
    return Policy(new.name, document, new.notes), sentences


def _keeps_schedule(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Say whether the old floors stay: those that people wrote, and those that hardly moved."""
    old, new = before.get("schedule") or [], after.get("schedule") or []
    if not old:
        return False
    if all(entry["number"] != "schedule" for entry in before.get("evidence", [])):
        return True
    same = [{**window, "replicas": None} for window in old] == [
        {**window, "replicas": None} for window in new
    ]
    return same and all(
        one["replicas"].keys() == other["replicas"].keys()
        and all(
            abs(other["replicas"][pool] - count) <= max(1.0, DERIVED_SLACK * count)
            for pool, count in one["replicas"].items()
        )
        for one, other in zip(old, new, strict=True)
    )


def _keep_schedule(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Leave the old floors in force, and say so of each."""
    after["schedule"] = copy.deepcopy(before["schedule"])
    if "evidence" not in after:
        return
    own = [one for one in before.get("evidence", []) if one["number"].startswith("schedule.")]
    known = {one["number"] for one in own}
    after["evidence"] = [
        *(one for one in after["evidence"] if not one["number"].startswith("schedule.")),
        *copy.deepcopy(own),
        *(
            {"number": path, "value": count, "status": "ok", "method": KEPT}
            for path, count in numbers_of({"schedule": after["schedule"]})
            if path not in known
        ),
    ]


def _question(spec: dict[str, Any]) -> tuple[Any, ...]:
    """Give what makes numbers comparable: the same signals under the same objectives."""
    signals = [spec["signal"], *(pool.get("signal", {}) for pool in spec["pools"].values())]
    described = [(s.get("name"), s.get("kind"), s.get("perReplicaOf")) for s in signals]
    return described, spec["objectives"], sorted(spec["pools"])


def _settle(entry: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Keep or move the one number that `entry` is about."""
    path = entry["number"]
    was, now = _at(before, path), _at(after, path)
    if was is None or now is None or was == now or "low" not in entry:
        return []  # without an estimate there is nothing to settle by
    low, high = entry.get("low"), entry.get("high")
    if entry["status"] == "lower_bound" and now < was:
        _put(after, path, was)
        why = "no breach speaks against the old value"
        return [f"spec.{path}: {was} stays (the refit says at least {now}, and {why})."]
    if low is None or high is None:
        return [_moved(f"spec.{path}", was, now, "the new estimate has no interval")]
    if low <= was <= high:
        _put(after, path, was)
        return []
    return [_moved(f"spec.{path}", was, now, f"the new interval {low}..{high} excludes {was}")]


def _keep_derived(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Keep derived numbers that have no interval of their own and hardly changed."""
    sections = ["proportional", "ratio"]
    sections += [
        f"pools.{pool}.{way}" for pool in after["pools"] for way in ("scaleOut", "scaleIn")
    ]
    for path in (f"{section}.{key}" for section in sections for key in _DERIVED):
        was, now = _at(before, path), _at(after, path)
        if was is not None and now is not None and abs(now - was) <= DERIVED_SLACK * was:
            _put(after, path, was)


def _hold_ratio(after: dict[str, Any]) -> None:
    """Have the band contain the ratio, whichever of them stayed."""
    ratio = after.get("ratio")
    if ratio is not None:
        ratio["min"] = min(ratio["min"], ratio["prefillPerDecode"])
        ratio["max"] = max(ratio["max"], ratio["prefillPerDecode"])


def _moved(path: str, was: Any, now: Any, why: str) -> str:
    return f"{path}: {_said(was)} -> {_said(now)} ({why})."


def _said(value: Any) -> str:
    return "absent" if value is None else str(value)


def _at(spec: dict[str, Any], path: str) -> Any:
    """Give the number at a dotted path, None where there is none."""
    value: Any = spec
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) else None


def _put(spec: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        spec = spec[key]
    spec[last] = value


def _differences(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Walk both specs; evidence and what only describes a number are left out."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            if key not in ("evidence", *_BESIDE_A_NUMBER):
                yield from _differences(before.get(key), after.get(key), f"{path}.{key}")
    elif before != after:
        yield path, before, after
