"""OperatingPoints: latency against throughput of measured steady states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from signalstudy.figures.look import SIGNAL, empty_figure, note

if TYPE_CHECKING:
    from signalstudy.timeline.points import OperatingPoints

_PANELS = (("ttft_seconds", "TTFT, mean (s)"), ("tbt_seconds", "TBT, mean (s)"))


def draw_points(points: OperatingPoints) -> go.Figure:
    """Draw mean TTFT and mean TBT of each measured point against its decode throughput."""
    figure = empty_figure(
        330, margin={"l": 60, "r": 16, "t": 34, "b": 48}, showlegend=False, hovermode="closest"
    )
    throughput = points.decode_tokens_per_second
    for index, (field, title) in enumerate(_PANELS):
        suffix = str(index + 1) if index else ""
        latency = getattr(points, field)
        known = np.isfinite(throughput) & np.isfinite(latency)
        order = np.argsort(throughput[known], kind="stable")
        left = 0.56 * index
        figure.add_trace(
            go.Scatter(
                x=throughput[known][order],
                y=latency[known][order],
                xaxis=f"x{suffix}",
                yaxis=f"y{suffix}",
                mode="markers",
                marker={"size": 7, "color": SIGNAL, "opacity": 0.75},
                customdata=points.concurrency_requests[known][order],
                hovertemplate="%{customdata:.0f} concurrent requests<br>%{x:.4~g} tokens/s"
                "<br>%{y:.3~g} s<extra></extra>",
            )
        )
        x_axis: dict[str, Any] = {"domain": [left, left + 0.44], "anchor": f"y{suffix}"}
        y_axis: dict[str, Any] = {"anchor": f"x{suffix}", "title": title, "rangemode": "tozero"}
        titled = {"title": "decode throughput (tokens/s)", "rangemode": "tozero"}
        figure.layout[f"xaxis{suffix}"] = x_axis | titled
        figure.layout[f"yaxis{suffix}"] = y_axis
        figure.add_annotation(note(f"<b>{title}</b>", x=left, y=1.0, yshift=4))
    return figure
