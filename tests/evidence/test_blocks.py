import numpy as np
import pytest

from signalstudy.evidence.blocks import (
    bootstrapped,
    central_range,
    cut_blocks,
    influence_of,
    interval_of,
    skewing,
)
from signalstudy.vocabulary.errors import NotEnoughDataError
from tests.evidence.planted import autoregression


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
            values.mean(),
            blocks.weights @ blocks.sums(values) / values.size,
            blocks,
            method="mean",
        )
        hits += estimate.low <= 0.0 <= estimate.high
    assert 90 <= hits <= 99


def test_replicates_that_cannot_be_computed_are_refused_when_many():
    replicates = np.linspace(0.0, 1.0, 1000)
    replicates[:50] = np.nan
    low, high = central_range(replicates)
    assert 0.0 < low < high < 1.0
    replicates[:150] = np.nan
    with pytest.raises(NotEnoughDataError, match="150 of 1000"):
        central_range(replicates)


def test_blocks_that_hold_nothing_are_never_drawn():
    known = np.zeros(8640, dtype=bool)
    known[720:3600] = True
    blocks = cut_blocks(8640, 10.0, 0, known)
    assert blocks.drawn.tolist() == list(range(2, 10))
    assert blocks.weights[:, 10:].sum() == 0.0
    assert (blocks.weights.sum(axis=1) == 8).all()


def test_from_three_days_on_an_hour_is_redrawn_from_the_same_hour():
    blocks = cut_blocks(7 * 8640, 10.0, 0)
    assert blocks.strata == 12
    same_time_of_day = blocks.weights.reshape(1000, 7, 12).sum(axis=1)
    assert (same_time_of_day == 7).all()
    assert cut_blocks(2 * 8640, 10.0, 0).strata == 1


def test_hours_without_a_second_day_are_drawn_from_all():
    known = np.zeros(4 * 8640, dtype=bool)
    known[:8640] = True
    assert cut_blocks(4 * 8640, 10.0, 0, known).strata == 1


def test_fewer_than_six_blocks_say_nothing_of_how_sure_a_number_is():
    known = np.zeros(8640, dtype=bool)
    known[:1000] = True
    blocks = cut_blocks(8640, 10.0, 0, known)
    with pytest.raises(NotEnoughDataError, match="Only 3 blocks"):
        interval_of(0.0, np.linspace(-1.0, 1.0, 1000), blocks)


def test_the_interval_of_a_mean_is_wider_where_neighbours_err_alike():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        values = autoregression(rng, 8640, 720.0, 1.0)
        blocks = cut_blocks(values.size, 10.0, 0)
        resampled = blocks.weights @ blocks.sums(values) / values.size
        low, high = interval_of(float(values.mean()), resampled, blocks)
        hits += low <= 0.0 <= high
    assert 82 <= hits <= 99
    plain, _ = central_range(resampled)
    assert low < plain


def test_a_reflected_interval_leans_against_what_resampling_adds():
    blocks = cut_blocks(8640, 10.0, 0)
    replicates = 1.0 + np.abs(blocks.weights[:, 0] - 1.0)
    low, high = interval_of(1.0, replicates, blocks, reflected=True)
    assert low < 1.0 < high
    # One block draws it all, upwards only: skewed errors reach farther still.
    plain = bootstrapped(1.0, replicates, blocks, method="")
    assert 1.0 - plain.low < 0.1 * (1.0 - low)
    assert 1.0 - low < high - 1.0


def test_the_influence_of_a_block_on_a_mean_is_how_far_it_stands_from_it():
    values = np.random.default_rng(0).normal(size=24)
    blocks = cut_blocks(24 * 4, 10.0, 0)
    found = influence_of(blocks.weights @ values / 24.0, blocks)
    assert found == pytest.approx((values - values.mean()) / 24.0, abs=0.025)


def test_the_interval_of_a_skewed_mean_holds_it_more_often_than_percentiles_do():
    rng = np.random.default_rng(0)
    truth = float(np.exp(0.5))
    held = {"here": 0, "percentiles": 0}
    for seed in range(300):
        blocks = cut_blocks(24 * 4, 10.0, seed % 8)
        values = rng.lognormal(0.0, 1.0, 24)
        resampled = blocks.weights @ values / 24.0
        for name, (low, high) in (
            ("here", interval_of(float(values.mean()), resampled, blocks)),
            ("percentiles", central_range(resampled)),
        ):
            held[name] += low <= truth <= high
    assert held["percentiles"] < 270
    assert held["here"] > held["percentiles"] + 12


def test_errors_skewed_upwards_reach_farther_upwards():
    influence = np.array([-1.0, -1.0, -1.0, 3.0])
    assert skewing(influence) == pytest.approx(-skewing(-influence))
    assert skewing(influence) > 0.0
    assert skewing(np.zeros(4)) == 0.0


def test_a_resolution_is_added_by_squares():
    blocks = cut_blocks(8640, 10.0, 0)
    replicates = np.random.default_rng(0).normal(0.0, 1.0, 1000)
    plain = bootstrapped(0.0, replicates, blocks, method="")
    floored = bootstrapped(0.0, replicates, blocks, method="", floor=3.0)
    assert floored.high == pytest.approx(np.hypot(plain.high, 3.0))
    assert floored.low == pytest.approx(-np.hypot(plain.low, 3.0))


def test_products_by_block_are_those_of_plain_sums():
    blocks = cut_blocks(100, 10.0, 0)
    steps = np.flatnonzero(np.arange(100) % 9 < 2)
    columns = np.random.default_rng(0).normal(size=(3, steps.size))
    found = blocks.products(steps, columns)
    for block in range(blocks.count):
        mine = columns[:, steps // blocks.size == block]
        assert found[block] == pytest.approx(mine @ mine.T)
