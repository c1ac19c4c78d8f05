from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from signalstudy.figures.plot import plot
from signalstudy.figures.threshold_curves import curve_names
from signalstudy.vocabulary.errors import UnknownNameError
from signalstudy.vocabulary.estimate import Estimate

DECODE = "decode: p99 tbt <= 0.04 s"


def lines_of(figure):
    """Where the vertical lines stand."""
    shapes = figure.layout.shapes
    return sorted(s.x0 for s in shapes if s.type == "line" and s.x0 == s.x1 and s.x0 > 1)


def test_each_pool_has_its_curve(studies):
    assert curve_names(studies.make_threshold()) == [DECODE, "prefill: p99 ttft <= 1 s"]


def test_the_lines_are_the_nouns_numbers(studies):
    threshold = studies.make_threshold()
    capacity = threshold.capacities["decode"]
    estimate = capacity.by_objective["p99 tbt <= 0.04 s"]
    expected = [
        threshold.target.value,
        estimate.low,
        estimate.value,
        estimate.high,
        capacity.max_observed,
    ]
    assert lines_of(plot(threshold, curve=DECODE)) == pytest.approx(sorted(expected))


def test_the_target_stands_only_in_the_pool_it_is_for(studies):
    text = plot(studies.make_threshold(), curve="prefill: p99 ttft <= 1 s").to_json()
    assert "target" not in text
    assert "safe bound" in text


def test_a_lower_bound_is_drawn_as_one(studies):
    threshold = studies.make_threshold()
    bound = Estimate(2310.0, 2240.0, status="lower_bound", note="The knee was not visited.")
    capacity = replace(threshold.capacities["decode"], per_replica=bound, by_objective={})
    figure = plot(replace(threshold, capacities={"decode": capacity}))
    assert any("≥ 2,310" in note.text for note in figure.layout.annotations)


def test_a_share_of_zero_is_drawn_at_the_tick_that_says_zero(studies):
    threshold = studies.make_threshold()
    curve = threshold.capacities["decode"].curves[0]
    figure = plot(threshold, curve=DECODE)
    dots = next(trace for trace in figure.data if trace.name == "observed share")
    zero = figure.layout.yaxis.tickvals[-1]
    assert figure.layout.yaxis.ticktext[-1] == "0"
    at_zero = np.asarray(curve.share) == 0
    assert at_zero.any()
    assert np.all(np.asarray(dots.y)[at_zero] == zero)
    assert np.all(np.asarray(dots.y)[~at_zero] > zero)


def test_an_unknown_curve_names_those_there_are(studies):
    with pytest.raises(UnknownNameError, match="Known: decode: p99 tbt"):
        plot(studies.make_threshold(), curve="p99")


@pytest.mark.parametrize(
    "change",
    [
        {"share": np.zeros(30), "fitted": np.zeros(30)},
        {"share_low": np.full(30, np.nan), "share_high": np.full(30, np.nan)},
        {"requests": np.full(30, np.nan)},
        {"allowed_share": 0.0},
    ],
)
def test_a_degenerate_curve_is_drawn_without_a_warning(studies, change):
    threshold = studies.make_threshold()
    capacity = threshold.capacities["decode"]
    curve = replace(capacity.curves[0], **change)
    capacities = {"decode": replace(capacity, curves=(curve,))}
    assert plot(replace(threshold, capacities=capacities)).to_json()
