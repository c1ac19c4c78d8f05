"""The right answers of a record: what its process does on average, at the demand it visits.

The curve of a response comes from a long record without noise of the same process; a record's
shape and range are those of that curve over the demand that the record visits; its clarity sets
against them what that curve leaves of this record without noise: bursts that are blurred and fleets
that change are what was visited, too. Lag, and the response to replicas, are those of the process
itself; so is the correlation of `prompt`, whose cache is a confounder that is drawn, while that of
the others is of the record without noise. What noise of a known variance adds is worked in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.calibration.cells import LAGS_IN_STEPS, draw_record
from signalstudy.evidence.measures import MEASURES
from signalstudy.evidence.prepared import Prepared
from signalstudy.evidence.response import bin_demand, tabulate
from signalstudy.evidence.series import shifted, trailing_mean
from signalstudy.evidence.smoothing import LEAST_WHOLE
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from benchmarks.calibration.cells import Cell, Drawn
    from signalstudy.evidence.blocks import Blocks
    from signalstudy.evidence.evidence import SignalView

    Floats = NDArray[np.float64]

LONG_DAYS = 60.0
SEED = 715517
CURVE_BINS = 1000
REPLICATES = 50
HORIZON_SECONDS = 120.0
SHAPES = ("linearity_ratio", "demand_elasticity", "gain_ratio", "dynamic_range_ratio")
OF_THE_PROCESS = ("demand_correlation", "capacity_elasticity", "lag_seconds", "seen_lag_seconds")
DISTORTION = "cache_distortion_ratio"


@dataclass(frozen=True, slots=True)
class Process:
    """What holds for one signal of a cell, whatever the record.

    `steps`, `minutes`: the mean signal over levels of the reference, (2, bins): at steps, and of
    means over minutes. `unexplained`: variance at steps that the curve leaves without any noise,
    in the long record.
    """

    answers: dict[str, float]
    variance: float
    steps: Floats
    minutes: Floats
    unexplained: float


def truth_of(
    cell: Cell, number: int, drawn: Drawn, judged: Prepared, long_days: float = LONG_DAYS
) -> dict[str, float]:
    """Give the right answers of one signal of record `number` of a cell, by measure.

    `judged`: the signal as its measures see it, whose alignment the truth shares. What is missing
    has no right answer: a measure that the cell cannot tell.
    """
    silent = replace(cell, days=long_days, noise_ratio=0.0, missing_ratio=0.0)
    process = _processes(silent, number % len(LAGS_IN_STEPS))[drawn.noisy.name]
    noise = (cell.noise_ratio * float(np.nanmean(drawn.without_noise.signal))) ** 2
    prepared = _beside(drawn.noisy, judged)
    x = prepared.smooth(prepared.reference)
    # The shape measures see this curve in place of the record's own response.
    bins = bin_demand(x, np.isfinite(x), prepared.blocks, prepared.shape_every)
    curve = _read(process.minutes, x)
    prepared.__dict__["response"] = tabulate(curve, x, prepared.blocks, bins=bins)
    truth = process.answers | _asked(prepared, SHAPES)
    clean, variance = _silent(drawn, prepared), process.variance
    explained = float(np.nanvar(_read(process.steps, prepared.reference)))
    unexplained = process.unexplained
    if drawn.noisy.name != "prompt":
        known, variance = np.isfinite(clean), float(np.nanvar(clean))
        both = np.corrcoef(clean[known], prepared.reference[known])
        truth["demand_correlation"] = float(both[0, 1])
        unexplained = float(np.nanmean((clean - _read(process.steps, prepared.reference)) ** 2))
    truth["demand_correlation"] *= (variance / (variance + noise)) ** 0.5
    unexplained += noise
    low, high = prepared.response.ends(prepared.response.fit)
    truth["signal_to_noise_ratio"] = explained / unexplained
    truth["peak_separation"] = abs(float(high - low)) / unexplained**0.5
    is_distorted = drawn.noisy.name == "prompt"
    asked = _asked(_beside(drawn.without_noise, judged), [DISTORTION])
    truth |= {name: of if is_distorted else 0.0 for name, of in asked.items()}
    truth["hysteresis_ratio"] = 0.0  # no signal of the design remembers where demand came from
    if not cell.smear_seconds:
        truth["lag_seconds"] = cell.lag_seconds(number)
        truth["seen_lag_seconds"] = cell.lag_seconds(number) + cell.step_seconds
        if drawn.noisy.name != "prompt":
            curve = _read(process.steps, prepared.reference)
            truth["control_signal_to_noise_ratio"] = _averaged(cell, number, curve, clean, noise)
    return truth


def _averaged(cell: Cell, number: int, curve: Floats, clean: Floats, noise: float) -> float:
    """Give explained over unexplained variance of means over seen lag and horizon.

    A mean over w steps leaves sum (w - |k|) rho^|k| / w2 of the variance of noise that keeps rho
    from step to step.
    """
    seconds = cell.lag_seconds(number) + cell.step_seconds + HORIZON_SECONDS
    width = max(1, min(round(seconds / cell.step_seconds), int(curve.size / 24)))
    apart = np.abs(np.arange(1 - width, width))
    left = [
        float(((width - apart) * np.exp(-apart * cell.step_seconds / memory)).sum()) / width**2
        if memory
        else 1.0 / width
        for memory in cell.noise_seconds
    ]
    whole = trailing_mean(np.isfinite(clean).astype(np.float64), width) > 1.0 - 1e-9
    whole |= whole.mean() <= LEAST_WHOLE
    bent = float(np.nanmean(trailing_mean(clean - curve, width)[whole] ** 2))
    explained = float(np.nanvar(trailing_mean(curve, width)[whole]))
    return explained / (bent + noise * float(np.mean(left)))


def _beside(view: SignalView, judged: Prepared) -> Prepared:
    """Prepare a signal that is asked for values alone, aligned as another and with its blocks."""
    prepared = Prepared(view, judged.shared)
    few = _few(judged.cut)
    prepared.__dict__.update(alignment=judged.alignment, cut=few, blocks=few)
    return prepared


def _few(blocks: Blocks) -> Blocks:
    """Keep some of the replicates: no value depends on them, only its interval does."""
    return replace(blocks, weights=blocks.weights[:REPLICATES])


def _silent(drawn: Drawn, prepared: Prepared) -> Floats:
    """Give the record's signal without noise, aligned as the noisy one was (n,)."""
    moved = shifted(drawn.without_noise.signal, prepared.alignment[0])
    return np.where(prepared.known, moved, np.nan)


