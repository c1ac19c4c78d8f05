"""Twin of threshold/capacity.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from signalstudy.threshold.capacity import best_counts, fit_capacity, join_objectives
from signalstudy.vocabulary.estimate import Estimate, unidentified
from signalstudy.vocabulary.objectives import Objective

TTFT = Objective("ttft", 0.95, 1.0)
TBT = Objective("tbt", 0.95, 0.05)


@pytest.fixture
def service(build):
    """Sweep a unified pool up and down; TTFT breaks above 300 a replica, TBT above 400."""
    work = np.tile(np.r_[np.arange(50, 500, 2), np.arange(500, 50, -2)], 4).astype(float)
    pools = {"unified": build.pool("unified", work, np.full(work.size, 2.0))}
    requests = np.full(work.size, 4000.0)
    counts = [
        build.slo(TTFT, requests, 4000.0 * (work > 300)),
        build.slo(TBT, requests, 4000.0 * (work > 400)),
    ]
    return build.timeline(pools, counts, step=30.0)


def test_the_objective_that_breaks_first_binds(service):
    capacity = fit_capacity(service, "unified", [TBT, TTFT])
    assert capacity.per_replica.status == "ok"
    assert capacity.binding == "ttft"
    assert capacity.per_replica.value == pytest.approx(300, rel=0.02)
    assert capacity.by_objective[str(TBT)].value == pytest.approx(400, rel=0.02)
    assert [curve.objective for curve in capacity.curves] == [str(TBT), str(TTFT)]
    assert capacity.max_observed == 500.0


def test_without_objectives_there_is_no_capacity(service):
    capacity = fit_capacity(service, "unified", [])
    assert capacity.per_replica.status == "not_applicable"
    assert capacity.max_observed == 500.0


def test_a_latency_without_counts_is_named(service):
    capacity = fit_capacity(service, "unified", [Objective("e2e", 0.9, 3.0)])
    assert capacity.per_replica.status == "unidentified"
    assert "No counts of requests over 3 s of e2e" in capacity.per_replica.note


def test_a_pool_that_is_not_there_is_named(service):
    assert "no decode pool" in fit_capacity(service, "decode", [TBT]).per_replica.note


def test_exact_counts_come_before_bracketed_ones_and_the_gateway_before_the_engine(build):
    ones = np.ones(4)
    engine = build.slo(TTFT, ones, ones, pool="decode")
    gateway = build.slo(TTFT, ones, ones, pool="gateway")
    coarse = build.slo(TTFT, ones, ones, pool="gateway", edges=(0.5, 2.5))
    pools = {"decode": build.pool("decode", ones, ones)}
    assert best_counts(build.timeline(pools, [coarse, engine]), TTFT) is engine
    assert best_counts(build.timeline(pools, [engine, gateway]), TTFT) is gateway
    assert best_counts(build.timeline(pools, [engine]), TBT) is None


def knee(value, status="ok"):
    return Estimate(value, low=0.9 * value, high=value if status == "ok" else None, status=status)


def test_a_bound_just_below_a_knee_leaves_the_knee_known():
    joint, binding = join_objectives([(TTFT, knee(100.0)), (TBT, knee(98.0, "lower_bound"))])
    assert (joint.status, binding) == ("ok", "ttft")
    assert joint.value == 98.0
    assert joint.low == pytest.approx(0.9 * 98.0)


def test_a_bound_far_below_a_knee_hides_it():
    joint, binding = join_objectives([(TTFT, knee(100.0)), (TBT, knee(50.0, "lower_bound"))])
    assert (joint.status, binding) == ("lower_bound", "")


def test_an_objective_broken_throughout_decides():
    broken = Estimate(10.0, high=10.0, status="censored", note="Broken.")
    joint, binding = join_objectives([(TTFT, knee(100.0)), (TBT, broken)])
    assert (joint.status, binding, joint.low) == ("censored", "tbt", None)


def test_what_one_objective_cannot_tell_is_said_beside_the_other():
    joint, binding = join_objectives([(TTFT, knee(100.0)), (TBT, unidentified("No TBT."))])
    assert (joint.status, binding) == ("ok", "ttft")
    assert "No TBT." in joint.note


def test_an_objective_that_cannot_be_judged_is_named_beside_the_number_that_leaves_it_out():
    unknown = unidentified("No counts of requests over 1 s of ttft in the data.")
    joint, binding = join_objectives([(TTFT, unknown), (TBT, knee(98.0))])
    assert (joint.value, binding) == (98.0, "tbt")
    assert joint.note.startswith(f"Without {TTFT}, which cannot be judged: No counts")


def test_what_two_objectives_say_alike_is_said_once():
    few = "Fewer than 5 days."
    ttft, tbt = (replace(knee(value), note=f"{few} {value:g}.") for value in (100.0, 98.0))
    joint, _ = join_objectives([(TTFT, ttft), (TBT, tbt)])
    assert joint.note.count(few) == 1
