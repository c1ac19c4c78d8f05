"""How every figure looks: colours safe for colour-blind readers, type, margins, plain labels."""

from __future__ import annotations

from html import escape
from typing import Any

import plotly.graph_objects as go

from signalstudy.vocabulary.spoken import one_line
from signalstudy.vocabulary.tables import shortened
from signalstudy.vocabulary.units import unit_of

INK = "#1b2733"
MUTED = "#5a6878"
FAINT = "#a3adb8"
GRID = "#e7ebef"
SIGNAL = "#1f5f8b"
SIGNAL_BAND = "rgba(31, 95, 139, 0.18)"
DEMAND = "#8d98a5"
FIT = "#c2410c"
BAND = "rgba(194, 65, 12, 0.16)"
TARGET = "#00735c"
SHADE = "rgba(90, 104, 120, 0.12)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

VERDICT_COLOURS = {
    "proportional": "#00735c",
    "guard": "#b86e00",
    "rejected": "#a8325e",
    "undetermined": "#5a6878",
    "unavailable": "#a3adb8",
}
VERDICT_MARKERS = {
    "proportional": "circle",
    "guard": "diamond",
    "rejected": "x",
    "undetermined": "circle-open",
    "unavailable": "circle-open",
}

_AXIS: dict[str, Any] = {
    "gridcolor": GRID,
    "linecolor": FAINT,
    "tickcolor": FAINT,
    "ticks": "outside",
    "ticklen": 4,
    "zeroline": False,
    "automargin": True,
    "title": {"font": {"size": 12, "color": MUTED}, "standoff": 8},
    "tickfont": {"size": 11, "color": MUTED},
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 12, "color": INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "hoverlabel": {
            "bgcolor": "#ffffff",
            "bordercolor": FAINT,
            "font": {"family": FONT, "size": 12, "color": INK},
            "align": "left",
        },
        "legend": {"font": {"size": 11, "color": MUTED}, "itemsizing": "constant"},
        "margin": {"l": 56, "r": 16, "t": 30, "b": 44},
    }
)


def empty_figure(height: int, **layout: Any) -> go.Figure:
    """Start a figure in the house's look."""
    return go.Figure(layout={"template": TEMPLATE, "height": height, "autosize": True} | layout)


def plain(text: object, width: int = 60) -> str:
    """Make a label safe for plotly, which reads a little HTML in every text it draws."""
    return escape(shortened(one_line(text), width))


def note(text: str, *, x: float, y: float, **layout: Any) -> dict[str, Any]:
    """Describe a small muted annotation in paper coordinates, anchored at its lower left."""
    place = {"xref": "paper", "yref": "paper", "x": x, "y": y, "xanchor": "left"}
    style = {"yanchor": "bottom", "showarrow": False, "font": {"size": 12, "color": INK}}
    return place | style | {"text": text} | layout


def spoken_axis(name: str) -> str:
    """Name an axis after a quantity with its unit: `decode_tokens_per_second (tokens/s)`."""
    unit = unit_of(name)
    return f"{plain(name)} ({unit})" if unit else plain(name)
