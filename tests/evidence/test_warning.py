import numpy as np
import pytest

from signalstudy.evidence.warning import (
    breach_lead_seconds,
    breach_recall_ratio,
    false_alarms_per_day,
)
from signalstudy.timeline.timeline import SloCounts
from signalstudy.vocabulary.errors import NotEnoughDataError
from signalstudy.vocabulary.objectives import Objective
from tests.evidence.planted import DAY_SECONDS, autoregression, prepared

MEASURES = (breach_recall_ratio, breach_lead_seconds, false_alarms_per_day)
OBJECTIVE = Objective("tbt", quantile=0.95, at_most_seconds=0.05)
STEPS, STEP_SECONDS = 3 * 8640, 10.0
LEAD_SECONDS = 600.0


def planted(breaches=8, seed=0):
    """Draw a pressure that rises ten minutes before each breach, and the late requests of it."""
    rng = np.random.default_rng(seed)
    onsets = np.linspace(0, STEPS, breaches + 2)[1:-1].astype(int) + rng.integers(0, 300, breaches)
    pressure, over = np.full(STEPS, 1.0), np.zeros(STEPS)
    for onset in onsets:
        pressure[onset - round(LEAD_SECONDS / STEP_SECONDS) : onset + 60] = 2.0
        over[onset : onset + 60] = 60.0
    observed = np.full(STEPS, 100.0)
    slo = SloCounts(OBJECTIVE, "decode", observed, over, over, "requests", 0.05, 0.05)
    return pressure + rng.normal(0.0, 0.05, STEPS), slo


def judged(signal, slo, **more):
    demand = np.full(STEPS, 1000.0)
    return prepared(signal, demand, slo_counts=(slo,), horizon_seconds=120.0, **more)


def test_a_signal_that_rises_ten_minutes_before_announces_every_breach():
    subject = judged(*planted())
    recall = breach_recall_ratio(subject)
    assert recall.value == 1.0
    assert recall.low == pytest.approx(0.025 ** (1 / 8))
    lead = breach_lead_seconds(subject)
    assert lead.value == pytest.approx(LEAD_SECONDS, abs=120.0)
    assert lead.low <= lead.value <= lead.high
    false = false_alarms_per_day(subject)
    assert false.value == 0.0
    assert 1.0 < false.high < 2.0


def test_noise_announces_little_or_cries_wolf():
    _, slo = planted()
    noise = autoregression(np.random.default_rng(5), STEPS, 60, 1.0)
    subject = judged(noise, slo)
    chance = false_alarms_per_day(subject).value > 5.0
    assert breach_recall_ratio(subject).high < 0.9 or chance


def test_a_signal_that_rises_with_the_breach_announces_none_in_time():
    signal, slo = planted()
    late = np.roll(signal, round(LEAD_SECONDS / STEP_SECONDS))
    assert breach_recall_ratio(judged(late, slo)).value < 0.5


def test_a_total_is_judged_per_replica():
    signal, slo = planted()
    replicas = np.where(np.arange(STEPS) < STEPS // 2, 2.0, 8.0)
    subject = judged(signal * replicas, slo, replicas=replicas)
    assert breach_recall_ratio(subject).value == 1.0
    assert false_alarms_per_day(subject).value == 0.0


def test_false_alarms_that_scaling_out_follows_are_left_out():
    signal, slo = planted()
    wolf = signal.copy()
    wolf[1000:1100] = 2.0
    at = (1000 + 50) * STEP_SECONDS
    plain = false_alarms_per_day(judged(wolf, slo))
    censored = false_alarms_per_day(judged(wolf, slo, scale_outs_seconds=(at,)))
    assert plain.value > censored.value
    assert "scale-out left out" in censored.note


@pytest.mark.parametrize("measure", MEASURES)
def test_without_an_objective_the_question_does_not_arise(measure):
    estimate = measure(prepared(np.ones(100), np.ones(100)))
    assert estimate.status == "not_applicable"
    assert "[[objectives]]" in estimate.note


@pytest.mark.parametrize("measure", MEASURES)
def test_without_a_breach_there_is_nothing_to_announce(measure):
    signal, slo = planted()
    kept = SloCounts(
        OBJECTIVE, "decode", slo.observed, 0 * slo.over_low, 0 * slo.over_low, "", 0, 0
    )
    estimate = measure(judged(signal, kept))
    assert estimate.status == "not_applicable"
    assert estimate.note.startswith("No breach of p95 tbt")


@pytest.mark.parametrize("measure", MEASURES)
def test_one_breach_cannot_both_fit_a_cut_and_test_it(measure):
    with pytest.raises(NotEnoughDataError, match="Only one breach"):
        measure(judged(*planted(breaches=1)))


def test_rates_are_per_day_without_breaches():
    signal, slo = planted()
    days = STEPS * STEP_SECONDS / DAY_SECONDS
    assert f"{days:.0f}" == "3"
    note = false_alarms_per_day(judged(signal, slo)).note
    assert note.startswith("0 in 2.")
