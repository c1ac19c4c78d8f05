from __future__ import annotations

from dataclasses import replace

import numpy as np

from signalstudy.figures.plot import plot
from signalstudy.threshold.threshold import PdRatio
from signalstudy.vocabulary.estimate import Estimate


def test_what_the_mix_asks_for_is_the_ratio_at_the_median_mix(studies):
    service = studies.make_service()
    figure = plot(service.pd_ratio, over=service.timeline)
    asked = np.asarray(figure.data[-1].y)
    mix = service.timeline.token_mix
    expected = service.pd_ratio.ratio.value * mix.mean() / service.pd_ratio.token_mix
    np.testing.assert_allclose(asked.mean(), expected, rtol=0.01)


def test_ratio_interval_and_band_are_the_nouns(studies):
    ratio = studies.make_service().pd_ratio
    figure = plot(ratio)
    heights = {(shape.y0, shape.y1) for shape in figure.layout.shapes}
    assert heights == {
        (ratio.ratio.value, ratio.ratio.value),
        (ratio.ratio.low, ratio.ratio.high),
        (ratio.band_low, ratio.band_high),
    }


def test_a_timeline_without_token_mix_leaves_the_levels_alone(studies):
    service = studies.make_service()
    service.timeline.token_mix[:] = np.nan
    figure = plot(service.pd_ratio, over=service.timeline)
    assert len(figure.data) == 0
    assert len(figure.layout.shapes) == 3


def test_the_ratio_that_the_policy_keeps_is_drawn_with_its_band_in_sight(studies):
    service = studies.make_service()
    kept = 2.0 * service.pd_ratio.ratio.value
    operated = replace(service.pd_ratio, kept=kept, band_low=0.98 * kept, band_high=1.02 * kept)
    figure = plot(operated, over=service.timeline)
    assert (kept, kept) in {(shape.y0, shape.y1) for shape in figure.layout.shapes}
    assert figure.layout.yaxis.range[1] > 1.02 * kept
    assert any("the policy keeps" in note.text for note in figure.layout.annotations)


def test_a_lower_bound_is_labelled_as_one():
    bound = Estimate(1.33, status="lower_bound", note="The knee of decode was not visited.")
    assert "<b>ratio ≥ 1.33</b>" in {note.text for note in plot(PdRatio(bound)).layout.annotations}
