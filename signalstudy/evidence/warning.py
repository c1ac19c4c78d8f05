"""Breach warning: would the signal have announced a breach; not yet judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalstudy.vocabulary.estimate import Estimate, not_applicable

if TYPE_CHECKING:
    from signalstudy.evidence.prepared import Prepared


def breach_recall_ratio(prepared: Prepared) -> Estimate:
    """Share of SLO breaches that the signal announces in time to scale."""
    return _not_yet(prepared, "whether this signal announces SLO breaches")


def breach_lead_seconds(prepared: Prepared) -> Estimate:
    """Median time between the signal's alarm and the breach."""
    return _not_yet(prepared, "how long before an SLO breach this signal rises")


def false_alarms_per_day(prepared: Prepared) -> Estimate:
    """Alarms of the signal that no breach follows, per day."""
    return _not_yet(prepared, "how often this signal would raise a false alarm")


def _not_yet(prepared: Prepared, what: str) -> Estimate:
    """Say that this version does not judge it."""
    return not_applicable(f"not yet: this version does not judge {what} ({prepared.view.name}).")
