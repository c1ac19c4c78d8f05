"""The planted latency curve against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import lognorm

from signalstudy.synthetic.latency import LatencyCurve
from signalstudy.vocabulary.objectives import Objective

CURVE = LatencyCurve(idle_seconds=0.020, ceiling_per_second=4000.0, spread=0.25)
OBJECTIVE = Objective("tbt", 0.99, 0.050)


def share_over(work, limit):
    median = 0.020 / (1.0 - work / 4000.0)
    return lognorm(s=0.25, scale=median).sf(limit)


def test_the_share_over_the_limit_is_the_lognormal_tail():
    work = np.array([0.0, 500.0, 1500.0, 3000.0])
    np.testing.assert_allclose(CURVE.share_over(work, 0.05), share_over(work, 0.05), rtol=1e-9)


@pytest.mark.parametrize("quantile", [0.9, 0.95, 0.99])
def test_the_knee_is_where_a_root_finder_finds_it(quantile):
    objective = Objective("tbt", quantile, 0.05)
    found = brentq(lambda x: share_over(x, 0.05) - objective.allowed_share, 1.0, 3800.0)
    assert CURVE.knee_per_second(objective) == pytest.approx(found, rel=1e-6)


def test_sampled_requests_miss_the_objective_as_often_as_allowed_at_the_knee():
    rng = np.random.default_rng(1)
    knee = CURVE.knee_per_second(OBJECTIVE)
    median = CURVE.median_seconds(np.array([knee]))[0]
    seconds = median * np.exp(0.25 * rng.standard_normal(400_000))
    assert np.mean(seconds > 0.05) == pytest.approx(0.01, rel=0.05)


def test_a_looser_objective_bears_more_work():
    tight, loose = (CURVE.knee_per_second(Objective("tbt", 0.99, t)) for t in (0.05, 0.08))
    assert loose > tight


def test_an_objective_that_even_an_idle_replica_misses_bears_no_work():
    assert CURVE.knee_per_second(Objective("tbt", 0.99, 0.02)) == 0.0


def test_the_curve_stays_finite_beyond_its_ceiling():
    assert np.isfinite(CURVE.median_seconds(np.array([4000.0, 1e9]))).all()
