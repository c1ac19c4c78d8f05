"""Exceedance: the most work per replica at which one objective holds, with its safe bound."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, stdtrit

from signalstudy.threshold.bootstrap import DRAWS, FEWEST_DAYS, Blocks, Strata, choose_blocks
from signalstudy.threshold.counts import stacked
from signalstudy.threshold.isotonic import (
    RULE_OF_THREE,
    WorkBins,
    bin_by_work,
    last_safe_bin,
    last_supported_bin,
    share_over,
)
from signalstudy.threshold.logistic import crossings
from signalstudy.threshold.threshold import ExceedanceCurve
from signalstudy.vocabulary.estimate import Estimate, unidentified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from signalstudy.threshold.counts import WorkCounts
    from signalstudy.vocabulary.objectives import Objective

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

SAFE_QUANTILE = 0.05
HIGH_QUANTILE = 0.975
CURVE_DRAWS = 200
FEWEST_BLOCKS = {"production": 5, "pressure-test": 2}
"""Blocks that must have been on each side of the knee (methods 11, check 2)."""

FEWEST_BLOCKS_IN_ALL = 5
FEW_DAYS_NOTE = (
    f"Fewer than {FEWEST_DAYS} days: what differs from day to day is not in the interval."
)
TOO_LOW_SHARE = 0.9
MOST_PULL = 0.9
FIRM_SHARE = 0.95
"""The share of resamples that must pass the allowance before the knee counts as visited."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What one edge of the bracket says: bins of work and what resamples did.

    `safe_work`, `broken_work` (draws,): the last work within the allowance (NaN: none) and the
    first beyond it (NaN: never reached). `drawn_observed`, `drawn_over` (1 + draws, bins): the
    counts behind them, those of the data first.
    """

    value: float | None
    is_passed: bool
    safe_work: Floats
    broken_work: Floats
    drawn_observed: Floats
    drawn_over: Floats
    fitted: Floats
    share_low: Floats
    share_high: Floats


def fit_exceedance(
    counts: WorkCounts, objective: Objective, pool: str, *, role: str, seed: int
) -> tuple[Estimate, ExceedanceCurve | None]:
    """Estimate x* = sup{x : P(latency > limit | x) <= allowance} by isotonic regression of k/n.

    `value` is the last work still within the allowance, `low` its one-sided 95 % bootstrap bound,
    `high` the 97.5 % quantile of the first work beyond (methods 8.3). Where counts only bracket the
    limit, value and low come from the edge below it and high from the edge above.
    """
    requests = float(counts.observed.sum())
    needed = RULE_OF_THREE / objective.allowed_share
    if requests < needed:
        return unidentified(
            f"{objective}: only {requests:.0f} requests with known work per replica; telling a "
            f"share of {objective.allowed_share:.3g} over the limit needs {needed:.0f}."
        ), None
    bins = bin_by_work(counts.work_per_replica, counts.observed)
    blocks = _blocks(counts, bins.of_row, bins.work.size, role)
    return _fit_in_blocks(counts, objective, pool, bins, blocks, role=role, seed=seed)


def fit_joint_exceedance(
    sources: Sequence[tuple[WorkCounts, str]],
    told_by: Sequence[int],
    objective: Objective,
    pool: str,
    *,
    seed: int,
) -> tuple[Estimate, ExceedanceCurve | None]:
    """Fit one curve of k/n to the counts of several recordings, (counts, role) each.

    Each recording's blocks are drawn among themselves (stratified bootstrap, Davison & Hinkley
    1997, 3.2), its bins of time are its own. `told_by`: which of them visited their knee.
    """
    counts = stacked([one for one, _ in sources])
    bins = bin_by_work(counts.work_per_replica, counts.observed)
    ends = np.cumsum([one.observed.size for one, _ in sources])[:-1]
    blocks = Strata(
        tuple(
            _blocks(one, of_row, bins.work.size, role)
            for (one, role), of_row in zip(sources, np.split(bins.of_row, ends), strict=True)
        ),
        tuple(told_by),
    )
    roles = {sources[at][1] for at in told_by}
    role = "production" if "production" in roles else "pressure-test"
    return _fit_in_blocks(counts, objective, pool, bins, blocks, role=role, seed=seed)


def _fit_in_blocks(
    counts: WorkCounts,
    objective: Objective,
    pool: str,
    bins: WorkBins,
    blocks: Blocks | Strata,
    *,
    role: str,
    seed: int,
) -> tuple[Estimate, ExceedanceCurve]:
    allowed = objective.allowed_share
    fit = _fit(counts.observed, counts.over, bins, blocks, allowed=allowed, seed=seed)
    estimate = _judge(counts, fit, blocks, objective, role)
    if estimate.status == "ok" or (role == "production" and fit.is_passed):
        estimate = _joined_with_law(estimate, fit, bins, blocks, allowed, role=role)
    if not np.array_equal(counts.over, counts.over_least):
        other = _fit(counts.observed, counts.over_least, bins, blocks, allowed=allowed, seed=seed)
        estimate = _bracketed(estimate, other, objective)
    n, k = bins.sums(counts.observed), bins.sums(counts.over)
    return estimate, ExceedanceCurve(
        objective=str(objective),
        pool=pool,
        work_per_replica=bins.work,
        share=k / n,
        fitted=fit.fitted,
        share_low=fit.share_low,
        share_high=fit.share_high,
        requests=n,
        allowed_share=allowed,
    )


def _blocks(counts: WorkCounts, bin_of_row: NDArray[np.int64], bins: int, role: str) -> Blocks:
    """Choose blocks by how long the fit's residuals remember."""
    n, k = (
        np.bincount(bin_of_row, weights=values, minlength=bins).astype(float)
        for values in (counts.observed, counts.over)
    )
    expected = share_over(n, k)[bin_of_row]
    spread = np.sqrt(counts.observed * np.maximum(expected * (1.0 - expected), 1e-9))
    residuals = (counts.over - counts.observed * expected) / spread
    return choose_blocks(counts.time_seconds, counts.bin_seconds, residuals, role=role)


