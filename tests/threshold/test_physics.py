"""Twin of threshold/physics.py."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.threshold.physics import physics_note
from signalstudy.timeline.timeline import SignalSeries
from signalstudy.vocabulary.estimate import Estimate
from signalstudy.vocabulary.objectives import Objective

TBT = Objective("tbt", 0.95, 0.05)


def pool_signals(batch, ready, *, cache=None, counted=1.0):
    seconds = 0.020 + 0.00025 * batch
    total = {"running_requests": counted * batch * ready,
             "decode_tokens_per_second": batch / seconds * ready}  # fmt: skip
    mean = {"tbt_mean_seconds": seconds}
    if cache is not None:
        mean["kv_cache_usage_ratio"] = cache
    return {n: SignalSeries(n, "total", v) for n, v in total.items()} | {
        n: SignalSeries(n, "intensive", v) for n, v in mean.items()
    }


@pytest.fixture
def filled(build):
    def make(**what):
        batch, ready = np.linspace(1, 120, 200), np.full(200, 3.0)
        signals = pool_signals(batch, ready, **what)
        pool = build.pool("decode", batch, ready, signals=signals)
        return build.timeline({"decode": pool}, [])

    return make


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
    note = physics_note(service, "decode", TBT, Estimate(2000.0))
    assert "20 ms + 0.25 ms" in note
    assert "2400 tokens/s" in note  # (1 - 0.020 / 0.050) / 0.00025


def test_steps_without_a_replica_say_nothing(build):
    """A gap of the scrape: no replica is seen, and nothing is divided by it (warnings fail)."""
    batch, ready = np.linspace(1, 120, 200), np.full(200, 3.0)
    signals = pool_signals(batch, ready)
    ready[90:100] = 0.0
    timeline = build.timeline({"decode": build.pool("decode", batch, ready, signals=signals)}, [])
    assert "20 ms + 0.25 ms" in physics_note(timeline, "decode", TBT, Estimate(2000.0))


def test_a_capacity_well_above_the_law_is_called_out(service):
    assert "one of the two is wrong" in physics_note(service, "decode", TBT, Estimate(3000.0))


def test_nothing_is_said_of_other_latencies_or_without_a_batch(service, build):
    ttft = Objective("ttft", 0.95, 1.0)
    assert physics_note(service, "decode", ttft, Estimate(2000.0)) == ""
    bare = build.timeline({"decode": build.pool("decode", np.ones(9), np.ones(9))}, [])
    assert physics_note(bare, "decode", TBT, Estimate(2000.0)) == ""


def test_a_cache_that_is_full_before_the_limit_is_said(filled):
    cache = np.linspace(1, 120, 200) / 80.0  # full at 80 running, 76 at 95 %
    note = physics_note(filled(cache=np.minimum(cache, 1.0)), "decode", TBT, Estimate(1500.0))
    assert "KV cache is full at" in note
    roomy = physics_note(filled(cache=cache / 4), "decode", TBT, Estimate(1500.0))
    assert "KV cache" not in roomy


def test_little_s_law_that_does_not_close_is_said_with_by_how_much(filled):
    assert "Little" not in physics_note(filled(), "decode", TBT, Estimate(1500.0))
    note = physics_note(filled(counted=1.5), "decode", TBT, Estimate(1500.0))
    assert "Little's law does not close" in note
    assert "-33% off" in note
