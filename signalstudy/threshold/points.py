"""Points: capacity from steady states measured at fixed concurrency."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

from signalstudy.threshold.capacity import join_objectives
from signalstudy.threshold.threshold import Capacity
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from signalstudy.timeline.points import OperatingPoints
    from signalstudy.vocabulary.objectives import Objective

    Floats = NDArray[np.float64]

FEWEST_POINTS = 4
METHOD = (
    "interpolation of log latency on log concurrency, made monotone; decode tokens/s by Little's "
    "law; interval: leave-one-out residuals"
)
MEANS_NOTE = (
    "Points hold mean latencies: at this work the mean meets the limit, a high quantile does not."
)


def fit_points(points: OperatingPoints, objectives: Sequence[Objective]) -> Capacity:
    """Estimate decode tokens/s of one replica at which a mean latency reaches its limit."""
    work = points.decode_tokens_per_second
    known = np.isfinite(work) & (work > 0) & (points.concurrency_requests > 0)
    largest = float(work[known].max()) if known.any() else None
    if objectives:
        fits = [(objective, fit_objective(points, objective)) for objective in objectives]
        estimate, binding = join_objectives(fits)
    else:
        fits, binding = [], ""
        estimate = not_applicable("No objective is given.")
    return Capacity(
        pool="unified",
        signal="decode_tokens_per_second",
        per_replica=estimate,
        binding=binding,
        max_observed=largest,
        by_objective={str(objective): fitted for objective, fitted in fits},
    )


def fit_objective(points: OperatingPoints, objective: Objective) -> Estimate:
    """Find the concurrency at which the mean latency meets the limit, and the work done there."""
    shapes = {
        (prompt, output)
        for prompt, output in zip(points.prompt_tokens, points.output_tokens, strict=True)
        if math.isfinite(prompt) and math.isfinite(output)
    }
    if len(shapes) > 1:
        return unidentified(
            f"The points mix {len(shapes)} request shapes (prompt and output tokens); a curve over "
            "concurrency needs points of one shape: give each its own service."
        )
    latency = latency_of(points, objective.signal)
    log_c, log_y, log_x = _curve(points, latency)
    if log_c.size < FEWEST_POINTS:
        return unidentified(
            f"{objective}: {log_c.size} concurrencies with {objective.signal} are too few; "
            f"{FEWEST_POINTS} are needed."
        )
    return _meet(math.log(objective.at_most_seconds), log_c, log_y, log_x, objective)


def _meet(
    limit: float, log_c: Floats, log_y: Floats, log_x: Floats, objective: Objective
) -> Estimate:
    """Find where a rising latency meets the limit; all in logarithms."""
    error = 1.645 * _leave_one_out(log_c, log_y)
    rising = isotonic_regression(log_y).x
    work_at = np.maximum.accumulate(log_x)
    if rising[0] > limit:
        least = math.exp(work_at[0])
        return Estimate(
            least,
            high=least,
            status="censored",
            note=f"{objective}: the mean is over the limit at the least concurrency measured.",
            effective_observations=log_c.size,
            method=METHOD,
        )
    value = _work_where(limit, log_c, rising, work_at)
    bound = Estimate(
        value,
        low=min(_work_where(limit - error, log_c, rising, work_at), value),
        note=MEANS_NOTE,
        effective_observations=log_c.size,
        method=METHOD,
    )
    if rising[-1] <= limit:
        note = (
            f"{objective}: the mean stays within the limit up to the highest concurrency measured; "
            f"measure higher ones. {MEANS_NOTE}"
        )
        return replace(bound, status="lower_bound", note=note)
    return replace(bound, high=max(_work_where(limit + error, log_c, rising, work_at), value))


def latency_of(points: OperatingPoints, signal: str) -> Floats:
    """Give the mean latency an objective speaks of (m,), in seconds."""
    if signal == "ttft":
        return points.ttft_seconds
    if signal == "tbt":
        return points.tbt_seconds
    return points.ttft_seconds + (points.output_tokens - 1.0) * points.tbt_seconds


def _curve(points: OperatingPoints, latency: Floats) -> tuple[Floats, Floats, Floats]:
    """Give log concurrency (distinct, rising), mean log latency and mean log work at each."""
    work = points.decode_tokens_per_second
    concurrency = points.concurrency_requests
    known = np.isfinite(latency + work + concurrency)
    known &= (np.where(known, latency, 0.0) > 0) & (np.where(known, work, 0.0) > 0)
    known &= np.where(known, concurrency, 0.0) > 0
    distinct, label = np.unique(concurrency[known], return_inverse=True)
    held = np.bincount(label)
    log_y = np.bincount(label, weights=np.log(latency[known])) / held
    log_x = np.bincount(label, weights=np.log(work[known])) / held
    return np.log(distinct), log_y, log_x


def _work_where(log_limit: float, log_c: Floats, rising: Floats, log_x: Floats) -> float:
    """Give the work at the last concurrency whose latency is within the limit, interpolated."""
    within = int(np.searchsorted(rising, log_limit, side="right")) - 1
    if within < 0:
        return math.exp(log_x[0])
    if within >= rising.size - 1:
        return math.exp(log_x[-1])
    share = (log_limit - rising[within]) / (rising[within + 1] - rising[within])
    at = log_c[within] + share * (log_c[within + 1] - log_c[within])
    return math.exp(float(np.interp(at, log_c, log_x)))


def _leave_one_out(log_c: Floats, log_y: Floats) -> float:
    """Give the root mean square error of each inner point predicted from its neighbours."""
    share = (log_c[1:-1] - log_c[:-2]) / (log_c[2:] - log_c[:-2])
    predicted = log_y[:-2] + share * (log_y[2:] - log_y[:-2])
    return float(np.sqrt(np.mean((log_y[1:-1] - predicted) ** 2)))
