"""lint: what of a policy or a scaler's manifest will not work as intended, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from signalstudy.lint.finding import error
from signalstudy.lint.motion import motion_findings
from signalstudy.lint.objects import (
    current_version,
    keda_findings,
    key_findings,
    without_unknown,
)
from signalstudy.lint.others import (
    aibrix_findings,
    dynamo_findings,
    kthena_findings,
    of_aibrix,
    of_kthena,
)
from signalstudy.lint.policies import policy_findings
from signalstudy.lint.queries import query_findings, several_series
from signalstudy.lint.sized import of_hpa, of_keda, of_policy
from signalstudy.lint.split import split_findings
from signalstudy.lint.targets import target_findings
from signalstudy.policy.policy import Policy
from signalstudy.policy.schema import validate_policy
from signalstudy.policy.yaml_text import one_line, parse_all
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from signalstudy.lint.facts import Facts
    from signalstudy.lint.finding import Finding
    from signalstudy.lint.sized import Sized

KINDS = {
    "ScalingPolicy": "policy",
    "HorizontalPodAutoscaler": "hpa",
    "ScaledObject": "keda",
    "PodAutoscaler": "aibrix",
    "AutoscalingPolicy": "kthena",
    "DynamoGraphDeploymentRequest": "dynamo",
}
JUDGES: dict[str, tuple[Callable[..., list[Sized]], Callable[..., Iterator[Finding]]]] = {
    "hpa": (lambda document, where: [of_hpa(document, where)], lambda *_: iter(())),
    "keda": (lambda document, where: [of_keda(document, where)], keda_findings),
    "aibrix": (of_aibrix, aibrix_findings),
    "kthena": (of_kthena, kthena_findings),
    "dynamo": (lambda *_: [], dynamo_findings),
}
"""What sizes an object of a scaler, and what is to be said of it alone."""
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
        documents = [one for one in parse_all(text, place) if _is_known(one)]
        if not documents:
            raise ConfigurationError(
                f"{place}: there is nothing to check in it. Known kinds: {', '.join(KINDS)}."
            )
        for document in documents:
            sized, findings = _checked(document, place, facts, now or datetime.now(UTC))
            fleets += sized
            found += findings
    found += split_findings(fleets, facts)
    found += _fights(fleets)
    return sorted(dict.fromkeys(found), key=lambda one: (one.severity, one.where, one.check))


def _is_known(document: object) -> bool:
    """Say whether an object is of a kind that is checked; Knative has a PodAutoscaler as well."""
    if not isinstance(document, dict):
        return False
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        return False
    return kind != "PodAutoscaler" or "aibrix" in str(document.get("apiVersion"))


def _fights(fleets: list[Sized]) -> Iterator[Finding]:
    """Report two objects that scale the same thing."""
    seen: dict[tuple[str, ...], Sized] = {}
    for one in (fleet for fleet in fleets if fleet.scales):
        first = seen.setdefault(one.scales, one)
        if first.where.partition(", ")[2] != one.where.partition(", ")[2]:
            yield error(
                "two_scalers",
                one.where,
                f"{' '.join(one.scales[1:3])} is scaled by {first.where.rstrip(':')} as well: "
                "each undoes what the other does.",
            )


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
        document, own = current_version(document, kind, where)
        if any(one.check != "version" for one in own):
            return [], own  # it is of another time
        own += key_findings(document, kind, where)
        judged = without_unknown(document, kind)
        if judged is None:
            return [], own  # what is misspelt cannot be judged
        document = judged
        size, judge = JUDGES[kind]
        fleets = size(document, where)
        own += judge(document, where)
    return fleets, [*own, *(finding for one in fleets for finding in _of_fleet(one, facts))]


def _of_fleet(sized: Sized, facts: Facts | None) -> Iterator[Finding]:
    for metric in sized.metrics:
        if metric.query:
            yield from query_findings(metric.query, metric.where)
            if sized.scales:
                yield from several_series(metric.query, metric.where)
    yield from target_findings(sized, facts)
    yield from motion_findings(sized, facts)
