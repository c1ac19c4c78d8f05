from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.meta_analysis import combine_effects

from signalstudy.evidence.evidence import Evidence, SignalEvidence
from signalstudy.evidence.pooling import (
    agreement_of_days,
    agreement_of_services,
    heterogeneity,
    paule_mandel,
    pool_estimates,
    pool_evidence,
    rank_agreement,
)
from signalstudy.vocabulary.estimate import Estimate, unidentified


def answers(values, errors):
    return {
        f"service {place}": Estimate(value, low=value - 1.96 * error, high=value + 1.96 * error)
        for place, (value, error) in enumerate(zip(values, errors, strict=True))
    }


def test_mean_and_spread_are_those_of_statsmodels():
    rng = np.random.default_rng(0)
    errors = rng.uniform(0.02, 0.2, 12)
    values = 1.0 + rng.normal(0.0, 0.15, 12) + errors * rng.normal(size=12)
    known = combine_effects(values, errors**2, method_re="iterated", use_t=True)
    assert paule_mandel(values, errors**2) == pytest.approx(known.tau2, rel=1e-6)
    assert heterogeneity(values, errors**2) == pytest.approx(known.i2, rel=1e-6)
    pooled = pool_estimates("decode", "x", "demand_elasticity", answers(values, errors))
    assert pooled.mean.value == pytest.approx(known.mean_effect_re, rel=1e-4)


def test_services_that_agree_are_not_drawn_apart():
    pooled = pool_estimates(
        "decode", "x", "demand_elasticity", answers([1.0, 1.01, 0.99], [0.1] * 3)
    )
    assert pooled.heterogeneity_ratio == 0.0
    assert set(np.round(list(pooled.shrunk.values()), 6)) == {round(pooled.mean.value, 6)}


def test_a_service_of_little_data_is_drawn_to_the_others():
    pooled = pool_estimates(
        "decode", "x", "demand_elasticity", answers([0.7, 0.9, 1.1, 2.0], [0.02, 0.02, 0.02, 1.0])
    )
    assert pooled.shrunk["service 3"] < 1.2
    assert pooled.shrunk["service 0"] == pytest.approx(0.7, abs=0.01)


def test_the_next_service_lies_where_it_is_expected():
    rng = np.random.default_rng(1)
    inside_mean, inside_prediction = 0, 0
    for _ in range(200):
        errors = np.full(8, 0.1)
        values = 1.0 + rng.normal(0.0, 0.3, 8) + errors * rng.normal(size=8)
        pooled = pool_estimates("decode", "x", "demand_elasticity", answers(values, errors))
        following = 1.0 + rng.normal(0.0, 0.3)
        inside_mean += pooled.mean.low <= 1.0 <= pooled.mean.high
        inside_prediction += pooled.prediction.low <= following <= pooled.prediction.high
    assert 182 <= inside_mean <= 199
    assert 180 <= inside_prediction <= 199


@pytest.mark.parametrize("measure", ["demand_correlation", "gain_ratio"])
def test_pooled_numbers_keep_to_the_bounds_of_their_measure(measure):
    known = {
        str(n): Estimate(v, low=v - 0.1, high=min(v + 0.1, 1.0))
        for n, v in enumerate((0.5, 0.9, 0.95))
    }
    pooled = pool_estimates("decode", "x", measure, known)
    assert pooled.prediction.low > (-1.0 if measure == "demand_correlation" else 0.0)
    assert measure == "gain_ratio" or pooled.prediction.high < 1.0


def test_two_services_say_nothing_of_a_third():
    pooled = pool_estimates("decode", "x", "demand_elasticity", answers([1.0, 1.1], [0.1, 0.1]))
    assert pooled.prediction.status == "unidentified"
    assert pooled.mean.low < pooled.mean.value < pooled.mean.high


def test_only_what_was_answered_is_pooled():
    def service(name, elasticity):
        measures = {"demand_elasticity": elasticity, "gain_ratio": unidentified("Not to be told.")}
        return Evidence(name, (SignalEvidence("decode", "x", "total", measures),))

    evidence = [service(str(n), Estimate(1.0, low=0.9, high=1.1)) for n in range(3)]
    [pooled] = pool_evidence([*evidence, service("silent", unidentified("Too little."))])
    assert (pooled.measure, pooled.services) == ("demand_elasticity", 3)


def test_days_that_order_signals_alike_agree():
    days = np.array([[0.9, 0.5, 0.1], [0.8, 0.6, 0.2], [0.95, 0.4, 0.3]])
    assert rank_agreement(days).value == 1.0
    shuffled = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    assert rank_agreement(shuffled).value == 0.0


def test_a_day_that_lacks_a_signal_does_not_vote():
    days = np.array([[0.9, 0.5], [0.8, np.nan]])
    assert rank_agreement(days).status == "unidentified"


def test_ties_everywhere_are_no_order():
    assert rank_agreement(np.ones((3, 4))).status == "unidentified"


def losing(pool, name, losses):
    return SignalEvidence(pool, name, "total", {}, block_losses=np.array(losses))


def test_each_day_rates_the_signals_of_a_pool_by_what_they_lose():
    steady = Evidence(
        "steady",
        (losing("decode", "good", [0.1, 0.2] * 3), losing("decode", "bad", [0.5, 0.4] * 3)),
        days=3.0,
    )
    assert agreement_of_days(steady)["decode"].value == 1.0
    turning = losing("decode", "turning", [0.5, 0.5, 0.0, 0.0, 0.5, 0.5])
    torn = replace(steady, signals=(steady.signals[0], turning))
    assert agreement_of_days(torn)["decode"].value == pytest.approx(1.0 / 9.0)
    assert agreement_of_days(replace(steady, days=0.5))["decode"].status == "unidentified"


def test_services_rate_the_signals_that_all_of_them_have():
    one = Evidence(
        "one", tuple(losing("decode", n, [x]) for n, x in zip("abc", (1, 2, 3), strict=True))
    )
    other = Evidence(
        "other", tuple(losing("decode", n, [x]) for n, x in zip("ab", (5, 6), strict=True))
    )
    assert agreement_of_services([one, other])["decode"].value == 1.0
    assert agreement_of_services([one]) == {}
