"""Thresholds of Dynamo's planner against planted relations of occupancy and TTFT to work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from signalstudy.threshold.planner import (
    CACHE_DOWN,
    CACHE_UP,
    QUEUE_DOWN,
    QUEUE_UP,
    ongoing_requests,
    planner_thresholds,
)
from signalstudy.timeline.timeline import SignalSeries
from signalstudy.vocabulary.estimate import Estimate
from tests.replay import planted

TOLERANCE, ALONE = 0.2, 0.15


def service(occupancy=lambda fill: 0.8 * fill, *, ttft=True):
    """Plant KV occupancy and TTFT of a service of known capacity over half a day."""
    made = planted.disaggregated(planted.day(16000.0, hours=12.0), 13.0)
    random = np.random.default_rng(3)
    pools = {}
    for name, pool in made.timeline.pools.items():
        fill = pool.demand.per_second / (pool.ready_replicas * planted.CAPACITY[name])
        noise = random.normal(1.0, 0.05, fill.size)
        own = {"kv_cache_usage_ratio": occupancy(fill) * noise}
        if ttft:
            own["ttft_p50_seconds"] = ALONE + np.maximum(fill - 0.6, 0.0)
        signals = {key: SignalSeries(key, "intensive", values) for key, values in own.items()}
        pools[name] = replace(pool, signals=pool.signals | signals)
    return made.but(timeline=replace(made.timeline, pools=pools))


TARGETS = {"decode": 1200.0, "prefill": 2500.0}


def targets(**values):
    """Give a threshold that asks so much of each replica."""
    made = planted.threshold(*(planted.capacity(name, planted.TTFT) for name in TARGETS))
    own = {pool: Estimate(value, 0.9 * value, 1.1 * value, method="planted")
           for pool, value in (values or TARGETS).items()}  # fmt: skip
    return replace(made, pool_targets=own)


def found(made, threshold=None, **fewest):
    return planner_thresholds(
        made.timeline,
        threshold or targets(),
        made.objectives,
        scale_in_tolerance=TOLERANCE,
        fewest=fewest,
    )


def test_occupancy_is_what_the_recording_shows_at_the_edges_of_the_tolerance():
    told = found(service(), decode=9)
    wanted = 0.8 * 1200.0 * 1.1 / planted.CAPACITY["decode"]
    assert told[CACHE_UP].value == pytest.approx(wanted, rel=0.03)
    assert told[CACHE_UP].low < told[CACHE_UP].value < told[CACHE_UP].high
    assert told[CACHE_UP].high - told[CACHE_UP].low < 0.1 * wanted
    into = 0.8 * 1200.0 * (1.0 - TOLERANCE) / planted.CAPACITY["decode"]
    assert told[CACHE_DOWN].value == pytest.approx(into, rel=0.03)


def test_what_is_left_after_a_scale_in_does_not_call_the_replica_back():
    told = found(service(), decode=1, prefill=1)
    for up, down in ((CACHE_UP, CACHE_DOWN), (QUEUE_UP, QUEUE_DOWN)):
        assert told[down].value * 2.0 <= told[up].value * (1.0 + 1e-9)


def test_a_queue_is_what_a_replica_at_its_target_works_off_within_the_limit():
    made = service()
    told = found(made, prefill=20)
    limit = next(one.at_most_seconds for one in made.objectives if one.signal == "ttft")
    assert told[QUEUE_UP].value == pytest.approx(2500.0 * (limit - ALONE))
    assert told[QUEUE_UP].low == pytest.approx(0.9 * told[QUEUE_UP].value)
    assert told[QUEUE_DOWN].value == pytest.approx(told[QUEUE_UP].value * (1.0 - TOLERANCE))


def test_a_pool_without_a_target_of_its_own_gets_that_of_its_capacity():
    made, bears = service(), Estimate(4000.0, 3600.0, 4200.0)
    prefill = replace(planted.capacity("prefill", planted.TTFT), per_replica=bears)
    threshold = replace(
        planted.threshold(prefill, planted.capacity("decode", planted.TTFT)),
        headroom_ratio=Estimate(1.6),
        tolerance_ratio=0.25,
    )
    told = found(made, threshold)[QUEUE_UP]
    limit = next(one.at_most_seconds for one in made.objectives if one.signal == "ttft")
    assert told.value == pytest.approx(3600.0 / 2.0 * (limit - ALONE))
    assert told.high == pytest.approx(4000.0 / 2.0 * (limit - ALONE))


def test_what_the_data_do_not_tell_says_why():
    flat = found(service(lambda fill: 0.5 + 0.0 * fill))
    assert flat[CACHE_UP].status == "unidentified"
    assert "hardly rises" in flat[CACHE_UP].note
    assert "TTFT without a queue" in found(service(ttft=False))[QUEUE_UP].note
    made = service()
    pools = dict(made.timeline.pools)
    signals = {key: one for key, one in pools["decode"].signals.items() if "kv" not in key}
    pools["decode"] = replace(pools["decode"], signals=signals)
    bare = found(made.but(timeline=replace(made.timeline, pools=pools)))
    assert bare[CACHE_DOWN].note == "decode.kv_cache_usage_ratio is not in the data."
    assert found(made.but(objectives=()))[QUEUE_UP].note.startswith("No objective on TTFT")
    nothing = replace(targets(), pool_targets={}, capacities={})
    assert "not known" in found(made, nothing)[CACHE_UP].note


def test_work_that_was_never_done_tells_nothing():
    told = found(service(), targets(decode=9000.0, prefill=2500.0))
    assert "hardly in the data" in told[CACHE_UP].note
    assert told[QUEUE_UP].status == "ok"


def test_ongoing_requests_are_those_of_a_replica_at_its_target():
    # planted: one running request for every 50 tokens a second
    told = ongoing_requests(service().timeline, targets())
    assert told["rayServe.decode.targetOngoingRequests"].value == pytest.approx(24.0, rel=0.03)
    assert told["rayServe.prefill.targetOngoingRequests"].value == pytest.approx(50.0, rel=0.03)
    nothing = replace(targets(), pool_targets={}, capacities={})
    assert ongoing_requests(service().timeline, nothing) == {}
