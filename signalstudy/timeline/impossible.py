"""Readings that cannot be: below zero where the quantity has no such value.

A rate taken by subtraction falls below zero where its counter started again, and exporters write
-1 for "unknown". One such reading outweighs a day of others in any sum of squares.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from signalstudy.vocabulary.signals import quantities, signals

if TYPE_CHECKING:
    from signalstudy.telemetry.discover import SeriesRow
    from signalstudy.timeline.grid import Samples

    Series = dict[tuple[str, str], list[tuple[SeriesRow, Samples]]]

GAP_CADENCES = 3.0
"""Long enough for the grid to take it for a gap."""


def without_negatives(series: Series) -> tuple[Series, dict[str, int]]:
    """Leave out readings below zero of quantities that the catalogue knows, and count them.

    The reading after one of a rate or count is marked as a gap, so that nothing is spread over
    what was left out. Own signals may be what they like.
    """
    left_out: dict[str, int] = {}
    possible: Series = {}
    for (pool, quantity), rows in series.items():
        is_known = quantity in signals() or quantity in quantities()
        kept = []
        for row, samples in rows:
            is_negative = samples.values < 0.0
            if not is_known or not is_negative.any():
                kept.append((row, samples))
                continue
            name = f"{pool}.{row.metric}"
            left_out[name] = left_out.get(name, 0) + int(is_negative.sum())
            interval = samples.interval_seconds.copy()
            if row.form != "gauge":
                after = is_negative.nonzero()[0] + 1
                interval[after[after < interval.size]] = GAP_CADENCES * samples.cadence_seconds
            positive = ~is_negative
            if positive.any():
                cut = replace(
                    samples,
                    time_seconds=samples.time_seconds[positive],
                    values=samples.values[positive],
                    interval_seconds=interval[positive],
                )
                kept.append((row, cut))
        if kept:
            possible[pool, quantity] = kept
    return possible, left_out
