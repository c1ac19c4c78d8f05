"""plot(): any noun of a study as a plotly figure."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from signalstudy.figures.against_demand import draw_against_demand
from signalstudy.figures.operating_points import draw_points
from signalstudy.figures.over_time import draw_over_time
from signalstudy.figures.pd_ratio_over_time import draw_pd_ratio
from signalstudy.figures.ranking_dots import draw_ranking
from signalstudy.figures.replay_front import draw_front
from signalstudy.figures.replay_over_time import draw_replay_over_time
from signalstudy.figures.threshold_curves import draw_threshold
from signalstudy.ranking.ranking import Ranking
from signalstudy.replay.replay import Replay
from signalstudy.threshold.threshold import PdRatio, Threshold
from signalstudy.timeline.points import OperatingPoints
from signalstudy.timeline.timeline import Timeline
from signalstudy.vocabulary.errors import unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import plotly.graph_objects as go


def draw_timeline(
    timeline: Timeline, signals: Sequence[str] | None = None, against: str = "time"
) -> go.Figure:
    """Draw a timeline's signals (`pool.signal`) against `time` or against `demand`."""
    drawings = {"time": draw_over_time, "demand": draw_against_demand}
    if against not in drawings:
        raise unknown_name("plot, against", "axis", against, drawings)
    return drawings[against](timeline, signals)


def draw_replay(
    replay: Replay, runs: Sequence[str] | None = None, against: str = "time"
) -> go.Figure:
    """Draw a replay's runs over `time`, or all of them at what they keep against their `cost`."""
    if against == "time":
        return draw_replay_over_time(replay, runs)
    if against == "cost":
        return draw_front(replay)
    raise unknown_name("plot, against", "axis", against, ["time", "cost"])


DRAWINGS: dict[type, Callable[..., go.Figure]] = {
    Timeline: draw_timeline,
    Ranking: draw_ranking,
    Threshold: draw_threshold,
    PdRatio: draw_pd_ratio,
    OperatingPoints: draw_points,
    Replay: draw_replay,
}
"""What can be drawn, and by which function: one noun, at most two options."""


def plot(noun: object, **options: Any) -> go.Figure:
    """Draw a Timeline, Ranking, Threshold, PdRatio, OperatingPoints or Replay.

    Options: a Timeline takes `signals=["decode.decode_tokens_per_second", ...]` and
    `against="time"` or `"demand"`; a Ranking takes `pool`; a Threshold `curve`; a PdRatio
    `over=timeline`; a Replay takes `runs=[...]` and `against="time"` or `"cost"`.

    >>> plot(study.services["chat"].timeline, against="demand")  # doctest: +SKIP
    """
    drawing = DRAWINGS.get(type(noun))
    if drawing is None:
        known = [kind.__name__ for kind in DRAWINGS]
        raise unknown_name("plot", "noun", type(noun).__name__, known)
    possible = list(inspect.signature(drawing).parameters)[1:]
    for name in options:
        if name not in possible:
            place = f"plot({type(noun).__name__})"
            raise unknown_name(place, "option", name, possible or ["none"])
    return drawing(noun, **options)