@lru_cache(maxsize=256)
def _processes(silent: Cell, number: int) -> dict[str, Process]:
    """Learn each signal's process from one long record without noise."""
    return {
        drawn.noisy.name: _learn(Prepared(drawn.noisy))
        for drawn in draw_record(silent, number, SEED)
    }


def _learn(prepared: Prepared) -> Process:
    few = _few(prepared.cut)
    prepared.__dict__.update(cut=few, blocks=few)
    x, y = prepared.reference, prepared.signal
    steps = _curve(x, y)
    return Process(
        answers=_asked(prepared, OF_THE_PROCESS),
        variance=float(np.nanvar(y)),
        steps=steps,
        minutes=_curve(prepared.smooth(x), prepared.smooth(y)),
        unexplained=float(np.nanvar(y - _read(steps, x))),
    )


def _curve(x: Floats, y: Floats) -> Floats:
    """Average x and y (n,) in bins of equal counts of x: (2, bins)."""
    known = np.isfinite(x) & np.isfinite(y)
    order = np.argsort(x[known])
    parts = np.array_split(order, CURVE_BINS)
    return np.array([[values[known][part].mean() for part in parts] for values in (x, y)])


def _read(curve: Floats, at: Floats) -> Floats:
    """Read a curve (2, bins) off (n,), its ends drawn out straight by their last tenth."""
    levels, heights = curve
    tenth = levels.size // 10
    low, high = (
        np.polyfit(levels[part], heights[part], 1) for part in (slice(tenth), slice(-tenth, None))
    )
    inside = np.interp(at, levels, heights)
    below = np.where(at < levels[0], np.polyval(low, at), inside)
    return np.where(at > levels[-1], np.polyval(high, at), below)


def _asked(prepared: Prepared, names: Iterable[str]) -> dict[str, float]:
    """Ask some measures of one signal, and keep what they can answer."""
    answers = {}
    for name in names:
        try:
            value = MEASURES[name].function(prepared).value
        except NotEnoughDataError:
            continue
        if value is not None:
            answers[name] = value
    return answers
