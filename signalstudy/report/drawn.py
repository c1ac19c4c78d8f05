"""Which figures a page shows, each ready to stand in HTML, or the sentence in its place."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from markupsafe import Markup

from signalstudy.figures.plot import plot
from signalstudy.figures.threshold_curves import curve_names
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from signalstudy.ranking.ranking import RankedSignal, Ranking
    from signalstudy.study.study import ServiceStudy
    from signalstudy.timeline.timeline import Timeline

_HARDWARE = frozenset(
    {
        "gpu_utilization_ratio",
        "sm_activity_ratio",
        "dram_activity_ratio",
        "tensor_activity_ratio",
        "gpu_power_watts",
    }
)
_OVER_TIME = {"proportional": 2, "guard": 1, "rejected": 2}
_AGAINST_DEMAND = {"proportional": 3, "guard": 3, "rejected": 3, "undetermined": 2}
_IN_THE_RANKING = {"proportional": 8, "guard": 5, "rejected": 5, "undetermined": 4}
"""How many signals of each verdict are drawn over time, against demand, and in the ranking."""

_FEWEST_SHOWN = 3
_FELT = ("ttft_", "tbt_")
_QUANTILE = re.compile(r"_(p\d+|mean)_seconds$")


@dataclass(frozen=True, slots=True)
class FigureBlock:
    """A figure as a page shows it: its JSON, or without that the sentence in its place."""

    title: str
    alt: str
    caption: str = ""
    json: Markup | str = ""
    height: int = 0
    look: str = ""
    verdict: str = ""
    sentence: str = ""
    status: str = "unidentified"


def script_json(text: str) -> Markup:
    """Make JSON safe inside a <script> element: no `<`, `>` or `&` is left in it.

    In JSON these characters stand in strings only, where the escaped form means the same.
    """
    for char, escaped in (
        ("&", "\\u0026"),
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        text = text.replace(char, escaped)
    return Markup(text)  # noqa: S704 (nothing is left in it that HTML could read)


def figure_block(
    figure: go.Figure, title: str, *, alt: str, caption: str = "", look: str = "", verdict: str = ""
) -> FigureBlock:
    """Make a figure ready to stand in a page."""
    return FigureBlock(
        title=title,
        alt=alt,
        caption=caption,
        json=script_json(figure.to_json()),
        height=int(figure.layout.height),
        look=look,
        verdict=verdict,
    )


def _selected(
    service: ServiceStudy, timeline: Timeline, quota: dict[str, int]
) -> list[RankedSignal]:
    """Take the first signals of each verdict that can be drawn; hardware first among the rejected.

    People believe in hardware signals: where they mislead, the reader should see it.
    """
    drawable = [
        signal
        for signal in service.ranking.signals
        if signal.pool in timeline.pools and signal.signal in timeline.pools[signal.pool].signals
    ]
    chosen = _within(drawable, quota)
    spare = [signal for signal in drawable if signal not in chosen]
    return chosen + spare[: max(0, _FEWEST_SHOWN - len(chosen))]


def _within(signals: list[RankedSignal], quota: dict[str, int]) -> list[RankedSignal]:
    chosen: list[RankedSignal] = []
    for verdict, most in quota.items():
        here = [signal for signal in signals if signal.verdict == verdict]
        if verdict == "rejected":
            here.sort(key=lambda signal: signal.signal not in _HARDWARE)
        if verdict == "guard":  # what users feel, where the verdict names it: the cliff is there
            here.sort(key=lambda s: (not s.signal.startswith(_FELT), s.pool == "gateway"))
        chosen += _varied(here)[:most]
    return chosen


def _varied(signals: list[RankedSignal]) -> list[RankedSignal]:
    """Put the first of each latency before the other quantiles and pools of the same latency."""
    seen: set[str] = set()
    first: list[RankedSignal] = []
    again: list[RankedSignal] = []
    for signal in signals:
        stem, is_latency = _QUANTILE.subn("", signal.signal)
        (again if is_latency and stem in seen else first).append(signal)
        seen.add(stem)
    return first + again


def telling_signals(ranking: Ranking) -> tuple[RankedSignal, ...]:
    """Choose the signals that a page shows at once, in the order of the ranking.

    A recording holds every quantile of every latency; the first few of each verdict tell the story.
    """
    chosen = _within(list(ranking.signals), _IN_THE_RANKING)
    return tuple(signal for signal in ranking.signals if signal in chosen)


def _key(signal: RankedSignal) -> str:
    return f"{signal.pool}.{signal.signal}"


def ranking_figure(service: ServiceStudy) -> FigureBlock | None:
    """Draw the ranking, where there is anything to compare."""
    shown = telling_signals(service.ranking)
    if not any(estimate.is_known for signal in shown for estimate in signal.measures.values()):
        return None
    alt = "Correlation, elasticity, signal to noise and lag of each signal; numbers below."
    caption = (
        "Bars are 95 % intervals. The shaded band of the elasticity is what proportional control "
        "bears, 0.7 to 1.4. A question mark means that these data cannot tell."
    )
    return figure_block(
        plot(replace(service.ranking, signals=shown)), "", alt=alt, caption=caption, look="wide"
    )


def time_figures(service: ServiceStudy) -> tuple[FigureBlock, ...]:
    """Draw the recording, and the pressure test where there was one, over time."""
    blocks = []
    for timeline, title in (
        (service.timeline, "Production"),
        (service.pressure_test, "Pressure test"),
    ):
        if timeline is None:
            continue
        signals = [_key(signal) for signal in _selected(service, timeline, _OVER_TIME)]
        alt = "Demand, signals, ready replicas and SLO breaches over time."
        try:
            figure = plot(timeline, signals=signals)
        except NotEnoughDataError as nothing:
            blocks.append(FigureBlock(title, "", sentence=str(nothing)))
        else:
            caption = _time_caption(timeline)
            blocks.append(figure_block(figure, title, alt=alt, caption=caption))
    if blocks:
        return tuple(blocks)
    if service.points is not None:
        alt = "Mean TTFT and TBT against decode throughput of the measured points."
        caption = "Measured operating points have no time axis: each is one steady state."
        return (figure_block(plot(service.points), "Operating points", alt=alt, caption=caption),)
    sentence = "The data hold no time axis for this service."
    return (FigureBlock("", "", sentence=sentence),)


def _time_caption(timeline: Timeline) -> str:
    """Explain what this timeline's figure shows, and nothing that it does not."""
    caption = (
        "The dashed grey line is the demand of the pool (per ready replica for shares and "
        "latencies), scaled to the signal's median: a proportional signal lies on it."
    )
    if not timeline.usable.all():
        caption += " Shaded hours were excluded by the configuration."
    if timeline.slo_counts:
        caption += " Requests over the limit: green is within the objective, red is beyond it."
    return caption


