"""Smoothing: what averaging a signal buys in clearness, and what it costs in time.

Noise faster than a controller acts can be averaged away; slower noise cannot. So signals are
compared in the band that a controller can use, and by how late they are once they are clear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.blocks import GROWTH, bootstrapped
from signalstudy.evidence.lag import seen_lag_seconds
from signalstudy.evidence.series import (
    demand_must_vary,
    signal_must_vary,
    trailing_mean,
    trailing_means,
)
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.prepared import Prepared

    Floats = NDArray[np.float64]

WINDOWS_SECONDS = (30.0, 60.0, 120.0, 300.0, 600.0)
CLEAR_RATIO = 9.0
"""Clear: demand explains nine tenths of the variance."""
MOST_RATIO = 1e6
CURVE_COST = 0.04
"""Least half width, as a share: what is left after averaging is small, and the curve costs."""
LONGEST_SHARE = 1.0 / 24.0
MEANS_PER_WINDOW = 4
"""Means that overlap by more than three quarters tell nothing new."""
LEAST_WHOLE = 0.2
"""Share of the windows without a gap from which on only those count: others average less."""


def control_signal_to_noise_ratio(prepared: Prepared) -> Estimate:
    """Signal to noise of means over as long as a controller needs to act: what it can use.

    What demand explains over what it does not, as in `signal_to_noise_ratio`, both averaged over
    seen lag and start-up together, L + T: what is faster than 1 / (2 (L + T)) no scaler can answer
    (methods, section 4).
    """
    signal_must_vary(prepared.signal)
    demand_must_vary(prepared.reference)
    view = prepared.view
    try:
        late = max(seen_lag_seconds(prepared).value or 0.0, 0.0)
    except NotEnoughDataError:
        late = 0.0
    width = _steps(prepared, late + view.horizon_seconds)
    parts = [trailing_mean(part, width) for part in _parts(prepared)]
    whole = trailing_mean(np.isfinite(prepared.noise).astype(np.float64), width) > 1.0 - 1e-9
    if whole.mean() > LEAST_WHOLE:
        parts = [np.where(whole, part, np.nan) for part in parts]
    explained, noise = parts
    explained = explained - np.nanmean(explained)
    # What noise looks like demand, the curve has taken for it.
    columns = np.column_stack((explained**2, 2.0 * explained * noise, noise**2))
    sums = prepared.blocks.sums(columns)
    signal, _, left = sums.sum(axis=0).tolist()
    value = min(signal / max(left, signal / MOST_RATIO, 1e-300), MOST_RATIO)
    crossed, squares = (prepared.blocks.weights @ sums[:, 1:] - sums[:, 1:].sum(axis=0)).T
    redrawn = np.maximum(left + squares, max(signal / MOST_RATIO, 1e-300))
    return bootstrapped(
        value,
        np.clip((signal + crossed) / redrawn, 0.0, MOST_RATIO),
        prepared.blocks,
        bounds=(0.0, np.inf),
        scale=GROWTH,
        floor=CURVE_COST * value,
        method="held-out isotonic residuals averaged, their squares redrawn by "
        f"{prepared.blocks.drawn.size} blocks",
        note=f"means of {width * view.step_seconds:g} s: seen lag and start-up together",
    )


def clear_lag_seconds(prepared: Prepared) -> Estimate:
    """Seconds by which a controller sees the signal late once it is smoothed enough to be clear.

    Seen lag plus half of the shortest window over whose trailing means demand explains nine tenths
    of the variance (the noise-lag frontier of methods, section 4): a noisy signal that is early and
    a smooth one that is late are compared at equal clearness. A lower bound where ten minutes do
    not suffice.
    """
    seen = seen_lag_seconds(prepared)
    step = prepared.view.step_seconds
    parts = _parts(prepared)
    widths = sorted({1, *(_steps(prepared, seconds) for seconds in WINDOWS_SECONDS)})
    windows = [(width, max(1, width // MEANS_PER_WINDOW)) for width in widths]
    smoothed = zip(*(trailing_means(part, windows) for part in parts), strict=True)
    ratios = [_ratio_of(explained, noise) for explained, noise in smoothed]
    frontier = ", ".join(
        f"{ratio:.3g} at {width * step:g} s" for width, ratio in zip(widths, ratios, strict=True)
    )
    clear = [w for w, ratio in zip(widths, ratios, strict=True) if ratio >= CLEAR_RATIO]
    added = (min(clear, default=widths[-1]) - 1) * step / 2.0
    value, low, high = (
        None if side is None else side + added for side in (seen.value, seen.low, seen.high)
    )
    method = "seen lag plus half the shortest window with a signal to noise of 9"
    note = f"signal to noise {frontier}"
    if not clear:
        note = f"not clear over {widths[-1] * step:g} s either: {note}"
        return Estimate(value, status="lower_bound", note=note, method=method)
    return Estimate(value, low, high, note=note, method=method)


def _parts(prepared: Prepared) -> tuple[Floats, Floats]:
    """Give what demand explains of the signal, and what it does not (n,) each."""
    return prepared.signal - prepared.noise, prepared.noise


def _steps(prepared: Prepared, seconds: float) -> int:
    """Give a window in steps: at least one, at most a 24th of the record."""
    n = prepared.view.signal.size
    return max(1, min(round(seconds / prepared.view.step_seconds), int(n * LONGEST_SHARE)))


def _ratio_of(explained: Floats, noise: Floats) -> float:
    known = np.isfinite(noise)
    steps = max(int(known.sum()), 1)
    noise, explained = np.where(known, noise, 0.0), np.where(known, explained, 0.0)
    explained = np.where(known, explained - explained.sum() / steps, 0.0)
    left, signal = float(noise @ noise) / steps, float(explained @ explained) / steps
    return min(signal / left, MOST_RATIO) if left > 0.0 else MOST_RATIO