def _fit(
    observed: Floats,
    over: Floats,
    bins: WorkBins,
    blocks: Blocks | Strata,
    *,
    allowed: float,
    seed: int,
) -> Fit:
    """Fit the observed counts, then resampled ones."""
    n, k = bins.sums(observed), bins.sums(over)
    safe = int(min(last_safe_bin(n, k, allowed), last_supported_bin(n, allowed)))
    weights = blocks.weights(DRAWS, np.random.default_rng(seed))
    drawn_n = weights @ blocks.sums(observed, bins.of_row, n.size)
    drawn_k = weights @ blocks.sums(over, bins.of_row, n.size)
    crossing = last_safe_bin(drawn_n, drawn_k, allowed)
    last_held = n.size - 1 - np.argmax(drawn_n[:, ::-1] > 0, axis=1)
    drawn_safe = np.minimum(crossing, last_supported_bin(drawn_n, allowed))
    padded = np.append(bins.work, np.nan)  # index -1 is NaN: no bin at all
    after = np.where(crossing < last_held, _next_held(drawn_n, crossing), -1)
    pairs = zip(drawn_n[:CURVE_DRAWS], drawn_k[:CURVE_DRAWS], strict=True)
    shares = np.array([share_over(drawn, over) for drawn, over in pairs])
    share_low, share_high = np.quantile(shares, [0.025, 0.975], axis=0)
    fitted = share_over(n, k)
    drawn = np.vstack([n[None], drawn_n]), np.vstack([k[None], drawn_k])
    return Fit(
        value=float(bins.work[safe]) if safe >= 0 else None,
        is_passed=bool(fitted[-1] > allowed),
        safe_work=padded[drawn_safe],
        broken_work=padded[after],
        drawn_observed=drawn[0],
        drawn_over=drawn[1],
        fitted=fitted,
        share_low=np.minimum(share_low, fitted),
        share_high=np.maximum(share_high, fitted),
    )


