"""Twin of timeline/frozen.py: what repeats itself is left out, what rests or idles is not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.telemetry.written import series, timeline_of

STEPS = 400
TOKENS, RUNNING = "vllm:generation_tokens_total", "vllm:num_requests_running"
FROM, UNTIL = 150, 220


def moving(seed: int, count: int = STEPS) -> np.ndarray:
    return np.random.default_rng(seed).uniform(400.0, 600.0, count)


def held(values: np.ndarray, start: int = FROM, end: int = UNTIL) -> np.ndarray:
    frozen = np.array(values, dtype=float)
    frozen[start:end] = frozen[start]
    return frozen


def told(timeline):
    return [row for row in timeline.quality if row.check == "frozen exporters"]


def test_a_frozen_replica_is_a_gap_and_its_catching_up_no_burst(tmp_path):
    """Its counters stand still and then make up for it in one scrape; its gauges keep a value."""
    running = np.random.default_rng(9).integers(5, 60, STEPS).astype(float)
    rows = series(TOKENS, np.cumsum(moving(1)), replica="d0")
    rows += series(TOKENS, held(np.cumsum(moving(2))), replica="d1")
    rows += series(RUNNING, running, replica="d0") + series(RUNNING, held(running), replica="d1")
    timeline = timeline_of(tmp_path, rows)
    signals = timeline.pools["decode"].signals
    for name in ("decode_tokens_per_second", "running_requests"):
        values = signals[name].values
        assert np.isnan(values[FROM + 2 : UNTIL - 2]).all(), name
        assert np.isfinite(np.delete(values, slice(FROM - 3, UNTIL + 3))[3:-3]).all(), name
    assert np.nanmax(signals["decode_tokens_per_second"].values) < 2 * 60.0
    [row] = told(timeline)
    assert row.status == "warning"
    assert "decode of d1" in row.note
    assert "d0" not in row.note


@pytest.mark.parametrize("end", [UNTIL, STEPS])
def test_one_gauge_that_keeps_a_value_for_long_is_left_out(tmp_path, end):
    rows = series("gpu_utilization_ratio", held(moving(3) / 1000.0, end=end))
    timeline = timeline_of(tmp_path, rows + series(TOKENS, np.cumsum(moving(4))))
    values = timeline.pools["decode"].signals["gpu_utilization_ratio"].values
    assert np.isnan(values[FROM + 2 : end - 2]).all()
    tokens = timeline.pools["decode"].signals["decode_tokens_per_second"].values
    assert np.isfinite(tokens[2:-2]).all()
    assert len(told(timeline)) == 1


def test_what_idles_rests_or_stands_by_nature_is_not_frozen(tmp_path):
    idle = moving(5)
    idle[FROM:UNTIL] = 0.0
    waiting = np.random.default_rng(6).integers(0, 9, STEPS).astype(float)
    waiting[FROM:UNTIL] = 0.0
    pinned = np.where(np.arange(STEPS) % 50 == 0, 0.97, 0.98)
    stairs = np.repeat(moving(7, STEPS // 100), 100)
    rows = series(TOKENS, np.cumsum(idle)) + series("vllm:num_requests_waiting", waiting)
    rows += series("gpu_utilization_ratio", pinned) + series("sm_activity_ratio", stairs / 1e3)
    rows += series("vllm:prompt_tokens_total", np.arange(STEPS) * 2000.0)
    timeline = timeline_of(tmp_path, rows)
    assert not told(timeline)
    for signal in timeline.pools["decode"].signals.values():
        assert np.isfinite(signal.values[3:-3]).all(), signal.name
