from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from signalstudy.replay import lanes
from signalstudy.replay.draws import draw
from signalstudy.replay.grounds import lay_grounds
from signalstudy.replay.lanes import run_lanes
from signalstudy.replay.manifests import KINDS, Choice, contender, options_of
from signalstudy.replay.recorded import replay_policy
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate
from tests.replay import planted
from tests.replay.planted import STEP


def with_signals(service):
    """Add a latency that rises with work, KV usage, and a queue that is empty unless work waits."""
    pools = {}
    for name, pool in service.timeline.pools.items():
        fill = pool.demand.per_second / (pool.ready_replicas * planted.CAPACITY[name])
        own = {
            "ttft_mean_seconds": ("intensive", 0.2 + 0.5 * fill),
            "tbt_mean_seconds": ("intensive", 0.01 + 0.025 * fill),
            "kv_cache_usage_ratio": ("intensive", 0.9 * fill),
            "waiting_requests": ("total", 0.0 * fill),
        }
        signals = {
            key: planted.SignalSeries(key, kind, values) for key, (kind, values) in own.items()
        }
        pools[name] = replace(pool, signals=pool.signals | signals)
    return service.but(timeline=replace(service.timeline, pools=pools))


@pytest.fixture(scope="module")
def split():
    return with_signals(planted.disaggregated(planted.day(16000.0, hours=12.0), 13.0))


def paths_of(service, name, share, start=8.0, **floors):
    grounds = lay_grounds(service)
    given = {pool: Choice(share, floors.get(pool, 1)) for pool in grounds.pools}
    controller, said = contender(name, grounds, given)
    start = dict.fromkeys(grounds.pools, start)
    return run_lanes(controller, grounds, draw(grounds, 0, 0), start).pools, said


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"keda-queue", "dynamo-load"}))
def test_a_rival_on_a_signal_in_proportion_follows_the_day(name, split):
    paths, said = paths_of(split, name, 0.6)
    assert "decode." in said
    asked = paths["decode"].asked[0]
    if name == "hpa-ttft":  # TBT is far from proportional to work: only its direction is right
        assert asked[1440] > asked[-1]
        return
    needed = planted.day(16000.0, hours=12.0) / (0.6 * 2000.0)
    # Within tolerance, rounding and the five minutes that a scale-in looks back.
    late = np.abs(asked[240:] - needed[240:]) / needed[240:]
    assert late.max() < 0.5
    assert late.mean() < 0.15


def test_running_ahead_with_a_memory_gives_what_deciding_step_by_step_gives(split, monkeypatch):
    ahead, _ = paths_of(split, "hpa-gpu-utilization", 0.7)
    monkeypatch.setattr(lanes, "SHORTEST_BLOCK", 1)
    monkeypatch.setattr(lanes, "LONGEST_BLOCK", 1)
    by_step, _ = paths_of(split, "hpa-gpu-utilization", 0.7)
    for name, path in ahead.items():
        assert np.ptp(path.asked) > 3
        assert np.array_equal(path.asked, by_step[name].asked)


def test_an_hpa_scales_in_only_after_its_five_minutes():
    service = planted.unified(planted.steps(6000.0, 3000.0), 6.0)
    paths, _ = paths_of(service, "hpa-gpu-utilization", 0.6, start=10.0)
    moves = np.flatnonzero(np.diff(paths["unified"].asked[0]))
    fell = 239  # the last step of the higher demand
    assert 300.0 <= (moves[0] - fell) * STEP <= 420.0


def test_a_queue_calls_for_replicas_only_once_work_waits():
    service = with_signals(planted.unified(planted.steps(2000.0, 6000.0, 2000.0), 3.0))
    paths, said = paths_of(service, "keda-queue", 1.0, start=3.0)
    assert said == "unified.waiting_requests at 1 with 1 to 12 replicas"
    path = paths["unified"]
    assert (path.asked[0, 40:239] == 1.0).all() or path.wait_seconds[0, :239].max() > 0.0
    assert path.asked[0, 240:].max() > 6.0
    assert path.wait_seconds[0].max() > 60.0


def test_kthena_keeps_both_pools_within_its_band(split):
    paths, _ = paths_of(split, "kthena-ratio", 0.7)
    ratio = paths["prefill"].asked[0, 20:] / paths["decode"].asked[0, 20:]
    assert ratio.min() >= 1.0 / 1.5 - 1e-3
    assert ratio.max() <= 1.5 + 1e-3


def test_dynamo_adds_a_worker_while_its_queue_is_long(split):
    paths, said = paths_of(split, "dynamo-load", 0.8, start=4.0)
    assert "prefill.inflight_tokens" in said
    assert np.abs(np.diff(paths["prefill"].asked[0])).max() == 1.0
    assert paths["prefill"].asked[0].max() > 8.0


