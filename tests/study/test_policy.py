"""What drafting takes from a study: the peak in the unit that a pool is sized by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from signalstudy.study.policy import peak_per_second
from signalstudy.timeline.timeline import SignalSeries
from tests.replay import planted


@pytest.fixture
def pool():
    """Give a prefill pool: 8000 tokens a second at most, in 20 requests."""
    offered = planted.steps(2000.0, 8000.0)
    found = planted.pool("prefill", offered)
    requests = SignalSeries("requests_per_second", "total", offered / 400.0)
    return replace(found, signals=found.signals | {"requests_per_second": requests})


@pytest.mark.parametrize(
    ("signal", "peak"),
    [
        ("", 8000.0),
        ("prefill_uncached_tokens_per_second", 8000.0),
        ("requests_per_second", 20.0),
        ("gpu_utilization_ratio", None),
        ("waiting_requests", None),
    ],
)
def test_the_peak_is_in_the_unit_of_the_signal(pool, signal, peak):
    assert peak_per_second(pool, planted.STEP, signal) == pytest.approx(peak)


def test_a_record_shorter_than_a_minute_has_no_peak(pool):
    short = replace(pool, demand=replace(pool.demand, per_second=np.ones(2)))
    assert peak_per_second(short, planted.STEP, "") is None
