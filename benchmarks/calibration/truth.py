"""The right answers of a record: what its process does on average, at the demand it visits.

The curve of a response comes from a long record without noise of the same process; a record's
shape and range are those of that curve over the demand that the record visits. Its clarity and its
correlation set against them what the process leaves unexplained at each level of that demand:
demand is what was visited, and all that it does not explain (bursts that are blurred, fleets that
change, a cache) is chance, as it is to the intervals. Lag, and the response to replicas, are those
of the process itself. What noise of a known variance adds is worked in.
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
from signalstudy.evidence.step_response import NINE_TENTHS
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
END_BINS = 10
REPLICATES = 50
HORIZON_SECONDS = 120.0
SHAPES = ("linearity_ratio", "demand_elasticity", "gain_ratio", "dynamic_range_ratio")
OF_THE_PROCESS = ("capacity_elasticity", "lag_seconds", "seen_lag_seconds")
DISTORTION = "cache_distortion_ratio"


@dataclass(frozen=True, slots=True)
class Process:
    """What holds for one signal of a cell, whatever the record.

    `steps`, `minutes`: the mean signal over levels of the reference, (2, bins): at steps, and of
    means over minutes. `unexplained`: the square of what that curve leaves without any noise, over
    levels of the reference, (2, bins); `averaged`: the same of trailing means as a controller sees.
    """

    answers: dict[str, float]
    steps: Floats
    minutes: Floats
    unexplained: Floats
    averaged: Floats


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
    reference = prepared.reference[prepared.known]
    curve = _read(process.steps, reference)
    explained = float(curve.var())
    unexplained = float(np.interp(reference, *process.unexplained).mean()) + noise
    straight = float(np.corrcoef(reference, curve)[0, 1])
    truth["demand_correlation"] = straight * (explained / (explained + unexplained)) ** 0.5
    low, high = prepared.response.ends(prepared.response.fit)
    truth["signal_to_noise_ratio"] = explained / unexplained
    truth["peak_separation"] = abs(float(high - low)) / unexplained**0.5
    truth[DISTORTION] = 0.0
    if drawn.noisy.name == "prompt":
        truth |= _asked(_beside(_distorted(drawn, judged), judged), [DISTORTION])
    truth["hysteresis_ratio"] = 0.0  # no signal of the design remembers where demand came from
    truth["dead_time_seconds"] = cell.lag_seconds(number)
    truth["rise_time_seconds"] = cell.lag_seconds(number) + NINE_TENTHS * cell.smear_seconds
    if not cell.smear_seconds:
        truth["lag_seconds"] = cell.lag_seconds(number)
        truth["seen_lag_seconds"] = cell.lag_seconds(number) + cell.step_seconds
        if drawn.noisy.name != "prompt":
            truth["control_signal_to_noise_ratio"] = _averaged(
                cell, _width(cell, number), process, prepared, noise
            )
    return truth


def _distorted(drawn: Drawn, judged: Prepared) -> SignalView:
    """Give the record as it were if nothing but work and the hits that were drawn moved it."""
    clean = drawn.without_noise
    work = shifted(clean.reference, -judged.alignment[0]) / (1.0 - clean.hit_ratio)
    return replace(clean, signal=np.where(np.isfinite(clean.signal), work, np.nan))


def _width(cell: Cell, number: int) -> int:
    """Give the steps that a controller averages over: seen lag and horizon."""
    seconds = cell.lag_seconds(number) + cell.step_seconds + HORIZON_SECONDS
    return max(1, round(seconds / cell.step_seconds))


def _averaged(cell: Cell, width: int, process: Process, prepared: Prepared, noise: float) -> float:
    """Give explained over unexplained variance of means over `width` steps.

    A mean over w steps leaves sum (w - |k|) rho^|k| / w2 of the variance of noise that keeps rho
    from step to step.
    """
    apart = np.abs(np.arange(1 - width, width))
    left = [
        float(((width - apart) * np.exp(-apart * cell.step_seconds / memory)).sum()) / width**2
        if memory
        else 1.0 / width
        for memory in cell.noise_seconds
    ]
    whole = trailing_mean(prepared.known.astype(np.float64), width) > 1.0 - 1e-9
    whole |= whole.mean() <= LEAST_WHOLE
    reference = trailing_mean(prepared.reference, width)[whole]
    curve = trailing_mean(_read(process.steps, prepared.reference), width)[whole]
    known = np.isfinite(reference)
    bent = float(np.interp(reference[known], *process.averaged).mean())
    return float(np.nanvar(curve)) / (bent + noise * float(np.mean(left)))


def _beside(view: SignalView, judged: Prepared) -> Prepared:
    """Prepare a signal that is asked for values alone, aligned as another and with its blocks."""
    prepared = Prepared(view, judged.shared)
    few = _few(judged.cut)
    prepared.__dict__.update(alignment=judged.alignment, cut=few, blocks=few)
    return prepared


def _few(blocks: Blocks) -> Blocks:
    """Keep some of the replicates: no value depends on them, only its interval does."""
    return replace(blocks, weights=blocks.weights[:REPLICATES])


@lru_cache(maxsize=256)
def _processes(silent: Cell, number: int) -> dict[str, Process]:
    """Learn each signal's process from one long record without noise."""
    return {
        drawn.noisy.name: _learn(Prepared(drawn.noisy), _width(silent, number))
        for drawn in draw_record(silent, number, SEED)
    }


def _learn(prepared: Prepared, width: int) -> Process:
    few = _few(prepared.cut)
    prepared.__dict__.update(cut=few, blocks=few)
    x, y = prepared.reference, prepared.signal
    steps = _curve(x, y)
    left = y - _read(steps, x)
    return Process(
        answers=_asked(prepared, OF_THE_PROCESS),
        steps=steps,
        minutes=_curve(prepared.smooth(x), prepared.smooth(y)),
        unexplained=_curve(x, left**2),
        averaged=_curve(trailing_mean(x, width), trailing_mean(left, width) ** 2),
    )


def _curve(x: Floats, y: Floats) -> Floats:
    """Average x and y (n,) in bins of equal counts of x: (2, bins)."""
    known = np.isfinite(x) & np.isfinite(y)
    order = np.flatnonzero(known)[np.argsort(x[known])]
    starts = np.linspace(0, order.size, CURVE_BINS, endpoint=False).astype(np.intp)
    counts = np.diff(starts, append=order.size)
    return np.array([np.add.reduceat(values[order], starts) / counts for values in (x, y)])


def _read(curve: Floats, at: Floats) -> Floats:
    """Read a curve (2, bins) off (n,), drawn out straight by the slopes at its ends."""
    levels, heights = curve
    low, high = (
        np.polyfit(levels[part], heights[part], 1)[0]
        for part in (slice(END_BINS), slice(-END_BINS, None))
    )
    beyond = low * np.minimum(at - levels[0], 0.0) + high * np.maximum(at - levels[-1], 0.0)
    return np.asarray(np.interp(at, levels, heights) + beyond)


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
