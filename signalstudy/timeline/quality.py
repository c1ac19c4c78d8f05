"""data_quality: what is wrong or assumed with the data, and what that does to the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr

from signalstudy.timeline.demand_quality import check_demand
from signalstudy.timeline.grid import rolling_sum
from signalstudy.timeline.latency import is_top_bucket
from signalstudy.timeline.series_quality import check_series
from signalstudy.timeline.timeline import QualityCheck
from signalstudy.vocabulary.spoken import spoken_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalstudy.telemetry.telemetry import Telemetry
    from signalstudy.timeline.gathered import Gathered
    from signalstudy.timeline.timeline import PoolTimeline, SloCounts
    from signalstudy.vocabulary.objectives import Objective

LARGEST_RATIO = 1.5
LONGEST_MEDIAN_SECONDS = {"ttft": 120.0, "tbt": 5.0, "queue_wait": 120.0, "e2e": 3600.0}
CLOSURE_TOLERANCE = 0.10
CLOSURE_SHARE = 0.20
CLOSURE_SECONDS = 600.0
FEWEST_WINDOWS = 6
FEWEST_STEPS = 60
MOST_RANKED = 10_000  # steps that tell a rank correlation to a hundredth
FALLING_RANK_CORRELATION = -0.25
SHORT_RECORD_SECONDS = 20 * 3600.0


def check_quality(
    telemetry: Telemetry,
    gathered: Gathered,
    pools: dict[str, PoolTimeline],
    counts: Sequence[SloCounts],
    objectives: Sequence[Objective],
) -> list[QualityCheck]:
    """Run every check; one row each, the ones that found something first."""
    rows = [
        *_samples(telemetry, gathered),
        *check_series(telemetry, gathered, pools),
        *_span(gathered),
        *_scales(pools),
        *_scales_of_requests(gathered),
        *check_demand(pools, gathered.grid.time_seconds),
        *_replicas(pools),
        *_slo(counts, objectives),
        *_histograms(gathered, pools),
        *_utilization(pools),
        *_closure(pools, gathered.grid.step_seconds),
        *_notes(telemetry),
    ]
    order = {"failed": 0, "warning": 1, "note": 2, "ok": 3}
    return sorted(rows, key=lambda row: order[row.status])


def _samples(telemetry: Telemetry, gathered: Gathered) -> list[QualityCheck]:
    keys = {row.key for found in gathered.series.values() for row, _ in found}
    facts = [telemetry.facts[key] for key in keys]
    copies, conflicts = sum(f.copies for f in facts), sum(f.conflicts for f in facts)
    gaps, resets = sum(f.gaps for f in facts), sum(f.resets for f in facts)
    rows = [
        QualityCheck(
            "duplicate samples",
            "warning" if conflicts else "note" if copies else "ok",
            f"{copies} samples stand twice at one time of one series, {conflicts} with different "
            "values; the largest is kept. Two servers or sources may report the same series."
            if copies
            else "no series has two samples at one time",
        ),
        QualityCheck(
            "gaps",
            "note" if gaps else "ok",
            f"{gaps} intervals are longer than 2.5 usual ones; what happened in them is left out, "
            "not filled"
            if gaps
            else "no series has a gap",
        ),
        QualityCheck(
            "counter resets",
            "note" if resets else "ok",
            f"{resets} resets; after each the whole value counts as increase, as in Prometheus"
            if resets
            else "no counter started again",
        ),
    ]
    frozen = sorted(
        {
            f"{row.pool}.{row.quantity}"
            for found in gathered.series.values()
            for row, samples in found
            if samples.values.size > 20
            and telemetry.facts[row.key].changes == 0
            and np.any(samples.values != 0)
            and row.form == "gauge"
            and not row.quantity.endswith("_replicas")
        }
    )
    if frozen:
        rows.append(
            QualityCheck("frozen series", "warning", f"never changing at all: {', '.join(frozen)}")
        )
    return rows


def _scales(pools: dict[str, PoolTimeline]) -> list[QualityCheck]:
    """Find percent where a ratio is due, and milliseconds where seconds are."""
    rows = []
    for pool in pools.values():
        for signal in pool.signals.values():
            known = signal.values[np.isfinite(signal.values)]
            if not known.size:
                continue
            top = float(np.quantile(known, 0.99))
            if signal.name.endswith("_ratio") and top > LARGEST_RATIO:
                rows.append(
                    QualityCheck(
                        "percent or ratio",
                        "warning",
                        f"{pool.pool}.{signal.name} reaches {top:.4g}, but a ratio is 0 to 1: "
                        "percent? Divide by 100; until then its target is 100 times too high.",
                    )
                )
            family = next((f for f in LONGEST_MEDIAN_SECONDS if signal.name.startswith(f)), None)
            middle = float(np.median(known))
            if family and middle > LONGEST_MEDIAN_SECONDS[family]:
                rows.append(
                    QualityCheck(
                        "seconds or milliseconds",
                        "warning",
                        f"{pool.pool}.{signal.name} has a median of {middle:.4g} s: milliseconds? "
                        "Divide by 1000; until then no objective in seconds can be judged.",
                    )
                )
    return rows


def _scales_of_requests(gathered: Gathered) -> list[QualityCheck]:
    """Find milliseconds in the seconds of a request log."""
    rows = []
    for family, longest in LONGEST_MEDIAN_SECONDS.items():
        values = gathered.requests[f"{family}_seconds"]
        known = values[np.isfinite(values)]
        if known.size and (middle := float(np.median(known))) > longest:
            rows.append(
                QualityCheck(
                    "seconds or milliseconds",
                    "warning",
                    f"{family}_seconds of the request log has a median of {middle:.4g} s: "
                    "milliseconds? Divide by 1000; until then no objective can be judged.",
                )
            )
    return rows


def _span(gathered: Gathered) -> list[QualityCheck]:
    rows = [QualityCheck("span", "warning", gathered.note)] if gathered.note else []
    at = gathered.grid.time_seconds
    seconds = float(at[-1] - at[0]) + gathered.grid.step_seconds
    if seconds < SHORT_RECORD_SECONDS:
        note = (
            f"the record holds {spoken_duration(seconds)} only: nothing of the rhythm of a day, of "
            "rare peaks or of slow drifts is in it"
        )
        rows.append(QualityCheck("length of the record", "note", note))
    return rows


def _replicas(pools: dict[str, PoolTimeline]) -> list[QualityCheck]:
    rows = []
    for pool in pools.values():
        if pool.pool == "gateway":
            continue
        known = pool.ready_replicas[np.isfinite(pool.ready_replicas)]
        if not known.size:
            note = (
                "not known: no replica label and no ready_replicas. Nothing can be said per replica"
            )
            rows.append(QualityCheck(f"replicas of {pool.pool}", "warning", note))
        else:
            low, high = float(known.min()), float(known.max())
            span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            rows.append(
                QualityCheck(
                    f"replicas of {pool.pool}", "ok", f"{span} ready, from {pool.replicas_source}"
                )
            )
        if len(pool.hardware) > 1:
            rows.append(
                QualityCheck(
                    f"hardware of {pool.pool}",
                    "warning",
                    f"mixed: {', '.join(pool.hardware)[:200]}. One number per replica is a mean "
                    "over unlike replicas",
                )
            )
    return rows


def _slo(counts: Sequence[SloCounts], objectives: Sequence[Objective]) -> list[QualityCheck]:
    rows = []
    told = {c.objective: c for c in counts}
    for objective in objectives:
        if objective.at_most_seconds > LONGEST_MEDIAN_SECONDS[objective.signal]:
            note = f"{objective}: milliseconds? Limits are in seconds"
            rows.append(QualityCheck("seconds or milliseconds", "warning", note))
        found = told.get(objective)
        if found is None:
            rows.append(
                QualityCheck(
                    f"objective {objective}",
                    "warning",
                    f"no histogram or request log tells {objective.signal}: it cannot be judged",
                )
            )
        elif not found.is_exact:
            rows.append(
                QualityCheck(
                    f"objective {objective}",
                    "warning",
                    f"the limit stands between the bucket edges {found.edge_low_seconds:g} and "
                    f"{found.edge_high_seconds:g} s: counts are bracketed, not exact",
                )
            )
        else:
            rows.append(
                QualityCheck(f"objective {objective}", "ok", f"exact counts, from {found.source}")
            )
    return rows


def _histograms(gathered: Gathered, pools: dict[str, PoolTimeline]) -> list[QualityCheck]:
    """Say what latencies mean, and where a quantile is beyond the last edge."""
    rows = []
    for (pool, quantity), buckets in gathered.buckets.items():
        rows_of = gathered.series.get((pool, f"{quantity}_sum"), [])
        if quantity == "tbt" and any(row.per_token for row, _ in rows_of):
            rows.append(
                QualityCheck(
                    f"tbt of {pool}", "note", "one observation a token, not a request's mean"
                )
            )
        if quantity in ("ttft", "tbt", "e2e") and np.isinf(buckets.edges[-1]):
            top = float(is_top_bucket(buckets.edges, buckets.counts, 0.99).mean())
            if top > 0.01:
                rows.append(
                    QualityCheck(
                        f"{quantity} of {pool}",
                        "note",
                        f"p99 lies beyond the last edge in {top:.0%} of the steps: there it is "
                        "only a lower bound",
                    )
                )
    if ("decode", "ttft") in gathered.buckets and "prefill" in pools:
        rows.append(
            QualityCheck(
                "ttft of decode",
                "note",
                "a decode engine starts its clock after remote prefill: its TTFT is too short",
            )
        )
    return rows


def _utilization(pools: dict[str, PoolTimeline]) -> list[QualityCheck]:
    """Say where GPU utilization falls while the work grows: it does not say how full a GPU is."""
    rows = []
    for pool in pools.values():
        busy = pool.signals.get("gpu_utilization_ratio")
        for name in ("decode_tokens_per_second", "running_requests"):
            work = pool.signals.get(name)
            if busy is None or work is None:
                continue
            known = np.isfinite(busy.values) & np.isfinite(work.values) & (work.values > 0)
            share, done = busy.values[known], work.values[known]
            if known.sum() < FEWEST_STEPS or np.ptp(share) == 0 or np.ptp(done) == 0:
                continue
            thin = -(-share.size // MOST_RANKED)
            rank = float(spearmanr(share[::thin], done[::thin]).statistic)
            if rank < FALLING_RANK_CORRELATION:
                note = (
                    f"falls as {name} rises (rank correlation {rank:.2f}): the GPU waits for "
                    "something else, and a scaler on it would remove replicas under demand"
                )
                rows.append(QualityCheck(f"GPU utilization of {pool.pool}", "warning", note))
                break
    return rows


def _closure(pools: dict[str, PoolTimeline], step_seconds: float) -> list[QualityCheck]:
    """Little's law: running requests = tokens per second x time between tokens."""
    for pool in pools.values():
        running = pool.signals.get("running_requests")
        tbt = pool.signals.get("tbt_mean_seconds")
        tokens = pool.signals.get("decode_tokens_per_second")
        if pool.pool == "gateway" or running is None or tbt is None or tokens is None:
            continue
        # Requests are counted at one instant and TBT when they end, so that single steps differ
        # by chance; means over many do not.
        steps = round(CLOSURE_SECONDS / step_seconds)
        steps = max(min(steps, running.values.size // (2 * FEWEST_WINDOWS)), 1)
        known = np.isfinite(running.values + tokens.values * tbt.values)
        inside = rolling_sum(np.where(known, running.values, 0.0), steps)[steps - 1 :: steps]
        work = np.where(known, tokens.values * tbt.values, 0.0)
        passing = rolling_sum(work, steps)[steps - 1 :: steps]
        busy = inside >= steps
        if busy.sum() < FEWEST_WINDOWS:
            continue
        off = (inside[busy] - passing[busy]) / inside[busy]
        middle = float(np.median(off))
        share = float((np.abs(off) > 3 * CLOSURE_TOLERANCE).mean())
        failed = abs(middle) > CLOSURE_TOLERANCE or share > CLOSURE_SHARE
        return [
            QualityCheck(
                f"Little's law in {pool.pool}",
                "warning" if failed else "ok",
                f"running requests and tokens/s x TBT differ by {middle:+.1%} (median)"
                + (": a join, a missing replica or the meaning of TBT may be wrong" * failed),
            )
        ]
    return []


def _notes(telemetry: Telemetry) -> list[QualityCheck]:
    rows = [QualityCheck("reading", "note", note) for note in telemetry.notes]
    if telemetry.left_out:
        names = sorted(telemetry.left_out)
        shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        rows.append(
            QualityCheck(
                "metrics left out",
                "note",
                f"{len(names)} metrics are no signal the study knows: {shown}. List one under "
                "[[signals]] to make it a candidate.",
            )
        )
    return rows