def test_a_rival_gets_the_cheapest_target_that_reaches_what_is_asked(split):
    names = ["hpa-gpu-utilization", "kthena-ratio", "fixed-peak"]
    replay = replay_policy([], split, against=names, draws=0)
    runs = {run.name: run for run in replay.runs}
    for name in names[:2]:
        run = runs[name]
        assert "the best of 13 tried on 6 h of the first half (" in run.given
        assert "GPU-hours)" in run.given
        assert run.slo_attainment_ratio.value > 0.98
        assert run.gpu_hours.value < runs["fixed-peak"].gpu_hours.value


def test_each_pool_gets_a_target_of_its_own():
    # Prefill needs twice the replicas at the same share: one share for both would cost more.
    service = with_signals(planted.disaggregated(planted.day(16000.0, hours=12.0), 13.0))
    bursty = planted.day(16000.0, hours=12.0) * np.where(np.arange(2880) % 120 < 8, 1.6, 1.0)
    pools = dict(service.timeline.pools)
    pools["prefill"] = replace(
        pools["prefill"], demand=planted.Demand(2.0 * bursty, "requests"), served_per_second=None
    )
    service = service.but(timeline=replace(service.timeline, pools=pools))
    run = replay_policy([], service, against=["aibrix-kpa"], draws=0).runs[1]
    shares = [float(part.split(" with ")[0]) for part in run.given.split(" at ")[1:3]]
    assert shares[0] / 4000.0 < shares[1] / (2000.0 / 50.0)


def test_who_follows_a_queue_may_have_a_floor_to_wait_on():
    service = with_signals(planted.unified(planted.day(4000.0, hours=12.0), 7.0))
    run = replay_policy([], service, against=["keda-queue"], draws=0).runs[1]
    least = int(run.given.split(" with ")[1].split(" to ")[0])
    assert least > 1
    assert run.pools["unified"].asked_replicas.min() >= least


def test_no_rival_may_have_more_replicas_than_the_policy_has():
    pools = {"unified": planted.rule(1, 9)}
    service = planted.unified(planted.day(4000.0, hours=6.0)).but(
        policy=planted.policy(pools=pools)
    )
    run = replay_policy([], service, against=["hpa-gpu-utilization"], draws=0).runs[1]
    assert "with 1 to 9 replicas" in run.given
    assert run.pools["unified"].asked_replicas.max() <= 9


def test_rivals_with_a_memory_have_intervals_too_from_fewer_draws(monkeypatch):
    monkeypatch.setattr("signalstudy.replay.recorded.MOST_DECISIONS", 6 * 1440)
    fuzzy = planted.capacity("unified", planted.TTFT, per_replica=Estimate(1000.0, 700.0, 1200.0))
    service = planted.unified(planted.day(4000.0, hours=6.0)).but(
        threshold=planted.threshold(fuzzy)
    )
    run = replay_policy([], service, against=["hpa-gpu-utilization"], draws=30).runs[1]
    assert run.given.endswith("5 draws.")
    kept = run.slo_attainment_ratio
    assert kept.low < kept.value - 0.001
    again = replay_policy([], service, against=["hpa-gpu-utilization"], draws=30).runs[1]
    assert again.as_dict() == run.as_dict()


def test_a_rival_whose_signal_is_not_there_is_left_out_of_all_and_an_error_by_name():
    service = planted.unified(planted.day(3000.0, hours=6.0))
    with pytest.raises(NotEnoughDataError, match=r"does not show unified\.kv_cache_usage_ratio"):
        replay_policy([], service, against=["keda-kv"], draws=0)
    replay = replay_policy([], service, against=["all"], draws=0)
    names = {run.name for run in replay.runs}
    assert {"aibrix-kpa", "hpa-gpu-utilization", "clairvoyant"} <= names
    assert not {"keda-kv", "aibrix-apa", "kthena-ratio"} & names
    assert any("kthena-ratio is left out: there are not two pools" in one for one in replay.notes)


def test_dynamo_holds_while_its_workers_start():
    service = with_signals(planted.disaggregated(planted.steps(4000.0, 16000.0), 4.0))
    paths, _ = paths_of(service, "dynamo-load", 0.8, start=4.0)
    moves = np.flatnonzero(np.diff(paths["prefill"].asked[0]) > 0)
    assert moves.size >= 2
    # The start-up of 120 s passes between one worker and the next.
    assert np.diff(moves).min() * STEP >= 120.0


def test_dynamo_may_have_one_floor_for_both_pools():
    service = with_signals(planted.disaggregated(planted.day(16000.0, hours=6.0), 13.0))
    grounds = lay_grounds(service)
    options = options_of("dynamo-load", grounds)
    assert options["prefill"].floors == options["decode"].floors
    assert options["prefill"].floors[0] == 1
    assert options["prefill"].floors[-1] > 4
    given = {pool: Choice(0.8 if pool == "decode" else 2000.0, 5) for pool in grounds.pools}
    controller, _ = contender("dynamo-load", grounds, given)
    paths = run_lanes(controller, grounds, draw(grounds, 0, 0), {"prefill": 6.0, "decode": 6.0})
    assert min(path.asked.min() for path in paths.pools.values()) == 5.0
