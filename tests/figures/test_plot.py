from __future__ import annotations

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from signalstudy.figures.plot import DRAWINGS, plot
from signalstudy.replay.recorded import replay_policy
from signalstudy.vocabulary.errors import NotEnoughDataError, UnknownNameError
from signalstudy.vocabulary.estimate import unidentified


def drawable(studies):
    """One noun of each kind that can be drawn."""
    service = studies.make_service()
    return [
        service.timeline,
        service.ranking,
        service.threshold,
        service.pd_ratio,
        studies.make_points(),
        replay_policy(service.policy, service, against=["fixed-peak", "clairvoyant"], draws=2),
    ]


def test_every_kind_of_noun_that_is_listed_can_be_drawn(studies):
    nouns = drawable(studies)
    assert {type(noun) for noun in nouns} == set(DRAWINGS)
    for noun in nouns:
        figure = plot(noun)
        assert isinstance(figure, go.Figure)
        assert len(figure.data) + len(figure.layout.shapes) > 0


def test_no_trace_of_a_day_at_ten_seconds_holds_more_than_2000_points(studies):
    timeline = studies.make_timeline(steps=8640, step_seconds=10.0)
    signals = [f"decode.{name}" for name in timeline.pools["decode"].signals]
    figures = [plot(noun) for noun in drawable(studies)]
    figures.append(plot(timeline, signals=signals, against="demand"))
    for figure in figures:
        for trace in figure.data:
            sizes = [len(trace.x)] if trace.x is not None else []
            if trace.type == "heatmap":
                sizes = [np.asarray(trace.z).size]
            assert max(sizes, default=0) <= 2000


def test_both_axes_of_every_panel_carry_a_title(studies):
    for noun in drawable(studies):
        figure = plot(noun)
        if type(noun).__name__ == "PdRatio":
            continue  # its time axis is hidden where no timeline is given
        for axis in figure.select_xaxes():
            assert axis.title.text, type(noun)
    against = plot(studies.make_timeline(), against="demand")
    for axis in [*against.select_xaxes(), *against.select_yaxes()]:
        assert axis.title.text


def test_an_unknown_noun_is_told_what_can_be_drawn():
    with pytest.raises(UnknownNameError, match=r"unknown noun 'list'.*Ranking, Replay, Thresh"):
        plot([1, 2])


def test_an_unknown_option_names_those_of_the_noun(studies):
    with pytest.raises(UnknownNameError, match=r"option 'signal'.*Did you mean 'signals'"):
        plot(studies.make_timeline(), signal="x")


def test_an_unknown_signal_is_told_the_near_one(studies):
    with pytest.raises(UnknownNameError, match=r"Did you mean 'decode.tbt_p99_seconds'"):
        plot(studies.make_timeline(), signals=["decode.tbt_p99_second"])


def test_an_unknown_axis_names_the_two(studies):
    with pytest.raises(UnknownNameError, match="Known: demand, time"):
        plot(studies.make_timeline(), against="money")


def test_what_the_data_cannot_tell_is_said_and_not_drawn(studies):
    bare = studies.make_bare_service()
    with pytest.raises(NotEnoughDataError, match="No objective is stated"):
        plot(bare.threshold)
    with pytest.raises(NotEnoughDataError, match="not disaggregated"):
        plot(bare.pd_ratio)


def test_every_drawing_takes_at_most_two_options():
    for drawing in DRAWINGS.values():
        assert drawing.__code__.co_argcount <= 3


def test_labels_reach_plotly_escaped(studies):
    timeline = studies.make_timeline(steps=50)
    pool = timeline.pools["decode"]
    name = '<a href="javascript:alert(1)">x</a>\n'
    series = pool.signals["tbt_p99_seconds"]
    pool.signals[name] = type(series)(name, "intensive", series.values)
    for against in ("time", "demand"):
        text = plot(timeline, signals=[f"decode.{name}"], against=against).to_json()
        assert "<a href" not in text
        assert "&lt;a href" in text


def test_a_ranking_row_without_an_estimate_is_a_question_mark_with_its_reason(studies):
    ranking = studies.make_ranking()
    marks = [trace for trace in plot(ranking).data if trace.mode == "text"]
    reasons = [reason for trace in marks for reason in trace.customdata]
    assert any("no peak to place" in reason for reason in reasons)


def test_the_dots_of_a_ranking_are_its_numbers(studies):
    ranking = studies.make_ranking()
    shown = [s for s in ranking.signals if s.verdict != "unavailable"]
    dots = {
        (float(x), int(y))
        for trace in plot(ranking).data
        if trace.mode == "markers" and trace.xaxis == "x"
        for x, y in zip(trace.x, trace.y, strict=True)
    }
    expected = {(s.measures["demand_correlation"].value, row) for row, s in enumerate(shown)}
    assert dots == expected


def test_a_ranking_of_nothing_known_still_draws(studies):
    ranking = studies.make_bare_service().ranking
    figure = plot(ranking)
    assert "not known for any signal" in figure.to_json()
    assert unidentified("x").value is None


def altered(timeline, change):
    """Give the timeline with every signal's values changed."""
    for pool in timeline.pools.values():
        for name, series in pool.signals.items():
            pool.signals[name] = replace(series, values=change(series.values))
    return timeline


@pytest.mark.parametrize("steps", [1, 2, 60, 1500])
@pytest.mark.parametrize(
    "change",
    [
        np.zeros_like,
        np.ones_like,
        np.negative,
        lambda v: np.full_like(v, np.nan),
        lambda v: v * 1e9,
    ],
)
@pytest.mark.parametrize("against", ["time", "demand"])
def test_degenerate_signals_are_drawn_without_a_warning(studies, steps, change, against):
    timeline = altered(studies.make_timeline(steps=steps), change)
    signals = ["decode.tbt_p99_seconds", "prefill.waiting_requests"]
    assert plot(timeline, signals=signals, against=against).to_json()


@pytest.mark.parametrize("against", ["time", "demand"])
def test_a_timeline_of_nothing_says_so(studies, against):
    nothing = replace(studies.make_timeline(steps=3), pools={}, slo_counts=())
    with pytest.raises(NotEnoughDataError, match="to draw"):
        plot(nothing, against=against)
