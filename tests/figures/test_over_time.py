from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from signalstudy.figures.plot import plot


def test_a_proportional_signal_lies_on_its_scaled_demand(studies):
    timeline = studies.make_timeline()
    pool = timeline.pools["decode"]
    exact = replace(pool.signals["decode_tokens_per_second"], values=0.25 * pool.demand.per_second)
    pool.signals["decode_tokens_per_second"] = exact
    figure = plot(timeline, signals=["decode.decode_tokens_per_second"])
    signal = next(trace for trace in figure.data if (trace.name or "").startswith("signal"))
    scaled = next(trace for trace in figure.data if (trace.name or "").startswith("demand, sc"))
    np.testing.assert_allclose(signal.y, scaled.y, rtol=1e-5)


def test_excluded_hours_are_shaded_from_the_start_of_their_first_step(studies):
    timeline = studies.make_timeline()
    (shape,) = plot(timeline).layout.shapes
    out = np.flatnonzero(~timeline.usable)
    assert shape.x0 == (timeline.time_seconds[out[0]] - timeline.step_seconds) * 1e3
    assert shape.x1 == timeline.time_seconds[out[-1]] * 1e3


def test_the_breach_strip_shows_the_share_of_requests_over_the_limit(studies):
    timeline = studies.make_timeline()
    strip = next(trace for trace in plot(timeline).data if trace.type == "heatmap")
    assert list(plot(timeline).select_yaxes())[-1].ticktext == ("p99 ttft", "p99 tbt")
    shares = np.asarray(strip.customdata)
    assert shares.shape[0] == 2
    assert 0 <= np.nanmin(shares) <= np.nanmax(shares) <= 1
    assert np.nanmax(shares) > 0.05


def test_ready_replicas_are_steps(studies):
    figure = plot(studies.make_timeline())
    stepped = [t for t in figure.select_traces({"type": "scatter"}) if t.line.shape == "hv"]
    assert [trace.name for trace in stepped] == ["prefill replicas", "decode replicas"]


def test_rows_share_one_time_axis_and_do_not_overlap(studies):
    figure = plot(studies.make_timeline())
    domains = sorted(axis.domain for axis in figure.select_yaxes())
    assert len(list(figure.select_xaxes())) == 1
    assert all(low[1] < high[0] for low, high in pairwise(domains))


def test_a_timeline_without_demand_replicas_or_counts_is_drawn(studies):
    timeline = studies.make_timeline(steps=40)
    nothing = np.full(40, np.nan)
    pool = replace(timeline.pools["decode"], demand=None, ready_replicas=nothing)
    bare = replace(timeline, pools={"decode": pool}, slo_counts=(), usable=np.ones(40, dtype=bool))
    figure = plot(bare)
    assert len(list(figure.select_yaxes())) == len(pool.signals)
    assert "no step where both" in plot(bare, against="demand").to_json()


def test_a_demand_shared_by_the_gateway_is_drawn_once(studies):
    timeline = studies.make_timeline()
    gateway = replace(timeline.pools["decode"], pool="gateway", signals={})
    both = replace(timeline, pools={**timeline.pools, "gateway": gateway})
    titles = [note.text for note in plot(both).layout.annotations]
    assert [text for text in titles if "demand" in text] == [
        "prefill · demand offered",
        "decode · demand offered",
    ]
    assert "gateway replicas" not in {trace.name for trace in plot(both).data}


def test_a_flat_signal_keeps_more_than_half_of_its_row(studies):
    timeline = studies.make_timeline()
    pool = timeline.pools["decode"]
    flat = np.full_like(pool.demand.per_second, 0.9)
    pool.signals["sm_activity_ratio"] = replace(pool.signals["sm_activity_ratio"], values=flat)
    figure = plot(timeline, signals=["decode.sm_activity_ratio"])
    assert 0.9 < figure.layout.yaxis3.range[1] < 1.8
