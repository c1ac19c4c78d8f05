"""Rows: several drawings, one under the other, over one axis of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signalstudy.figures.look import FONT, INK, MUTED, empty_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import plotly.graph_objects as go

_GAP_PIXELS = 34
_TOP_PIXELS = 64
_BOTTOM_PIXELS = 44


class Rows:
    """Rows of one figure that share one time axis, so that one hover line reads them all."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.heights: list[int] = []
        self.axes: list[dict[str, Any]] = []
        self.traces: list[go.Scatter | go.Heatmap] = []

    def open(self, heading: str, height: int, **axis: Any) -> str:
        """Begin a row and give the name of its y axis."""
        self.titles.append(heading)
        self.heights.append(height)
        self.axes.append(axis)
        return "y" if len(self.titles) == 1 else f"y{len(self.titles)}"

    def figure(self, shapes: Sequence[dict[str, Any]] = ()) -> go.Figure:
        """Stack the rows from the top; `shapes` lie behind them."""
        inner = sum(self.heights) + _GAP_PIXELS * (len(self.heights) - 1)
        layout: dict[str, Any] = {"annotations": [], "shapes": list(shapes)}
        top = float(inner)
        for number, (title, height, axis) in enumerate(
            zip(self.titles, self.heights, self.axes, strict=True), start=1
        ):
            domain = [max(0.0, (top - height) / inner), min(1.0, top / inner)]
            name = "yaxis" if number == 1 else f"yaxis{number}"
            layout[name] = {"domain": domain, "nticks": 4} | axis
            layout["annotations"].append(_row_title(title, domain[1]))
            top -= height + _GAP_PIXELS
        last = "y" if len(self.titles) == 1 else f"y{len(self.titles)}"
        layout["xaxis"] = {
            "type": "date",
            "anchor": last,
            "title": {"text": "time (UTC)"},
            "showspikes": True,
            "spikemode": "across",
            "spikethickness": 1,
            "spikedash": "solid",
            "spikecolor": MUTED,
        }
        figure = empty_figure(
            inner + _TOP_PIXELS + _BOTTOM_PIXELS,
            margin={"l": 64, "r": 16, "t": _TOP_PIXELS, "b": _BOTTOM_PIXELS},
            hovermode="x",
            hoversubplots="axis",
            legend={"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top"},
            **layout,
        )
        return figure.add_traces(self.traces)


def _row_title(text: str, top: float) -> dict[str, Any]:
    return {
        "text": text,
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": top,
        "xanchor": "left",
        "yanchor": "bottom",
        "xshift": -48,
        "yshift": 2,
        "showarrow": False,
        "font": {"family": FONT, "size": 12, "color": INK},
    }
