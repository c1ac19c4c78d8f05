"""Response to capacity: does the signal fall when replicas are added."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.blocks import bootstrapped
from signalstudy.evidence.fleet_changes import elasticity_by_changes
from signalstudy.evidence.series import moving_mean, shifted
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.prepared import Prepared
    from signalstudy.vocabulary.estimate import Estimate

    Floats = NDArray[np.float64]

FEWEST_STEPS = 50
LEAST_SHARE_ELSEWHERE = 0.02
LEAST_VARIATION = 0.05
LEAST_INFORMED = 0.8
"""Share of resamples that must hold a twentieth of the whole's changes of replicas."""
MOST_COLLINEAR = 0.98
"""Share of ln N that ln d may explain; at a correlation of 0.87 the estimate was still exact."""


def capacity_elasticity(prepared: Prepared) -> Estimate:
    """Per cent by which the signal per replica moves when replicas grow by 1 % at equal demand.

    Least squares of ln s on 1, ln d, ln N over lag-aligned steps, block bootstrap; a total is
    divided by N first, which makes -1 arithmetic (methods, section 11, check 3). Proportional
    control needs an upper bound of at most -0.5.
    """
    signal, demand, replicas = _positive_steps(prepared)
    known = np.isfinite(signal)
    _replicas_must_change(replicas[known])
    y, x, n = np.log(signal), np.log(demand), np.log(replicas)
    x, n, y = (values - np.nanmean(values) for values in (x, n, y))
    explained = _share_explained(x[known], n[known])
    if explained > MOST_COLLINEAR:
        raise NotEnoughDataError(
            f"Demand explains {explained:.1%} of when replicas changed, so what replicas do to the "
            "signal cannot be told apart from what demand does."
        )
    sums = prepared.blocks.products(np.ones(y.size), x, n, y).reshape(-1, 16)
    (value,), (variation,) = _slope_on_replicas(sums.sum(axis=0)[None])
    resampled, variations = _slope_on_replicas(prepared.blocks.weights @ sums)
    has_changes = variations > LEAST_VARIATION * variation
    if has_changes.mean() < LEAST_INFORMED:
        raise NotEnoughDataError(
            "Replicas changed in so few stretches of time that leaving one out leaves nothing to "
            "learn from."
        )
    is_total = prepared.view.kind == "total"
    found = bootstrapped(
        float(value),
        np.where(has_changes, resampled, np.nan),
        prepared.blocks,
        method="least squares of ln signal on ln demand and ln replicas, block bootstrap",
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
    """Signal per replica, demand and replicas (n,), NaN where any is unknown or not positive."""
    view, steps = prepared.view, prepared.alignment[0]
    if not np.isfinite(view.replicas).any():
        raise NotEnoughDataError("not tested: the number of ready replicas is not known.")
    replicas = prepared.shared.once(
        f"replicas {steps} steps later",
        lambda: _usual_replicas(prepared),
        view.replicas,
        known=prepared.known,
    )
    signal = prepared.smooth(prepared.signal)
    demand = prepared.smooth_shared(view.demand)
    usable = np.isfinite(signal) & np.isfinite(demand) & np.isfinite(replicas)
    positive = [np.where(usable, values, 0.0) > 0.0 for values in (signal, demand, replicas)]
    usable &= np.logical_and.reduce(positive)
    if usable.sum() < FEWEST_STEPS:
        raise NotEnoughDataError(
            f"Only {usable.sum()} steps hold a positive signal, demand and replicas; at least "
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


def _slope_on_replicas(products: Floats) -> tuple[Floats, Floats]:
    """Give the coefficient of ln N in ln s on 1, ln d, ln N, and what it rests on: (rows,) each.

    From rows of the sums of products of 1, ln d, ln N and ln s. It rests on the variance of ln N
    that 1 and ln d leave, times its observations (Frisch and Waugh 1933); a resample without a
    change of replicas has none, and its coefficient is NaN.
    """
    table = products.reshape(-1, 4, 4)
    count = np.maximum(table[:, 0, 0], 1.0)
    sums = table[:, 0, 1:]
    spread = table[:, 1:, 1:] - sums[:, :, None] * sums[:, None, :] / count[:, None, None]
    demand = spread[:, 0, 0]
    per_demand = spread[:, 0, :] / np.where(demand > 0.0, demand, np.inf)[:, None]
    variation = spread[:, 1, 1] - per_demand[:, 1] * spread[:, 0, 1]
    along = spread[:, 1, 2] - per_demand[:, 1] * spread[:, 0, 2]
    known = variation > 0.0
    return np.where(known, along / np.where(known, variation, 1.0), np.nan), variation
