"""Numbers as people read them: four significant digits, units, durations, one line each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from signalstudy.vocabulary.estimate import Estimate

_DURATIONS = (
    ("ms", 1e-3, 1.0),
    ("s", 1.0, 120.0),
    ("min", 60.0, 7200.0),
    ("h", 3600.0, 2 * 86400.0),
)
"""A unit, its length in seconds, and up to where it is used."""


def spoken_number(value: float | None, *, digits: int = 4) -> str:
    """Give `value` with `digits` significant digits and grouped thousands; None is a dash.

    >>> spoken_number(23104.4), spoken_number(0.98204), spoken_number(1e-7)
    ('23,100', '0.982', '1e-07')
    """
    if value is None:
        return "–"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}".replace("-0", "0")
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude >= 12 or magnitude < -4:
        return f"{value:.{digits}g}"
    rounded = round(value, digits - 1 - magnitude)
    if abs(rounded) >= 1000:
        decimals = max(0, digits - 1 - magnitude)
        return f"{rounded:,.{decimals}f}".removesuffix("." + "0" * decimals)
    return f"{rounded:.{digits}g}"


def spoken_duration(seconds: float | None) -> str:
    """Give a duration in the unit people would use: `40 ms`, `12 s`, `6.2 min`, `1.5 h`, `3 d`."""
    if seconds is None:
        return "–"
    unit, length = duration_unit(seconds)
    return f"{spoken_number(seconds / length, digits=3)} {unit}"


def duration_unit(seconds: float) -> tuple[str, float]:
    """Choose the unit for a duration, and its length in seconds."""
    size = abs(seconds)
    if size == 0:
        return "s", 1.0
    for unit, length, up_to in _DURATIONS:
        if size < up_to:
            return unit, length
    return "d", 86400.0


def spoken_interval(estimate: Estimate) -> str:
    """Give `[low, high]`, with a dash where only one side is known, or nothing without interval."""
    if (estimate.low is None and estimate.high is None) or bound_sign(estimate) == "<":
        return ""
    return f"[{spoken_number(estimate.low)}, {spoken_number(estimate.high)}]"


def spoken_estimate(estimate: Estimate | None) -> str:
    """Give an estimate in one cell: `0.982 [0.97, 0.99]`, `≥ 2,310`, or the status."""
    if estimate is None:
        return "–"
    if estimate.value is None:
        return estimate.status.replace("_", " ")
    value = spoken_number(estimate.value)
    return " ".join(filter(None, (bound_sign(estimate), value, spoken_interval(estimate))))


def bound_sign(estimate: Estimate) -> str:
    """Give the sign before a value that is only a bound: `≥` below the truth, `<` above it."""
    if estimate.status == "lower_bound":
        return "≥"
    is_above = estimate.low is None and estimate.high is not None
    return "<" if estimate.status == "censored" and is_above else ""


def one_line(text: object) -> str:
    """Give a label on one line: control characters and line breaks are shown as escapes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in str(text)
    )
