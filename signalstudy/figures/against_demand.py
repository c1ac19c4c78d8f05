"""Signals against demand: a proportional signal lies on a line, a guard shows its cliff."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from signalstudy.figures.aggregate import density, monotone_fit
from signalstudy.figures.look import DEMAND, FIT, MUTED, SIGNAL, empty_figure, note, plain
from signalstudy.figures.signals import (
    chosen_signals,
    compared,
    is_per_replica,
    is_shared_out,
)
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import plotly.graph_objects as go
    from numpy.typing import NDArray

    from signalstudy.timeline.timeline import SignalSeries, Timeline

    Floats = NDArray[np.float64]

_ACROSS = 3
_PANEL_PIXELS = 230
_GAP_PIXELS = 86
_MOST_DOTS = 1000
_FEWEST_FOR_A_FIT = 10
_DENSITY_SCALE = [[0.0, "#dbe7f0"], [0.5, "#6ea3c4"], [1.0, "#0d3f61"]]


def draw_against_demand(timeline: Timeline, signals: Sequence[str] | None = None) -> go.Figure:
    """Draw each chosen signal (`pool.signal`) against the demand it should be proportional to.

    Cells are darker where the service spent more time; the orange line is the nearest monotone
    curve through the medians; the dashed grey line goes through the origin and the middle of the
    data. Excluded spans are left out.
    """
    chosen = chosen_signals(timeline, signals)
    if not chosen:
        raise NotEnoughDataError(f"{timeline.service}: the timeline holds no signal to draw.")
    across = min(_ACROSS, len(chosen))
    down = -(-len(chosen) // across)
    inner = down * _PANEL_PIXELS + (down - 1) * _GAP_PIXELS
    figure = empty_figure(
        inner + 78, margin={"l": 56, "r": 12, "t": 28, "b": 50}, showlegend=False, annotations=[]
    )
    for index, (pool, series) in enumerate(chosen):
        row, column = divmod(index, across)
        width = 1.0 / (across + 0.28 * (across - 1))
        left = column * 1.28 * width
        top = 1.0 - row * (_PANEL_PIXELS + _GAP_PIXELS) / inner
        domain = ([left, left + width], [max(0.0, top - _PANEL_PIXELS / inner), top])
        number = str(index + 1) if index else ""
        _draw_panel(figure, timeline, pool, series, number=number, domain=domain)
    return figure


def _draw_panel(
    figure: go.Figure,
    timeline: Timeline,
    pool: str,
    series: SignalSeries,
    *,
    number: str,
    domain: tuple[list[float], list[float]],
) -> None:
    here = timeline.pools[pool]
    unit = series.unit or unit_of(series.name)
    demand_unit = f"{here.demand.unit}/s" if here.demand is not None else ""
    shared = is_shared_out(here, series)
    per = " per replica" if shared or is_per_replica(here, series) else ""
    axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
    x_title = f"{plain(pool)} demand{per} ({demand_unit})"
    x_layout: dict[str, Any] = {"domain": domain[0], "anchor": f"y{number}", "title": x_title}
    y_layout: dict[str, Any] = {
        "domain": domain[1],
        "anchor": f"x{number}",
        "title": f"{unit} per replica" if shared else unit,
        "nticks": 6,
    }
    title = note(f"<b>{plain(series.name)}</b>", x=domain[0][0], y=domain[1][1], yshift=3)
    figure.add_annotation(title)
    x, y = _known_pairs(timeline, pool, series)
    if x.size:
        x_most, y_range = _plane(x, y)
        x_layout["range"], y_layout["range"] = [0, x_most], list(y_range)
        where = f"demand %{{x:.4~g}} {demand_unit}<br>signal %{{y:.4~g}} {unit}"
        figure.add_trace(_cloud(x, y, x_most, y_range, where) | axes)
        for line in _lines(x, y, x_most, unit):
            figure.add_trace(line | axes)
        above = int(np.sum(y > y_range[1]))
        if above:
            text = f"{above} of {y.size} steps lie above"
            figure.add_annotation(_small(text, domain[0][1], domain[1][1]))
    else:
        text = "no step where both the signal and demand are known"
        figure.add_annotation(_small(text, domain[0][1], domain[1][1]))
    figure.layout[f"xaxis{number}"] = x_layout
    figure.layout[f"yaxis{number}"] = y_layout


def _small(text: str, right: float, top: float) -> dict[str, Any]:
    style: dict[str, Any] = {
        "xanchor": "right",
        "yanchor": "top",
        "font": {"size": 11, "color": MUTED},
    }
    style["bgcolor"] = "rgba(255, 255, 255, 0.85)"
    return note(text, x=right, y=top, **style)


def _known_pairs(timeline: Timeline, pool: str, series: SignalSeries) -> tuple[Floats, Floats]:
    pair = compared(timeline.pools[pool], series)
    if pair is None:
        return np.empty(0), np.empty(0)
    reference, values = pair
    known = np.isfinite(reference) & np.isfinite(values) & timeline.usable
    return reference[known], values[known]


def _plane(x: Floats, y: Floats) -> tuple[float, tuple[float, float]]:
    """Choose axes that begin at zero and leave out the most extreme half percent above."""
    x_most = float(np.quantile(x, 0.999)) * 1.04
    bottom = min(0.0, float(np.quantile(y, 0.005)))
    top = float(np.quantile(y, 0.995)) * 1.08
    return x_most if x_most > 0 else 1.0, (bottom, top if top > bottom else bottom + 1.0)


def _cloud(
    x: Floats, y: Floats, x_most: float, y_range: tuple[float, float], where: str
) -> dict[str, Any]:
    if x.size <= _MOST_DOTS:
        return {
            "type": "scatter",
            "mode": "markers",
            "x": x.astype(np.float32),
            "y": y.astype(np.float32),
            "marker": {"size": 5, "color": SIGNAL, "opacity": 0.35},
            "hovertemplate": f"{where}<extra></extra>",
        }
    cells = density(x, y, x_most, y_range)
    return {
        "type": "heatmap",
        "x": cells.across.astype(np.float32),
        "y": cells.up.astype(np.float32),
        "z": np.log10(cells.counts).astype(np.float32),
        "customdata": cells.counts.astype(np.float32),
        "colorscale": _DENSITY_SCALE,
        "showscale": False,
        "hoverongaps": False,
        "hovertemplate": f"{where}<br>%{{customdata:.0f}} steps<extra></extra>",
    }


def _lines(x: Floats, y: Floats, x_most: float, unit: str) -> list[dict[str, Any]]:
    drawn: list[dict[str, Any]] = []
    middle = float(np.median(x))
    if middle > 0:
        straight = {
            "type": "scatter",
            "mode": "lines",
            "x": [0.0, x_most],
            "y": [0.0, x_most * float(np.median(y)) / middle],
            "line": {"color": DEMAND, "width": 1.6, "dash": "5px,3px"},
            "name": "proportional",
            "hoverinfo": "skip",
        }
        drawn.append(straight)
    if x.size >= _FEWEST_FOR_A_FIT:
        fit_x, fit_y = monotone_fit(x, y)
        halo = {"color": "#ffffff", "width": 4.5}
        fit = {
            "type": "scatter",
            "mode": "lines",
            "x": fit_x.astype(np.float32),
            "y": fit_y.astype(np.float32),
            "line": {"color": FIT, "width": 2.4},
            "name": "monotone fit",
            "hovertemplate": f"fit %{{y:.4~g}} {unit}<extra></extra>",
        }
        drawn += [fit | {"line": halo, "hoverinfo": "skip", "hovertemplate": None}, fit]
    return drawn
