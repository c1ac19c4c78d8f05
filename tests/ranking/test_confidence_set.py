"""The Model Confidence Set on planted losses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.ranking.confidence_set import (
    block_weights,
    confidence_set,
    first_place_probabilities,
)


def planted_losses(offsets, *, blocks=48, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    hard_hours = 0.2 + rng.gamma(4.0, 0.25, size=(blocks, 1))
    return hard_hours + np.asarray(offsets) + noise * rng.standard_normal((blocks, len(offsets)))


def test_weights_redraw_all_blocks():
    weights = block_weights(30, seed=1, replicates=50)
    assert weights.shape == (50, 30)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)


def test_a_planted_best_signal_stands_alone():
    losses = planted_losses([0.3, 0.0, 0.3, 0.6])
    weights = block_weights(48, seed=2)
    np.testing.assert_array_equal(confidence_set(losses, weights), [False, True, False, False])
    assert first_place_probabilities(losses, weights)[1] > 0.999


def test_pairing_sees_a_difference_far_below_the_spread_of_hard_hours():
    losses = planted_losses([0.0, 0.05], noise=0.03)
    assert losses.std() > 8 * 0.05
    weights = block_weights(48, seed=3)
    np.testing.assert_array_equal(confidence_set(losses, weights, equivalence=0.0), [True, False])


def test_equal_signals_share_the_first_place():
    column = planted_losses([0.0])
    losses = np.column_stack([column, column, column + 1.0])
    weights = block_weights(48, seed=4)
    np.testing.assert_array_equal(confidence_set(losses, weights), [True, True, False])
    np.testing.assert_allclose(first_place_probabilities(losses, weights), [0.5, 0.5, 0.0])


def test_losses_without_any_difference_keep_all():
    losses = np.zeros((24, 3))
    weights = block_weights(24, seed=5)
    assert confidence_set(losses, weights).all()


def test_equally_good_signals_stay_in_the_set_as_often_as_promised():
    kept = [
        confidence_set(
            planted_losses([0.0, 0.0, 0.0], seed=trial),
            block_weights(48, seed=1, replicates=500),
            equivalence=0.0,
        ).all()
        for trial in range(60)
    ]
    assert np.mean(kept) > 0.85


def test_differences_too_small_to_matter_share_the_first_place():
    losses = np.column_stack([np.full(48, loss) for loss in (0.100, 0.108, 0.112)])
    losses += 1e-6 * np.arange(48)[:, None]
    weights = block_weights(48, seed=8)
    np.testing.assert_array_equal(confidence_set(losses, weights), [True, True, False])
    np.testing.assert_allclose(first_place_probabilities(losses, weights), [0.5, 0.5, 0.0])


@pytest.mark.parametrize("trial", range(4))
def test_agrees_with_the_arch_package(trial):
    bootstrap = pytest.importorskip("arch.bootstrap", reason="arch is not installed")
    rng = np.random.default_rng(trial)
    losses = planted_losses(rng.choice([0.0, 0.02, 0.3], size=5), seed=trial)
    other = bootstrap.MCS(losses, size=0.05, block_size=1, reps=2000, seed=trial)
    other.compute()
    p_values = other.pvalues.Pvalue.sort_index().to_numpy()
    ours = confidence_set(losses, block_weights(48, seed=trial), equivalence=0.0)
    is_clear = np.abs(p_values - 0.05) > 0.03
    np.testing.assert_array_equal(ours[is_clear], (p_values > 0.05)[is_clear])


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(4)))
def test_the_order_of_the_signals_does_not_matter(order):
    losses = planted_losses([0.0, 0.02, 0.2, 0.5])
    weights = block_weights(48, seed=6)
    np.testing.assert_array_equal(
        confidence_set(losses[:, order], weights), confidence_set(losses, weights)[list(order)]
    )
