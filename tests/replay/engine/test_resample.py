"""Requests drawn from a study, and timing fitted to one: planted truths come back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from signalstudy.replay.engine.resample import resample
from signalstudy.replay.engine.timing import fit_profile
from signalstudy.replay.engine.trace import reusable_tokens
from signalstudy.replay.grounds import lay_grounds
from signalstudy.timeline.timeline import SignalSeries
from signalstudy.vocabulary.errors import NotEnoughDataError
from tests.replay import planted
from tests.replay.engine import simulated

LEVEL, SLOPE, TOKEN_SECONDS = 0.021, 0.0004, 0.00013


def grounds_of(service):
    return lay_grounds(service, startup_seconds=60.0)


def shown(service, pool, **signals):
    """Give a service whose pool shows more signals: name -> (kind, values)."""
    timeline = service.timeline
    place = timeline.pools[pool]
    more = {name: SignalSeries(name, kind, values) for name, (kind, values) in signals.items()}
    changed = replace(place, signals=place.signals | more)
    return service.but(timeline=replace(timeline, pools=timeline.pools | {pool: changed}))


def test_requests_have_the_studys_rhythm_and_mix():
    service = simulated.service(hours=24.0)
    timeline = service.timeline
    offered = timeline.pools["decode"].demand.per_second
    # Each request has 60 output tokens; the planted counts say how many there are.
    counts = tuple(replace(one, observed=offered * 15.0 / 60.0) for one in timeline.slo_counts)
    service = service.but(timeline=replace(timeline, slo_counts=counts))
    trace = resample(grounds_of(service), seed=2)
    assert trace.requests == pytest.approx(counts[0].observed.sum(), rel=0.02)
    assert trace.output_tokens.mean() == pytest.approx(60.0, rel=0.03)
    assert trace.prompt_tokens.mean() == pytest.approx(400.0, rel=0.03)
    hour = np.bincount((trace.arrived_seconds // 3600).astype(int), minlength=24)[:24]
    wanted = counts[0].observed.reshape(24, -1).sum(axis=1)
    assert np.corrcoef(hour, wanted)[0, 1] > 0.99
    assert trace.start == planted.START
    again = resample(grounds_of(service), seed=2)
    assert again.arrived_seconds.tolist() == trace.arrived_seconds.tolist()


def test_hits_of_the_study_become_shared_prefixes():
    service = simulated.service(hours=6.0)
    size = service.timeline.time_seconds.size
    hits = replace(service.timeline, prefix_cache_hit_ratio=np.full(size, 0.4))
    trace = resample(grounds_of(service.but(timeline=hits)), seed=2)
    share = reusable_tokens(trace).sum() / trace.prompt_tokens.sum()
    assert share == pytest.approx(0.4, abs=0.03)


def test_a_study_without_requests_cannot_be_drawn_from():
    service = simulated.service()
    blind = replace(service.timeline, slo_counts=())
    with pytest.raises(NotEnoughDataError, match="no count of requests"):
        resample(grounds_of(service.but(timeline=blind)), seed=0)


def fitted(service):
    timeline = service.timeline
    decode = timeline.pools["decode"]
    running = decode.signals["running_requests"].values / decode.ready_replicas
    work = timeline.pools["prefill"].signals["prefill_uncached_tokens_per_second"].values
    busy = TOKEN_SECONDS * work / timeline.pools["prefill"].ready_replicas
    service = shown(service, "decode", tbt_mean_seconds=("intensive", LEVEL + SLOPE * running))
    return shown(service, "prefill", gpu_utilization_ratio=("intensive", busy))


def test_the_planted_timing_comes_back():
    service = fitted(planted.disaggregated(planted.day(4000.0)))
    profile = fit_profile(grounds_of(service))
    assert profile.seconds_per_token == pytest.approx(TOKEN_SECONDS, rel=0.01)
    column = int(np.argmin(np.abs(profile.context_tokens - 1000.0)))
    context = profile.context_tokens[column]
    batch = profile.kv_tokens / context
    inside = (batch > 1.0) & (batch < 200.0)
    expected = 1000.0 * (LEVEL + SLOPE * batch)
    assert profile.decode_ms[inside, column] == pytest.approx(expected[inside], rel=0.01)
    assert "fitted to the study's telemetry" in profile.source


def test_what_timing_lacks_is_named():
    service = planted.disaggregated(planted.day(4000.0))
    with pytest.raises(NotEnoughDataError, match=r"running_requests and TBT.*--profile"):
        fit_profile(grounds_of(service))
