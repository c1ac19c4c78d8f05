from __future__ import annotations

import numpy as np

from signalstudy.figures.plot import plot


def drawn(studies, signal):
    """Draw one panel and give its traces by name."""
    figure = plot(studies.make_timeline(), signals=[signal], against="demand")
    return {trace.name: trace for trace in figure.data if trace.name}, figure


def test_a_cliff_is_visible_in_the_fit(studies):
    traces, _ = drawn(studies, "decode.tbt_p99_seconds")
    fit = np.asarray(traces["monotone fit"].y)
    assert fit[-1] > 1.3 * fit[fit.size // 2]
    assert fit[fit.size // 2] < 1.3 * fit[0]


def test_saturation_is_visible_in_the_fit(studies):
    traces, _ = drawn(studies, "decode.sm_activity_ratio")
    fit = np.asarray(traces["monotone fit"].y)
    assert fit[-1] < 1.05 * fit[fit.size // 3]
    assert fit[0] < 0.6 * fit[-1]


def test_a_queue_is_held_against_demand_per_replica(studies):
    traces, figure = drawn(studies, "prefill.waiting_requests")
    assert figure.layout.xaxis.title.text == "prefill demand per replica (tokens/s)"
    assert figure.layout.yaxis.title.text == "requests per replica"
    fit = np.asarray(traces["monotone fit"].y)
    assert fit[-1] > 3 > 0.5 > fit[fit.size // 2]


def test_a_throughput_is_held_against_all_demand(studies):
    traces, figure = drawn(studies, "decode.decode_tokens_per_second")
    assert figure.layout.xaxis.title.text == "decode demand (tokens/s)"
    fit = traces["monotone fit"]
    np.testing.assert_allclose(np.asarray(fit.y), np.asarray(fit.x), rtol=0.1, atol=100)


def test_the_reference_goes_through_the_origin_and_the_axes_begin_there(studies):
    traces, figure = drawn(studies, "decode.tbt_p99_seconds")
    assert (traces["proportional"].x[0], traces["proportional"].y[0]) == (0.0, 0.0)
    assert figure.layout.xaxis.range[0] == figure.layout.yaxis.range[0] == 0


def test_excluded_steps_are_left_out(studies):
    timeline = studies.make_timeline(steps=400)
    figure = plot(timeline, signals=["decode.kv_cache_usage_ratio"], against="demand")
    values = timeline.pools["decode"].signals["kv_cache_usage_ratio"].values
    kept = int(np.sum(timeline.usable & np.isfinite(values)))
    assert len(figure.data[0].x) == kept < 400


def test_steps_above_the_panel_are_counted(studies):
    _, figure = drawn(studies, "decode.tbt_p99_seconds")
    assert any("steps lie above" in note.text for note in figure.layout.annotations)
