"""Rows of data_quality that single series tell: exporters that lag, pairs, ghosts, and clocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.timeline.grid import sum_of_counts
from signalstudy.timeline.timeline import QualityCheck
from signalstudy.vocabulary.unavailable import unavailable_signals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from signalstudy.telemetry.telemetry import Telemetry
    from signalstudy.timeline.gathered import Gathered
    from signalstudy.timeline.timeline import PoolTimeline

    Floats = NDArray[np.float64]

FEWEST_FALLS, SHARE_OF_FALLS = 10, 0.05
"""A counter that falls so often did not start again: several are mixed."""
GHOST_SHARE, GHOST_INTERVALS = 0.1, 20
"""A series that keeps one value for so much of the span, and so many intervals, to its end."""
LONGEST_OFFSET_SECONDS, OFFSET_STEP_SECONDS = 120.0, 0.25
FEWEST_CORRELATED, FEWEST_STEPS = 0.5, 60
LEFT_OUT = 10
"""Blocks of which one at a time is left out to see how sure an offset is."""
COUNTED_LATER = (
    ("started_requests", "", ("gateway", "prefill", "unified", "decode")),
    ("finished_requests", "e2e_seconds", ("gateway", "decode", "unified")),
    ("finished_requests", "ttft_seconds", ("prefill",)),
    ("ttft_count", "ttft_seconds", ("gateway", "prefill", "unified")),
)
"""What pools count of the requests in a log, and how long after their arrival: a prefill engine is
done with a request at its first token."""
SHOWN = 6


def check_series(
    telemetry: Telemetry, gathered: Gathered, pools: dict[str, PoolTimeline]
) -> list[QualityCheck]:
    """Run the checks; a row each, the sound ones too where they could be judged."""
    rows = [*_staircases(pools), *_frozen(gathered), *_negative(gathered)]
    rows += [*_pairs(telemetry, gathered), *_ghosts(gathered)]
    return [*rows, *_clock(gathered), *_unavailable(pools)]


def _staircases(pools: dict[str, PoolTimeline]) -> Iterator[QualityCheck]:
    for pool in pools.values():
        for signal in pool.signals.values():
            if signal.refresh_seconds > 0:
                yield QualityCheck(
                    f"refresh of {pool.pool}.{signal.name}",
                    "note",
                    f"scraped every {signal.scrape_seconds:.3g} s but renewed every "
                    f"{signal.refresh_seconds:.3g} s: half of that is a delay of the exporter and "
                    "counted as known; a controller on it is late by as much",
                )


def _frozen(gathered: Gathered) -> list[QualityCheck]:
    """Say where exporters repeated their last reading."""
    if not gathered.frozen:
        return []
    named = "; ".join(str(one) for one in gathered.frozen[:SHOWN])
    rest = len(gathered.frozen) - SHOWN
    more = f" and {rest} more" if rest > 0 else ""
    return [
        QualityCheck(
            "frozen exporters",
            "warning",
            f"{named}{more}: the same readings over and over, where they move from scrape to "
            "scrape otherwise. What was repeated is left out, and what sums over replicas is not "
            "known there.",
        )
    ]


def _negative(gathered: Gathered) -> list[QualityCheck]:
    """Count the readings below zero that were left out."""
    if not gathered.negative:
        return []
    named = ", ".join(f"{name} ({n})" for name, n in sorted(gathered.negative.items()))
    return [
        QualityCheck(
            "negative values",
            "warning",
            f"{_short(named)}: readings below 0 of what cannot be negative are left out. A rate "
            "taken by subtraction falls so where its counter starts again; some exporters write "
            "-1 for unknown.",
        )
    ]


def _pairs(telemetry: Telemetry, gathered: Gathered) -> list[QualityCheck]:
    """Find counters that fall all the time: two servers' or exporters' samples under one name."""
    mixed: dict[str, float] = {}
    for found in gathered.series.values():
        for row, _ in found:
            facts = telemetry.facts[row.key]
            intervals = facts.changes + facts.repeats
            if facts.resets >= max(FEWEST_FALLS, SHARE_OF_FALLS * intervals):
                share = facts.resets / intervals
                mixed[row.metric] = max(mixed.get(row.metric, 0.0), share)
    if not mixed:
        return []
    named = ", ".join(f"{m} ({share:.0%} of its intervals)" for m, share in sorted(mixed.items()))
    return [
        QualityCheck(
            "sawtooth",
            "warning",
            f"{_short(named)}: falls so often that two servers of an HA pair or two exporters "
            "seem to write under one name; each fall counts as a start from 0, so that increases "
            "are far too large. Read one server, or name the label that tells them apart in "
            "[labels] ha_replica.",
        )
    ]


def _ghosts(gathered: Gathered) -> list[QualityCheck]:
    """Find gauges that keep a value above zero to the end while others of their kind move."""
    ghosts = []
    for (pool, quantity), found in gathered.series.items():
        gauges = [
            (r, s) for r, s in found if r.form == "gauge" and not quantity.endswith("_replicas")
        ]
        # a share that rests at one is a full replica, not a dead one
        ceiling = 1.0 if quantity.endswith("_ratio") else np.inf
        if len({row.replica for row, _ in gauges}) < 2:
            continue
        span = max(s.time_seconds[-1] for _, s in gauges) - min(
            s.time_seconds[0] for _, s in gauges
        )
        changed = [_last_change(s.time_seconds, s.values) for _, s in gauges]
        for i, (row, samples) in enumerate(gauges):
            still = float(samples.time_seconds[-1]) - changed[i]
            enough = max(GHOST_SHARE * span, GHOST_INTERVALS * samples.cadence_seconds)
            others = [at for j, at in enumerate(changed) if j != i]
            is_held = 0 < samples.values[-1] < ceiling and still >= enough
            if is_held and max(others) > changed[i] + enough / 2:
                ghosts.append(f"{pool}.{quantity} of {row.replica}")
    if not ghosts:
        return []
    return [
        QualityCheck(
            "ghost series",
            "warning",
            f"{_short(', '.join(sorted(set(ghosts))))} keep one value above 0 to the end while "
            "other replicas' move: pods that are gone and whose series were never deleted? A sum "
            "holds them for ever.",
        )
    ]


def _last_change(time_seconds: Floats, values: Floats) -> float:
    at = np.flatnonzero(np.diff(values) != 0)
    return float(time_seconds[at[-1] + 1]) if at.size else float(time_seconds[0])


def _clock(gathered: Gathered) -> list[QualityCheck]:
    """Compare the clocks of the request log and the metrics by what both count."""
    for quantity, later, owners in COUNTED_LATER:
        times = gathered.requests["arrived_seconds"]
        if later:
            times = times + gathered.requests[later]
        times = np.sort(times[np.isfinite(times)])
        if times.size < FEWEST_STEPS:
            continue
        for pool in owners:
            series = gathered.samples(pool, quantity)
            counted = sum_of_counts(series, gathered.grid) if series else np.zeros(0)
            found = _offset(gathered.grid.time_seconds, gathered.grid.step_seconds, counted, times)
            if found is not None:
                return [_row_of_clock(*found, quantity, gathered.grid.step_seconds)]
    return []


def _row_of_clock(
    offset: float, low: float, high: float, quantity: str, step: float
) -> QualityCheck:
    """Tell the offset; below an eighth of a step it is finer than any lag (methods.md, 2.5)."""
    same = low <= 0 <= high or abs(offset) < max(2 * OFFSET_STEP_SECONDS, step / 8.0)
    said = f"by {quantity.replace('_', ' ')}: {offset:+.2f} s ({low:+.2f} to {high:+.2f})"
    if same:
        return QualityCheck("clock of the request log", "ok", f"that of the metrics, {said}")
    return QualityCheck(
        "clock of the request log",
        "warning",
        f"the metrics' clock is ahead of it {said}. Lags against demand from the log are off by as "
        "much: shift arrived_at.",
    )


def _offset(
    ends: Floats, step: float, counted: Floats, times: Floats
) -> tuple[float, float, float] | None:
    """Find by how much counts by step run behind single events: seconds, low, high.

    The offset with the least squares between the counts and the events in the steps moved by it,
    to a quarter of a second; the interval is twice the deviation of the estimates that leave out a
    tenth of the steps each (jackknife). None where both do not tell the same story.
    """
    known = np.isfinite(counted) if counted.size else np.zeros(0, dtype=np.bool_)
    known &= (ends - step > times[0]) & (ends < times[-1]) if known.size else known
    if known.sum() < FEWEST_STEPS or counted[known].sum() == 0:
        return None
    ends, counted = ends[known], counted[known]
    offsets = np.arange(-LONGEST_OFFSET_SECONDS, LONGEST_OFFSET_SECONDS + 0.1, OFFSET_STEP_SECONDS)
    squares = np.empty((LEFT_OUT, offsets.size))
    block = np.arange(ends.size) * LEFT_OUT // ends.size
    correlated = np.zeros(offsets.size)
    for i, offset in enumerate(offsets):
        inside = np.searchsorted(times, ends - offset) - np.searchsorted(
            times, ends - step - offset
        )
        squares[:, i] = np.bincount(block, (counted - inside) ** 2, minlength=LEFT_OUT)
        if inside.std() > 0 and counted.std() > 0:
            correlated[i] = np.corrcoef(counted, inside)[0, 1]
    best = int(np.argmin(squares.sum(axis=0)))
    if correlated[best] < FEWEST_CORRELATED or best in (0, offsets.size - 1):
        return None
    without = offsets[np.argmin(squares.sum(axis=0) - squares, axis=1)]
    spread = np.sqrt((LEFT_OUT - 1) * np.var(without)) + OFFSET_STEP_SECONDS / 2
    return (
        float(offsets[best]),
        float(offsets[best] - 2 * spread),
        float(offsets[best] + 2 * spread),
    )


def _unavailable(pools: dict[str, PoolTimeline]) -> list[QualityCheck]:
    """Name signals worth having that nothing in the data exports."""
    missing = unavailable_signals({name: tuple(pool.signals) for name, pool in pools.items()})
    if not missing:
        return []
    named = ", ".join(f"{pool}.{signal}" for pool, signal, _ in missing)
    advice = [note for _, signal, note in missing if signal == "sm_activity_ratio"][:1]
    return [
        QualityCheck(
            "signals exported by no one",
            "note",
            f"{_short(named)}: never a candidate. {' '.join(advice)}".rstrip(),
        )
    ]


def _short(named: str) -> str:
    parts = named.split(", ")
    rest = len(parts) - SHOWN
    return ", ".join(parts[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
