from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from signalstudy.figures.plot import plot
from signalstudy.figures.replay_front import _front, _nines
from signalstudy.replay.recorded import replay_policy
from signalstudy.vocabulary.errors import NotEnoughDataError, UnknownNameError
from signalstudy.vocabulary.estimate import Estimate, unidentified
from tests.replay import planted


@pytest.fixture(scope="module")
def replay():
    service = planted.disaggregated(planted.day(20000.0, hours=6.0), 12.0)
    return replay_policy(
        planted.split_policy(), service, against=["fixed-peak", "clairvoyant"], draws=3
    )


def names(figure):
    return {trace.name for trace in figure.data if trace.name}


def test_a_policy_stands_beside_what_happened_and_the_clairvoyant(replay):
    figure = plot(replay)
    assert names(figure) == {"chat", "recorded", "clairvoyant", "demand, in replicas it fills"}
    titles = [note.text for note in figure.layout.annotations]
    assert titles == ["prefill · replicas", "decode · replicas", "requests that missed a limit"]


def test_demand_is_drawn_in_replicas_it_fills(replay):
    figure = plot(replay, runs=["chat"])
    demand = next(trace for trace in figure.data if trace.name.startswith("demand"))
    # The peak of 32,000 decode tokens a second is 64,000 prompt tokens: 16 replicas of 4,000.
    assert max(demand.y) == pytest.approx(16.0, rel=0.02)


def test_replicas_are_steps_of_what_was_asked_for(replay):
    run = next(run for run in replay.runs if run.name == "chat")
    figure = plot(replay, runs=["chat"])
    lines = [trace for trace in figure.data if trace.line.shape == "hv"]
    assert max(lines[1].y) == run.pools["decode"].asked_replicas.max()


def test_an_unknown_run_or_axis_is_named(replay):
    with pytest.raises(UnknownNameError, match=r"unknown run 'chatt'.*Did you mean 'chat'"):
        plot(replay, runs=["chatt"])
    with pytest.raises(UnknownNameError, match="unknown axis 'money'"):
        plot(replay, against="money")


def test_what_cannot_be_drawn_says_so(replay):
    bare = replace(replay, time_seconds=None)
    with pytest.raises(NotEnoughDataError, match="can be drawn over time"):
        plot(bare)
    unknown = unidentified("Nobody counted.")
    none = replace(replay, runs=(replace(replay.runs[0], gpu_hours=unknown),))
    with pytest.raises(NotEnoughDataError, match="both a cost and an attainment"):
        plot(none, against="cost")


def test_the_front_holds_whom_nobody_beats(replay):
    base = replay.runs[1]

    def run(name, cost, kept):
        return replace(
            base, name=name, gpu_hours=Estimate(cost), slo_attainment_ratio=Estimate(kept)
        )

    runs = [run("a", 10.0, 0.9), run("b", 12.0, 0.99), run("c", 13.0, 0.98), run("d", 12.0, 0.99)]
    assert [one.name for one in _front(runs)] == ["a", "b", "d"]
    figure = plot(replace(replay, runs=tuple(runs)), against="cost")
    hollow = [trace.marker.symbol for trace in figure.data if trace.marker.symbol]
    assert hollow == ["circle", "circle", "circle-open", "circle"]


def test_attainment_is_drawn_by_what_is_missed(replay):
    assert _nines(0.99) - _nines(0.9) == pytest.approx(_nines(0.999) - _nines(0.99))
    figure = plot(replay, against="cost")
    run = next(run for run in replay.runs if run.name == "chat")
    point = next(trace for trace in figure.data if trace.text == ("chat",))
    assert point.x[0] == run.gpu_hours.value
    assert point.y[0] == pytest.approx(_nines(run.slo_attainment_ratio.value))
    assert figure.layout.shapes[0].y0 == pytest.approx(_nines(replay.asked_attainment))


def test_hostile_names_are_text_in_both_figures(replay):
    hostile = tuple(replace(run, name=f"{run.name}<b>x</b>") for run in replay.runs)
    evil = replace(replay, runs=hostile)
    for figure in (plot(evil, runs=[run.name for run in hostile]), plot(evil, against="cost")):
        assert "<b>x" not in "".join(
            str(trace.name or "") + "".join(trace.text or ()) for trace in figure.data
        )


def test_no_trace_of_a_week_holds_more_points_than_a_page_bears():
    service = planted.unified(planted.day(4000.0, hours=24 * 7.0))
    for figure in (plot(replay_policy(planted.policy(), service, draws=0)),):
        assert all(np.size(trace.x) <= 2000 for trace in figure.data)
