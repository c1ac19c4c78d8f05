"""Response to capacity: does the signal fall when replicas are added."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.autocorrelation import carry_over
from signalstudy.evidence.blocks import bootstrapped
from signalstudy.evidence.fleet_changes import elasticity_by_changes
from signalstudy.evidence.series import moving_mean, shifted
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.blocks import Blocks
    from signalstudy.evidence.prepared import Prepared
    from signalstudy.vocabulary.estimate import Estimate

    Floats = NDArray[np.float64]

FEWEST_STEPS = 50
LEAST_SHARE_ELSEWHERE = 0.02
LEAST_VARIATION = 0.05
LEAST_INFORMED = 0.8
"""Share of resamples that must hold a twentieth of the whole's changes of replicas."""
MOST_ROUNDS, MOST_EXPONENT = 20, 30.0
CLOSE_ENOUGH = 1e-3
"""A step of Newton's method this small leaves an error of about its square."""
MOST_COLLINEAR = 0.98
"""Share of ln N that ln d may explain; at a correlation of 0.87 the estimate was still exact."""


def capacity_elasticity(prepared: Prepared) -> Estimate:
    """Per cent by which the signal per replica moves when replicas grow by 1 % at equal demand.

    E[s] = exp(a + b ln d + c ln N), fitted so that what is left of s is at right angles to 1, ln d
    and ln N: logarithms of a noisy signal would take part of its noise for a slope (Santos Silva
    and Tenreyro 2006). A total is divided by N first, which makes -1 arithmetic (methods, section
    11, check 3). The interval keeps the demand and the fleets that were seen, as those of shapes
    do, and redraws what they do not explain by block of time. Proportional control needs an upper
    bound of at most -0.5.
    """
    signal, demand, replicas = _positive_steps(prepared)
    known = np.isfinite(signal)
    _replicas_must_change(replicas[known])
    logarithms = [np.log(values[known]) for values in (demand, replicas)]
    x, n = (values - values.mean() for values in logarithms)
    explained = _share_explained(x, n)
    if explained > MOST_COLLINEAR:
        raise NotEnoughDataError(
            f"Demand explains {explained:.1%} of when replicas changed, so what replicas do to the "
            "signal cannot be told apart from what demand does."
        )
    steps = np.flatnonzero(known)
    design = np.stack((np.ones(steps.size), x, n))
    value, left, table = _fit(design, signal[known] / signal[known].mean(), prepared.cut, steps)
    blocks = _blocks_of(prepared, steps, left)
    gram = table[:, :3, :3].reshape(-1, 9)
    variation = _variation(gram.sum(axis=0)[None])[0]
    has_changes = _variation(blocks.weights @ gram) > LEAST_VARIATION * variation
    if has_changes.mean() < LEAST_INFORMED:
        raise NotEnoughDataError(
            "Replicas changed in so few stretches of time that leaving one out leaves nothing to "
            "learn from."
        )
    is_total = prepared.view.kind == "total"
    found = bootstrapped(
        value,
        value + _strayed(table, blocks.weights),
        blocks,
        method="signal fitted by powers of demand and replicas, residuals redrawn by block",
        note=f"replicas {np.nanmin(replicas):g} to {np.nanmax(replicas):g}, "
        + ("a total divided by replicas, where -1 is arithmetic, " if is_total else "")
        + prepared.shape_note,
    )
    return _beside_changes(found, prepared)


def _beside_changes(found: Estimate, prepared: Prepared) -> Estimate:
    """Set what happened at the changes themselves beside the regression.

    Where the two exclude each other, something else moves with replicas, and the interval takes in
    both.
    """
    view = prepared.view
    replicas = shifted(view.replicas, prepared.alignment[0])
    signal = prepared.signal / replicas if view.kind == "total" else prepared.signal
    told = elasticity_by_changes(
        signal, np.where(prepared.known, view.demand, np.nan), replicas, prepared.shape_width
    )
    if told is None or found.low is None or found.high is None:
        return found
    value, low, high, changes = told
    note = f"{found.note}; by {changes} changes alone {value:.2f} [{low:.2f}, {high:.2f}]"
    if low > found.high or high < found.low:
        note += ", which disagrees: something else moves with replicas"
        return replace(found, low=min(found.low, low), high=max(found.high, high), note=note)
    return replace(found, note=note)


def _positive_steps(prepared: Prepared) -> tuple[Floats, Floats, Floats]:
    """Signal per replica, demand and replicas (n,), NaN where any is unknown or without demand."""
    view, steps = prepared.view, prepared.alignment[0]
    if not np.isfinite(view.replicas).any():
        raise NotEnoughDataError("not tested: the number of ready replicas is not known.")
    replicas = prepared.shared.once(
        f"replicas {steps} steps later",
        lambda: _usual_replicas(prepared),
        view.replicas,
        known=prepared.known,
    )
    signal = prepared.smooth_signal
    demand = prepared.smooth_shared(view.demand)
    usable = np.isfinite(signal) & np.isfinite(demand) & np.isfinite(replicas)
    above = [np.where(usable, values, 0.0) > 0.0 for values in (signal, demand, replicas)]
    usable &= above[1] & above[2]
    positive = usable & above[0]
    if positive.sum() < FEWEST_STEPS or float(signal[usable].mean()) <= 0.0:
        raise NotEnoughDataError(
            f"Only {positive.sum()} steps hold a positive signal, demand and replicas; at least "
            f"{FEWEST_STEPS} are needed."
        )
    signal, demand, replicas = (
        np.where(usable, values, np.nan) for values in (signal, demand, replicas)
    )
    if prepared.view.kind == "total":
        signal = signal / replicas
    return signal, demand, replicas


