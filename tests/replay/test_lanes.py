from __future__ import annotations

import numpy as np
import pytest

from signalstudy.replay import lanes
from signalstudy.replay.controller import policy_controller
from signalstudy.replay.draws import draw
from signalstudy.replay.grounds import lay_grounds
from signalstudy.replay.lanes import run_lanes
from signalstudy.vocabulary.errors import ConfigurationError, UnknownNameError
from signalstudy.vocabulary.estimate import Estimate
from tests.replay import planted
from tests.replay.planted import STEP


def bursty(hours=6.0):
    rng = np.random.default_rng(5)
    return planted.day(hours=hours) * np.exp(0.3 * rng.standard_normal(int(hours * 240)))


def run(service, policy, draws=0, start=None):
    grounds = lay_grounds(service)
    drawn = draw(grounds, draws, 7)
    begin = start or dict.fromkeys(grounds.pools, 4.0)
    return run_lanes(policy_controller(policy, grounds), grounds, drawn, begin).pools


def guarded(pools):
    tiers = [{"above": 1.1, "scaleOutRatio": 0.1}, {"above": 1.2, "scaleOutRatio": 0.2}]
    return [{"signal": "ttft_p99_seconds", "pool": pools[-1], "windowSeconds": 60, "tiers": tiers}]


@pytest.mark.parametrize("draws", [0, 4])
def test_running_ahead_gives_what_deciding_step_by_step_gives(draws, monkeypatch):
    lag = planted.ranked("decode", "decode_tokens_per_second", Estimate(20.0, 5.0, 40.0))
    service = planted.disaggregated(bursty()).but(ranking=lag)
    policy = planted.split_policy(target=1900.0, guards=guarded(["prefill"]))
    ahead = run(service, policy, draws)
    monkeypatch.setattr(lanes, "SHORTEST_BLOCK", 1)
    monkeypatch.setattr(lanes, "LONGEST_BLOCK", 1)
    by_step = run(service, policy, draws)
    for name, path in ahead.items():
        assert np.ptp(path.asked) > 1
        assert np.array_equal(path.asked, by_step[name].asked)
        assert np.array_equal(path.ready, by_step[name].ready)
        assert np.allclose(path.wait_seconds, by_step[name].wait_seconds, atol=1e-6)


def test_replicas_are_ready_a_start_up_after_they_are_asked_for():
    service = planted.unified(planted.steps(2000.0, 4000.0))
    path = run(service, planted.policy(target=500.0))["unified"]
    asked, ready = path.asked[0], path.ready[0]
    out = int(np.flatnonzero(np.diff(asked) > 0)[0]) + 1
    up = int(np.flatnonzero(np.diff(ready) > 0)[0]) + 1
    assert (up - out) * STEP == 120.0
    assert ready[up] == asked[out]


def test_starting_replicas_are_the_first_to_go():
    # A spike of a minute: what was asked for is given up before it has started.
    offered = np.concatenate([np.full(80, 5000.0), np.full(4, 9000.0), np.full(80, 5000.0)])
    quick = planted.policy(target=500.0, pools={"unified": planted.rule(out=0, back=0)})
    path = run(planted.unified(offered, 10.0), quick, start={"unified": 10.0})
    assert path["unified"].asked.max() > 10.0
    assert (path["unified"].ready == 10.0).all()


def test_a_signal_that_lags_is_acted_on_later():
    offered = planted.steps(2000.0, 4000.0)
    late = planted.ranked("unified", "decode_tokens_per_second", Estimate(300.0))
    moved = []
    for service in (planted.unified(offered), planted.unified(offered).but(ranking=late)):
        asked = run(service, planted.policy(target=500.0))["unified"].asked[0]
        moved.append(int(np.flatnonzero(np.diff(asked))[0]))
    assert (moved[1] - moved[0]) * STEP == pytest.approx(300.0, abs=2 * STEP)


@pytest.mark.parametrize(
    ("signal", "kind", "target"),
    [("gpu_utilization_ratio", "intensive", 0.4), ("running_requests", "total", 10.0)],
)
def test_any_signal_in_proportion_to_work_scales_as_work_does(signal, kind, target):
    service = planted.unified(planted.day(2000.0))
    by_work = run(service, planted.policy(target=500.0))["unified"].asked[0]
    other = {"name": signal, "kind": kind, "perReplicaOf": "unified", "windowSeconds": 60}
    by_signal = run(service, planted.policy(target=target, signal=other))["unified"].asked[0]
    assert np.ptp(by_work) >= 3
    assert np.abs(by_signal - by_work).mean() < 0.15


def test_a_schedule_is_kept_at_its_hours():
    floor = [{"days": ["monday"], "from": "06:00", "to": "08:00", "replicas": {"unified": 9}}]
    path = run(planted.unified(planted.steps(*[2000.0] * 12)), planted.policy(schedule=floor))
    hours = np.arange(path["unified"].asked.shape[1]) * STEP / 3600.0
    asked = path["unified"].asked[0]
    assert (asked[(hours > 6.05) & (hours < 7.95)] == 9).all()
    assert asked[hours < 5.9].max() < 9
    assert asked[hours > 9.0].max() < 9


def test_where_demand_is_not_known_the_policy_holds():
    offered = planted.steps(3000.0, 0.0, 3000.0)
    offered[offered == 0.0] = np.nan
    path = run(planted.unified(offered, served=None), planted.policy(target=750.0))
    assert (path["unified"].asked == 4.0).all()


def test_while_prefill_queues_decode_is_not_handed_its_work():
    service = planted.disaggregated(planted.steps(2000.0, 8000.0, 0.0), mix=2.0)
    fixed = {"decode": planted.rule(4, 4), "prefill": planted.rule(2, 2)}
    paths = run(service, planted.split_policy(pools=fixed), start={"prefill": 2.0, "decode": 4.0})
    offered = paths["decode"].offered[0] / STEP
    # Two replicas of prefill do 8000 prompt tokens a second: decode sees half of its demand.
    assert offered[300:470] == pytest.approx(4000.0)
    assert paths["prefill"].wait_seconds[0].max() > 600.0


def test_a_signal_that_is_nowhere_is_named_with_the_ones_that_are():
    other = {"name": "sm_activity", "kind": "total", "perReplicaOf": "unified", "windowSeconds": 60}
    with pytest.raises(UnknownNameError, match=r"sm_activity.*gpu_utilization_ratio"):
        run(planted.unified(planted.steps(3000.0)), planted.policy(signal=other))


def test_a_signal_whose_answer_to_work_was_not_recorded_cannot_be_replayed():
    service = planted.unified(planted.steps(3000.0), ready=np.full(240, np.nan))
    other = {"name": "running_requests", "kind": "total", "perReplicaOf": "unified",
             "windowSeconds": 60}  # fmt: skip
    with pytest.raises(ConfigurationError, match=r"unified\.running_requests answers"):
        run(service, planted.policy(signal=other))
