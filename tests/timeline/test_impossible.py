"""Twin of timeline/impossible.py: one reading that cannot be does not decide a study."""

from __future__ import annotations

import numpy as np

from tests.telemetry.written import series, timeline_of

STEPS = 200


def test_a_rate_below_zero_is_a_gap_and_is_counted(tmp_path):
    rng = np.random.default_rng(1)
    rate, share = rng.uniform(400.0, 600.0, STEPS), rng.uniform(0.3, 0.6, STEPS)
    rate[80], share[120] = -6e7, -1.0
    rows = series("decode_tokens_per_second", rate) + series("gpu_utilization_ratio", share)
    timeline = timeline_of(tmp_path, rows)
    signals = timeline.pools["decode"].signals
    tokens = signals["decode_tokens_per_second"].values
    assert np.nanmin(tokens) > 300.0
    assert 1 <= np.isnan(tokens[70:90]).sum() <= 4
    assert np.isfinite(np.delete(tokens, slice(76, 86))[2:-2]).all()
    assert np.nanmin(signals["gpu_utilization_ratio"].values) >= 0.3
    [row] = [row for row in timeline.quality if row.check == "negative values"]
    assert row.status == "warning"
    assert "decode.decode_tokens_per_second (1)" in row.note
    assert "decode.gpu_utilization_ratio (1)" in row.note


def test_a_series_of_nothing_but_minus_one_is_not_there(tmp_path):
    rows = series("gpu_utilization_ratio", np.full(STEPS, -1.0))
    rows += series("vllm:num_requests_running", np.random.default_rng(2).integers(1, 30, STEPS))
    signals = timeline_of(tmp_path, rows).pools["decode"].signals
    assert "gpu_utilization_ratio" not in signals
