"""Lag: how late the signal is, of its own and as a controller sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.blocks import influence_of, widening
from signalstudy.evidence.crosscovariance import identified_range
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from signalstudy.evidence.prepared import Prepared

RESOLUTION_SHARE = 1.0 / 6.0
"""Floor of the interval, in steps: interpolation errs more than resampling shows (methods 2.5). A
parabola through the triangle that means of white demand make errs by up to 0.17."""


def lag_seconds(prepared: Prepared) -> Estimate:
    """Seconds by which the signal itself follows demand, centre to centre of the samples.

    Positive: the signal is later. Peak of the detrended cross-correlation with a parabola, known
    group delays (half the rate window, half the exporter's refresh) taken off. Resampled block
    cross-covariances give the interval; a sixth of a step, which interpolation errs by, is added
    as an error of its own, by squares (methods 2.1 to 2.5). A smeared response needs no more: its
    peak is as sharp, and what it means is said beside it (benchmarks/calibration).
    """
    search = prepared.lag_search
    step = prepared.view.step_seconds
    low, value, high = _own_lag(prepared)
    return Estimate(
        value=value,
        low=low,
        high=high,
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
    low, value, high = _own_lag(prepared)
    view = prepared.view
    parts = {
        "averaging": view.averaged_seconds / 2.0,
        "rate window": view.window_seconds / 2.0,
        "exporter refresh": view.refresh_seconds / 2.0,
        "scrape": view.scrape_seconds / 2.0,
    }
    added = sum(parts.values())
    terms = [f"{value:.1f} s own", *(f"{s:.1f} s {name}" for name, s in parts.items() if s)]
    return Estimate(
        value=value + added,
        low=low + added,
        high=high + added,
        note=" + ".join(terms),
        method="own lag plus half of each interval in between",
    )


def _own_lag(prepared: Prepared) -> tuple[float, float, float]:
    """Give low, value and high of the signal's own lag in seconds, or raise why there is none."""
    search = prepared.lag_search
    step = prepared.view.step_seconds
    low, high = identified_range(search, step)
    wider = widening(influence_of(search.resampled_steps, prepared.cut), prepared.cut)
    peak = search.peak_steps
    below, above = (
        float(np.hypot(wider * max(reach, 0.0), RESOLUTION_SHARE))
        for reach in (peak - low, high - peak)
    )
    steps = np.array((peak - below, peak, peak + above))
    lower, value, upper = (steps * step - prepared.known_delay_seconds).tolist()
    return lower, value, upper
