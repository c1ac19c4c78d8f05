from __future__ import annotations

import re

import numpy as np
import pytest

from signalstudy.replay.headroom import tune_headrooms
from signalstudy.replay.recorded import replay_policy
from signalstudy.threshold.threshold import Threshold
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.estimate import Estimate, unidentified
from tests.replay import planted

TOLERANCE = 0.1


def with_ramps(service, policy, **ramps: float):
    """Give a service whose formula found these ramp factors, and a policy drafted from them."""
    threshold: Threshold = service.threshold
    known = {pool: Estimate(ramp) for pool, ramp in ramps.items()}
    changed = {name: getattr(threshold, name) for name in Threshold.__dataclass_fields__}
    return service.but(threshold=Threshold(**{**changed, "pool_headrooms": known}), policy=policy)


def unified(offered: np.ndarray, ramp: float, **rule):
    target = planted.CAPACITY["unified"] / (ramp * (1.0 + TOLERANCE))
    policy = planted.policy(target=target, pools={"unified": planted.rule(**rule)})
    return with_ramps(planted.unified(offered, 6.0), policy, unified=ramp)


def replayed(service, ramp: float):
    target = planted.CAPACITY["unified"] / (ramp * (1.0 + TOLERANCE))
    policy = planted.policy(target=target, pools=service.policy.document["spec"]["pools"])
    return replay_policy(policy, service, draws=0).runs[1]


def cost(tuned) -> float:
    """Read what the chosen policy costs out of what is said of it."""
    [said] = re.findall(r"and this one ([0-9.]+)\.", tuned.headrooms["unified"].note)
    return float(said)


def jumps(factor: float) -> np.ndarray:
    """Give demand that jumps for five minutes of every hour and was quiet for the rest."""
    one = np.full(240, 4000.0)
    one[100:120] *= factor
    return np.tile(one, 24)


def test_slow_demand_gives_back_the_room_that_the_formula_asked_for():
    service = unified(planted.day(4000.0, 0.5), 1.6)
    ramp = tune_headrooms(service).headrooms["unified"]
    assert ramp.value < 1.3
    assert ramp.low <= ramp.value <= ramp.high
    mine, formula = replayed(service, ramp.value), replayed(service, 1.6)
    assert mine.slo_attainment_ratio.value >= 0.99
    assert mine.gpu_hours.value < 0.85 * formula.gpu_hours.value
    assert f"{mine.gpu_hours.value:.4g}" in ramp.note
    assert f"{formula.gpu_hours.value:.4g}" in ramp.note


def test_demand_that_jumps_gets_the_room_that_the_formula_missed():
    service = unified(jumps(1.6), 1.0)
    ramp = tune_headrooms(service).headrooms["unified"]
    assert ramp.value == pytest.approx(1.6 / (1.0 + TOLERANCE), rel=0.15)
    assert replayed(service, 1.0).slo_attainment_ratio.value < 0.97
    assert replayed(service, ramp.value).slo_attainment_ratio.value >= 0.99


def test_the_formulas_stands_where_it_is_cheaper_and_keeps_what_the_objectives_name():
    service = unified(jumps(1.3), 1.0)
    kept = replayed(service, 1.0).slo_attainment_ratio.value
    assert 0.9 < kept < 0.99
    loose = service.but(objectives=(type(planted.TTFT)("ttft", 0.9, 1.0),))
    assert tune_headrooms(loose).headrooms == {}
    assert tune_headrooms(service).headrooms["unified"].value > 1.0


def test_what_nothing_keeps_is_left_to_the_formula():
    assert tune_headrooms(unified(jumps(6.0), 1.2)).headrooms == {}


def test_each_pool_gets_its_own():
    # Prefill's work jumps while decode's does not: the ratio has to give prefill the room.
    service = planted.disaggregated(np.full(24 * 240, 6000.0), 4.0)
    offered = 2.0 * jumps(1.5) * 1.5
    pools = {**service.timeline.pools, "prefill": planted.pool("prefill", offered, 4.0)}
    timeline = planted.timeline(pools, (planted.TTFT, planted.TBT))
    policy = planted.split_policy(target=2000.0 / (1.3 * 1.1), ratio=1.0)
    found = tune_headrooms(
        with_ramps(service.but(timeline=timeline), policy, prefill=1.3, decode=1.3)
    ).headrooms
    assert found["prefill"].value > 1.2
    assert found["decode"].value < 1.15


