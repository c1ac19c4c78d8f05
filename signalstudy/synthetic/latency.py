"""The planted latency curve: flat, then a cliff, with a knee that can be written down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.vocabulary.objectives import Objective

    Floats = NDArray[np.float64]

NEAREST_TO_CEILING = 0.97
"""Work per replica is held below this share of the ceiling, where the curve would be infinite."""


@dataclass(frozen=True, slots=True)
class LatencyCurve:
    """A request's latency at `work` per second and replica: `idle / (1 - work / ceiling)`.

    That is the batch law of methods.md, sections 8.4 and 13 (ceiling = 1/beta). Requests spread
    around it lognormally, by `spread` (standard deviation of the logarithm).
    """

    idle_seconds: float
    ceiling_per_second: float
    spread: float

    def median_seconds(self, work_per_second: Floats) -> Floats:
        """Give the median latency at each amount of work per replica."""
        used = np.clip(work_per_second / self.ceiling_per_second, 0.0, NEAREST_TO_CEILING)
        median: Floats = self.idle_seconds / (1.0 - used)
        return median

    def share_over(self, work_per_second: Floats, limit_seconds: float) -> Floats:
        """Give the share of requests slower than the limit at each amount of work per replica."""
        excess = np.log(self.median_seconds(work_per_second) / limit_seconds)
        share: Floats = ndtr(excess / self.spread)
        return share

    def knee_per_second(self, objective: Objective) -> float:
        """Give the largest work per replica that the objective bears, in closed form.

        `x* = ceiling (1 - idle exp(z spread) / limit)`, z the normal quantile of the objective;
        0 where even an idle replica misses it.
        """
        slowest = self.idle_seconds * math.exp(float(ndtri(objective.quantile)) * self.spread)
        return max(0.0, self.ceiling_per_second * (1.0 - slowest / objective.at_most_seconds))
