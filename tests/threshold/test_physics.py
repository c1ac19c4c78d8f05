"""Twin of threshold/physics.py."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.threshold.physics import batch_law_note
from signalstudy.timeline.timeline import SignalSeries
from signalstudy.vocabulary.estimate import Estimate
from signalstudy.vocabulary.objectives import Objective

TBT = Objective("tbt", 0.95, 0.05)


@pytest.fixture
def service(build):
    batch = np.linspace(1, 120, 200)
    ready = np.full(200, 3.0)
    seconds = 0.020 + 0.00025 * batch
    signals = {
        "running_requests": SignalSeries("running_requests", "total", batch * ready),
        "tbt_mean_seconds": SignalSeries("tbt_mean_seconds", "intensive", seconds),
    }
    return build.timeline({"decode": build.pool("decode", batch, ready, signals=signals)}, [])


def test_the_batch_law_gives_its_own_bound(service):
    note = batch_law_note(service, "decode", TBT, Estimate(2000.0))
    assert "20 ms + 0.25 ms" in note
    assert "2400 tokens/s" in note  # (1 - 0.020 / 0.050) / 0.00025


def test_a_capacity_well_above_the_law_is_called_out(service):
    assert "one of the two is wrong" in batch_law_note(service, "decode", TBT, Estimate(3000.0))


def test_nothing_is_said_of_other_latencies_or_without_a_batch(service, build):
    ttft = Objective("ttft", 0.95, 1.0)
    assert batch_law_note(service, "decode", ttft, Estimate(2000.0)) == ""
    bare = build.timeline({"decode": build.pool("decode", np.ones(9), np.ones(9))}, [])
    assert batch_law_note(bare, "decode", TBT, Estimate(2000.0)) == ""
