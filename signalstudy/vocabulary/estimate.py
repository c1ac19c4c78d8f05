"""A number with its manners: value, interval, status, and how it was got."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

Status = Literal["ok", "lower_bound", "extrapolated", "censored", "unidentified", "not_applicable"]
STATUSES: tuple[str, ...] = get_args(Status)


@dataclass(frozen=True, slots=True)
class Estimate:
    """One number of a study.

    `low` and `high` bound a 95 % interval unless `method` says otherwise; both are None where
    the number has none. With status `unidentified` or `not_applicable` the value is None and
    `note` is the sentence that says why.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    status: Status = "ok"
    note: str = ""
    effective_observations: float | None = None
    days: float | None = None
    method: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r} is none of {', '.join(STATUSES)}")
        numbers = (self.value, self.low, self.high, self.effective_observations, self.days)
        if any(number is not None and not math.isfinite(number) for number in numbers):
            raise ValueError(f"an estimate holds finite numbers or None, not {numbers}")
        if self.status in ("unidentified", "not_applicable") and (
            self.value is not None or not self.note
        ):
            raise ValueError(f"status {self.status} goes with value None and a note")
        if self.status not in ("unidentified", "not_applicable") and self.value is None:
            raise ValueError(f"status {self.status} goes with a value")

    @property
    def is_known(self) -> bool:
        """Whether there is a value at all."""
        return self.value is not None

    def with_days(self, days: float) -> Estimate:
        """Return the same estimate, saying how many days of data it rests on."""
        return replace(self, days=days)

    def as_dict(self) -> dict[str, Any]:
        """Give the form of study.json."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "status": self.status,
            "note": self.note,
            "effective_observations": self.effective_observations,
            "days": self.days,
            "method": self.method,
        }


def unidentified(note: str, *, method: str = "") -> Estimate:
    """Say that these data cannot tell, and why."""
    return Estimate(value=None, status="unidentified", note=note, method=method)


def not_applicable(note: str, *, method: str = "") -> Estimate:
    """Say that the question does not arise here, and why."""
    return Estimate(value=None, status="not_applicable", note=note, method=method)
