import numpy as np
import pytest

from signalstudy.evidence.blocks import bootstrapped, central_range, cut_blocks
from signalstudy.vocabulary.errors import NotEnoughDataError


@pytest.mark.parametrize(
    ("steps", "step_seconds", "size", "count"),
    [(8640, 10.0, 360, 24), (120960, 10.0, 720, 168), (241, 360.0, 10, 25), (50, 10.0, 4, 13)],
)
def test_blocks_are_two_hours_or_a_24th_of_the_record(steps, step_seconds, size, count):
    blocks = cut_blocks(steps, step_seconds, 0)
    assert (blocks.size, blocks.count) == (size, count)


def test_every_replicate_draws_as_many_blocks_as_there_are():
    blocks = cut_blocks(8640, 10.0, 0)
    assert (blocks.weights.sum(axis=1) == blocks.count).all()


def test_equal_seeds_share_their_draws_and_others_do_not():
    first, again, other = (cut_blocks(500, 10.0, seed).weights for seed in (1, 1, 2))
    assert first is again
    assert (first != other).any()


def test_block_sums_add_up_and_leave_out_what_is_not_known():
    values = np.arange(50.0)
    values[7] = np.nan
    sums = cut_blocks(50, 10.0, 0).sums(values)
    assert sums[1] == 4 + 5 + 6
    assert sums.sum() == np.nansum(values)


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(100):
        values = rng.normal(size=24 * 20)
        blocks = cut_blocks(values.size, 10.0, 0)
        estimate = bootstrapped(
            values.mean(), blocks.weights @ blocks.sums(values) / values.size, method="mean"
        )
        hits += estimate.low <= 0.0 <= estimate.high
    assert 85 <= hits <= 100


def test_replicates_that_cannot_be_computed_are_refused_when_many():
    replicates = np.linspace(0.0, 1.0, 1000)
    replicates[:50] = np.nan
    low, high = central_range(replicates)
    assert 0.0 < low < high < 1.0
    replicates[:150] = np.nan
    with pytest.raises(NotEnoughDataError, match="150 of 1000"):
        central_range(replicates)
