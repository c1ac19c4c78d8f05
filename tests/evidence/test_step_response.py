import numpy as np
import pytest
from scipy.signal import lfilter

from signalstudy.evidence.step_response import dead_time_seconds, rise_time_seconds
from signalstudy.vocabulary.errors import NotEnoughDataError
from tests.evidence.planted import autoregression, day_of_demand, prepared

STEP = 10.0
FINE = 10


def answered(dead, tau, *, seed=0, noise=20.0, steps=8640):
    """Draw demand second by second, its answer after `dead` s and a time constant `tau`, in s."""
    rng = np.random.default_rng(seed)
    lead = 600
    size = steps * FINE + lead
    demand = 1000.0 + autoregression(rng, size, 300.0, 150.0)
    answer = demand
    if tau:
        keep = np.exp(-1.0 / tau)
        answer = lfilter([1.0 - keep], [1.0, -keep], demand)
    answer = answer[lead - dead : size - dead]
    means = [values.reshape(steps, FINE).mean(axis=1) for values in (answer, demand[lead:])]
    return means[0] + autoregression(rng, steps, 6.0, noise), means[1]


@pytest.mark.parametrize(("dead", "tau"), [(0, 0), (25, 0), (20, 30), (5, 60)])
def test_planted_dead_time_and_rise_lie_within_their_intervals(dead, tau):
    subject = prepared(*answered(dead, tau))
    found = dead_time_seconds(subject)
    assert found.value == pytest.approx(dead, abs=STEP)
    assert found.low <= dead <= found.high
    rise = rise_time_seconds(subject)
    t90 = dead + np.log(10.0) * tau
    assert rise.value == pytest.approx(t90, abs=2.0 * STEP)
    assert rise.low <= t90 <= rise.high


def test_intervals_hold_the_planted_times_as_often_as_they_say():
    dead_hits = rise_hits = silent = 0
    for seed in range(20):
        subject = prepared(*answered(20, 40, seed=seed, noise=60.0, steps=4320))
        try:
            dead, rise = dead_time_seconds(subject), rise_time_seconds(subject)
        except NotEnoughDataError:
            silent += 1
            continue
        dead_hits += dead.low <= 20.0 <= dead.high
        rise_hits += rise.low <= 20.0 + np.log(10.0) * 40.0 <= rise.high
    assert silent <= 2
    assert dead_hits >= 18 - silent
    assert rise_hits >= 18 - silent


def test_a_falling_answer_has_the_same_times():
    signal, demand = answered(20, 30)
    up, down = (dead_time_seconds(prepared(s, demand)).value for s in (signal, -signal))
    assert up == down


def test_an_answer_slower_than_can_be_told_is_said_to_be_so():
    signal, demand = answered(0, 400, noise=1.0)
    with pytest.raises(NotEnoughDataError):
        rise_time_seconds(prepared(signal, demand))


def test_what_does_not_follow_demand_has_no_times():
    noise = autoregression(np.random.default_rng(5), 8640, 30.0, 1.0)
    with pytest.raises(NotEnoughDataError, match="chance"):
        dead_time_seconds(prepared(noise, day_of_demand()))
