"""Points: capacity from steady states measured at fixed concurrency."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
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
FLOOR_SHARES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Candidates for the latency of an empty replica, as shares of the least one measured."""

TYPICAL_ERROR = 0.08
TYPICAL_POINTS = 4.0
ERRORS_OF_THE_INTERVAL = 3.0
"""The interval is +- 3 mean errors of ln(work) left out point by point, the curve's own shrunk
towards 8 % as if by four more points. Calibrated on 669 inner points of 149 measured curves
(aiconfigurator), where 95 % of the points left out lie within; see benchmarks/README.md."""

METHOD = (
    "batch law between neighbouring points: requests in flight (work x latency, Little's law) as a "
    "power of latency - floor, floor chosen by leave-one-out; decode tokens/s by Little's law; 95 "
    "% interval by leave-one-out errors"
)
REPEATS_APART = 1.25
LARGEST_ERROR = 0.3
"""Beyond either a file is likely to mix configurations: of the repeats of one configuration in
aiconfigurator's sweeps 2 % differ by more in work, of its curves 5 % are predicted worse."""

MEANS_NOTE = (
    "Points hold mean latencies: at this work the mean meets the limit, a high quantile does not."
)


@dataclass(frozen=True, slots=True)
class LatencyCurve:
    """Latency and work (decode tokens/s) at rising concurrency, arrays (m,), of one request shape.

    `latency_seconds` never falls (isotonic over concurrency); `floor_seconds` is the latency of an
    empty replica; `error` the mean absolute error of ln(work) at points left out.
    """

    latency_seconds: Floats
    work_per_second: Floats
    floor_seconds: float
    error: float

    def work_at(self, latency_seconds: float) -> float:
        """Give the work at which latency is reached, that of the end points beyond them.

        With b requests in flight an iteration lasts alpha + beta b^p (methods 8.4), so that
        between two points ln b is linear in ln(latency - alpha); b = work x latency by Little.
        """
        within = max(latency_seconds, float(self.latency_seconds[0]))
        if within >= self.latency_seconds[-1]:
            return float(self.work_per_second.max())
        ln_flight = np.log(self.work_per_second * self.latency_seconds)
        beyond = np.log(self.latency_seconds - self.floor_seconds)
        after = int(np.searchsorted(self.latency_seconds, within, side="right"))
        pair = slice(after - 1, after + 1)
        at = np.interp(math.log(within - self.floor_seconds), beyond[pair], ln_flight[pair])
        reached = math.exp(float(at)) / within
        return max(reached, float(self.work_per_second[:after].max()))


def draw_curve(
    concurrency: Floats, latency_seconds: Floats, work_per_second: Floats
) -> LatencyCurve:
    """Draw the curve through points (m,) in any order; repeats at one concurrency: their median.

    The floor is the candidate that best predicts inner points from the others.
    """
    distinct, label = np.unique(concurrency, return_inverse=True)
    places = [label == place for place in range(distinct.size)]
    latency = np.array([np.median(latency_seconds[place]) for place in places])
    work = np.array([np.median(work_per_second[place]) for place in places])
    rising = np.exp(isotonic_regression(np.log(latency)).x)
    trials = [(_left_out_error(rising, work, share), share) for share in FLOOR_SHARES]
    error, share = min(trials)
    return LatencyCurve(rising, work, share * float(rising[0]), error)


def _left_out_error(latency: Floats, work: Floats, share: float) -> float:
    """Give the mean absolute error of ln(work) of each inner point predicted without it."""
    errors = []
    for left_out in range(1, latency.size - 1):
        kept = np.arange(latency.size) != left_out
        curve = LatencyCurve(latency[kept], work[kept], share * float(latency[kept][0]), 0.0)
        errors.append(abs(math.log(curve.work_at(float(latency[left_out])) / work[left_out])))
    return float(np.mean(errors)) if errors else TYPICAL_ERROR


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
    """Find the work at which the mean latency meets the limit."""
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
    known = _known(points, objective)
    concurrency = points.concurrency_requests[known]
    held = np.unique(concurrency).size
    if held < FEWEST_POINTS:
        return unidentified(
            f"{objective}: {held} concurrencies with {objective.signal} are too few; "
            f"{FEWEST_POINTS} are needed."
        )
    latency = latency_of(points, objective.signal)[known]
    curve = draw_curve(concurrency, latency, points.decode_tokens_per_second[known])
    estimate = _meet(curve, objective)
    return replace(estimate, note=f"{scatter_warning(points)} {estimate.note}".strip())


