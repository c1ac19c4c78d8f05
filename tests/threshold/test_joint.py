"""Twin of threshold/joint.py: production and a pressure test as one, planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from signalstudy.threshold.bootstrap import Blocks, Strata
from signalstudy.threshold.capacity import fit_capacity
from signalstudy.threshold.counts import stacked
from signalstudy.threshold.exceedance import fit_joint_exceedance
from signalstudy.threshold.fit import fit_threshold
from signalstudy.threshold.joint import JOINT_NOTE, fit_jointly
from signalstudy.vocabulary.objectives import Objective

TBT = Objective("tbt", 0.95, 0.05)


@pytest.fixture
def record(build, planted):
    """Give a function that makes a recording; `bears`: its work against the planted law's."""

    def make(seed, role="production", *, bears=1.0, days=7, reach=1.25):
        counts = planted(seed, days=days, reach=reach)
        ready = np.full(counts.observed.size, 4.0)
        pools = {"unified": build.pool("unified", bears * counts.work_per_replica, ready)}
        slo = [build.slo(TBT, counts.observed, counts.over)]
        return build.timeline(pools, slo, role=role)

    return make


def sweep(record, seed, **more):
    return record(seed, "pressure-test", days=0.5, **more)


def alone(*parts):
    return [(part, fit_capacity(part, "unified", [TBT])) for part in parts]


def together(*parts):
    return fit_jointly(alone(*parts), [TBT])


def test_two_that_agree_give_one_knee_that_is_surer_than_either(record, true_capacity):
    lows, widths, own = [], [], []
    for seed in range(8):
        parts = record(seed, reach=1.05), sweep(record, 10_000 + seed)
        joint = together(*parts).per_replica
        if JOINT_NOTE not in joint.note:
            continue
        lows.append(joint.low / true_capacity)
        widths.append(joint.high / joint.low)
        own += [one.per_replica.high / one.per_replica.low for _, one in alone(*parts)]
        assert joint.status == "ok"
        assert joint.low <= joint.value <= joint.high
        assert "7 days and" in joint.method
        assert joint.days == 7.5
    assert len(lows) >= 6
    assert np.mean(np.array(lows) > 1.0) <= 0.25
    assert 0.9 < np.median(lows) <= 1.0
    assert np.median(widths) < np.median(own)


def test_what_production_held_steadies_the_bound_of_a_rough_test(record, true_capacity):
    lows = []
    for seed in range(6):
        quiet, test = record(seed, reach=0.85), sweep(record, 10_000 + seed)
        joint = together(quiet, test)
        if joint is not None and JOINT_NOTE in joint.per_replica.note:
            rough = fit_capacity(test, "unified", [TBT]).per_replica.low
            lows.append([rough / true_capacity, joint.per_replica.low / true_capacity])
    assert len(lows) >= 4
    alone, joint = np.abs(np.log(lows)).mean(axis=0)
    assert joint < alone


@pytest.mark.parametrize("stronger", ["production", "pressure-test"])
def test_two_that_disagree_leave_the_lower_and_say_so(record, true_capacity, stronger):
    bears = {"production": 1.0, "pressure-test": 1.0, stronger: 1.5}
    found = together(
        record(1, bears=bears["production"]), sweep(record, 3, bears=bears["pressure-test"])
    )
    capacity = found.per_replica
    weaker = "pressure-test" if stronger == "production" else "production"
    assert capacity.note.startswith("Production and pressure test do not agree: " + weaker)
    assert JOINT_NOTE not in capacity.note
    assert capacity.value == pytest.approx(true_capacity, rel=0.15)
    assert found.binding == "tbt"
    assert len(found.curves) == 1


def test_production_that_held_above_the_test_s_knee_does_not_agree(record):
    quiet = record(2, reach=0.9, bears=2.0)
    assert fit_capacity(quiet, "unified", [TBT]).per_replica.status == "lower_bound"
    test = sweep(record, 4)
    found = together(quiet, test)
    assert "do not agree" in found.per_replica.note
    assert found.per_replica.low == fit_capacity(test, "unified", [TBT]).per_replica.low


def test_where_neither_visited_its_knee_there_is_nothing_joint(record):
    assert together(record(2, reach=0.5), sweep(record, 4, reach=0.6)) is None


def test_a_threshold_takes_the_joint_capacity(record):
    production, test = record(5), sweep(record, 6)
    threshold, _ = fit_threshold(production, None, [TBT], pressure_test=test)
    assert threshold.per_replica == together(production, test).per_replica
    assert JOINT_NOTE in threshold.per_replica.note
    again, _ = fit_threshold(production, None, [TBT], pressure_test=test)
    assert again.per_replica == threshold.per_replica


def test_blocks_of_sources_are_drawn_among_their_own(planted):
    parts = Blocks(np.array([0, 0, 1]), 2, "days"), Blocks(np.arange(4), 4, "circular", 2)
    strata = Strata(parts, told_by=(1,))
    assert strata.of_row.tolist() == [0, 0, 1, 2, 3, 4, 5]
    assert (strata.count, strata.bound_count, strata.name) == (6, 4, "blocks")
    assert strata.counted() == "2 days and 4 circular"
    values, bins = np.arange(7.0), np.array([0, 1, 0, 1, 0, 1, 0])
    sums = strata.sums(values, bins, 2)
    assert sums.sum(axis=0).tolist() == [values[bins == 0].sum(), values[bins == 1].sum()]
    weights = strata.weights(50, np.random.default_rng(1))
    assert (weights[:, :2].sum(axis=1) == 2).all()
    assert (weights[:, 2:].sum(axis=1) == 8).all()  # four starts of runs of two
    counts = planted(0, days=6)
    assert stacked([counts, counts]).observed.size == 2 * counts.observed.size


def test_the_same_record_twice_has_the_same_knee_within_a_bin(planted):
    counts = planted(0, days=6)
    once = [(counts, "production")]
    twice = [*once, (replace(counts), "production")]
    one, two = (
        fit_joint_exceedance(sources, [0], TBT, "decode", seed=0)[0] for sources in (once, twice)
    )
    assert one.value == pytest.approx(two.value, rel=0.02)
    assert two.low >= one.low * 0.99
