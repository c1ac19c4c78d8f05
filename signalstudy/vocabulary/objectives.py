"""Service level objectives: which latency, at which quantile, at most how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

ObjectiveSignal = Literal["ttft", "tbt", "e2e"]
OBJECTIVE_SIGNALS: tuple[str, ...] = get_args(ObjectiveSignal)


@dataclass(frozen=True, slots=True)
class Objective:
    """`quantile` of the requests have `signal` of at most `at_most_seconds`."""

    signal: ObjectiveSignal
    quantile: float
    at_most_seconds: float

    @property
    def allowed_share(self) -> float:
        """The share of requests that may exceed the limit."""
        return 1.0 - self.quantile

    def __str__(self) -> str:
        """Say it as people do: `p99 ttft <= 1 s`."""
        return f"p{100 * self.quantile:g} {self.signal} <= {self.at_most_seconds:g} s"
