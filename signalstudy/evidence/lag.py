"""Lag: how late the signal is, of its own and as a controller sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.blocks import central_range
from signalstudy.evidence.prepared import SIGNIFICANCE
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from signalstudy.evidence.crosscovariance import LagSearch
    from signalstudy.evidence.prepared import Prepared

EDGE_SHARE = 0.025
RESOLUTION_SHARE = 1.0 / 8.0
SMEARED_RESOLUTION_SHARE = 1.0 / 2.0
"""Floors of the interval, in steps: interpolation errs more than resampling shows (methods 2.5)."""


def lag_seconds(prepared: Prepared) -> Estimate:
    """Seconds by which the signal itself follows demand, centre to centre of the samples.

    Positive: the signal is later. Peak of the detrended cross-correlation with a parabola, known
    group delays (half the rate window, half the exporter's refresh) taken off; resampled block
    cross-covariances, widened by an eighth of a step, by half of one for a smeared response
    (methods 2.1 to 2.5).
    """
    search = prepared.lag_search
    step = prepared.view.step_seconds
    if not prepared.can_tell_chance:
        raise NotEnoughDataError(
            "The record is too short for how slowly it changes: the best lag cannot be told from "
            "chance."
        )
    _peak_must_be_real(search, step)
    low, high = _identified_range(search, step)
    share = SMEARED_RESOLUTION_SHARE if search.is_smeared else RESOLUTION_SHARE
    known = prepared.known_delay_seconds
    peak = search.peak_steps
    return Estimate(
        value=peak * step - known,
        low=(min(low, peak) - share) * step - known,
        high=(max(high, peak) + share) * step - known,
        note=(
            f"correlation {search.correlation:+.2f} at the peak, high-passed at "
            f"{search.window.high_pass * step:g} s, searched up to {search.window.lag * step:g} s"
            + ("; a smeared response: dead time and part of a rise" if search.is_smeared else "")
        ),
        method="detrended cross-correlation, parabolic peak, block bootstrap",
    )


def seen_lag_seconds(prepared: Prepared) -> Estimate:
    """Seconds by which a controller sees the signal late: its own lag and what measuring adds.

    own + half the averaging interval + half the rate window + half the exporter's refresh period
    + half the scrape interval (methods 2.1).
    """
    own = lag_seconds(prepared)
    view = prepared.view
    parts = {
        "averaging": view.averaged_seconds / 2.0,
        "rate window": view.window_seconds / 2.0,
        "exporter refresh": view.refresh_seconds / 2.0,
        "scrape": view.scrape_seconds / 2.0,
    }
    added = sum(parts.values())
    if own.value is None or own.low is None or own.high is None:
        raise NotEnoughDataError(own.note)
    terms = [f"{own.value:.1f} s own", *(f"{s:.1f} s {name}" for name, s in parts.items() if s)]
    return Estimate(
        value=own.value + added,
        low=own.low + added,
        high=own.high + added,
        note=" + ".join(terms),
        method="own lag plus half of each interval in between",
    )


def _peak_must_be_real(search: LagSearch, step: float) -> None:
    """Raise where the peak may be chance, or lies where the search ended."""
    if search.probability > SIGNIFICANCE:
        raise NotEnoughDataError(
            f"The best lag, {search.peak_steps * step:.0f} s, is no better than chance "
            f"(probability {search.probability:.2f} without any relation)."
        )
    if abs(search.peak_steps) >= search.window.lag:
        raise NotEnoughDataError(
            f"The correlation is strongest at the longest lag searched, "
            f"{search.window.lag * step:g} s: the lag is that long or longer, or there is none."
        )


def _identified_range(search: LagSearch, step: float) -> tuple[float, float]:
    """Give the interval in steps, or raise where resamples touch the limit or have two peaks."""
    resampled = np.sort(search.resampled_steps)
    at_edge = float((np.abs(resampled) >= search.window.lag).mean())
    if at_edge > EDGE_SHARE:
        raise NotEnoughDataError(
            f"The lag is not identified: {at_edge:.0%} of the resampled records put it at the "
            f"longest lag searched, {search.window.lag * step:g} s."
        )
    low, high = central_range(resampled)
    middle = resampled[(resampled >= low) & (resampled <= high)]
    gaps = np.diff(middle)
    if gaps.size and gaps.max() > max(2.0, (high - low) / 2.0):
        first, second = middle[gaps.argmax()], middle[gaps.argmax() + 1]
        raise NotEnoughDataError(
            f"The lag is not identified: the resampled records disagree between {first * step:.0f} "
            f"and {second * step:.0f} s."
        )
    if high - low > search.window.lag:
        raise NotEnoughDataError(
            f"The lag is not identified: it could lie anywhere from {low * step:.0f} to "
            f"{high * step:.0f} s."
        )
    return low, high
