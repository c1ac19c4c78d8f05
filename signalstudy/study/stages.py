"""One stage's result as rows, and a whole study as text: what the command line prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from signalstudy.policy.write import policy_yaml
from signalstudy.study.summary import evidence_frame, summarise
from signalstudy.vocabulary.spoken import bound_sign, one_line, spoken_estimate, spoken_number
from signalstudy.vocabulary.tables import shortened

if TYPE_CHECKING:
    from signalstudy.study.study import ServiceStudy, Study
    from signalstudy.threshold.threshold import Threshold

LONGEST_REASON = 100


def evidence_rows(study: Study) -> list[dict[str, Any]]:
    """Give one row per service, pool, signal and measure."""
    return evidence_frame(study).to_dicts()


def rank_rows(study: Study) -> list[dict[str, Any]]:
    """Give one row per signal, best first."""
    return [
        {
            "service": service.service,
            "rank": signal.rank,
            "pool": signal.pool,
            "signal": signal.signal,
            "verdict": signal.verdict,
            "in_confidence_set": signal.in_confidence_set,
            "reason": signal.reason,
        }
        for service in study.services.values()
        for signal in service.ranking.signals
    ]


def fit_rows(study: Study) -> list[dict[str, Any]]:
    """Give one row per fitted number: capacities, headroom, target, P/D ratio."""
    return [
        {"service": service.service, "quantity": name} | estimate.as_dict()
        for service in study.services.values()
        for name, estimate in (service.threshold.estimates() | service.pd_ratio.estimates()).items()
    ]


def policies_text(study: Study, form: str = "table") -> str:
    """Give the policies of all services as YAML documents (`json`: as a list of them).

    Where there is none, a comment says why; it stands above the documents and makes none.
    """
    policies = [s.policy for s in study.services.values() if s.policy is not None]
    if form == "json":
        return json.dumps([p.document for p in policies], indent=1, allow_nan=False) + "\n"
    missing = [
        f"# {one_line(service.service)}: {one_line(service.policy_note)}\n"
        for service in study.services.values()
        if service.policy is None
    ]
    return "".join(missing) + "---\n".join(policy_yaml(policy) for policy in policies)


def policy_rows(study: Study) -> list[dict[str, Any]]:
    """Give one row per number of a policy's evidence."""
    columns = dict.fromkeys(
        ("number", "value", "low", "high", "status", "effectiveObservations", "days", "method")
    )
    return [
        {"service": service.service} | columns | row
        for service in study.services.values()
        if service.policy is not None
        for row in service.policy.document["spec"]["evidence"]
    ]


def study_json(study: Study) -> str:
    """Give the whole study as JSON, in the form of study.json."""
    return json.dumps(summarise(study), indent=1, allow_nan=False) + "\n"


def study_text(study: Study) -> str:
    """Give what a reader wants first: the verdict, the signals, the number, the policy."""
    return "\n".join(_service_text(service) for service in study.services.values())


def _service_text(study: ServiceStudy) -> str:
    lines = [one_line(study.service), f"  {study.ranking.summary}"]
    judged = [s for s in study.ranking.signals if s.verdict != "unavailable"]
    width = max((len(f"{s.pool}.{s.signal}") for s in judged), default=0)
    for signal in judged:
        name = f"{one_line(signal.pool)}.{one_line(signal.signal)}"
        reason = shortened(one_line(signal.reason), LONGEST_REASON)
        lines.append(f"  {signal.rank:>3}  {name:<{width}}  {signal.verdict:<12}  {reason}")
    lines += _threshold_lines(study.threshold)
    if study.pd_ratio.ratio.is_known:
        kept = study.pd_ratio.kept
        told = "" if kept is None else f"; the policy keeps {spoken_number(kept)}"
        lines.append(f"  P/D ratio {spoken_estimate(study.pd_ratio.ratio)}{told}")
    lines.append(
        f"  policy/{study.policy.name}.yaml"
        if study.policy is not None
        else f"  no policy: {one_line(study.policy_note).removeprefix('No policy: ')}"
    )
    lines += [
        f"  {row.status}: {one_line(row.check)}: {one_line(row.note)}"
        for row in study.quality
        if row.status in ("warning", "failed")
    ]
    return "\n".join(lines) + "\n"


def _threshold_lines(threshold: Threshold) -> list[str]:
    """Give what one replica bears, and why; where no number is known, only why."""
    bears, note = threshold.per_replica, one_line(threshold.per_replica.note)
    if bears.value is None:
        status = bears.status.replace("_", " ")
        return [f"  what one replica of {threshold.pool} bears: {status}. {note}"]
    bound = f", bound by {threshold.binding}" if threshold.binding else ""
    sign = "" if bound_sign(bears) else "= "
    said = (
        f"  one replica of {threshold.pool} bears {threshold.signal} {sign}"
        f"{spoken_estimate(bears)} ({bears.status}{bound}); "
        f"target {spoken_estimate(threshold.target)}"
    )
    return [said, f"      {note}"] if note else [said]