def scatter_warning(points: OperatingPoints) -> str:
    """Say where points look like several configurations under one name; "" where they do not.

    Tensor-parallel sizes, versions or GPUs that differ make other curves, and the median at each
    concurrency belongs to none of them.
    """
    work, concurrency = points.decode_tokens_per_second, points.concurrency_requests
    tbt = points.tbt_seconds
    known = np.isfinite(work) & (work > 0) & (concurrency > 0) & np.isfinite(tbt) & (tbt > 0)
    if not known.any():
        return ""
    order = np.argsort(concurrency[known], kind="stable")
    at, sorted_work = concurrency[known][order], work[known][order]
    starts = np.flatnonzero(np.diff(at, prepend=-np.inf))
    most = np.maximum.reduceat(sorted_work, starts)
    apart = most / np.minimum.reduceat(sorted_work, starts)
    signs = []
    gpus = np.unique(points.gpus_per_replica[np.isfinite(points.gpus_per_replica)])
    if gpus.size > 1:
        signs.append(f"they name {gpus.size} different gpus_per_replica")
    if (apart > REPEATS_APART).any():
        signs.append(
            f"at {int((apart > REPEATS_APART).sum())} of {starts.size} concurrencies their work "
            f"differs by up to {apart.max():.3g} times"
        )
    if starts.size >= FEWEST_POINTS:
        error = draw_curve(at, tbt[known][order], sorted_work).error
        if error > LARGEST_ERROR:
            signs.append(f"their neighbours miss points that are left out by {error:.0%}")
    if not signs:
        return ""
    return (
        f"The points look like several configurations in one file: {', '.join(signs)}. The "
        "capacity is then that of none of them; give each its own service."
    )


def _known(points: OperatingPoints, objective: Objective) -> NDArray[np.bool_]:
    """Say which points hold everything the objective needs (m,)."""
    needed = (
        latency_of(points, objective.signal),
        points.decode_tokens_per_second,
        points.concurrency_requests,
    )
    with np.errstate(invalid="ignore"):
        usable = [np.isfinite(values) & (values > 0) for values in needed]
    return np.asarray(np.logical_and.reduce(usable))


def _meet(curve: LatencyCurve, objective: Objective) -> Estimate:
    """Say at which work the curve meets the limit, and how surely."""
    limit, held = objective.at_most_seconds, curve.latency_seconds.size
    if curve.latency_seconds[0] > limit:
        least = float(curve.work_per_second[0])
        return Estimate(
            least,
            high=least,
            status="censored",
            note=f"{objective}: the mean is over the limit at the least concurrency measured.",
            effective_observations=held,
            method=METHOD,
        )
    value = curve.work_at(limit)
    inner = held - 2
    error = (inner * curve.error + TYPICAL_POINTS * TYPICAL_ERROR) / (inner + TYPICAL_POINTS)
    factor = math.exp(ERRORS_OF_THE_INTERVAL * error)
    bound = Estimate(
        value,
        low=value / factor,
        note=MEANS_NOTE,
        effective_observations=held,
        method=METHOD,
    )
    if curve.latency_seconds[-1] <= limit:
        note = (
            f"{objective}: the mean stays within the limit up to the highest concurrency measured; "
            f"measure higher ones. {MEANS_NOTE}"
        )
        return replace(bound, status="lower_bound", note=note)
    return replace(bound, high=value * factor)


def latency_of(points: OperatingPoints, signal: str) -> Floats:
    """Give the mean latency an objective speaks of (m,), in seconds."""
    if signal == "ttft":
        return points.ttft_seconds
    if signal == "tbt":
        return points.tbt_seconds
    return points.ttft_seconds + (points.output_tokens - 1.0) * points.tbt_seconds
