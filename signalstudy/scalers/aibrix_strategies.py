"""How AIBrix decides: KPA, APA and HPA, by its documentation (metric-based autoscaling, v0.7).

Every source is averaged over observeWindowSeconds, KPA's also over panicWindowSeconds. KPA divides
by the target; where the short mean passes panic-threshold times the long one, the larger proposal
of the two holds and nothing is taken away. APA multiplies the replicas by value / target. Both stay
within tolerance, within the rates of one step, and within the stabilization windows of the HPA.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from signalstudy.scalers.hpa import hpa_step
from signalstudy.scalers.manifest import (
    current_replicas,
    go_seconds,
    pool_step,
    quantity_value,
    reading,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalstudy.policy.state import Observation, PoolStep, State

PREFIX = "autoscaling.aibrix.ai/"
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DEFAULTS = {
    "max-scale-up-rate": "2",
    "max-scale-down-rate": "2",
    "scale-up-tolerance": "0.1",
    "scale-down-tolerance": "0.1",
    "panic-threshold": "2.0",
    "scale-up-cooldown-window": "0s",
    "scale-down-cooldown-window": "300s",
}
OBSERVE_SECONDS, PANIC_SECONDS = 180, 60
HPA_PERIOD_SECONDS = 60


@dataclass(frozen=True, slots=True)
class _Case:
    """One PodAutoscaler at one moment: its annotations with the defaults behind them."""

    spec: Mapping[str, Any]
    says: Mapping[str, str]
    pool: str
    state: State
    current: int

    def number(self, name: str) -> float:
        """Read an annotation that is a number."""
        return float(self.says[name])

    def seconds(self, name: str) -> float:
        """Read an annotation that is a duration."""
        return go_seconds(self.says[name])

    def mean(self, metric: str, now: float, seconds: float) -> float:
        """Average what a metric said over a window, one value a decision; NaN if silent now."""
        if math.isnan(now):
            return math.nan
        oldest = self.state.now_seconds - seconds
        past = (p for p in self.state.history.get(self.pool, ()) if p.at_seconds > oldest)
        values = [p.seen[metric] for p in past if metric in p.seen] + [now]
        return math.fsum(values) / len(values)


def decide_pool(
    document: Mapping[str, Any], pool: str, state: State, observation: Observation
) -> PoolStep:
    """Decide for one PodAutoscaler."""
    spec = document["spec"]
    notes = document.get("metadata", {}).get("annotations") or {}
    says = {name: str(notes.get(f"{PREFIX}{name}", said)) for name, said in DEFAULTS.items()}
    case = _Case(spec, says, pool, state, current_replicas(state, pool))
    least, most = _bounds(spec, state.now_seconds)
    seen = {
        source["targetMetric"]: reading(observation, source["targetMetric"], document)
        for source in spec["metricsSources"]
    }
    if spec["scalingStrategy"] == "HPA":
        return _by_hpa(case, seen, least, most)
    known = {metric: value for metric, value in seen.items() if not math.isnan(value)}
    if case.current == 0 and least > 0:  # scaling is switched off
        return pool_step(0, math.nan, 0, 0, known)
    if not least <= case.current <= most:
        bounded = min(max(case.current, least), most)
        return pool_step(case.current, math.nan, bounded, bounded, known)
    means = [
        [case.mean(metric, seen[metric], seconds) / target for seconds in _windows(spec)]
        for metric, target in _targets(spec)
    ]
    shares = [[_share(case, one) for one in pair] for pair in means if not math.isnan(pair[0])]
    if not shares:
        return pool_step(case.current, math.nan, case.current, case.current, known)
    wanted = max(_wanted(case, long, short) for long, short in shares)
    stable = min(max(_stabilized(case, wanted), least), most)
    desired = max(long for long, _ in shares) * max(case.current, 1)
    return pool_step(case.current, desired, wanted, stable, known)


def _windows(spec: Mapping[str, Any]) -> tuple[float, float]:
    return (
        float(spec.get("observeWindowSeconds", OBSERVE_SECONDS)),
        float(spec.get("panicWindowSeconds", PANIC_SECONDS)),
    )


def _targets(spec: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(one["targetMetric"], float(one["targetValue"])) for one in spec["metricsSources"]]


def _share(case: _Case, over_target: float) -> float:
    """Give desired / current: KPA's sources ask for value / target, whatever the replicas are."""
    is_kpa = case.spec["scalingStrategy"] == "KPA"
    return over_target / max(case.current, 1) if is_kpa else over_target


def _wanted(case: _Case, long: float, short: float) -> int:
    wanted = _proposal(case, long)
    if case.spec["scalingStrategy"] != "KPA":
        return wanted
    is_panicking = long > 0.0 and short / long > case.number("panic-threshold")
    return max(wanted, _proposal(case, short), case.current) if is_panicking else wanted


def _proposal(case: _Case, share: float) -> int:
    current = max(case.current, 1)
    asked = math.ceil(share * current - 1e-9)
    if share > 1.0 + case.number("scale-up-tolerance"):
        return min(asked, max(1, math.ceil(case.number("max-scale-up-rate") * current - 1e-9)))
    if share < 1.0 - case.number("scale-down-tolerance"):
        return max(asked, math.floor(case.current / case.number("max-scale-down-rate")))
    return case.current


def _stabilized(case: _Case, wanted: int) -> int:
    """Go out no further than the least, in no further than the most wanted in the window."""
    up, down = "scale-up-cooldown-window", "scale-down-cooldown-window"
    if wanted > case.current:
        return max(case.current, min([wanted, *_lately(case, case.seconds(up))]))
    return min(case.current, max([wanted, *_lately(case, case.seconds(down))]))


def _lately(case: _Case, seconds: float) -> list[int]:
    past = case.state.history.get(case.pool, ())
    return [int(p.wanted) for p in past if p.at_seconds > case.state.now_seconds - seconds]


def _bounds(spec: Mapping[str, Any], now_seconds: float) -> tuple[int, int]:
    """Give the bounds of the schedule that is active, else those of the spec."""
    least, most = spec.get("minReplicas", 1), spec["maxReplicas"]
    for window in spec.get("schedules") or []:
        at = datetime.fromtimestamp(now_seconds, ZoneInfo(window.get("timezone", "UTC")))
        start, end = (time.fromisoformat(window[key]) for key in ("startTime", "endTime"))
        if DAYS[at.weekday()] in window.get("daysOfWeek", DAYS) and start <= at.time() < end:
            return window.get("minReplicas", least), window.get("maxReplicas", most)
    return least, most


def _by_hpa(case: _Case, seen: Mapping[str, float], least: int, most: int) -> PoolStep:
    """Decide as the HPA that AIBrix makes: whole targets, the rates as percent of a minute."""
    out, into = case.number("max-scale-up-rate"), case.number("max-scale-down-rate")
    percents = {"scaleUp": 100.0 * (out - 1.0), "scaleDown": 100.0 * (1.0 - 1.0 / into)}
    windows = {"scaleUp": "scale-up-cooldown-window", "scaleDown": "scale-down-cooldown-window"}
    behavior = {
        way: {
            "stabilizationWindowSeconds": case.seconds(windows[way]),
            "selectPolicy": "Max" if way == "scaleUp" else "Min",
            "policies": [
                {"type": "Percent", "value": int(value), "periodSeconds": HPA_PERIOD_SECONDS}
            ],
        }
        for way, value in percents.items()
    }
    shares = [seen[one] / math.ceil(quantity_value(target)) for one, target in _targets(case.spec)]
    return hpa_step(shares, case.pool, case.state, least=least, most=most, behavior=behavior)
