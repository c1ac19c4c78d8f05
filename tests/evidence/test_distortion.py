import numpy as np
import pytest

from signalstudy.evidence.distortion import _third_of, cache_distortion_ratio
from signalstudy.vocabulary.errors import NotEnoughDataError
from tests.evidence.planted import day_of_demand, prepared

WORK = day_of_demand()
HITS = np.repeat(np.random.default_rng(0).permutation(np.repeat([0.1, 0.4, 0.7], 8)), 360)


def test_all_tokens_are_distorted_as_planted_and_uncached_ones_are_not():
    rng = np.random.default_rng(1)
    all_tokens = WORK / (1.0 - HITS) * rng.normal(1.0, 0.05, WORK.size)
    estimate = cache_distortion_ratio(prepared(all_tokens, WORK, hit_ratio=HITS))
    planted = (1.0 / 0.3 - 1.0 / 0.9) / (1.0 / 0.6)
    assert estimate.value == pytest.approx(planted, rel=0.15)
    assert estimate.low < planted < estimate.high * 1.1
    uncached = WORK * rng.normal(1.0, 0.05, WORK.size)
    assert cache_distortion_ratio(prepared(uncached, WORK, hit_ratio=HITS)).high < 0.05


@pytest.mark.parametrize("hits", [None, np.full(8640, 0.3)])
def test_without_moving_hits_the_question_does_not_arise(hits):
    estimate = cache_distortion_ratio(prepared(WORK, WORK, hit_ratio=hits))
    assert estimate.status == "not_applicable"


def test_a_signal_of_zeros_is_refused():
    with pytest.raises(NotEnoughDataError, match="zero most of the time"):
        cache_distortion_ratio(prepared(np.zeros(8640), WORK, hit_ratio=HITS))


def test_a_hit_ratio_of_two_values_is_compared_at_both():
    hits = np.where(np.arange(WORK.size) // 720 % 2 == 0, 0.5, 0.0)
    estimate = cache_distortion_ratio(prepared(WORK / (1.0 - hits), WORK, hit_ratio=hits))
    assert estimate.value == pytest.approx((2.0 - 1.0) / 1.5, rel=0.1)


def test_thirds_keep_equal_values_together():
    assert _third_of(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])).tolist() == [0, 0, 1, 1, 2, 2]
    assert _third_of(np.array([0.7, 0.1, 0.7, 0.7])).tolist() == [1, 0, 1, 1]
