"""Twin of threshold/logistic.py: crossings of log-odds that are straight by construction."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from signalstudy.threshold.logistic import crossings

WORK = np.linspace(100.0, 2000.0, 60)


def counts_of(share, *, requests=500.0, seed=None):
    observed = np.full((1, share.size), requests)
    over = share * observed
    if seed is not None:
        over = np.random.default_rng(seed).binomial(int(requests), share)[None].astype(float)
    return observed, np.atleast_2d(over)


@pytest.mark.parametrize("allowed", [0.01, 0.05, 0.1])
def test_straight_log_odds_are_crossed_where_they_cross(allowed):
    share = expit(logit(allowed) + 0.012 * (WORK - 1234.0))
    found = crossings(WORK, *counts_of(share), share, allowed)
    assert found[0] == pytest.approx(1234.0, rel=1e-3)


def test_the_scale_of_work_and_of_requests_does_not_matter():
    share = expit(logit(0.05) + 0.01 * (WORK - 1000.0))
    observed, over = counts_of(share, seed=1)
    one = crossings(WORK, observed, over, share, 0.05)
    other = crossings(7.0 * WORK, 3.0 * observed, 3.0 * over, share, 0.05)
    assert other[0] == pytest.approx(7.0 * one[0], rel=1e-4)


def test_rows_are_fitted_each_for_itself():
    share = expit(logit(0.05) + 0.01 * (WORK - 1000.0))
    rows = [counts_of(share, seed=seed) for seed in range(4)]
    together = crossings(
        WORK, np.vstack([n for n, _ in rows]), np.vstack([k for _, k in rows]), share, 0.05
    )
    alone = [crossings(WORK, n, k, share, 0.05)[0] for n, k in rows]
    assert together == pytest.approx(alone, rel=1e-6)


def test_a_share_that_does_not_rise_has_no_crossing():
    falling = np.linspace(0.2, 0.01, WORK.size)
    fitted = np.full(WORK.size, 0.05)
    assert np.isnan(crossings(WORK, *counts_of(falling), fitted, 0.05)[0])


def test_a_cliff_without_a_breach_before_it_is_crossed_between_the_bins():
    share = np.where(WORK > 1500.0, 0.9, 0.0)
    found = crossings(WORK, *counts_of(share), share, 0.05)[0]
    safe = WORK[WORK <= 1500.0][-1]
    assert safe <= found <= WORK[WORK > 1500.0][0]
