from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from signalstudy.synthetic.as_timeline import timeline_of
from signalstudy.synthetic.generate import generate_service
from signalstudy.synthetic.service import ServiceSpec
from signalstudy.threshold.drift import (
    PART_OF_DAY,
    REGIME,
    Drift,
    PartCapacity,
    drift_warnings,
    measure_drift,
    measure_drifts,
    parts_of_day,
)
from signalstudy.threshold.fit import fit_threshold
from signalstudy.vocabulary.estimate import Estimate, unidentified

DECODE = ("decode", "decode_tokens_per_second")
AFTERNOON = "12:00 to 18:00 UTC"
SPEC = ServiceSpec(days=3, peak_over_knee=1.2, day_swing=0.35)
KNEE = SPEC.tbt.knee_per_second(SPEC.tbt_objective)


def with_ceiling(share, seed=1):
    """Give the same traffic on replicas whose ceiling, and so whose knee, is `share` of SPEC's."""
    tbt = replace(SPEC.tbt, ceiling_per_second=share * SPEC.tbt.ceiling_per_second)
    spec = replace(SPEC, tbt=tbt, peak_over_knee=SPEC.peak_over_knee / share)
    return timeline_of(generate_service(spec, seed=seed))


def spliced(timeline, other, is_other):
    """Take the counts of requests from `other` where `is_other` (n,)."""
    edges = ("observed", "over_low", "over_high")
    counts = tuple(
        replace(a, **{e: np.where(is_other, getattr(b, e), getattr(a, e)) for e in edges})
        for a, b in zip(timeline.slo_counts, other.slo_counts, strict=True)
    )
    return replace(timeline, slo_counts=counts)


@pytest.fixture(scope="module")
def steady():
    return with_ceiling(1.0)


@pytest.fixture(scope="module")
def worse():
    return with_ceiling(0.8)


@pytest.fixture(scope="module")
def by_hour(steady, worse):
    """Each replica bears 0.8 of the usual in the afternoon."""
    return spliced(steady, worse, parts_of_day(steady)[AFTERNOON])


def by_day(timeline):
    return measure_drift(
        timeline, DECODE, [SPEC.tbt_objective], PART_OF_DAY, parts_of_day(timeline)
    )


def test_the_same_traffic_meets_the_other_curve(steady, worse):
    for timeline in (steady, worse):
        assert timeline.pools["decode"].served_per_second == pytest.approx(
            steady.pools["decode"].served_per_second
        )


def test_where_nothing_drifts_none_is_told(steady):
    drift = by_day(steady)
    assert drift.spread.low == 1.0
    assert drift.spread.value < 1.08
    assert "no drift can be told" in drift.sentence()


def test_a_drift_over_the_day_is_found_with_its_size_and_its_place(by_hour):
    drift = by_day(by_hour)
    assert 1.0 < drift.spread.low <= 1.25 <= drift.spread.high
    parts = {one.part: one.per_replica for one in drift.parts}
    assert parts[AFTERNOON].value == pytest.approx(0.8 * KNEE, rel=0.04)
    assert drift.worst.part == AFTERNOON
    assert f"({AFTERNOON}, replicas 3)" in drift.sentence()
    assert "it drifts" in drift.sentence()
    # A night that never comes near its knee tells nothing, and says so.
    assert parts["00:00 to 06:00 UTC"].status == "lower_bound"
    assert "Without 00:00 to 06:00 UTC" in drift.spread.note


def test_regimes_are_told_apart_as_hours_are(steady, worse):
    middle = float(steady.time_seconds[steady.time_seconds.size // 2])
    begin, end = float(steady.time_seconds[0]) - 15.0, float(steady.time_seconds[-1])
    regimes = {"before": (begin, middle), "after": (middle + 600.0, end)}
    for other, is_drift in ((steady, False), (worse, True)):
        timeline = spliced(steady, other, steady.time_seconds > middle)
        threshold, _ = fit_threshold(timeline, DECODE, [SPEC.tbt_objective])
        drifts = measure_drifts(timeline, threshold, [SPEC.tbt_objective], regimes, seed=0)
        (found,) = [one for one in drifts if one.over == REGIME and one.pool == "decode"]
        assert [one.part for one in found.parts] == ["before", "after"]
        assert (found.spread.low > 1.0) == is_drift
        assert found.worst.part == "after" if is_drift else found.spread.value < 1.08


def test_without_a_regime_or_a_day_nothing_is_cut(steady):
    threshold, _ = fit_threshold(steady, DECODE, [SPEC.tbt_objective])
    short = steady.between(float(steady.time_seconds[0]), float(steady.time_seconds[0]) + 80_000.0)
    assert {one.over for one in measure_drifts(steady, threshold, [SPEC.tbt_objective], {}, seed=0)
            } == {PART_OF_DAY}  # fmt: skip
    assert measure_drifts(short, threshold, [SPEC.tbt_objective], {}, seed=0) == ()
    assert measure_drifts(None, threshold, [SPEC.tbt_objective], {}, seed=0) == ()
    assert measure_drifts(steady, threshold, [], {}, seed=0) == ()
    test = replace(steady, role="pressure-test")
    assert measure_drifts(test, threshold, [SPEC.tbt_objective], {}, seed=0) == ()


def test_quarters_of_the_day_share_every_step_once(steady):
    parts = np.array(list(parts_of_day(steady).values()))
    assert (parts.sum(axis=0) == 1).all()
    assert parts.sum(axis=1).tolist() == [3 * 6 * 240] * 4


def drift(*capacities):
    parts = tuple(PartCapacity(f"part {n}", one, "tbt", 3.0) for n, one in enumerate(capacities))
    return Drift(*DECODE, PART_OF_DAY, parts, unidentified("not asked here"))


def test_a_target_above_all_that_a_part_bears_is_a_warning(steady):
    threshold, _ = fit_threshold(steady, DECODE, [SPEC.tbt_objective])
    value = threshold.target.value
    fine = drift(Estimate(value, 0.9 * value, 1.01 * value), Estimate(value, 0.9 * value,
                 status="lower_bound"))  # fmt: skip
    bad = drift(Estimate(2 * value, value, 3 * value), Estimate(0.9 * value, 0.8 * value,
                0.99 * value))  # fmt: skip
    broken = drift(Estimate(0.5 * value, high=0.5 * value, status="censored"))
    for found, part in ((fine, None), (bad, "part 1"), (broken, "part 0")):
        said = drift_warnings(replace(threshold, drifts=(found,)))
        assert set(said) == (set() if part is None else {"decode"})
        assert part is None or f"worst part of the day, {part}" in said["decode"]


@pytest.mark.parametrize(("replicas", "said"), [(1.0, "Raise minReplicas"), (3.0, "by itself")])
def test_a_part_of_few_replicas_asks_for_more_of_them(replicas, said):
    found = drift(Estimate(900.0, 800.0, 1000.0), Estimate(500.0, 400.0, 600.0))
    parts = (found.parts[0], replace(found.parts[1], replicas=replicas))
    assert said in replace(found, parts=parts).warning(Estimate(700.0))


def test_the_same_record_gives_the_same_drift(by_hour):
    assert by_day(by_hour) == by_day(by_hour)
