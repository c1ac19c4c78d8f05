"""lint: what of a policy or a scaler's manifest will not work as intended, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from signalstudy.lint.finding import error
from signalstudy.lint.motion import motion_findings
from signalstudy.lint.objects import keda_findings, key_findings
from signalstudy.lint.policies import policy_findings
from signalstudy.lint.queries import query_findings
from signalstudy.lint.sized import of_hpa, of_keda, of_policy
from signalstudy.lint.split import split_findings
from signalstudy.lint.targets import target_findings
from signalstudy.policy.policy import Policy
from signalstudy.policy.schema import validate_policy
from signalstudy.policy.yaml_text import one_line, parse_all
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from signalstudy.lint.facts import Facts
    from signalstudy.lint.finding import Finding
    from signalstudy.lint.sized import Sized

KINDS = {
    "ScalingPolicy": "policy",
    "HorizontalPodAutoscaler": "hpa",
    "ScaledObject": "keda",
}
LONGEST_NAME = 80


def lint(
    texts: Mapping[str, str], *, facts: Facts | None = None, now: datetime | None = None
) -> list[Finding]:
    """Check files by name; documents of other kinds are left alone.

    Raises ConfigurationError where a file cannot be read or none holds anything to check. `now`
    is what a policy's validity is held against.
    """
    found: list[Finding] = []
    fleets: list[Sized] = []
    for place, text in texts.items():
        documents = [
            one
            for one in parse_all(text, place)
            if isinstance(one, dict) and one.get("kind") in KINDS
        ]
        if not documents:
            raise ConfigurationError(
                f"{place}: there is nothing to check in it. Known kinds: {', '.join(KINDS)}."
            )
        for document in documents:
            sized, findings = _checked(document, place, facts, now or datetime.now(UTC))
            fleets += sized
            found += findings
    found += split_findings(fleets, facts)
    return sorted(dict.fromkeys(found), key=lambda one: (one.severity, one.where, one.check))


def _checked(
    document: Mapping[str, Any], place: str, facts: Facts | None, now: datetime
) -> tuple[list[Sized], list[Finding]]:
    kind = KINDS[document["kind"]]
    metadata = document.get("metadata")
    name = metadata.get("name", "?") if isinstance(metadata, dict) else "?"
    where = f"{place}, {document['kind']} {one_line(str(name))[:LONGEST_NAME]}:"
    if kind == "policy":
        try:
            validate_policy(document, place)
        except ConfigurationError as problem:
            return [], [error("key", where, str(problem))]
        policy = Policy(str(name), dict(document))
        fleets = of_policy(policy, where)
        own = list(policy_findings(policy, where, facts, now))
    else:
        own = list(key_findings(document, kind, where))
        if own:
            return [], own  # what is misspelt cannot be judged
        fleets = [of_hpa(document, where) if kind == "hpa" else of_keda(document, where)]
        own = list(keda_findings(document, where)) if kind == "keda" else []
    return fleets, [*own, *(finding for one in fleets for finding in _of_fleet(one, facts))]


def _of_fleet(sized: Sized, facts: Facts | None) -> Iterator[Finding]:
    for metric in sized.metrics:
        if metric.query:
            yield from query_findings(metric.query, metric.where)
    yield from target_findings(sized, facts)
    yield from motion_findings(sized, facts)
