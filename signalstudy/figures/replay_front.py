"""A Replay's runs in one plane: what each costs against how many requests it keeps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from signalstudy.figures.look import FAINT, INK, MUTED, SIGNAL, TARGET, empty_figure, plain
from signalstudy.figures.replay_over_time import RECORDED
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from signalstudy.replay.replay import Replay, Run
    from signalstudy.vocabulary.estimate import Estimate

HEIGHT = 420
MOST_KEPT = 0.99999
PLOT_PIXELS, LETTER_PIXELS, LONGEST_NAME = (800.0, 330.0), 5.4, 44
PLACES = {
    "top center": (0.0, 1.0),
    "bottom center": (0.0, -1.0),
    "middle right": (0.5, 0.0),
    "middle left": (-0.5, 0.0),
}
"""Where a name may stand: by half its width and by its height from the point."""
TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999)


def draw_front(replay: Replay) -> go.Figure:
    """Draw every run at its GPU-hours and attainment, with intervals, and the front of the best.

    Attainment is on a scale of misses, so that 0.99 and 0.999 are as far apart as 0.9 and 0.99. A
    run is on the front where no other is both cheaper and at least as good.
    """
    runs = [
        run for run in replay.runs if run.gpu_hours.is_known and run.slo_attainment_ratio.is_known
    ]
    if not runs:
        raise NotEnoughDataError(f"{replay.service}: no run has both a cost and an attainment.")
    front = sorted(_front(runs), key=_cost)
    heights = [_nines(run.slo_attainment_ratio.value or 0.0) for run in runs]
    least = min([*heights, _nines(replay.asked_attainment)])
    most = max([*heights, _nines(replay.asked_attainment)])
    room = 0.08 * max(most - least, 0.3)
    shown = [tick for tick in TICKS if least - room <= _nines(tick) <= most + room]
    figure = empty_figure(
        HEIGHT,
        xaxis={"title": {"text": "GPU-hours"}, "range": _cost_range(runs)},
        yaxis={
            "title": {"text": "requests within every limit"},
            "tickvals": [_nines(tick) for tick in shown],
            "ticktext": [f"{tick:g}" for tick in shown],
            "range": [least - room, most + room],
        },
        showlegend=False,
        hovermode="closest",
    )
    figure.add_hline(
        y=_nines(replay.asked_attainment),
        line={"color": TARGET, "width": 1, "dash": "4px,3px"},
        annotation={"text": f"asked for: {replay.asked_attainment:g}", "font": {"color": TARGET}},
        annotation_position="bottom right",
    )
    figure.add_trace(
        go.Scatter(
            x=[_cost(run) for run in front],
            y=[_nines(run.slo_attainment_ratio.value or 0.0) for run in front],
            mode="lines",
            line={"color": FAINT, "width": 1.2, "shape": "hv"},
            hoverinfo="skip",
        )
    )
    beside = _labels(runs, _cost_range(runs), (least - room, most + room))
    return figure.add_traces(
        [_point(run, beside.get(run.name), is_on_front=run in front) for run in runs]
    )


def _front(runs: list[Run]) -> list[Run]:
    def beats(one: Run, other: Run) -> bool:
        better = (one.slo_attainment_ratio.value or 0.0) - (other.slo_attainment_ratio.value or 0.0)
        saved = _cost(other) - _cost(one)
        return better >= 0.0 and saved >= 0.0 and (better > 0.0 or saved > 0.0)

    return [run for run in runs if not any(beats(other, run) for other in runs)]


def _cost(run: Run) -> float:
    return run.gpu_hours.value or 0.0


def _nines(share: float) -> float:
    """Give -log10 of the share that is missed."""
    return -math.log10(1.0 - min(share, MOST_KEPT))


def _cost_range(runs: list[Run]) -> list[float]:
    costs = [_cost(run) for run in runs]
    least, most = min(costs), max(costs)
    room = max(0.12 * (most - least), 0.05 * most)
    return [max(least - room, 0.0), most + room]


def _labels(runs: list[Run], across: list[float], up: tuple[float, float]) -> dict[str, str]:
    """Choose where each name stands so that none covers another; those without room are left out.

    Policies and what really happened come first. Boxes are reckoned at a usual width of the page.
    """
    at = {run.name: _pixels(run, across, up) for run in runs}
    taken = [(x - 4.0, y - 4.0, x + 4.0, y + 4.0) for x, y in at.values()]
    beside: dict[str, str] = {}
    for run in sorted(runs, key=lambda run: bool(run.given)):
        x, y = at[run.name]
        wide = LETTER_PIXELS * len(plain(run.name, LONGEST_NAME))
        for place, (dx, dy) in PLACES.items():
            left, low = x + dx * (wide + 14.0) - wide / 2.0, y + dy * 14.0 - 6.0
            box = (left, low, left + wide, low + 12.0)
            if all(_apart(box, other) for other in taken):
                taken.append(box)
                beside[run.name] = place
                break
    return beside


def _pixels(run: Run, across: list[float], up: tuple[float, float]) -> tuple[float, float]:
    kept = _nines(run.slo_attainment_ratio.value or 0.0)
    x = (_cost(run) - across[0]) / (across[1] - across[0])
    return x * PLOT_PIXELS[0], (kept - up[0]) / (up[1] - up[0]) * PLOT_PIXELS[1]


def _apart(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]


def _point(run: Run, beside: str | None, *, is_on_front: bool) -> go.Scatter:
    kept = run.slo_attainment_ratio
    is_own = not run.given
    colour = INK if run.name == RECORDED else SIGNAL if is_own else MUTED
    return go.Scatter(
        x=[_cost(run)],
        y=[_nines(kept.value or 0.0)],
        error_x=_bars(run.gpu_hours, is_nines=False),
        error_y=_bars(kept, is_nines=True),
        mode="markers" if beside is None else "markers+text",
        marker={
            "color": colour,
            "size": 10 if is_own else 7,
            "symbol": "circle" if is_on_front else "circle-open",
        },
        text=[plain(run.name, LONGEST_NAME)],
        textposition=beside or "top center",
        textfont={"size": 10, "color": colour},
        hovertemplate=(
            f"<b>{plain(run.name)}</b><br>{_cost(run):.4g} GPU-hours<br>"
            f"{kept.value:.4f} within every limit<extra></extra>"
        ),
    )


def _bars(estimate: Estimate, *, is_nines: bool) -> dict[str, object]:
    """Give plotly's error bars of an estimate; none where it has no interval."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        return {"visible": False}
    if is_nines:
        value, low, high = _nines(value), _nines(low), _nines(high)
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(high - value, 0.0)],
        "arrayminus": [max(value - low, 0.0)],
        "thickness": 1,
        "width": 0,
        "color": FAINT,
    }
