"""A Replay over time: replicas beside the demand they meet, and the requests that missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from signalstudy.figures.aggregate import reduced, steps
from signalstudy.figures.look import DEMAND, INK, SHADE, plain
from signalstudy.figures.rows import Rows
from signalstudy.vocabulary.errors import NotEnoughDataError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from signalstudy.replay.replay import PoolRun, Replay, Run

    Floats = NDArray[np.float64]

COLOURS = ("#1f5f8b", "#c2410c", "#00735c", "#7c4d9e", "#b86e00", "#a8325e")
RECORDED, CLAIRVOYANT = "recorded", "clairvoyant"
MOST_DRAWN = 5
"""Runs drawn where none are named: more lines are no picture."""


def draw_replay_over_time(replay: Replay, runs: Sequence[str] | None = None) -> go.Figure:
    """Draw for each pool the replicas of some runs, and which share of requests missed.

    The grey area is demand: how many replicas the offered work fills. Without `runs` the policies
    are drawn, what really happened, and the clairvoyant.
    """
    time = replay.time_seconds
    chosen = [run for run in _chosen(replay, runs) if run.pools]
    if time is None or not chosen:
        raise NotEnoughDataError(f"{replay.service}: no run of this replay can be drawn over time.")
    rows = Rows()
    colours = dict(zip((run.name for run in chosen), _colours(chosen), strict=True))
    for pool in chosen[0].pools:
        axis = rows.open(f"{plain(pool)} · replicas", 150, title="replicas", rangemode="tozero")
        is_first = pool == next(iter(chosen[0].pools))
        rows.traces += _demand(time, chosen[-1].pools[pool], axis, legend=is_first)
        for run in chosen:
            if pool in run.pools:
                rows.traces.append(
                    _replicas(time, run, pool, axis, colours[run.name], legend=is_first)
                )
    missed = [run for run in chosen if run.late_ratio is not None]
    if missed:
        axis = rows.open("requests that missed a limit", 90, title="share", rangemode="tozero")
        rows.traces += [_missed(time, run, axis, colours[run.name]) for run in missed]
    return rows.figure()


def _chosen(replay: Replay, names: Sequence[str] | None) -> list[Run]:
    known = {run.name: run for run in replay.runs}
    if names is not None:
        for name in names:
            if name not in known:
                raise unknown_name("plot(Replay), runs", "run", name, known)
        return [known[name] for name in names]
    own = [run for run in replay.runs if not run.given and run.name != RECORDED]
    ends = [known[name] for name in (RECORDED, CLAIRVOYANT) if name in known]
    return [*own[: MOST_DRAWN - len(ends)], *ends]


def _colours(runs: list[Run]) -> list[str]:
    """Give each run its colour: what really happened is black."""
    others = iter(COLOURS * len(runs))
    return [INK if run.name == RECORDED else next(others) for run in runs]


def _demand(time: Floats, pool: PoolRun, axis: str, *, legend: bool) -> list[go.Scatter]:
    ready = pool.ready_replicas
    known = ready > 0
    if not known.any():
        return []
    bears = float(np.median(pool.capacity_per_second[known] / ready[known]))
    few = reduced(time, pool.offered_per_second / bears)
    return [
        go.Scatter(
            x=few.time_milliseconds,
            y=few.mean.astype(np.float32),
            yaxis=axis,
            mode="lines",
            fill="tozeroy",
            fillcolor=SHADE,
            line={"color": DEMAND, "width": 0.8},
            name="demand, in replicas it fills",
            showlegend=legend,
            hovertemplate="%{y:.3~g} filled<extra></extra>",
        )
    ]


def _replicas(
    time: Floats, run: Run, pool: str, axis: str, colour: str, *, legend: bool
) -> go.Scatter:
    x, y = steps(time, run.pools[pool].asked_replicas)
    return go.Scatter(
        x=x,
        y=y.astype(np.float32),
        yaxis=axis,
        mode="lines",
        line={
            "shape": "hv",
            "color": colour,
            "width": 1.5,
            "dash": "2px,2px" if run.name == RECORDED else "solid",
        },
        name=plain(run.name),
        showlegend=legend,
        hovertemplate=f"%{{y:.3~g}} {plain(run.name)}<extra></extra>",
    )


def _missed(time: Floats, run: Run, axis: str, colour: str) -> go.Scatter:
    assert run.late_ratio is not None  # noqa: S101 - chosen by it; for the type checker
    few = reduced(time, run.late_ratio)
    return go.Scatter(
        x=few.time_milliseconds,
        y=few.mean.astype(np.float32),
        yaxis=axis,
        mode="lines",
        line={"color": colour, "width": 1.2},
        showlegend=False,
        name=plain(run.name),
        hovertemplate=f"%{{y:.2%}} {plain(run.name)}<extra></extra>",
    )
