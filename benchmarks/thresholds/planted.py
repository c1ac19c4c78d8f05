"""Planted services: knees from short production, from production and a test, and that drift.

Run: `python benchmarks/thresholds/run.py --planted --tests 40` (a processor for 5 minutes).
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.synthetic.as_timeline import timeline_of
from signalstudy.synthetic.generate import generate_service
from signalstudy.synthetic.service import ServiceSpec
from signalstudy.threshold.capacity import fit_capacity
from signalstudy.threshold.drift import PART_OF_DAY, measure_drift, parts_of_day
from signalstudy.threshold.joint import JOINT_NOTE, fit_jointly

if TYPE_CHECKING:
    from signalstudy.timeline.timeline import Timeline
    from signalstudy.vocabulary.estimate import Estimate

SPEC = ServiceSpec(days=3, day_swing=0.35)
OBJECTIVE = SPEC.tbt_objective
KNEE = SPEC.tbt.knee_per_second(OBJECTIVE)
WORK = "decode_tokens_per_second"
RECORD_DAYS, RECORD_REACHES = (0.25, 0.5, 1.0, 3.0), (1.02, 1.1, 1.2)
REACHES = (0.9, 1.05, 1.2)
FALLS = (1.0, 0.9, 0.8)
DRIFTING = "12:00 to 18:00 UTC"


def tables(services: int) -> str:
    """Give the tables as Markdown."""
    parts = (production_table(services), joint_table(services), drift_table(services))
    return "\n\n".join(parts)


def production_table(services: int) -> str:
    """Compare the bound of short and long records of production with the truth."""
    rows = [
        "| days | peak / knee | statuses | bound above truth | bound / truth | high / low |",
        "|---|---|---|---|---|---|",
    ]
    for days, reach in itertools.product(RECORD_DAYS, RECORD_REACHES):
        found = [
            fit_capacity(production(seed, reach, days=days), "decode", [OBJECTIVE]).per_replica
            for seed in range(services)
        ]
        rows.append(f"| {days:g} | {reach:g} | {_row(found)} |")
    return "\n".join(rows)


def production(
    seed: int, reach: float, ceiling: float = 1.0, *, days: float = SPEC.days
) -> Timeline:
    """Make days that reach `reach` knees of SPEC, on replicas that bear `ceiling` of it."""
    tbt = replace(SPEC.tbt, ceiling_per_second=ceiling * SPEC.tbt.ceiling_per_second)
    spec = replace(SPEC, days=days, tbt=tbt, peak_over_knee=reach / ceiling)
    return timeline_of(generate_service(spec, seed=seed))


def pressure_test(seed: int) -> Timeline:
    """Make a ramp of four hours up to 1.3 knees: the end of the rise of a day."""
    spec = replace(SPEC, days=0.5, day_swing=0.9, burst_spread=0.05, peak_over_knee=1.3)
    whole = timeline_of(generate_service(spec, seed=seed))
    begin = float(whole.time_seconds[0])
    return replace(whole.between(begin + 8 * 3600.0, begin + 12 * 3600.0), role="pressure-test")


@dataclass(frozen=True, slots=True)
class Both:
    """What production, a test and both together say of one service; None where not asked."""

    production: Estimate
    test: Estimate
    together: Estimate | None


def fit_both(seed: int, reach: float) -> Both:
    """Fit one service."""
    parts = (production(seed, reach), pressure_test(10_000 + seed))
    alone = [(part, fit_capacity(part, "decode", [OBJECTIVE])) for part in parts]
    joint = fit_jointly(alone, [OBJECTIVE])
    together = None if joint is None else joint.per_replica
    return Both(alone[0][1].per_replica, alone[1][1].per_replica, together)


def joint_table(services: int) -> str:
    """Compare the three bounds with the truth."""
    rows = [
        "| peak / knee | source | statuses | bound above truth | bound / truth | high / low |",
        "|---|---|---|---|---|---|",
    ]
    for reach in REACHES:
        found = [fit_both(seed, reach) for seed in range(services)]
        joined = [one for one in found if one.together and JOINT_NOTE in one.together.note]
        apart = sum(one.together is not None for one in found) - len(joined)
        for source in ("production", "test", "together"):
            estimates = [getattr(one, source) for one in joined]
            rows.append(f"| {reach:g} | {source} | {_row(estimates)} |")
        rows.append(f"| {reach:g} | said not to agree | {apart} of {services} | | | |")
    return "\n".join(rows)


def _row(estimates: list[Estimate]) -> str:
    statuses = ", ".join(
        f"{n} {status}" for status, n in Counter(e.status for e in estimates).items()
    )
    lows = np.array([e.low for e in estimates if e.low is not None]) / KNEE
    widths = [e.high / e.low for e in estimates if e.high and e.low]
    width = f"{np.median(widths):.2f}" if widths else "-"
    return f"{statuses} | {100 * np.mean(lows > 1.0):.0f} % | {np.median(lows):.3f} | {width}"


def drift_table(services: int) -> str:
    """Say how often a planted fall of the knee in the afternoon is told, and how well."""
    rows = [
        "| knee in the afternoon | services | spread known | drift told | spread | covers |",
        "|---|---|---|---|---|---|",
    ]
    for fall in FALLS:
        spreads = []
        for seed in range(services):
            timeline = production(seed, 1.2)
            late = parts_of_day(timeline)[DRIFTING]
            timeline = _with_counts_of(timeline, production(seed, 1.2, fall), late)
            drift = measure_drift(
                timeline, ("decode", WORK), [OBJECTIVE], PART_OF_DAY, parts_of_day(timeline)
            )
            if drift.spread.is_known:
                spreads.append(drift.spread)
        told = np.mean([(one.low or 1.0) > 1.0 for one in spreads])
        holds = np.mean([(one.low or 1.0) <= 1.0 / fall <= (one.high or 0.0) for one in spreads])
        value = np.median([one.value for one in spreads])
        rows.append(f"| {fall:g} of the usual | {services} | {len(spreads)} | {100 * told:.0f} % | "
                    f"{value:.2f} (truth {1.0 / fall:.2f}) | {100 * holds:.0f} % |")  # fmt: skip
    return "\n".join(rows)


def _with_counts_of(timeline: Timeline, other: Timeline, is_other: np.ndarray) -> Timeline:
    edges = ("observed", "over_low", "over_high")
    counts = tuple(
        replace(a, **{e: np.where(is_other, getattr(b, e), getattr(a, e)) for e in edges})
        for a, b in zip(timeline.slo_counts, other.slo_counts, strict=True)
    )
    return replace(timeline, slo_counts=counts)
