"""Traffic: rhythm, bursts, regularity and hits are those asked for."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.synthetic.service import ServiceSpec
from signalstudy.synthetic.traffic import (
    autoregression,
    draw_arrivals,
    hit_ratios,
    requests_per_second,
)


def test_autoregression_has_unit_variance_and_the_memory_asked_for():
    series = autoregression(200_000, 15.0, 300.0, np.random.default_rng(0))
    assert series.std() == pytest.approx(1.0, abs=0.05)
    at_memory = np.corrcoef(series[:-20], series[20:])[0, 1]
    assert at_memory == pytest.approx(np.exp(-1.0), abs=0.04)


def edges(steps, step=15.0):
    return np.arange(steps + 1) * step


def test_the_day_peaks_at_four_in_the_afternoon():
    spec = ServiceSpec(burst_spread=0.0)
    rate = requests_per_second(spec, edges(5760), np.random.default_rng(0))
    assert np.argmax(rate) * 15.0 / 3600.0 == pytest.approx(16.0, abs=0.1)
    assert rate.max() / rate.min() == pytest.approx(1.7 / 0.3, rel=0.01)


@pytest.mark.parametrize("regularity", [1.0, 4.0, 16.0])
def test_intervals_between_arrivals_are_as_regular_as_asked(regularity):
    spec = ServiceSpec(arrival_regularity=regularity)
    rate = np.full(4000, 5.0)
    arrivals = draw_arrivals(spec, edges(4000), rate, np.full(4000, 0.4), np.random.default_rng(1))
    gaps = np.diff(arrivals.at_seconds)
    assert gaps.mean() == pytest.approx(0.2, rel=0.02)
    assert gaps.std() / gaps.mean() == pytest.approx(regularity**-0.5, rel=0.03)


def test_arrivals_follow_a_changing_rate():
    rate = np.repeat([2.0, 20.0], 1000)
    arrivals = draw_arrivals(
        ServiceSpec(), edges(2000), rate, np.full(2000, 0.4), np.random.default_rng(2)
    )
    counts, _ = np.histogram(arrivals.at_seconds, bins=[0.0, 15000.0, 30000.0])
    np.testing.assert_allclose(counts, [30_000, 300_000], rtol=0.02)


def test_tokens_have_their_mean_and_cached_ones_never_exceed_the_prompt():
    spec = ServiceSpec()
    hits = np.repeat([0.1, 0.7], 500)
    arrivals = draw_arrivals(spec, edges(1000), np.full(1000, 10.0), hits, np.random.default_rng(3))
    assert arrivals.prompt_tokens.mean() == pytest.approx(spec.prompt_tokens, rel=0.01)
    assert arrivals.output_tokens.mean() == pytest.approx(spec.output_tokens, rel=0.01)
    assert (arrivals.cached_prompt_tokens <= arrivals.prompt_tokens).all()
    late = arrivals.at_seconds > 7500.0
    share = arrivals.cached_prompt_tokens[late].sum() / arrivals.prompt_tokens[late].sum()
    assert share == pytest.approx(0.7, abs=0.01)


def test_hit_ratios_move_slowly_within_bounds():
    hits = hit_ratios(ServiceSpec(), 20_000, np.random.default_rng(4))
    assert hits.min() >= 0.02
    assert hits.max() <= 0.9
    assert np.ptp(hits) > 0.3
    assert np.abs(np.diff(hits)).max() < 0.1
