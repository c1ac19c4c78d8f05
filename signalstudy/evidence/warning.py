"""Breach warning: would the signal have announced that an objective breaks, and how early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import bdtr, betaincinv, gammaincinv

from signalstudy.evidence.alarms import LONGEST_LEAD_SECONDS, MERGE_SECONDS, Record, judge_held_out
from signalstudy.evidence.breaches import find_breaches
from signalstudy.evidence.series import trailing_mean
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate, not_applicable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.alarms import Outcome
    from signalstudy.evidence.evidence import SignalView
    from signalstudy.evidence.prepared import Prepared

    Floats = NDArray[np.float64]
    Spans = NDArray[np.intp]

LEVEL_SECONDS = 60.0
FEWEST_BREACHES = 2
LEADS_PER_HORIZON = 4.0
LEAST_COVERAGE = 0.5
DAY_SECONDS = 86400.0
METHOD = "cut on the minute's mean, fitted on other stretches of the record"


def breach_recall_ratio(prepared: Prepared) -> Estimate:
    """Share of SLO breaches that the signal announces in time to scale.

    By an alarm between W and H before the breach (methods 6), its cut fitted on other stretches.
    The interval is that of Clopper and Pearson (1934) for k of n.
    """
    if prepared.no_breaches:
        return not_applicable(prepared.no_breaches)
    outcome = prepared.alarms
    announced = int(outcome.leads.size)
    n = announced + outcome.missed
    low = float(betaincinv(announced, n - announced + 1, 0.025)) if announced else 0.0
    high = float(betaincinv(announced + 1, n - announced, 0.975)) if announced < n else 1.0
    return Estimate(
        value=announced / n,
        low=low,
        high=high,
        method=METHOD,
        note=f"{announced} of {n} breaches announced at least "
        f"{prepared.view.horizon_seconds:g} s before they began",
    )


def breach_lead_seconds(prepared: Prepared) -> Estimate:
    """Median time between the signal's alarm and the breach it announced.

    Its interval is that between the order statistics that hold a median with 95 %, or all leads
    where there are fewer than six.
    """
    if prepared.no_breaches:
        return not_applicable(prepared.no_breaches)
    leads = np.sort(prepared.alarms.leads).astype(np.float64) * prepared.view.step_seconds
    if not leads.size:
        raise NotEnoughDataError("The signal announced none of the breaches in time.")
    low, high = _median_range(leads)
    longest = _longest_seconds(prepared.view)
    return Estimate(
        value=float(np.median(leads)),
        low=low,
        high=high,
        method=METHOD,
        note=f"of {leads.size} announced breaches; alarms earlier than {longest:g} s do not count",
    )


def false_alarms_per_day(prepared: Prepared) -> Estimate:
    """Alarms of the signal that no breach follows, per day without one.

    An alarm that scaling out follows may have prevented its breach: it is censored, and counts as
    neither. The interval is that of Garwood (1936) for a Poisson count.
    """
    if prepared.no_breaches:
        return not_applicable(prepared.no_breaches)
    outcome = prepared.alarms
    days = outcome.calm * prepared.view.step_seconds / DAY_SECONDS
    if days <= 0.0:
        raise NotEnoughDataError("There is no time without a breach for an alarm to be false in.")
    count = outcome.false_alarms
    censored = f", {outcome.censored} followed by a scale-out left out" if outcome.censored else ""
    return Estimate(
        value=count / days,
        low=float(gammaincinv(count, 0.025)) / days if count else 0.0,
        high=float(gammaincinv(count + 1, 0.975)) / days,
        method=METHOD,
        note=f"{count} in {days:.2g} days without a breach{censored}",
    )


def breaches_of(view: SignalView) -> Spans:
    """Find the breaches of what a pool answers for: first step, step after the last (m, 2)."""
    return find_breaches(view.slo_counts, view.time_seconds.size, view.step_seconds)


def why_no_breaches(view: SignalView, breaches: Spans) -> str:
    """Say why there is nothing to announce, or give ''."""
    if not view.slo_counts:
        return "There is no [[objectives]] entry whose requests are counted for this pool."
    if not breaches.size:
        said = ", ".join(str(slo.objective) for slo in view.slo_counts)
        return f"No breach of {said} in these data, so there is nothing to announce."
    return ""


def judge_warning(view: SignalView, breaches: Spans) -> Outcome:
    """Judge the alarms of a signal against the breaches of its pool, or raise why not."""
    step = view.step_seconds
    if breaches.shape[0] < FEWEST_BREACHES:
        raise NotEnoughDataError("Only one breach: a cut fitted on it cannot be tested on another.")
    level = _level(view)
    known = np.isfinite(level)
    if known[breaches[:, 0]].mean() < LEAST_COVERAGE:
        raise NotEnoughDataError("The signal is not known at most of the breaches.")
    horizon = max(1, round(view.horizon_seconds / step))
    longest = max(horizon + 1, round(_longest_seconds(view) / step))
    outs = np.searchsorted(view.time_seconds, np.asarray(view.scale_outs_seconds, dtype=float))
    return judge_held_out(
        Record(level, breaches, outs, horizon, longest, round(MERGE_SECONDS / step))
    )


def _level(view: SignalView) -> Floats:
    """Give what sounds the alarm (n,): the signal of one replica, over the minute before."""
    signal = view.signal
    if view.kind == "total" and np.isfinite(view.replicas).any():
        ready = np.where(np.isfinite(view.replicas), view.replicas, 0.0) > 0.0
        signal = np.where(ready, signal / np.where(ready, view.replicas, 1.0), np.nan)
    return trailing_mean(signal, max(1, round(LEVEL_SECONDS / view.step_seconds)))


def _longest_seconds(view: SignalView) -> float:
    return max(LONGEST_LEAD_SECONDS, LEADS_PER_HORIZON * view.horizon_seconds)


def _median_range(ordered: Floats) -> tuple[float, float]:
    """Give the order statistics between which the median of n lies with at least 95 %."""
    n = ordered.size
    # Number of values below the median is Binomial(n, 1/2): the largest rank with a tail of 2.5 %.
    ranks = np.arange(1, n // 2 + 1)
    is_sure = bdtr(ranks - 1.0, n, 0.5) <= 0.025
    rank = int(ranks[is_sure].max()) if is_sure.any() else 1
    return float(ordered[rank - 1]), float(ordered[n - rank])
