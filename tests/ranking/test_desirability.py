"""Which signal is the better one, where statistics cannot tell."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.evidence.evidence import SignalEvidence
from signalstudy.ranking.desirability import desirability, merits, pareto_fronts
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
    np.testing.assert_allclose(merits([signal(elasticity=np.e)]), [[0.9, 0.5, 0.9, 0.5]])


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
    table = merits([worse, better])
    assert pareto_fronts(table).tolist() == [1, 0]
    assert desirability(table)[1] > desirability(table)[0]


def test_what_is_unknown_counts_as_the_worst():
    unknown = SignalEvidence("decode", "a_ratio", "total", {"lag_seconds": unidentified("Flat.")})
    assert merits([unknown]).tolist() == [[0.0, 0.0, 0.0, 0.0]]


def test_signals_that_trade_one_merit_for_another_share_a_front():
    table = np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.1]])
    assert pareto_fronts(table).tolist() == [0, 0, 1]


def test_no_signals_have_no_fronts():
    assert pareto_fronts(merits([])).size == 0
