"""A PdRatio: the value, how well it is known, the band to hold, and what the token mix asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from signalstudy.figures.aggregate import reduced
from signalstudy.figures.look import BAND, FIT, SHADE, SIGNAL, SIGNAL_BAND, empty_figure, note
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.spoken import spoken_number

if TYPE_CHECKING:
    from signalstudy.threshold.threshold import PdRatio
    from signalstudy.timeline.timeline import Timeline

_HEIGHT_PIXELS = 300
_TITLE = "prefill per decode (ratio)"


def draw_pd_ratio(pd_ratio: PdRatio, over: Timeline | None = None) -> go.Figure:
    """Draw the ratio; `over` a timeline also what its token mix would ask for at each time.

    What the mix asks for at time t is ratio x mix(t) / median mix: capacities are held fixed.
    """
    if pd_ratio.ratio.value is None:
        raise NotEnoughDataError(pd_ratio.ratio.note)
    figure = empty_figure(
        _HEIGHT_PIXELS,
        margin={"l": 60, "r": 16, "t": 44, "b": 48},
        showlegend=False,
        hovermode="x",
        xaxis={"title": "time (UTC)", "type": "date"},
        yaxis={"title": _TITLE, "rangemode": "tozero"},
    )
    if over is None or pd_ratio.token_mix is None or not np.isfinite(over.token_mix).any():
        figure.layout.xaxis = {"visible": False, "range": [0, 1]}
    else:
        _add_asked(figure, pd_ratio.ratio.value / pd_ratio.token_mix, over)
    least = "≥ " if pd_ratio.ratio.status == "lower_bound" else ""
    labels = [_add_level(figure, pd_ratio.ratio.value, f"ratio {least}")]
    if pd_ratio.kept is not None:
        labels.append(_add_level(figure, pd_ratio.kept, "the policy keeps ", dash="dash"))
    spans = (
        (pd_ratio.ratio.low, pd_ratio.ratio.high, BAND, "how well it is known"),
        (pd_ratio.band_low, pd_ratio.band_high, SHADE, "band kept in operation"),
    )
    for low, high, colour, label in spans:
        if low is not None and high is not None:
            figure.add_shape(
                type="rect",
                xref="paper",
                yref="y",
                x0=0,
                x1=1,
                y0=low,
                y1=high,
                fillcolor=colour,
                line_width=0,
                layer="below",
            )
            labels.append(f"{label} {spoken_number(low)} to {spoken_number(high)}")
    figure.add_annotation(note(" · ".join(labels), x=0, y=1.0, yshift=6))
    highs = [high for _, high, _, _ in spans if high is not None]
    top = max([pd_ratio.ratio.value, *highs])
    if over is None or (pd_ratio.kept is not None and 1.25 * top > _top(figure)):
        figure.layout.yaxis.range = [0, 1.25 * top]
    return figure


def _top(figure: go.Figure) -> float:
    """Give how high the axis reaches, 0 where nobody said."""
    reach = figure.layout.yaxis.range
    return float(reach[1]) if reach else 0.0


def _add_level(figure: go.Figure, value: float, label: str, *, dash: str = "solid") -> str:
    line = {"color": FIT, "width": 2, "dash": dash}
    figure.add_shape(type="line", xref="paper", x0=0, x1=1, y0=value, y1=value, line=line)
    return f"<b>{label}{spoken_number(value)}</b>"


def _add_asked(figure: go.Figure, per_mix: float, timeline: Timeline) -> None:
    """Add what the token mix asks for, in bins of time with their least and largest."""
    few = reduced(timeline.time_seconds, timeline.token_mix * per_mix)
    across, up = few.outline
    if timeline.time_seconds.size > few.mean.size:
        figure.add_trace(
            go.Scatter(
                x=across,
                y=up.astype(np.float32),
                fill="toself",
                fillcolor=SIGNAL_BAND,
                line={"width": 0},
                mode="lines",
                hoverinfo="skip",
            )
        )
    figure.add_trace(
        go.Scatter(
            x=few.time_milliseconds,
            y=few.mean.astype(np.float32),
            mode="lines",
            line={"color": SIGNAL, "width": 1.6},
            hovertemplate="token mix asks for %{y:.3~g}<extra></extra>",
        )
    )
    top = float(np.nanquantile(few.mean, 0.995))
    figure.layout.yaxis.range = [0, 1.3 * top]
