"""A Timeline over time: demand, signals beside the demand they should follow, replicas, SLO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from signalstudy.figures.aggregate import reduced, steps, summed
from signalstudy.figures.look import (
    DEMAND,
    INK,
    MUTED,
    SHADE,
    SIGNAL,
    SIGNAL_BAND,
    plain,
)
from signalstudy.figures.rows import Rows
from signalstudy.figures.signals import chosen_signals, reference_of
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from signalstudy.timeline.timeline import Demand, SignalSeries, Timeline

    Floats = NDArray[np.float64]

_MOST_SPANS = 200
_SLO_BINS = 300
_MOST_ABOVE = 1.6
_MARGIN = 1.06
_BREACH_SCALE = [
    [0.0, "#e3efeb"],
    [0.3333, "#bfdcd3"],
    [0.3334, "#f6d5a6"],
    [0.6, "#e08a3c"],
    [1.0, "#a8325e"],
]


def draw_over_time(timeline: Timeline, signals: Sequence[str] | None = None) -> go.Figure:
    """Draw demand, the chosen signals (`pool.signal`), ready replicas and SLO breaches over time.

    The grey line in a signal's row is its pool's demand (per ready replica where the signal is
    intensive), scaled to the signal's median: a signal proportional to demand lies on it.
    """
    rows = Rows()
    time = timeline.time_seconds
    for names, demand in _different_demands(timeline):
        unit = f"{demand.unit}/s"
        axis = rows.open(f"{plain(names)} · demand offered", 84, title=unit, rangemode="tozero")
        rows.traces += _line_and_band(
            time, demand.per_second, axis, unit, colour=MUTED, band=SHADE, label="demand"
        )
    for index, (name, series) in enumerate(chosen_signals(timeline, signals)):
        unit = series.unit or unit_of(series.name)
        heading = f"{plain(name)} · <b>{plain(series.name)}</b>"
        scaled = _scaled_reference(timeline, name, series)
        axis = rows.open(heading, 96, title=unit, **_range(series.values, scaled))
        rows.traces += _line_and_band(
            time,
            series.values,
            axis,
            unit,
            colour=SIGNAL,
            band=SIGNAL_BAND,
            label="signal: mean, least to largest",
            legend=index == 0,
        )
        if scaled is not None:
            rows.traces.append(_reference_line(time, scaled, axis, legend=index == 0))
    _add_replicas(rows, timeline)
    _add_breaches(rows, timeline)
    if not rows.titles:
        raise NotEnoughDataError(f"{timeline.service}: nothing in the timeline to draw over time.")
    return rows.figure(_excluded_spans(timeline))


def _different_demands(timeline: Timeline) -> list[tuple[str, Demand]]:
    """Name each demand once: what is offered at the gateway is often that of a pool."""
    found: list[tuple[str, Demand]] = []
    for name, pool in timeline.pools.items():
        demand = pool.demand
        if demand is None or any(
            np.array_equal(demand.per_second, other.per_second, equal_nan=True)
            for _, other in found
        ):
            continue
        found.append((name, demand))
    return found


def _range(values: Floats, scaled: Floats | None) -> dict[str, Any]:
    """Begin at zero, and let no scaled demand squeeze the signal to less than half the row."""
    known = values[np.isfinite(values)]
    if known.size == 0 or known.max() <= 0:
        return {"rangemode": "tozero"}
    top = float(known.max())
    if scaled is not None and np.isfinite(scaled).any():
        top = max(top, min(float(np.nanmax(scaled)), _MOST_ABOVE * top))
    return {"range": [min(0.0, float(known.min())), _MARGIN * top]}


def _line_and_band(
    time: Floats,
    values: Floats,
    axis: str,
    unit: str,
    *,
    colour: str,
    band: str,
    label: str,
    legend: bool = False,
) -> list[go.Scatter]:
    few = reduced(time, values)
    across, up = few.outline
    drawn = []
    if time.size > few.mean.size and across.size:
        drawn.append(
            go.Scatter(
                x=across,
                y=up.astype(np.float32),
                yaxis=axis,
                fill="toself",
                fillcolor=band,
                line={"width": 0},
                mode="lines",
                hoverinfo="skip",
                showlegend=False,
            )
        )
    drawn.append(
        go.Scatter(
            x=few.time_milliseconds,
            y=few.mean.astype(np.float32),
            yaxis=axis,
            mode="lines",
            line={"color": colour, "width": 1.6},
            name=label,
            showlegend=legend,
            hovertemplate=f"%{{y:.4~g}} {unit}<extra></extra>",
        )
    )
    return drawn


def _scaled_reference(timeline: Timeline, pool: str, series: SignalSeries) -> Floats | None:
    reference = reference_of(timeline.pools[pool], series)
    if reference is None:
        return None
    both = np.isfinite(reference) & np.isfinite(series.values)
    if not both.any():
        return None
    middle = float(np.median(reference[both]))
    return reference * (float(np.median(series.values[both])) / middle) if middle > 0 else None


def _reference_line(time: Floats, scaled: Floats, axis: str, *, legend: bool) -> go.Scatter:
    few = reduced(time, scaled)
    return go.Scatter(
        x=few.time_milliseconds,
        y=few.mean.astype(np.float32),
        yaxis=axis,
        mode="lines",
        line={"color": DEMAND, "width": 1.4, "dash": "3px,2px"},
        name="demand, scaled to the signal's median",
        showlegend=legend,
        hoverinfo="skip",
    )


def _add_replicas(rows: Rows, timeline: Timeline) -> None:
    known = {
        name: pool.ready_replicas
        for name, pool in timeline.pools.items()
        if name != "gateway" and np.isfinite(pool.ready_replicas).any()
    }
    if not known:
        return
    axis = rows.open("ready replicas", 72, title="replicas", rangemode="tozero")
    dashes = ("solid", "4px,2px", "1px,2px")
    for dash, (name, ready) in zip(dashes * len(known), known.items(), strict=False):
        x, y = steps(timeline.time_seconds, ready)
        rows.traces.append(
            go.Scatter(
                x=x,
                y=y.astype(np.float32),
                yaxis=axis,
                mode="lines",
                line={"shape": "hv", "color": INK, "width": 1.4, "dash": dash},
                name=f"{plain(name)} replicas",
                hovertemplate=f"%{{y:.3~g}} {plain(name)} replicas<extra></extra>",
            )
        )


def _add_breaches(rows: Rows, timeline: Timeline) -> None:
    counted = [counts for counts in timeline.slo_counts if np.nansum(counts.observed) > 0]
    if not counted:
        return
    shares: list[Floats] = []
    names: list[str] = []
    for counts in counted:
        observed = summed(counts.observed, _SLO_BINS)
        over = summed(counts.over_high, _SLO_BINS)
        shares.append(np.where(observed > 0, over / np.maximum(observed, 1.0), np.nan))
        names.append(f"p{100 * counts.objective.quantile:g} {plain(counts.objective.signal)}")
    bins = shares[0].size
    times = summed(timeline.time_seconds, bins) / summed(np.ones_like(timeline.time_seconds), bins)
    allowed = np.array([counts.objective.allowed_share for counts in counted])[:, None]
    share = np.array(shares)
    axis = rows.open(
        "requests over the limit",
        22 * len(names),
        showgrid=False,
        ticks="",
        tickvals=list(range(len(names))),
        ticktext=names,
        title="",
        range=[-0.5, len(names) - 0.5],
    )
    rows.traces.append(
        go.Heatmap(
            x=times * 1e3,
            y=list(range(len(names))),
            z=np.clip(share / np.maximum(allowed, 1e-9), 0.0, 3.0).astype(np.float32),
            customdata=share.astype(np.float32),
            yaxis=axis,
            zmin=0,
            zmax=3,
            colorscale=_BREACH_SCALE,
            showscale=False,
            ygap=3,
            hovertemplate="%{customdata:.3~g} of requests over the limit<extra></extra>",
            hoverongaps=False,
        )
    )


def _excluded_spans(timeline: Timeline) -> list[dict[str, Any]]:
    """Shade the steps that [[exclude]] leaves out."""
    out = ~timeline.usable
    starts = np.flatnonzero(out & ~np.r_[False, out[:-1]])
    ends = np.flatnonzero(out & ~np.r_[out[1:], False])
    return [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": float((timeline.time_seconds[start] - timeline.step_seconds) * 1e3),
            "x1": float(timeline.time_seconds[end] * 1e3),
            "y0": 0,
            "y1": 1,
            "fillcolor": SHADE,
            "line": {"width": 0},
            "layer": "below",
        }
        for start, end in zip(starts[:_MOST_SPANS], ends[:_MOST_SPANS], strict=True)
    ]
