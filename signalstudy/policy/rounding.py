"""How numbers are written in a policy: four significant digits, round durations."""

from __future__ import annotations

import math


def significant(value: float, digits: int = 4) -> float:
    """Round to `digits` significant digits."""
    return float(f"{value:.{digits}g}")


def significant_or_none(value: float | None) -> float | None:
    """Round to four significant digits what is known."""
    return None if value is None else significant(value)


def whole_tens(seconds: float) -> int:
    """Round a duration up to ten seconds, so that a refit does not move it for nothing."""
    return 10 * math.ceil(seconds / 10.0 - 1e-9)
