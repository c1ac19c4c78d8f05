"""The table of measures: each one's name, its question, and what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalstudy.evidence.capacity import capacity_elasticity
from signalstudy.evidence.coverage import coverage_ratio
from signalstudy.evidence.dependence import (
    demand_correlation,
    effective_observations,
    independence_probability,
)
from signalstudy.evidence.distortion import cache_distortion_ratio
from signalstudy.evidence.hysteresis import hysteresis_ratio
from signalstudy.evidence.lag import lag_seconds, seen_lag_seconds
from signalstudy.evidence.noise import peak_separation, signal_to_noise_ratio
from signalstudy.evidence.regimes import regime_shift_ratio
from signalstudy.evidence.shape import (
    demand_elasticity,
    dynamic_range_ratio,
    gain_ratio,
    linearity_ratio,
)
from signalstudy.evidence.smoothing import clear_lag_seconds, control_signal_to_noise_ratio
from signalstudy.evidence.step_response import dead_time_seconds, rise_time_seconds
from signalstudy.evidence.warning import (
    breach_lead_seconds,
    breach_recall_ratio,
    false_alarms_per_day,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalstudy.evidence.prepared import Prepared
    from signalstudy.vocabulary.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Measure:
    """One question about a signal and the function that answers it.

    `needs_demand`: not applicable to a pool without demand. `compares`: sets the signal beside
    demand, which proves nothing where demand was made of that signal.
    """

    question: str
    function: Callable[[Prepared], Estimate]
    needs_demand: bool = True
    compares: bool = True


MEASURES: dict[str, Measure] = {
    "coverage_ratio": Measure("Is it there?", coverage_ratio, needs_demand=False, compares=False),
    "demand_correlation": Measure("Does it move with demand?", demand_correlation),
    "effective_observations": Measure(
        "How many independent observations is that worth?", effective_observations, compares=False
    ),
    "independence_probability": Measure(
        "Could so strong a relation be chance?", independence_probability
    ),
    "lag_seconds": Measure("How late is it, of its own?", lag_seconds),
    "seen_lag_seconds": Measure("How late does a controller see it?", seen_lag_seconds),
    "dead_time_seconds": Measure("How long does it not move at all?", dead_time_seconds),
    "rise_time_seconds": Measure(
        "How long until it shows nine tenths of a jump?", rise_time_seconds
    ),
    "signal_to_noise_ratio": Measure(
        "How much of it does demand explain, against what it does not?", signal_to_noise_ratio
    ),
    "control_signal_to_noise_ratio": Measure(
        "And how much at the speed a controller can act?", control_signal_to_noise_ratio
    ),
    "clear_lag_seconds": Measure("How late is it once smoothed enough to read?", clear_lag_seconds),
    "peak_separation": Measure("Do peak and off-peak stand apart from noise?", peak_separation),
    "linearity_ratio": Measure("Is its response to demand a straight line?", linearity_ratio),
    "demand_elasticity": Measure("Does it grow in proportion to demand?", demand_elasticity),
    "gain_ratio": Measure("Does its slope hold from low to high demand?", gain_ratio),
    "dynamic_range_ratio": Measure(
        "How much of its height does demand move?", dynamic_range_ratio, compares=False
    ),
    "hysteresis_ratio": Measure("Does it remember where demand came from?", hysteresis_ratio),
    "capacity_elasticity": Measure("Does it fall when replicas are added?", capacity_elasticity),
    "cache_distortion_ratio": Measure("Does the prefix cache distort it?", cache_distortion_ratio),
    "regime_shift_ratio": Measure("Did its answer to demand change for good?", regime_shift_ratio),
    "breach_recall_ratio": Measure(
        "Would it have warned of SLO breaches?", breach_recall_ratio, False, False
    ),
    "breach_lead_seconds": Measure(
        "How early would it have warned?", breach_lead_seconds, False, False
    ),
    "false_alarms_per_day": Measure(
        "How often would it have warned of nothing?", false_alarms_per_day, False, False
    ),
}
"""In the order of the owner's questions (methods, section 1). `rank_probability` is ranking's."""