def _usual_replicas(prepared: Prepared) -> Floats:
    """Average the replicas that the aligned signal came from over minutes (n,).

    The harmonic mean, because what one replica sees is work over replicas.
    """
    replicas = shifted(prepared.view.replicas, prepared.alignment[0])
    is_up = prepared.known & (np.where(np.isfinite(replicas), replicas, 0.0) > 0.0)
    per_replica = np.where(is_up, 1.0 / np.where(is_up, replicas, 1.0), np.nan)
    return 1.0 / moving_mean(per_replica, prepared.shape_width)


def _blocks_of(prepared: Prepared, steps: NDArray[np.intp], left: Floats) -> Blocks:
    """Give the blocks to judge a fit by that leaves `left` (m,) at some steps.

    What no power of demand and replicas fits may outlast noise. And ln N tells no more than there
    were changes of replicas, whatever the number of blocks.
    """
    unexplained = np.zeros(prepared.known.shape)
    unexplained[steps] = left
    lasting = carry_over(unexplained, prepared.cut.size)
    replicas = prepared.view.replicas[np.isfinite(prepared.view.replicas)]
    return replace(
        prepared.blocks,
        carry_over=max(prepared.blocks.carry_over, lasting),
        pieces=float(np.count_nonzero(np.diff(replicas))),
    )


def _replicas_must_change(replicas: Floats) -> None:
    """Raise on a fixed fleet, or one that left its usual size for a moment only."""
    counts = np.round(replicas)
    usual, times = np.unique(counts, return_counts=True)
    if usual.size == 1:
        raise NotEnoughDataError("not tested: replicas never changed.")
    elsewhere = 1.0 - float(times.max()) / counts.size
    if elsewhere < LEAST_SHARE_ELSEWHERE:
        raise NotEnoughDataError(
            f"not tested: replicas left {usual[times.argmax()]:g} for only {elsewhere:.1%} of the "
            "time."
        )


def _share_explained(x: Floats, y: Floats) -> float:
    """R2 of y on x, both centred (n,); 0 where one of them does not vary."""
    spread = float((x**2).sum() * (y**2).sum())
    return float((x * y).sum()) ** 2 / spread if spread > 0.0 else 0.0


def _fit(
    design: Floats, signal: Floats, blocks: Blocks, steps: NDArray[np.intp]
) -> tuple[float, Floats, Floats]:
    """Fit `signal` (m,) by the exponential of what is linear in `design` (3, m), ln N last.

    Returns its coefficient, what is left (m,), and sums by block of products of the design and of
    what is left, each of the `steps` (m,) weighted by the fit (blocks, 4, 4).
    """
    coefficients = _newton(design, signal)
    fitted = _exponential(coefficients, design)
    root = np.sqrt(fitted)
    left = signal - fitted
    columns = np.concatenate((design * root, [left / root]))
    return float(coefficients[-1]), left, blocks.products(steps, columns)


def _newton(x: Floats, y: Floats) -> Floats:
    """Find the coefficients (3,) whose exponential fits y (m,) on x (3, m)."""
    coefficients = np.zeros(x.shape[0])
    for _ in range(MOST_ROUNDS):
        fitted = _exponential(coefficients, x)
        step = np.linalg.pinv((x * fitted) @ x.T, hermitian=True) @ (x @ (y - fitted))
        coefficients = coefficients + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < CLOSE_ENOUGH:
            break
    return coefficients


def _exponential(coefficients: Floats, design: Floats) -> Floats:
    fitted = np.exp(np.clip(coefficients @ design, -MOST_EXPONENT, MOST_EXPONENT))
    return np.asarray(fitted, dtype=np.float64)


def _strayed(table: Floats, weights: Floats) -> Floats:
    """Say how far the last coefficient strays when residuals are redrawn by block (replicates,).

    `table` (blocks, 4, 4): see `_fit`. A block's residuals are from the fit of all others, so that
    few fleets do not seem surer than they are (CR3; Bell and McCaffrey 2002).
    """
    gram, moment = table[:, :-1, :-1], table[:, :-1, -1]
    whole, all_moments = gram.sum(axis=0), moment.sum(axis=0)
    others = np.linalg.pinv(whole - gram, hermitian=True)
    without = np.einsum("bpq,bq->bp", others, all_moments - moment)
    left = moment - np.einsum("bpq,bq->bp", gram, without)
    added = left @ np.linalg.pinv(whole, hermitian=True)[-1]
    return np.asarray(weights @ added - added.sum(), dtype=np.float64)


def _variation(products: Floats) -> Floats:
    """Give what of the variance of ln N 1 and ln d leave, times its observations (rows,).

    From rows of the sums of products of 1, ln d and ln N. It is what the coefficient of ln N rests
    on (Frisch and Waugh 1933); a resample without a change of replicas has none.
    """
    count, x, n, _, xx, xn, _, _, nn = products.T
    count = np.maximum(count, 1.0)
    demand, along = xx - x * x / count, xn - x * n / count
    explained = along**2 / np.where(demand > 0.0, demand, np.inf)
    return np.asarray(nn - n * n / count - explained, dtype=np.float64)
