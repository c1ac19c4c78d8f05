"""How a fleet moves: bounds, hysteresis, windows, steps, cool-downs, several metrics at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from signalstudy.lint.finding import error, warning
from signalstudy.lint.targets import read_metric
from signalstudy.scalers.formula import evaluate, names
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalstudy.lint.facts import Facts
    from signalstudy.lint.finding import Finding
    from signalstudy.lint.sized import Motion, Sized

MOST_TRIED = 60
"""Fleets up to this size are tried for flapping."""
LONGEST_SCALE_OUT_WINDOW_SECONDS = 300.0
MIDDLE, SHARES = 10, 40
DEMANDS = [1.05**power for power in range(-200, 600)]
"""Where to look for the demand that calls a scale-out from a fleet of middle size."""


def motion_findings(sized: Sized, facts: Facts | None) -> Iterator[Finding]:
    """Check how a fleet moves."""
    yield from _bounds(sized)
    yield from _hysteresis(sized)
    yield from _together(sized)
    yield from _formula(sized)
    yield from _cooldown(sized, facts)


def _bounds(sized: Sized) -> Iterator[Finding]:
    if sized.least > sized.most:
        yield error(
            "bounds",
            sized.where,
            f"the minimum {sized.least} is above the maximum {sized.most}.",
        )
    elif sized.least == sized.most:
        yield warning(
            "bounds", sized.where, f"minimum and maximum are both {sized.least}: nothing scales."
        )


def _hysteresis(sized: Sized) -> Iterator[Finding]:
    out, into = sized.out, sized.into
    if into.tolerance_ratio >= 1.0:
        yield error(
            "never_scales_in",
            sized.where,
            f"a scale-in tolerance of {into.tolerance_ratio:g} is never passed: demand below 0.",
        )
    if not sized.formula and out.tolerance_ratio == into.tolerance_ratio == 0.0:
        yield warning(
            "no_hysteresis",
            sized.where,
            "both tolerances are 0: any noise of the signal across a whole number of replicas "
            "changes the fleet.",
        )
    if not into.steps:
        yield warning("never_scales_in", sized.where, "scaleDown is Disabled.")
    if not out.steps:
        yield error("never_scales_out", sized.where, "scaleUp is Disabled.")
    if into.window_seconds == 0.0:
        yield warning(
            "no_scale_in_window",
            sized.where,
            "no stabilization before a scale-in: a dip of one sample takes replicas away that need "
            "minutes to come back.",
        )
    if out.window_seconds > LONGEST_SCALE_OUT_WINDOW_SECONDS:
        yield warning(
            "slow_scale_out",
            sized.where,
            f"every scale-out waits until demand has been high for {out.window_seconds:g} s.",
        )


def _together(sized: Sized) -> Iterator[Finding]:
    """Several metrics without a formula: the largest wins, as totals mean it to."""
    if sized.formula or len(sized.metrics) < 2:
        return
    if all(one.division == "total" and not read_metric(one).is_latency for one in sized.metrics):
        return
    latencies = [one.name for one in sized.metrics if read_metric(one).is_latency]
    meant = (
        f"{', '.join(latencies)} is no guard here: it holds the fleet up even when demand is low"
        if latencies
        else "a scale-in needs all of them to agree"
    )
    yield warning(
        "largest_of_several",
        sized.where,
        f"{len(sized.metrics)} metrics combine by max: {meant}.",
    )


def _formula(sized: Sized) -> Iterator[Finding]:
    """Try a formula of scalingModifiers on fleets of all sizes."""
    if not sized.formula:
        return
    known = {one.name for one in sized.values}
    try:
        read = names(sized.formula)
    except ConfigurationError as problem:
        yield error("formula", sized.where, str(problem))
        return
    others = sorted(read - known)
    if any(not name.startswith("floor") for name in others):
        yield error(
            "formula",
            sized.where,
            f"the formula reads {', '.join(others)}, of which no trigger is named.",
        )
        return
    try:
        flap = _first_flap(sized, read, others)
    except (ConfigurationError, ArithmeticError, ValueError) as problem:
        yield error("formula", sized.where, str(problem))
        return
    if flap is not None:
        now, fewer, again = flap
        yield error(
            "flapping",
            sized.where,
            f"by its own arithmetic: {now} replicas scale in to {fewer}, and under the same demand "
            f"{fewer} scale out to {again}.",
        )


def _first_flap(sized: Sized, read: set[str], others: list[str]) -> tuple[int, int, int] | None:
    """Find a fleet that scales in and, at the same demand, out again beyond where it was cut.

    Raises ConfigurationError where the formula is not understood.
    """
    is_count = {one.name for one in sized.values if "replicas" in f"{one.name} {one.query}"}
    latencies = {one.name for one in sized.values if read_metric(one).is_latency}
    totals = sorted(read - is_count - latencies - set(others))
    evaluate(sized.formula, dict.fromkeys(read, 1.0))
    if len(totals) != 1:
        return None
    calm = dict.fromkeys([*latencies, *others], 0.0)

    def after(demand: float, now: int) -> int:
        return _next(sized, {**calm, totals[0]: demand}, is_count, now)

    middle = max(sized.least, min(sized.most - 1, MIDDLE))
    unit = next((d / middle for d in DEMANDS if after(d, middle) > middle), None)
    if unit is None:
        return None
    for now in range(max(2, sized.least + 1), min(sized.most, MOST_TRIED) + 1):
        for step in range(1, SHARES):
            demand = unit * now * step / SHARES
            fewer = after(demand, now)
            again = after(demand, fewer) if fewer < now else 0
            if again > fewer:
                return now, fewer, again
    return None


def _next(sized: Sized, values: dict[str, float], is_count: set[str], now: int) -> int:
    """Give the replicas after one step of the HPA, windows long past."""
    asked = evaluate(sized.formula, {**values, **dict.fromkeys(is_count, float(now))})
    out, into = sized.out.tolerance_ratio, sized.into.tolerance_ratio
    if not math.isfinite(asked) or 1.0 - into <= asked / now <= 1.0 + out:
        return now
    wanted = math.ceil(asked - 1e-9)
    least, most = now - _furthest(sized.into, now), now + _furthest(sized.out, now)
    moved = min(max(wanted, least), most)
    return min(max(moved, sized.least, 1), sized.most)


def _furthest(motion: Motion, now: int) -> int:
    changes = [
        now * value / 100.0 if is_percent else value for is_percent, value, _ in motion.steps
    ]
    return math.ceil(max(changes, default=0.0) - 1e-9)


def _cooldown(sized: Sized, facts: Facts | None) -> Iterator[Finding]:
    horizon = None if facts is None else facts.horizon_seconds
    if horizon is None:
        return
    periods = [period for _, _, period in sized.out.steps]
    if periods and min(periods) < horizon / 2.0:
        yield warning(
            "cooldown_shorter_than_start",
            sized.where,
            f"capacity arrives {horizon:.0f} s after demand, but a further scale-out is allowed "
            f"every {min(periods):.0f} s: the same error is answered twice.",
        )