def test_a_users_maximum_is_not_exceeded_to_try_more_room():
    # With more than six replicas the jumps are borne, with six nothing keeps them.
    service = unified(jumps(1.6), 1.05, most=6)
    assert tune_headrooms(service, users_maximum={"unified"}).headrooms == {}
    assert tune_headrooms(service).headrooms["unified"].value > 1.2


def test_a_longer_window_is_taken_where_its_tolerance_saves_more_than_its_delay_costs():
    noise = np.random.default_rng(5).standard_normal(24 * 240)
    target = planted.CAPACITY["unified"] / 1.3
    policy = planted.policy(
        target=target,
        proportional={
            "targetPerReplica": {"value": target, "status": "ok"},
            "scaleOutTolerance": 0.3,
            "scaleInTolerance": 0.3,
        },
    )
    demand = planted.day(8000.0, 0.4) * (1.0 + 0.15 * noise)
    service = with_ramps(planted.unified(demand, 9.0), policy, unified=1.0)
    steady = tune_headrooms(service, tolerances={180.0: 0.1})
    assert steady.window_seconds == 180.0
    assert cost(steady) < cost(tune_headrooms(service))
    assert tune_headrooms(service, tolerances={180.0: 0.6}).window_seconds == 60.0


def test_the_same_seed_gives_the_same():
    service = unified(planted.day(4000.0, 0.5), 1.6)
    assert tune_headrooms(service, seed=3) == tune_headrooms(service, seed=3)


def test_a_study_that_cannot_be_replayed_says_why():
    service = unified(planted.day(4000.0), 1.6)
    unknown = planted.unified(planted.day(4000.0), per_replica=unidentified("Too little work."))
    with pytest.raises(NotEnoughDataError, match="Too little work"):
        tune_headrooms(service.but(threshold=unknown.threshold))


def small_and_large() -> np.ndarray:
    """Give a night whose only replica is hit by jumps, and a large day that comes slowly."""
    night = np.full(240, 700.0)
    night[100:112] *= 2.2
    rise = np.linspace(700.0, 6000.0, 240 * 4)
    return np.concatenate([np.tile(night, 12), rise, np.full(240 * 4, 6000.0), rise[::-1]])


def test_a_second_replica_at_night_is_cheaper_than_room_at_all_hours():
    service = unified(small_and_large(), 1.6)
    tuned = tune_headrooms(service)
    assert tuned.least_replicas == {"unified": 2}
    assert tuned.headrooms["unified"].value < 1.2
    alone = tune_headrooms(service, users_minimum={"unified"})
    assert alone.least_replicas == {}
    assert cost(tuned) < cost(alone)


def test_a_fleet_that_is_never_small_keeps_its_floor():
    assert tune_headrooms(unified(planted.day(6000.0, 0.3), 1.6)).least_replicas == {}


def test_the_interval_says_how_far_the_ramp_factor_could_be_off():
    ramp = tune_headrooms(unified(jumps(1.6), 1.0)).headrooms["unified"]
    assert ramp.low <= ramp.value <= ramp.high
    assert ramp.high > ramp.low


def test_hours_that_were_served_too_little_count_where_demand_was_counted_outside():
    # A fleet of four was short in the jumps: what it served says nothing of what was offered.
    offered = jumps(1.6)
    served = np.minimum(offered, 4000.0)
    ramps = {}
    for source in ("requests", "engine_arrivals"):
        service = unified(offered, 1.0)
        pool = planted.pool("unified", offered, 4.0, served=served, source=source)
        timeline = planted.timeline({"unified": pool}, (planted.TTFT,))
        found = tune_headrooms(service.but(timeline=timeline)).headrooms
        ramps[source] = found["unified"].value if found else 1.0
    assert ramps["requests"] > 1.3
    assert ramps["engine_arrivals"] < 1.25
