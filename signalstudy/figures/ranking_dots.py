"""A Ranking as dots: what was measured of each signal, with intervals, coloured by verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from signalstudy.figures.look import (
    FAINT,
    MUTED,
    SHADE,
    VERDICT_COLOURS,
    VERDICT_MARKERS,
    empty_figure,
    note,
    plain,
)
from signalstudy.vocabulary.errors import unknown_name
from signalstudy.vocabulary.spoken import spoken_estimate

if TYPE_CHECKING:
    from signalstudy.ranking.ranking import RankedSignal, Ranking
    from signalstudy.vocabulary.estimate import Estimate

_DECADES = [10.0**power for power in range(-6, 7)]
_LOG_TICKS = sorted([*_DECADES, 0.3, 3.0, 30.0, 300.0])
_FINE_UP_TO, _DECADES_UP_TO = 1e3, 1e5
"""Spans of values up to which thirds of a decade and every decade are marked."""

_PANELS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("demand_correlation", "correlation", {}),
    ("demand_elasticity", "elasticity", {"mark": 1.0}),
    (
        "signal_to_noise_ratio",
        "signal to noise (log)",
        {"type": "log"},
    ),
    ("lag_seconds", "lag (s)", {"mark": 0.0}),
)
_PROPORTIONAL_BAND = (0.7, 1.4)
_ROW_PIXELS = 24
_GAP = 0.035


def draw_ranking(ranking: Ranking, pool: str | None = None) -> go.Figure:
    """Draw correlation, elasticity, signal to noise and lag of each signal, best at the top.

    The shaded band of the elasticity panel is the gate, 0.7 to 1.4. `?` means that the data
    cannot tell; the reason is in its hover text.
    """
    pools = {signal.pool for signal in ranking.signals}
    if pool is not None and pool not in pools:
        raise unknown_name("plot, pool", "pool", pool, pools)
    shown = [
        signal
        for signal in ranking.signals
        if signal.verdict != "unavailable" and pool in (None, signal.pool)
    ]
    height = _ROW_PIXELS * max(len(shown), 2) + 92
    figure = empty_figure(
        height,
        margin={"l": 8, "r": 12, "t": 46, "b": 46},
        legend={"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top"},
        hovermode="closest",
    )
    width = (1.0 - _GAP * (len(_PANELS) - 1)) / len(_PANELS)
    for number, (measure, title, axis) in enumerate(_PANELS, start=1):
        left = (number - 1) * (width + _GAP)
        name = "xaxis" if number == 1 else f"xaxis{number}"
        ticks = _log_ticks(shown, measure) if "type" in axis else None
        figure.layout[name] = {
            "domain": [left, left + width],
            "anchor": "y",
            "title": title,
            "nticks": 5,
            "type": axis.get("type", "linear"),
            "tickvals": ticks,
            "ticktext": None if ticks is None else [f"{tick:g}" for tick in ticks],
            "tickangle": 0,
        }
        reference = "x" if number == 1 else f"x{number}"
        _add_marks(figure, measure, reference, axis)
        for trace in _dots(shown, measure, reference, legend=number == 1):
            figure.add_trace(trace)
        if not any(_known(signal, measure) for signal in shown):
            figure.add_annotation(_nothing(left + width / 2))
    figure.layout.yaxis = {
        "tickvals": list(range(len(shown))),
        "ticktext": [f"{plain(signal.pool)} · {plain(signal.signal, 38)}" for signal in shown],
        "range": [len(shown) - 0.4, -0.6],
        "ticks": "",
        "title": "",
        "showgrid": True,
    }
    return figure


def _known(signal: RankedSignal, measure: str) -> Estimate | None:
    estimate = signal.measures.get(measure)
    return estimate if estimate is not None and estimate.value is not None else None


def _log_ticks(shown: list[RankedSignal], measure: str) -> list[float]:
    found = [estimate for signal in shown if (estimate := _known(signal, measure)) is not None]
    sides = [side for e in found for side in (e.low, e.value, e.high) if side and side > 0]
    span = max(sides) / min(sides) if sides else 1.0
    if span <= _FINE_UP_TO:
        return _LOG_TICKS
    return _DECADES if span <= _DECADES_UP_TO else _DECADES[::2]


def _nothing(middle: float) -> dict[str, Any]:
    return note("not known for any signal", x=middle, y=0.5, xanchor="center", yanchor="middle")


def _add_marks(figure: go.Figure, measure: str, axis: str, look: dict[str, Any]) -> None:
    if measure == "demand_elasticity":
        low, high = _PROPORTIONAL_BAND
        figure.add_shape(
            type="rect",
            xref=axis,
            yref="paper",
            x0=low,
            x1=high,
            y0=0,
            y1=1,
            fillcolor=SHADE,
            line_width=0,
            layer="below",
        )
    if "mark" in look:
        at = look["mark"]
        line = {"color": FAINT, "width": 1}
        figure.add_shape(
            type="line", xref=axis, yref="paper", x0=at, x1=at, y0=0, y1=1, line=line, layer="below"
        )


def _dots(shown: list[RankedSignal], measure: str, axis: str, *, legend: bool) -> list[go.Scatter]:
    """Give one trace per verdict, and one of question marks where the data cannot tell."""
    log = measure == "signal_to_noise_ratio"
    traces = []
    for verdict, colour in VERDICT_COLOURS.items():
        rows = [
            (row, signal, estimate)
            for row, signal in enumerate(shown)
            if signal.verdict == verdict
            and (estimate := _known(signal, measure)) is not None
            and (not log or (estimate.value or 0.0) > 0)
        ]
        if not rows and not (legend and any(signal.verdict == verdict for signal in shown)):
            continue
        values = [estimate.value or 0.0 for _, _, estimate in rows]
        lows = [v if e.low is None else e.low for v, (_, _, e) in zip(values, rows, strict=True)]
        highs = [v if e.high is None else e.high for v, (_, _, e) in zip(values, rows, strict=True)]
        if log:
            lows = [low if low > 0 else value for low, value in zip(lows, values, strict=True)]
        traces.append(
            go.Scatter(
                x=values,
                y=[row for row, _, _ in rows],
                xaxis=axis,
                mode="markers",
                marker={"color": colour, "size": 9, "symbol": VERDICT_MARKERS[verdict]},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [h - v for h, v in zip(highs, values, strict=True)],
                    "arrayminus": [v - low for low, v in zip(lows, values, strict=True)],
                    "color": colour,
                    "thickness": 1.6,
                    "width": 0,
                },
                name=verdict,
                legendgroup=verdict,
                showlegend=legend,
                customdata=[
                    [f"{plain(s.pool)}.{plain(s.signal)}", spoken_estimate(e)] for _, s, e in rows
                ],
                hovertemplate=f"<b>%{{customdata[0]}}</b><br>{measure} %{{customdata[1]}}"
                f"<br>{verdict}<extra></extra>",
            )
        )
    return [*traces, *_question_marks(shown, measure, axis, traces)]


def _question_marks(
    shown: list[RankedSignal], measure: str, axis: str, drawn: list[go.Scatter]
) -> list[go.Scatter]:
    unknown = [(row, signal) for row, signal in enumerate(shown) if _known(signal, measure) is None]
    least = [low for trace in drawn for low in trace.x]
    if not unknown or not least:
        return []
    reasons = [
        plain(estimate.note, 160) if (estimate := signal.measures.get(measure)) else "not measured"
        for _, signal in unknown
    ]
    return [
        go.Scatter(
            x=[min(least)] * len(unknown),
            y=[row for row, _ in unknown],
            xaxis=axis,
            mode="text",
            text=["?"] * len(unknown),
            textfont={"color": MUTED, "size": 12},
            customdata=reasons,
            hovertemplate="%{customdata}<extra></extra>",
            showlegend=False,
        )
    ]
