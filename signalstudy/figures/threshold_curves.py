"""A Threshold as curves: the share of requests over the limit against work per replica."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from signalstudy.figures.look import (
    BAND,
    FIT,
    INK,
    MUTED,
    SHADE,
    SIGNAL,
    TARGET,
    empty_figure,
    note,
    plain,
)
from signalstudy.vocabulary.errors import NotEnoughDataError, unknown_name
from signalstudy.vocabulary.spoken import bound_sign, spoken_number
from signalstudy.vocabulary.units import unit_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.threshold.threshold import Capacity, ExceedanceCurve, Threshold
    from signalstudy.vocabulary.estimate import Estimate

    Floats = NDArray[np.float64]

_PANEL_PIXELS = 300
_GAP_PIXELS = 124
_TOP_PIXELS = 82
_BOTTOM_PIXELS = 52
_LABEL_PIXELS = 15
_LEVELS = 4


def curve_names(threshold: Threshold) -> list[str]:
    """Name the curves that can be drawn: `pool: objective`."""
    return [
        f"{pool}: {curve.objective}"
        for pool, capacity in threshold.capacities.items()
        for curve in capacity.curves
        if curve.work_per_replica.size
    ]


def draw_threshold(threshold: Threshold, curve: str | None = None) -> go.Figure:
    """Draw each exceedance curve (or the one named `pool: objective`), one below the other.

    Dots are bins of time, larger with more requests; the orange line is the isotonic fit with its
    95 % band; vertical lines are the capacity, its interval, the target and the largest observed.
    """
    names = curve_names(threshold)
    if not names:
        raise NotEnoughDataError(
            threshold.per_replica.note or "plot: this threshold holds no exceedance curve."
        )
    if curve is not None and curve not in names:
        raise unknown_name("plot, curve", "curve", curve, names)
    drawn = [
        (capacity, found)
        for pool, capacity in threshold.capacities.items()
        for found in capacity.curves
        if found.work_per_replica.size and curve in (None, f"{pool}: {found.objective}")
    ]
    inner = len(drawn) * _PANEL_PIXELS + (len(drawn) - 1) * _GAP_PIXELS
    figure = empty_figure(
        inner + _TOP_PIXELS + _BOTTOM_PIXELS,
        margin={"l": 60, "r": 16, "t": _TOP_PIXELS, "b": _BOTTOM_PIXELS},
        showlegend=False,
    )
    for index, (capacity, found) in enumerate(drawn):
        top = 1.0 - index * (_PANEL_PIXELS + _GAP_PIXELS) / inner
        domain = [max(0.0, top - _PANEL_PIXELS / inner), top]
        _draw_curve(figure, threshold, capacity, found, number=index + 1, domain=domain)
    return figure


def _draw_curve(
    figure: go.Figure,
    threshold: Threshold,
    capacity: Capacity,
    curve: ExceedanceCurve,
    *,
    number: int,
    domain: list[float],
) -> None:
    suffix = "" if number == 1 else str(number)
    axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
    unit = unit_of(capacity.signal)
    floor = _floor(curve)
    for trace in _traces(curve, floor, unit):
        figure.add_trace(trace.update(axes))
    lines = _vertical_lines(threshold, capacity, curve)
    x_most = 1.08 * max([float(np.max(curve.work_per_replica)), *(at for at, _, _, _ in lines)])
    ticks = [tick for tick in (1.0, 0.1, 0.01, 0.001, 0.0001) if tick > 1.5 * floor]
    figure.layout[f"xaxis{suffix}"] = {
        "anchor": f"y{suffix}",
        "title": f"{plain(capacity.signal)} per replica ({unit})",
        "range": [0, x_most],
    }
    figure.layout[f"yaxis{suffix}"] = {
        "domain": domain,
        "anchor": f"x{suffix}",
        "title": "share of requests over the limit (log)",
        "type": "log",
        "range": [float(np.log10(floor * 0.8)), 0.1],
        "tickvals": [*ticks, floor],
        "ticktext": [*(f"{tick:g}" for tick in ticks), "0"],
    }
    allowed_at = max(curve.allowed_share, floor)
    allowed = {"color": INK, "width": 1.2, "dash": "dot"}
    figure.add_shape(
        type="line",
        xref=f"x{suffix} domain",
        yref=axes["yaxis"],
        x0=0,
        x1=1,
        y0=allowed_at,
        y1=allowed_at,
        line=allowed,
    )
    figure.add_annotation(
        text=f"allowed {spoken_number(curve.allowed_share)}",
        xref=f"x{suffix} domain",
        yref=axes["yaxis"],
        x=0.005,
        y=float(np.log10(allowed_at)),
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        font={"size": 11, "color": INK},
    )
    _draw_lines(figure, lines, axes["xaxis"], suffix, x_most)
    title = f"<b>{plain(capacity.pool)}</b> · {plain(curve.objective)}"
    figure.add_annotation(note(title, x=0, y=domain[1], yshift=_LEVELS * _LABEL_PIXELS))


def _floor(curve: ExceedanceCurve) -> float:
    """Choose where zero is drawn on the log axis: below every share, at most allowed / 10."""
    shares = np.concatenate([curve.share, curve.fitted])
    positive = shares[np.isfinite(shares) & (shares > 0)]
    least = float(positive.min()) if positive.size else curve.allowed_share
    return max(1e-5, min(least / 2.0, curve.allowed_share / 10.0))


def _traces(curve: ExceedanceCurve, floor: float, unit: str) -> list[go.Scatter]:
    x = curve.work_per_replica

    def shown(share: Floats) -> Floats:
        return np.maximum(share, floor)

    known = np.isfinite(curve.share_low) & np.isfinite(curve.share_high)
    across = np.r_[x[known], x[known][::-1]]
    outline = np.r_[shown(curve.share_high[known]), shown(curve.share_low[known])[::-1]]
    most = max(float(np.nan_to_num(curve.requests).max()), 1.0)
    sizes = 4.0 + 9.0 * np.sqrt(np.nan_to_num(curve.requests) / most)
    hover = (
        f"%{{x:.4~g}} {unit} per replica<br>%{{customdata[0]:.3~g}} of %{{customdata[1]:,.0f}}"
        " requests over the limit<extra></extra>"
    )
    return [
        go.Scatter(
            x=across,
            y=outline,
            fill="toself",
            fillcolor=BAND,
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            name="95 % band",
        ),
        go.Scatter(
            x=x,
            y=shown(curve.share),
            mode="markers",
            marker={"size": sizes, "color": SIGNAL, "opacity": 0.55, "line": {"width": 0}},
            customdata=np.column_stack([curve.share, curve.requests]),
            hovertemplate=hover,
            name="observed share",
        ),
        go.Scatter(
            x=x,
            y=shown(curve.fitted),
            mode="lines",
            line={"color": FIT, "width": 2.4, "shape": "linear"},
            hoverinfo="skip",
            name="isotonic fit",
        ),
    ]


_Line = tuple[float, str, str, str]
"""Where, what it is called, colour, dash."""


def _vertical_lines(
    threshold: Threshold, capacity: Capacity, curve: ExceedanceCurve
) -> list[_Line]:
    estimate = _estimate_of(capacity, curve)
    lines: list[_Line] = []
    if estimate.value is not None:
        words = ("capacity", bound_sign(estimate), spoken_number(estimate.value))
        label = " ".join(filter(None, words))
        lines.append((estimate.value, label, FIT, "solid"))
    if estimate.low is not None:
        lines.append((estimate.low, f"safe bound {spoken_number(estimate.low)}", FIT, "5px,3px"))
    if estimate.high is not None:
        lines.append((estimate.high, "", FIT, "2px,3px"))
    same = (threshold.pool, threshold.signal) == (capacity.pool, capacity.signal)
    if same and threshold.target.value is not None:
        target = threshold.target.value
        lines.append((target, f"target {spoken_number(target)}", TARGET, "solid"))
    if capacity.max_observed is not None:
        most = capacity.max_observed
        lines.append((most, f"largest observed {spoken_number(most)}", MUTED, "2px,3px"))
    return lines


def _estimate_of(capacity: Capacity, curve: ExceedanceCurve) -> Estimate:
    """Give the estimate of the curve's own objective, else the pool's."""
    objective = curve.objective
    named = (capacity.by_objective.get(key) for key in (objective, *objective.split()))
    return next((found for found in named if found is not None), capacity.per_replica)


def _draw_lines(
    figure: go.Figure, lines: list[_Line], axis: str, suffix: str, x_most: float
) -> None:
    """Draw the lines, their labels on four levels above the panel so that they keep apart."""
    labelled = sorted((line for line in lines if line[1]), key=lambda line: line[0])
    for at, _, colour, dash in lines:
        figure.add_shape(
            type="line",
            xref=axis,
            yref=f"y{suffix} domain",
            x0=at,
            x1=at,
            y0=0,
            y1=1,
            line={"color": colour, "width": 1.6, "dash": dash},
        )
    for level, (at, label, colour, _) in enumerate(labelled):
        figure.add_annotation(
            text=label,
            xref=axis,
            yref=f"y{suffix} domain",
            x=at,
            y=1,
            yshift=_LABEL_PIXELS * (level % _LEVELS),
            xanchor=_side(at / x_most),
            yanchor="bottom",
            showarrow=False,
            font={"size": 11, "color": colour},
        )
    edges = [at for at, label, _, _ in lines if label.startswith("safe")]
    highs = [at for at, label, colour, _ in lines if not label and colour == FIT]
    if edges and highs:
        figure.add_shape(
            type="rect",
            xref=axis,
            yref=f"y{suffix} domain",
            x0=edges[0],
            x1=highs[0],
            y0=0,
            y1=1,
            fillcolor=SHADE,
            line_width=0,
            layer="below",
        )


def _side(place: float) -> Any:
    """Anchor a label so that it stays inside the figure."""
    return "right" if place > 0.5 else "left"
