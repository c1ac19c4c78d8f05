"""Durations as Prometheus writes them: 30s, 5m, 1h30m, 14d."""

from __future__ import annotations

import re

SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536e3}
PART = r"[0-9]+(?:ms|[smhdwy])"


def duration_seconds(text: str) -> float:
    """Read a duration; raises ValueError with the choices where it is none."""
    if not re.fullmatch(f"(?:{PART})+", text.strip()):
        raise ValueError(f"{text!r} is no duration. Write 30s, 5m, 1h30m or 14d.")
    parts = re.findall(r"([0-9]+)(ms|[smhdwy])", text)
    return sum(int(number) * SECONDS[unit] for number, unit in parts)


def as_duration(seconds: float) -> str:
    """Write whole seconds in the largest unit that divides them."""
    whole = round(seconds)
    for unit in ("d", "h", "m"):
        if whole and whole % int(SECONDS[unit]) == 0:
            return f"{whole // int(SECONDS[unit])}{unit}"
    return f"{whole}s"
