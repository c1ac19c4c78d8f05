"""Replica plans: fixed, autoscaled on work, redeployed for other reasons."""

from __future__ import annotations

import numpy as np

from signalstudy.synthetic.replicas import plan_replicas
from signalstudy.synthetic.service import ServiceSpec

STEPS = 4000
KNEE = 1000.0


def plan(kind, work):
    spec = ServiceSpec(replica_plan=kind, decode_replicas=3)
    return plan_replicas(spec, "decode", work, KNEE, np.random.default_rng(0))


def test_a_fixed_fleet_stays():
    serving, starting = plan("fixed", np.linspace(0.0, 9000.0, STEPS))
    assert (serving == 3.0).all()
    assert not starting.any()


def test_an_autoscaled_fleet_ends_where_work_over_target_says():
    work = np.where(np.arange(STEPS) < STEPS // 2, 1400.0, 5000.0)
    serving, _ = plan("autoscaled", work)
    assert serving[STEPS // 2 - 1] == 2.0
    assert serving[-1] == 7.0


def test_replicas_serve_a_start_up_time_after_they_are_wanted():
    work = np.where(np.arange(STEPS) < 100, 700.0, 6000.0)
    serving, starting = plan("autoscaled", work)
    wanted, served = np.flatnonzero(starting)[0], np.flatnonzero(np.diff(serving))[0] + 1
    assert (served - wanted) * 15.0 == 120.0


def test_an_autoscaled_fleet_shrinks_one_by_one_and_never_to_nothing():
    serving, _ = plan("autoscaled", np.where(np.arange(STEPS) < 100, 6000.0, 0.0))
    assert serving[-1] == 1.0
    assert np.diff(serving).min() == -1.0


def test_redeployed_replicas_do_not_follow_work():
    work = 2000.0 + 1000.0 * np.sin(np.arange(STEPS) / 600.0)
    serving, _ = plan("redeployed", work)
    assert set(np.unique(serving)) == {2.0, 3.0, 4.0}
    assert abs(np.corrcoef(serving, work)[0, 1]) < 0.5
