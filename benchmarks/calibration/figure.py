"""The figure of the calibration: how often intervals hold the truth, a dot a cell and signal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.calibration.coverage import Coverage

COLOURS = {
    "work": "#0072b2",
    "gauge": "#d55e00",
    "prompt": "#009e73",
    "level": "#cc79a7",
    "spare": "#7f7f7f",
}
LEAST, MEANT, MOST = 0.93, 0.95, 0.98
FURTHEST_LEFT = 0.85


def draw_coverage(rows: Sequence[Coverage]) -> go.Figure:
    """Draw the share of 95 % intervals that hold the truth: measures down, one dot a cell."""
    measures = list(dict.fromkeys(row.measure for row in rows))
    figure = go.Figure()
    # Within a row the signals stand one below the other, and their cells a little apart.
    for place, signal in enumerate(COLOURS):
        own = [row for row in rows if row.signal == signal]
        if not own:
            continue
        apart = np.random.default_rng(place).uniform(-0.05, 0.05, len(own))
        heights = [measures.index(row.measure) + 0.16 * (place - 2) for row in own]
        figure.add_scatter(
            x=[row.covered_ratio for row in own],
            y=np.array(heights) + apart,
            mode="markers",
            name=signal,
            marker={"color": COLOURS[signal], "size": 6, "opacity": 0.75},
            text=[row.cell for row in own],
            hovertemplate="%{text}<br>%{x:.3f}<extra></extra>",
        )
    figure.add_vrect(x0=LEAST, x1=MOST, fillcolor="#888888", opacity=0.18, line_width=0)
    figure.add_vline(x=MEANT, line_width=1, line_color="#555555")
    left = min([FURTHEST_LEFT, *(row.covered_ratio - 0.01 for row in rows)])
    records = min((row.records for row in rows), default=0)
    chance = 1.96 * (MEANT * (1.0 - MEANT) / max(records, 1)) ** 0.5
    figure.update_layout(
        title=f"95 % intervals that hold the truth, {records} records a cell "
        f"(chance alone: {max(MEANT - chance, 0.0):.2f} to {min(MEANT + chance, 1.0):.2f})",
        xaxis={"title": "share of records", "range": [left, 1.005]},
        yaxis={
            "tickvals": list(range(len(measures))),
            "ticktext": measures,
            "range": [len(measures) - 0.4, -0.6],
        },
        template="plotly_white",
        width=1000,
        height=120 + 48 * len(measures),
        margin={"l": 200},
    )
    return figure
