"""The evidence list of a policy: per number, how it was got."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signalstudy.policy.rounding import significant_or_none

if TYPE_CHECKING:
    from signalstudy.vocabulary.estimate import Estimate


def trail_entry(number: str, estimate: Estimate) -> dict[str, Any]:
    """Write one estimate down under the path of its number below spec, or under its name."""
    entry: dict[str, Any] = {
        "number": number,
        "value": significant_or_none(estimate.value),
        "low": significant_or_none(estimate.low),
        "high": significant_or_none(estimate.high),
        "status": estimate.status,
        "effectiveObservations": significant_or_none(estimate.effective_observations),
        "days": significant_or_none(estimate.days),
        "method": estimate.method,
    }
    if estimate.note:
        entry["note"] = estimate.note
    return entry
