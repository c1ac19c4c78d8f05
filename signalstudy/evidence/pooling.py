"""Pooling: what holds over many services or days, and what to expect of the next one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import chdtrc, stdtrit

from signalstudy.vocabulary.estimate import Estimate, unidentified

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from signalstudy.evidence.evidence import Evidence

    Floats = NDArray[np.float64]
    Scale = Literal["as it is", "logarithm", "Fisher z"]

FEWEST_STUDIES = 3
"""A prediction interval has as many degrees of freedom as there are studies, less two."""
NORMAL_WIDTH = 2.0 * 1.959964
LEAST_ERROR = 1e-6
LEAST_DAYS_PRESENT = 0.8
MOST_CORRELATION = 1.0 - 1e-6
POOLED_MEASURES: dict[str, Scale] = {
    "demand_correlation": "Fisher z",
    "demand_elasticity": "as it is",
    "gain_ratio": "logarithm",
    "lag_seconds": "as it is",
    "signal_to_noise_ratio": "logarithm",
    "capacity_elasticity": "as it is",
}
"""On these scales errors are about normal, and of a size that does not depend on the value."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """One measure of one signal over several services.

    `mean`: what the average service shows, with its 95 % interval. `prediction`: where a further
    service lies with 95 %; its value is the mean. `heterogeneity_ratio`: I2, the share of what
    the services differ by that is not their own uncertainty. `services`: how many were pooled.
    `shrunk`: each service's value, drawn towards the mean the more the less it knows itself.
    """

    pool: str
    signal: str
    measure: str
    services: int
    mean: Estimate
    prediction: Estimate
    heterogeneity_ratio: float
    shrunk: dict[str, float]


def pool_evidence(evidence: Sequence[Evidence]) -> tuple[Pooled, ...]:
    """Pool each measure of each signal over all services that could answer it."""
    found: dict[tuple[str, str, str], dict[str, Estimate]] = {}
    for service in evidence:
        for signal in service.signals:
            for measure, scale in POOLED_MEASURES.items():
                estimate = signal.measures.get(measure)
                if estimate is not None and _is_usable(estimate, scale):
                    key = (signal.pool, signal.signal, measure)
                    found.setdefault(key, {})[service.service] = estimate
    return tuple(
        pool_estimates(*key, answers) for key, answers in found.items() if len(answers) > 1
    )


def pool_estimates(pool: str, signal: str, measure: str, answers: Mapping[str, Estimate]) -> Pooled:
    """Pool one measure over services: random effects, Paule and Mandel (1982).

    mean = sum w y / sum w, w = 1 / (v + tau2), tau2 such that sum w (y - mean)^2 = k - 1. Its
    interval is that of Hartung and Knapp (2001), never narrower than the plain one; the prediction
    interval mean +- t(k - 2) sqrt(tau2 + se2) is that of Higgins et al. (2009). v is read off each
    interval: (width / 3.92)^2, on the scale of the measure.
    """
    scale = POOLED_MEASURES[measure]
    y = np.array([_scaled(estimate.value or 0.0, scale) for estimate in answers.values()])
    v = np.array([_variance(estimate, scale) for estimate in answers.values()])
    tau2 = paule_mandel(y, v)
    w = 1.0 / (v + tau2)
    mean = float((w * y).sum() / w.sum())
    k = y.size
    spread = float((w * (y - mean) ** 2).sum()) / (k - 1)
    error = math.sqrt(max(spread, 1.0) / float(w.sum()))
    reach = float(stdtrit(k - 1, 0.975)) * error
    method = "random effects (Paule-Mandel, Hartung-Knapp)"
    within = v / (v + tau2) if tau2 > 0.0 else np.ones(k)
    return Pooled(
        pool=pool,
        signal=signal,
        measure=measure,
        services=k,
        mean=_estimate(mean, reach, scale, method=method, note=f"mean of {k} services"),
        prediction=_prediction(mean, tau2, error, k, scale),
        heterogeneity_ratio=heterogeneity(y, v),
        shrunk={
            name: _unscaled(float(b * mean + (1.0 - b) * own), scale)
            for name, own, b in zip(answers, y, within, strict=True)
        },
    )


def paule_mandel(y: Floats, v: Floats) -> float:
    """Variance between studies (k,) at which their weighted squares are as large as they should be.

    The root of sum (y - mean)^2 / (v + tau2) = k - 1, which falls in tau2; 0 where it is below.
    """

    def excess(tau2: float) -> float:
        w = 1.0 / (v + tau2)
        mean = (w * y).sum() / w.sum()
        return float((w * (y - mean) ** 2).sum()) - (y.size - 1)

    if excess(0.0) <= 0.0:
        return 0.0
    low, high = 0.0, float(np.ptp(y)) ** 2 + 1e-12
    while excess(high) > 0.0:
        high *= 2.0
    for _ in range(100):
        middle = (low + high) / 2.0
        low, high = (middle, high) if excess(middle) > 0.0 else (low, middle)
    return (low + high) / 2.0


def heterogeneity(y: Floats, v: Floats) -> float:
    """I2 = (Q - (k - 1)) / Q, at least 0 (Higgins and Thompson 2002)."""
    w = 1.0 / v
    mean = (w * y).sum() / w.sum()
    q = float((w * (y - mean) ** 2).sum())
    return max(0.0, (q - (y.size - 1)) / q) if q > 0.0 else 0.0


def rank_agreement(scores: Floats) -> Estimate:
    """Kendall's W of how raters (days, services) order signals, (raters, signals): 0..1.

    W = 12 S / (m2 (k3 - k) - m T), T for ties; the note says how likely so much agreement is by
    chance, Friedman's m (k - 1) W on k - 1 degrees of freedom. Raters that lack a signal are left
    out.
    """
    whole = scores[np.isfinite(scores).all(axis=1)]
    m, k = whole.shape
    if m < 2 or k < 2:
        return unidentified(
            f"{m} days or services rate {k} signals; agreement takes at least two of both."
        )
    ranks = np.array([_ranks(row) for row in whole])
    squares = float(((ranks.sum(axis=0) - m * (k + 1) / 2.0) ** 2).sum())
    ties = sum(
        float((counts**3 - counts).sum())
        for counts in (np.unique(row, return_counts=True)[1] for row in ranks)
    )
    most = m**2 * (k**3 - k) - m * ties
    if most <= 0.0:
        return unidentified("All raters hold all signals for equal, so they have no order.")
    w = min(1.0, 12.0 * squares / most)
    chance = float(chdtrc(k - 1, m * (k - 1) * w))
    return Estimate(
        value=w,
        note=f"{m} raters of {k} signals; so much agreement by chance: p = {chance:.2g}",
        method="Kendall's W",
    )


def agreement_of_days(evidence: Evidence) -> dict[str, Estimate]:
    """Say of each pool whether its signals keep their order from day to day.

    Each whole day rates the signals by their mean held-out loss; signals that are missing on more
    than a fifth of the days are left out.
    """
    found = {}
    for pool in dict.fromkeys(signal.pool for signal in evidence.signals):
        losses = [
            signal.block_losses
            for signal in evidence.signals
            if signal.pool == pool and signal.block_losses is not None
        ]
        if len(losses) > 1:
            by_day = _by_day(np.array(losses), evidence.days)
            is_there = np.isfinite(by_day).sum(axis=1) >= LEAST_DAYS_PRESENT * by_day.shape[1]
            found[pool] = rank_agreement(-by_day[is_there].T)
    return found


def _by_day(losses: Floats, days: float) -> Floats:
    """Average losses (signals, blocks) by whole day (signals, days), NaN where a day has none."""
    whole = int(days + 0.01)
    day = (np.arange(losses.shape[1]) + 0.5) * days / losses.shape[1]
    means = np.full((losses.shape[0], whole), np.nan)
    for number in range(whole):
        part = losses[:, (day >= number) & (day < number + 1)]
        known = np.isfinite(part)
        counts = known.sum(axis=1)
        sums = np.where(known, part, 0.0).sum(axis=1)
        means[:, number] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means


def agreement_of_services(evidence: Sequence[Evidence]) -> dict[str, Estimate]:
    """Say of each pool whether the services put the signals that all of them have in one order."""
    found = {}
    for pool in dict.fromkeys(s.pool for service in evidence for s in service.signals):
        rated = [
            {
                signal.signal: float(np.nanmean(signal.block_losses))
                for signal in service.signals
                if signal.pool == pool and signal.block_losses is not None
            }
            for service in evidence
        ]
        rated = [losses for losses in rated if losses]
        shared = sorted(set.intersection(*map(set, rated))) if rated else []
        if len(rated) > 1 and len(shared) > 1:
            scores = [[-losses[name] for name in shared] for losses in rated]
            found[pool] = rank_agreement(np.array(scores))
    return found


def _ranks(values: Floats) -> Floats:
    """Rank values (k,) from 1, equal ones by the mean of their places."""
    ordered = np.sort(values)
    first = np.searchsorted(ordered, values, side="left")
    last = np.searchsorted(ordered, values, side="right")
    return np.asarray((first + last + 1.0) / 2.0)


def _prediction(mean: float, tau2: float, error: float, k: int, scale: Scale) -> Estimate:
    if k < FEWEST_STUDIES:
        return unidentified(
            f"{k} services do not say what to expect of another; at least {FEWEST_STUDIES} do."
        )
    reach = float(stdtrit(k - 2, 0.975)) * math.sqrt(tau2 + error**2)
    return _estimate(
        mean,
        reach,
        scale,
        method="random effects, prediction interval (Higgins, Thompson, Spiegelhalter 2009)",
        note=f"where a further service lies, from {k} services",
    )


def _estimate(mean: float, reach: float, scale: Scale, *, method: str, note: str) -> Estimate:
    return Estimate(
        value=_unscaled(mean, scale),
        low=_unscaled(mean - reach, scale),
        high=_unscaled(mean + reach, scale),
        method=method,
        note=note,
    )


def _is_usable(estimate: Estimate, scale: Scale) -> bool:
    """Tell whether an estimate has an interval, on the scale of its measure."""
    numbers = (estimate.value, estimate.low, estimate.high)
    if estimate.status != "ok" or any(number is None for number in numbers):
        return False
    return scale != "logarithm" or min(number or 0.0 for number in numbers) > 0.0


def _variance(estimate: Estimate, scale: Scale) -> float:
    width = _scaled(estimate.high or 0.0, scale) - _scaled(estimate.low or 0.0, scale)
    return max(width / NORMAL_WIDTH, LEAST_ERROR) ** 2


def _scaled(value: float, scale: Scale) -> float:
    if scale == "logarithm":
        return math.log(value)
    if scale == "Fisher z":
        return math.atanh(min(max(value, -MOST_CORRELATION), MOST_CORRELATION))
    return value


def _unscaled(value: float, scale: Scale) -> float:
    if scale == "logarithm":
        return math.exp(min(value, 700.0))
    return math.tanh(value) if scale == "Fisher z" else value
