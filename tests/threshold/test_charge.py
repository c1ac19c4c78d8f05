"""Twin of threshold/charge.py: who is to blame for a late first token."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.threshold.charge import charge, holds_back
from signalstudy.threshold.counts import gather_counts, work_of
from signalstudy.timeline.timeline import SignalSeries
from signalstudy.vocabulary.objectives import Objective

TTFT = Objective("ttft", 0.95, 1.0)
TBT = Objective("tbt", 0.95, 0.05)
SIZE = 20


@pytest.fixture
def service(build):
    """Prefill and decode, 10 requests a step of 30 s; decode queues from step 10 on."""

    def make(*, decode_waiting=None, prefill_waiting=None):
        def signals(waiting):
            if waiting is None:
                return {}
            return {"waiting_requests": SignalSeries("waiting_requests", "total", waiting)}

        ready = np.full(SIZE, 2.0)
        pools = {
            "prefill": build.pool(
                "prefill", np.full(SIZE, 300.0), ready,
                signals=signals(prefill_waiting), total="prefill_uncached_tokens_per_second",
            ),
            "decode": build.pool(
                "decode", np.full(SIZE, 100.0), ready, signals=signals(decode_waiting)
            ),
        }  # fmt: skip
        slo = build.slo(TTFT, np.full(SIZE, 10.0), np.full(SIZE, 4.0))
        return build.timeline(pools, [slo], step=30.0)

    return make


def charged(timeline, pool, objective=TTFT):
    source = timeline.pools[pool]
    counts = gather_counts(timeline, source, work_of(source), timeline.slo_counts[0])
    return charge(counts, timeline, pool, objective)


LATE = np.where(np.arange(SIZE) >= 10, 50.0, 0.0)


def test_breaches_while_decode_holds_back_are_not_charged_to_prefill(service):
    found = charged(service(decode_waiting=LATE), "prefill")
    assert found.counts.observed.size == 10
    assert "100 requests left out" in found.note


def test_they_are_charged_to_decode_instead(service):
    found = charged(service(decode_waiting=LATE), "decode")
    assert found.counts.over.tolist() == [0.0] * 10 + [4.0] * 10
    assert not found.is_idle


def test_a_pool_that_never_queues_answers_for_nothing(service):
    found = charged(service(decode_waiting=np.zeros(SIZE), prefill_waiting=LATE), "decode")
    assert found.is_idle
    assert found.counts.over.sum() == 0.0


def test_where_both_pools_queue_nothing_is_charged_to_either(service):
    both = service(decode_waiting=LATE, prefill_waiting=LATE)
    assert charged(both, "prefill").counts.observed.size == 10
    assert charged(both, "decode").counts.observed.size == 10


def test_without_queue_signals_prefill_keeps_its_breaches_and_says_so(service):
    found = charged(service(), "prefill")
    assert found.counts.over.sum() == 4.0 * SIZE
    assert "not known" in found.note
    assert charged(service(), "decode") is None


def test_tbt_is_decode_s_alone(service):
    timeline = service(decode_waiting=LATE)
    assert charged(timeline, "prefill", TBT) is None
    assert charged(timeline, "decode", TBT).counts.observed.size == SIZE


def test_a_unified_pool_answers_for_everything(build):
    pools = {"unified": build.pool("unified", np.full(SIZE, 100.0), np.ones(SIZE))}
    slo = build.slo(TTFT, np.full(SIZE, 10.0), np.ones(SIZE))
    found = charged(build.timeline(pools, [slo], step=30.0), "unified")
    assert found.counts.over.sum() == SIZE


def test_a_single_waiting_request_is_no_queue(service):
    timeline = service(decode_waiting=np.full(SIZE, 1.0))
    source = timeline.pools["decode"]
    counts = gather_counts(timeline, source, work_of(source), timeline.slo_counts[0])
    assert not holds_back(counts, timeline, source, TTFT).any()
