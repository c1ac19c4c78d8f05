"""The averaging window of a signal in a policy."""

from __future__ import annotations

import re

SHORTEST_SECONDS = 60.0
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


def signal_window_seconds(
    promql: str | None, step_seconds: float, *, wished_seconds: float = SHORTEST_SECONDS
) -> float:
    """Give the range of the query where it names exactly one, else what is wished, or two steps.

    Two steps are the least over which a rate of a counter always has two samples.
    """
    ranges = set(re.findall(r"\[(\d+)([smh])\]", promql or ""))
    if len(ranges) == 1:
        number, unit = ranges.pop()
        return float(int(number) * _UNIT_SECONDS[unit])
    return max(wished_seconds, 2.0 * step_seconds)
