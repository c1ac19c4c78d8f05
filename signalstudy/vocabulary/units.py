"""Units: a quantity's name ends in its unit, and strangers' units are converted once."""

from __future__ import annotations

UNIT_OF_SUFFIX: dict[str, str] = {
    "tokens_per_second": "tokens/s",
    "requests_per_second": "requests/s",
    "per_second": "1/s",
    "per_day": "1/day",
    "seconds": "seconds",
    "hours": "hours",
    "ratio": "ratio",
    "bytes": "bytes",
    "tokens": "tokens",
    "requests": "requests",
    "replicas": "replicas",
    "watts": "watts",
}
"""Suffix of a name to the unit of its values, longest suffix first."""

BASE_OF_SUFFIX: dict[str, tuple[str, float]] = {
    "milliseconds": ("seconds", 1e-3),
    "ms": ("seconds", 1e-3),
    "microseconds": ("seconds", 1e-6),
    "us": ("seconds", 1e-6),
    "nanoseconds": ("seconds", 1e-9),
    "ns": ("seconds", 1e-9),
    "minutes": ("seconds", 60.0),
    "percent": ("ratio", 0.01),
    "pct": ("ratio", 0.01),
    "kilowatts": ("watts", 1e3),
    "milliwatts": ("watts", 1e-3),
    "kib": ("bytes", 2.0**10),
    "mib": ("bytes", 2.0**20),
    "gib": ("bytes", 2.0**30),
}
"""Suffix that is no unit of record to the one that is, and what to multiply by."""


def unit_of(name: str) -> str:
    """Tell the unit that a name ends in, or "" where it ends in none."""
    for suffix, unit in UNIT_OF_SUFFIX.items():
        if name == suffix or name.endswith(f"_{suffix}"):
            return unit
    return ""


def to_base_unit(name: str) -> tuple[str, float]:
    """Give the name in units of record and the factor for its values.

    `ttft_p99_ms` is `ttft_p99_seconds` times 0.001; a name already in base units, or in none that
    we know, comes back as it is, with factor 1. The name is believed: an engine's metric whose
    name denies its unit is the catalogue's business.
    """
    stem, _, suffix = name.rpartition("_")
    if stem and suffix in BASE_OF_SUFFIX:
        base, factor = BASE_OF_SUFFIX[suffix]
        return f"{stem}_{base}", factor
    return name, 1.0
