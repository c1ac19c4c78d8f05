import numpy as np
import pytest

from signalstudy.evidence.capacity import capacity_elasticity
from signalstudy.evidence.fleet_changes import elasticity_by_changes
from signalstudy.vocabulary.errors import NotEnoughDataError
from tests.evidence.planted import day_of_demand, prepared

DEMAND = day_of_demand()


def scaled_fleet(seed=0):
    """Replicas that follow demand half an hour late and are drained now and then."""
    rng = np.random.default_rng(seed)
    wanted = np.ceil(np.roll(DEMAND, 180) / 300.0)
    return np.maximum(wanted - np.repeat(rng.integers(0, 2, 48), 180), 1.0)


@pytest.mark.parametrize("planted", [-1.0, -0.5, 0.0])
def test_a_planted_response_to_replicas_lies_within_the_interval(planted):
    replicas = scaled_fleet()
    noise = np.random.default_rng(1).normal(1.0, 0.05, DEMAND.size)
    signal = DEMAND**0.9 * replicas**planted * noise
    ready = prepared(signal, DEMAND, kind="intensive", replicas=replicas)
    estimate = capacity_elasticity(ready)
    assert estimate.value == pytest.approx(planted, abs=0.05)
    assert estimate.low - 0.02 <= planted <= estimate.high + 0.02


def test_a_total_divided_by_replicas_says_that_minus_one_is_arithmetic():
    estimate = capacity_elasticity(prepared(DEMAND, DEMAND, replicas=scaled_fleet()))
    assert estimate.value == pytest.approx(-1.0, abs=0.03)
    assert "arithmetic" in estimate.note


@pytest.mark.parametrize(
    ("replicas", "says"),
    [
        (np.full(8640, 3.0), "not tested: replicas never changed"),
        (np.where(np.arange(8640) < 60, 2.0, 3.0), "not tested: replicas left 3 for only"),
        (np.full(8640, np.nan), "not tested: the number of ready replicas is not known"),
        (DEMAND / 300.0, "cannot be told apart"),
    ],
)
def test_a_fleet_that_tells_nothing_is_not_tested(replicas, says):
    with pytest.raises(NotEnoughDataError, match=says):
        capacity_elasticity(prepared(DEMAND, DEMAND, replicas=replicas))


def drained_fleet(seed=0):
    """Give six replicas of which some are drained at times of their own."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.integers(3, 7, 48), 180).astype(float)


def test_changes_alone_tell_the_same():
    replicas = drained_fleet()
    noise = np.random.default_rng(1).normal(1.0, 0.05, DEMAND.size)
    signal = DEMAND * replicas**-0.8 * noise
    value, low, high, changes = elasticity_by_changes(signal, DEMAND, replicas, 30)
    assert changes >= 8
    assert low <= -0.8 <= high
    assert value == pytest.approx(-0.8, abs=0.1)
    estimate = capacity_elasticity(prepared(signal, DEMAND, kind="intensive", replicas=replicas))
    assert f"by {changes} changes alone" in estimate.note


def test_where_something_else_moves_with_replicas_both_answers_are_kept():
    # By day there are more replicas, and the same day makes each request heavier.
    day = np.clip(np.sin(2.0 * np.pi * (np.arange(DEMAND.size) / 8640.0 - 0.25)), 0.0, 1.0)
    jitter = np.repeat(np.random.default_rng(2).integers(-1, 2, 48), 180)
    replicas = np.round(6.0 + 6.0 * day) + jitter
    signal = DEMAND / replicas * (1.0 + day)
    estimate = capacity_elasticity(prepared(signal, DEMAND, kind="intensive", replicas=replicas))
    assert "something else moves with replicas" in estimate.note
    assert estimate.low <= -0.95


def test_few_changes_are_no_evidence_of_their_own():
    replicas = np.where(np.arange(DEMAND.size) < 4000, 3.0, 4.0)
    assert elasticity_by_changes(DEMAND / replicas, DEMAND, replicas, 30) is None


def test_few_changes_of_replicas_make_an_answer_less_sure_than_many():
    signal_noise = np.random.default_rng(1).normal(1.0, 0.2, DEMAND.size)
    widths = []
    for stretch in (1800, 180):
        replicas = np.resize(np.repeat([3.0, 6.0, 4.0, 5.0], stretch), DEMAND.size)
        signal = DEMAND * replicas**-0.8 * signal_noise
        estimate = capacity_elasticity(
            prepared(signal, DEMAND, kind="intensive", replicas=replicas)
        )
        assert estimate.low <= -0.8 <= estimate.high
        widths.append(estimate.high - estimate.low)
    assert widths[0] > 1.3 * widths[1]
