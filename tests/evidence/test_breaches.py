import numpy as np
import pytest

from signalstudy.evidence.breaches import find_breaches, merged
from signalstudy.timeline.timeline import SloCounts
from signalstudy.vocabulary.objectives import Objective

OBJECTIVE = Objective("tbt", quantile=0.95, at_most_seconds=0.05)


def counts(late_share, *, requests=100.0, steps=720):
    observed = np.full(steps, requests)
    over = np.round(observed * late_share)
    return SloCounts(OBJECTIVE, "decode", observed, over, over, "requests", 0.05, 0.05)


def late_during(*spans, steps=720):
    share = np.zeros(steps)
    for first, last in spans:
        share[first:last] = 0.5
    return share


def test_a_breach_is_a_run_of_minutes_with_too_many_late_requests():
    breaches = find_breaches([counts(late_during((120, 240)))], 720, 10.0)
    assert breaches.tolist() == [[120, 240]]


def test_two_minutes_are_no_breach():
    assert not find_breaches([counts(late_during((120, 132)))], 720, 10.0).size


def test_breaches_closer_than_ten_minutes_are_one():
    breaches = find_breaches([counts(late_during((60, 120), (150, 240), (480, 540)))], 720, 10.0)
    assert breaches.tolist() == [[60, 240], [480, 540]]


def test_the_allowed_share_of_late_requests_is_no_breach():
    assert not find_breaches([counts(np.full(720, 0.05))], 720, 10.0).size


def test_a_few_late_among_few_requests_are_chance():
    rng = np.random.default_rng(0)
    observed = np.full(8640, 2.0)
    over = rng.binomial(2, 0.03, 8640).astype(float)
    slo = SloCounts(OBJECTIVE, "decode", observed, over, over, "requests", 0.05, 0.05)
    assert find_breaches([slo], 8640, 10.0).shape[0] <= 2


def test_any_objective_can_break():
    first, second = counts(late_during((60, 120))), counts(late_during((480, 540)))
    assert find_breaches([first, second], 720, 10.0).tolist() == [[60, 120], [480, 540]]


def test_steps_longer_than_a_minute_are_bins_of_their_own():
    breaches = find_breaches([counts(late_during((10, 14)), steps=720)], 720, 300.0)
    assert breaches.tolist() == [[10, 14]]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [([], []), ([[5, 6], [1, 3]], [[1, 3], [5, 6]]), ([[1, 9], [2, 3]], [[1, 9]])],
)
def test_spans_are_joined_in_order_of_time(spans, expected):
    assert merged(np.array(spans, dtype=int).reshape(-1, 2), 1).tolist() == expected