def _next_held(observed: Floats, after: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the first bin with requests behind bin `after`, row by row (draws,)."""
    behind = np.arange(observed.shape[1])[None, :] > after[:, None]
    return np.asarray(np.argmax(behind & (observed > 0), axis=1))


def _judge(
    counts: WorkCounts, fit: Fit, blocks: Blocks | Strata, objective: Objective, role: str
) -> Estimate:
    """Turn a fit into an Estimate: ok, lower_bound, censored or unidentified, and why."""
    method = (
        f"isotonic k/n on bins of work, {blocks.counted()}; value: last work within the "
        "allowance, low: its lower 95 % bootstrap bound, high: 97.5 % of the first work beyond"
    )
    least = float(counts.work_per_replica.min())
    broken_draws = float(np.isnan(fit.safe_work).mean())
    if fit.value is None:
        return Estimate(
            least,
            high=least,
            status="censored",
            note=f"{objective} is already broken at the least work seen, {least:.4g} a replica: "
            "the capacity is below that, and these data do not say where.",
            effective_observations=blocks.count,
            method=method,
        )
    if broken_draws > SAFE_QUANTILE or blocks.count < FEWEST_BLOCKS_IN_ALL:
        reason = (
            f"in {100 * broken_draws:.0f} % of resamples it is broken even at the least work seen"
            if broken_draws > SAFE_QUANTILE
            else f"the data hold only {blocks.counted()}"
        )
        return unidentified(f"{objective}: no safe bound, because {reason}.", method=method)
    known = fit.safe_work[~np.isnan(fit.safe_work)]
    low = min(float(np.quantile(known, safe_quantile(blocks.bound_count))), fit.value)
    bound = Estimate(fit.value, low=low, effective_observations=blocks.count, method=method)
    unvisited = _why_not_visited(counts, fit, blocks, objective, role)
    if unvisited:
        return replace(bound, status="lower_bound", note=unvisited)
    beyond = fit.broken_work[~np.isnan(fit.broken_work)]
    if role == "production" and blocks.name != "days":
        bound = replace(bound, note=FEW_DAYS_NOTE)
    return replace(bound, high=max(float(np.quantile(beyond, HIGH_QUANTILE)), fit.value))


def _joined_with_law(
    estimate: Estimate,
    fit: Fit,
    bins: WorkBins,
    blocks: Blocks | Strata,
    allowed_share: float,
    *,
    role: str,
) -> Estimate:
    """Average the isotonic knee and bound with those of straight log-odds (geometric mean).

    A test visits its knee once, for minutes: the last safe bin is then low and rough, and the law
    smooth but a little high (breaches come in clusters, and most tests see fewer than their share).
    On 24 settings of benchmarks/thresholds the mean of both bounds is above the truth in at most 5
    % of tests and nearer to it than either alone.

    In production a few blocks at the knee can pull the isotonic bound down to half of it, because
    a bin counts that was hardly visited; there it pulls the law's down by MOST_PULL at most. On 360
    planted records of 6 to 72 hours no such bound is above the truth.
    """
    law = crossings(bins.work, fit.drawn_observed, fit.drawn_over, fit.fitted, allowed_share)
    known = law[1:][np.isfinite(law[1:])]
    low, value = estimate.low, estimate.value
    if low is None or value is None or known.size < FIRM_SHARE * (law.size - 1):
        return estimate
    if not np.isfinite(law[0]):
        return estimate
    largest = float(bins.work[-1])
    averaged = "low"
    if estimate.status == "ok":
        value, averaged = math.sqrt(value * min(float(law[0]), largest)), "value and low"
    safe = min(float(np.quantile(known, safe_quantile(blocks.bound_count))), largest)
    if role == "production":
        low = max(low, MOST_PULL * safe)
    if safe > TOO_LOW_SHARE * low:  # else the law found no slope in many resamples
        low = math.sqrt(low * safe)
    low = min(low, value)
    return replace(
        estimate,
        value=value,
        low=low,
        high=None if estimate.high is None else max(estimate.high, value),
        method=f"{estimate.method}; {averaged} averaged with that of straight log-odds",
    )


def safe_quantile(blocks: int) -> float:
    """Give the bootstrap quantile that bounds at 95 % with so few blocks.

    Resampling m blocks understates the spread as a normal quantile does beside Student's with
    m - 1 degrees of freedom (Efron & Tibshirani 1993, 12.5): Phi(t_0.05), 2.2 % for 6 blocks.
    """
    return float(ndtr(stdtrit(blocks - 1, SAFE_QUANTILE)))


def _why_not_visited(
    counts: WorkCounts, fit: Fit, blocks: Blocks | Strata, objective: Objective, role: str
) -> str:
    """Say why the knee does not count as visited, or nothing where it does."""
    ask = "run a pressure test, or a canary with fewer replicas, to find the knee."
    if not fit.is_passed:
        return f"{objective} held up to the largest work seen; {ask}"
    work = counts.work_per_replica
    above = np.unique(blocks.of_row[work > (fit.value or 0.0)]).size
    below = np.unique(blocks.of_row[work <= (fit.value or 0.0)]).size
    needed = FEWEST_BLOCKS[role]
    if min(above, below) < needed:
        return (
            f"{objective}: the knee was visited too rarely: {below} {blocks.name} have work below "
            f"it and {above} above, {needed} are needed; {ask}"
        )
    firm = float(np.isfinite(fit.broken_work).mean())
    if firm < FIRM_SHARE:
        return (
            f"{objective}: breaches at high work are too few to be sure of a knee (seen in "
            f"{100 * firm:.0f} % of resamples); {ask}"
        )
    return ""


def _bracketed(estimate: Estimate, other: Fit, objective: Objective) -> Estimate:
    """Join both edges: safe value and bound from the edge below the limit, high from above."""
    beyond = other.broken_work[~np.isnan(other.broken_work)]
    firm = other.is_passed and beyond.size >= FIRM_SHARE * other.broken_work.size
    high = float(np.quantile(beyond, HIGH_QUANTILE)) if firm else None
    at_most = f"{high:.4g}" if high is not None else "more than was seen"
    note = (
        f"The limit of {objective} is not an edge of the histogram: requests over it are only "
        f"bracketed, and the capacity lies between this value and {at_most}; an edge at "
        f"{objective.at_most_seconds:g} s would tell."
    )
    note = f"{estimate.note} {note}".strip()
    if estimate.value is None or estimate.status == "censored":
        return unidentified(note, method=estimate.method)
    status = estimate.status
    if status == "ok" and (
        high is None or other.value is None or other.value > 1.1 * estimate.value
    ):
        status = "lower_bound"
    keeps = high is not None and high >= estimate.value
    return replace(estimate, high=high if keeps else None, status=status, note=note)
