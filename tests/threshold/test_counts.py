"""Twin of threshold/counts.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from signalstudy.threshold.counts import bin_seconds, draining_bins, gather_counts, work_of
from signalstudy.timeline.timeline import Event, SignalSeries
from signalstudy.vocabulary.objectives import Objective

TBT = Objective("tbt", 0.95, 0.05)


@pytest.fixture
def service(build):
    def make(size=60, step=15.0, replicas=2.0, **arguments):
        ready = np.full(size, replicas)
        pools = {"decode": build.pool("decode", np.full(size, 100.0), ready)}
        slo = build.slo(TBT, np.full(size, 10.0), np.ones(size))
        return build.timeline(pools, [slo], step=step, **arguments)

    return make


def counts_of(timeline):
    pool = timeline.pools["decode"]
    return gather_counts(timeline, pool, work_of(pool), timeline.slo_counts[0])


def test_steps_are_joined_to_bins_of_thirty_seconds(service):
    counts = counts_of(service(size=60, step=15.0))
    assert counts.bin_seconds == 30.0
    assert counts.observed.tolist() == [20.0] * 30
    assert counts.over.tolist() == [2.0] * 30
    assert counts.work_per_replica.tolist() == [100.0] * 30


def test_more_replicas_at_the_same_total_work_mean_less_work_each(service):
    timeline = service(replicas=2.0)
    pool = timeline.pools["decode"]
    more = replace(pool, ready_replicas=pool.ready_replicas * 2)
    assert (work_of(more).per_replica == work_of(pool).per_replica / 2).all()


def test_an_intensive_signal_is_not_divided(service):
    pool = service().pools["decode"]
    share = SignalSeries("gpu_utilization_ratio", "intensive", np.full(60, 0.5))
    pool = replace(pool, signals={**pool.signals, share.name: share})
    assert (work_of(pool, "gpu_utilization_ratio").per_replica == 0.5).all()


def test_unknown_replicas_are_named_not_guessed(service):
    pool = replace(service().pools["decode"], ready_replicas=np.full(60, np.nan))
    assert "ready decode replicas is not known" in work_of(pool)


def test_a_signal_that_is_not_there_is_named(service):
    assert "no waiting_requests" in work_of(service().pools["decode"], "waiting_requests")


def test_bins_with_unknown_counts_or_replicas_are_left_out(service):
    timeline = service(step=30.0)
    slo, pool = timeline.slo_counts[0], timeline.pools["decode"]
    slo.observed[3] = np.nan
    slo.observed[4] = 0.0
    pool.ready_replicas[10] = np.nan
    counts = counts_of(timeline)
    assert counts.time_seconds.size == 57
    assert not {4 * 30.0, 5 * 30.0} & set(counts.time_seconds)


def test_bins_after_a_change_of_replicas_are_left_out(service):
    timeline = service(step=30.0)
    timeline.pools["decode"].ready_replicas[20:] = 3.0
    dropped = sorted(set(timeline.time_seconds) - set(counts_of(timeline).time_seconds))
    assert dropped == [630.0, 660.0, 690.0]


def test_bins_around_events_and_excluded_spans_are_left_out(service):
    events = (Event(300.0, "decode", "scale_out"), Event(905.0, "decode", "counter_reset"))
    timeline = service(step=30.0, events=events)
    timeline.usable[:2] = False
    dropped = sorted(set(timeline.time_seconds) - set(counts_of(timeline).time_seconds))
    assert dropped == [30.0, 60.0, 330.0, 360.0, 930.0]


def test_events_of_the_other_pool_do_not_matter(service):
    timeline = service(step=30.0, events=(Event(300.0, "prefill", "scale_out"),))
    assert counts_of(timeline).time_seconds.size == 60


def test_breaches_of_a_draining_queue_are_not_booked_at_what_work_is_left(planted):
    counts = replace(
        planted(0, days=0.005),
        work_per_replica=np.array([50.0, 100.0, 97.0, 60.0, 20.0, 20.0, 20.0]),
        observed=np.full(7, 10.0),
        over=np.array([0.0, 10.0, 10.0, 9.0, 8.0, 0.0, 8.0]),
    )
    assert draining_bins(counts).tolist() == [False, False, False, True, True, True, False]


def test_light_traffic_is_counted_in_longer_bins_and_a_pressure_test_in_short_ones(build):
    def seconds(requests_per_step, *, latency="tbt", role="production", steps=2880):
        work = np.full(steps, 100.0)
        observed = np.full(steps, float(requests_per_step))
        slo = build.slo(Objective("ttft", 0.95, 1.0), observed, np.zeros(steps))
        pools = {"decode": build.pool("decode", work, np.ones(steps))}
        timeline = build.timeline(pools, [slo], step=30.0)
        return bin_seconds(replace(timeline, role=role), latency)

    assert seconds(3000) == 30.0
    assert seconds(300) == pytest.approx(100.0)
    assert seconds(90, latency="ttft") == pytest.approx(50.0)
    assert seconds(3) == 300.0
    assert seconds(3, role="pressure-test") == 60.0
    assert seconds(3, steps=24) == 30.0
