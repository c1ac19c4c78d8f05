from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from signalstudy.replay.fluid import flow, handed_on

amounts = st.floats(0.0, 1e4).map(lambda x: round(x, 3))
SHAPE = (3, 17)


def by_hand(offered, capacity, waiting):
    """Give served and waiting work of one lane, step by step."""
    served, left = [], []
    for arrives, bears in zip(offered, capacity, strict=True):
        done = min(waiting + arrives, bears)
        waiting = waiting + arrives - done
        served.append(done)
        left.append(waiting)
    return np.array(served), np.array(left)


@settings(deadline=None, max_examples=60)
@given(arrays(float, SHAPE, elements=amounts), arrays(float, SHAPE, elements=amounts),
       arrays(float, 3, elements=amounts))  # fmt: skip
def test_all_steps_at_once_are_the_queue_step_by_step(offered, capacity, waiting):
    found = flow(offered, capacity, waiting, 15.0)
    for lane in range(SHAPE[0]):
        served, left = by_hand(offered[lane], capacity[lane], waiting[lane])
        assert np.allclose(found.served[lane], served, atol=1e-3)
        assert np.allclose(found.waiting[lane], left, atol=1e-3)


@settings(deadline=None, max_examples=60)
@given(arrays(float, SHAPE, elements=amounts), arrays(float, SHAPE, elements=amounts))
def test_work_is_neither_lost_nor_made(offered, capacity):
    found = flow(offered, capacity, np.zeros(3), 15.0)
    total = found.served.sum(axis=1) + found.waiting[:, -1]
    assert np.allclose(total, offered.sum(axis=1), atol=1e-3)


def test_waiting_work_waits_for_what_is_before_it():
    found = flow(np.array([[300.0, 0.0, 0.0]]), np.full((1, 3), 100.0), np.zeros(1), 15.0)
    assert found.wait_seconds.tolist() == [[30.0, 15.0, 0.0]]


def test_without_capacity_the_wait_has_no_end():
    found = flow(np.array([[5.0]]), np.zeros((1, 1)), np.zeros(1), 15.0)
    assert np.isinf(found.wait_seconds[0, 0])


def test_without_a_queue_before_the_first_pool_the_second_gets_work_as_it_arrives():
    totals = np.array([0.0, 1.0, 3.0, 3.0]), np.array([0.0, 10.0, 10.0, 25.0])
    handed = handed_on(np.zeros((1, 3)), np.arange(3)[None, :], *totals)
    assert handed.tolist() == [[10.0, 10.0, 25.0]]


def test_the_second_pool_waits_for_the_first():
    first, second = np.array([0.0, 100.0, 200.0, 200.0]), np.array([0.0, 10.0, 20.0, 20.0])
    waiting = np.array([[50.0, 75.0, 0.0]])  # of 100, 200, 200 arrived: 50, 125, 200 are done
    handed = handed_on(waiting, np.arange(3)[None, :], first, second)
    assert handed.tolist() == [[5.0, 12.5, 20.0]]
