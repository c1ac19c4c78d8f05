"""Which signal is the better one, where statistics cannot tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from signalstudy.evidence.evidence import SignalEvidence
from signalstudy.ranking.desirability import (
    desirability,
    driver_merits,
    guard_merits,
    pareto_fronts,
    weight_support,
)
from signalstudy.vocabulary.estimate import Estimate, unidentified


def signal(snr=9.0, lag=60.0, linearity=0.9, elasticity=1.0):
    measures = {
        "signal_to_noise_ratio": Estimate(snr),
        "lag_seconds": Estimate(lag),
        "linearity_ratio": Estimate(linearity),
        "demand_elasticity": Estimate(elasticity),
    }
    return SignalEvidence("decode", "a_ratio", "total", measures)


def test_merits_are_the_stated_formulae():
    np.testing.assert_allclose(
        driver_merits([signal(elasticity=np.e)]), [[0.9, 0.5, 0.9, 0.5, 1.0]]
    )


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (signal(snr=20.0), signal(snr=2.0)),
        (signal(lag=5.0), signal(lag=120.0)),
        (signal(linearity=0.99), signal(linearity=0.7)),
        (signal(elasticity=1.02), signal(elasticity=0.72)),
        (signal(elasticity=0.98), signal(elasticity=1.38)),
    ],
)
def test_clearer_sooner_straighter_and_nearer_to_proportion_is_better(better, worse):
    table = driver_merits([worse, better])
    assert pareto_fronts(table).tolist() == [1, 0]
    assert desirability(table)[1] > desirability(table)[0]


def test_what_is_unknown_counts_as_the_worst():
    unknown = SignalEvidence("decode", "a_ratio", "total", {"lag_seconds": unidentified("Flat.")})
    assert driver_merits([unknown]).tolist() == [[0.0, 0.0, 0.0, 0.0, 1.0]]


def test_a_share_that_was_never_seen_to_fall_is_worth_less_than_one_that_was():
    never = replace(signal(), kind="intensive")
    seen = replace(never, measures=never.measures | {"capacity_elasticity": Estimate(-1.0)})
    worth = desirability(driver_merits([never, seen, signal()]))
    assert worth[0] < worth[1] == worth[2]


def test_signals_that_trade_one_merit_for_another_share_a_front():
    table = np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.1]])
    assert pareto_fronts(table).tolist() == [0, 0, 1]


def test_no_signals_have_no_fronts():
    assert pareto_fronts(driver_merits([])).size == 0


def test_a_guard_is_steep_and_recalls_breaches():
    measures = {"gain_ratio": Estimate(4.0), "breach_recall_ratio": Estimate(0.8)}
    guard = SignalEvidence("decode", "tbt_p99_seconds", "intensive", signal().measures | measures)
    np.testing.assert_allclose(guard_merits([guard]), [[0.9, 0.5, 0.75, 0.8]])


def test_a_merit_that_nobody_shows_leaves_the_others_to_decide():
    table = np.array([[0.9, 0.4, 0.0], [0.4, 0.4, 0.0]])
    np.testing.assert_allclose(desirability(table), [0.6, 0.4])


def test_who_is_better_in_everything_wins_under_all_weights():
    table = np.array([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]])
    assert weight_support(table, np.array([True, True])).tolist() == [1.0, 0.0]


def test_what_is_a_matter_of_taste_is_shared():
    table = np.array([[0.9, 0.3], [0.3, 0.9], [0.99, 0.99]])
    support = weight_support(table, np.array([True, True, False]))
    assert support[2] == 0.0
    assert support[:2] == pytest.approx([0.5, 0.5], abs=0.05)


def test_twins_share_the_first_place_and_nobody_contends_for_none():
    table = np.full((2, 3), 0.5)
    assert weight_support(table, np.array([True, True])).tolist() == [0.5, 0.5]
    assert weight_support(table, np.array([False, False])).tolist() == [0.0, 0.0]