def demand_figures(service: ServiceStudy) -> tuple[FigureBlock, ...]:
    """Draw the telling signals against demand: the best, the guards, the rejected hardware ones."""
    timeline = service.timeline or service.pressure_test
    if timeline is None:
        return ()
    chosen = [
        signal
        for signal in _selected(service, timeline, _AGAINST_DEMAND)
        if timeline.pools[signal.pool].demand is not None
    ]
    return tuple(
        figure_block(
            plot(timeline, signals=[_key(signal)], against="demand"),
            signal.pool,
            alt=f"{signal.signal} of the {signal.pool} pool against demand.",
            verdict=signal.verdict,
        )
        for signal in chosen
    )


def threshold_figures(service: ServiceStudy) -> tuple[FigureBlock, ...]:
    """Draw each exceedance curve, or say why there is none."""
    threshold = service.threshold
    blocks = tuple(
        figure_block(
            plot(threshold, curve=name),
            "",
            alt=f"Share of requests over the limit against work per replica, {name}.",
        )
        for name in curve_names(threshold)
    )
    if blocks:
        return blocks
    sentence = threshold.per_replica.note or "There are no request counts to draw a curve from."
    status = threshold.per_replica.status
    return (FigureBlock("", "", sentence=sentence, status=status),)


def ratio_figure(service: ServiceStudy) -> FigureBlock:
    """Draw the P/D ratio beside what the token mix asked for, or say why there is none."""
    ratio = service.pd_ratio
    if not ratio.ratio.is_known:
        return FigureBlock("", "", sentence=ratio.ratio.note, status=ratio.ratio.status)
    over = service.timeline or service.pressure_test
    alt = "The P/D ratio, its interval, and what the token mix asked for over time."
    caption = (
        "Blue: what the token mix of the moment asks for, capacities held fixed. Orange: the ratio "
        "and how well it is known. Grey: the band kept in operation."
    )
    return figure_block(plot(ratio, over=over), "", alt=alt, caption=caption)
