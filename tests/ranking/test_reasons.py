"""The sentences: the right words, the right numbers, one sentence's grammar for every finding."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from signalstudy.evidence.evidence import SignalEvidence
from signalstudy.ranking.gates import Finding, Judgement
from signalstudy.ranking.reasons import reason_for
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified

MEASURES = {
    "coverage_ratio": Estimate(1.0),
    "demand_correlation": Estimate(0.99, 0.98, 0.995),
    "effective_observations": Estimate(13.2),
    "lag_seconds": Estimate(8.04, 7.0, 9.0),
    "signal_to_noise_ratio": Estimate(49.0, 40.0, 60.0),
    "demand_elasticity": Estimate(0.97, 0.95, 0.99),
    "gain_ratio": Estimate(2.7, 2.1, 3.4),
    "dynamic_range_ratio": Estimate(0.1, 0.08, 0.12),
    "cache_distortion_ratio": Estimate(1.5, 1.2, 1.8),
    "capacity_elasticity": unidentified("Replicas never changed."),
}


def say(verdict, finding, name="some_ratio", kind="intensive", **measures):
    signal = SignalEvidence("decode", name, kind, MEASURES | measures)
    return reason_for(signal, Judgement(verdict, finding))


def test_a_proportional_signal_is_described_with_its_numbers():
    assert say("proportional", "proportional") == (
        "Rises with demand almost in proportion (elasticity 0.97 [0.95, 0.99]), 8 s late. "
        "That it falls as replicas are added is not tested: replicas never changed. "
        "Demand explains 98 % of what it does."
    )


def test_a_tested_response_to_replicas_is_told():
    tested = say("proportional", "proportional", capacity_elasticity=Estimate(-1.0, -1.1, -0.9))
    assert "It falls as replicas are added (capacity elasticity -1.00 [-1.10, -0.90])." in tested


def test_a_total_over_replicas_is_not_called_untested():
    arithmetic = not_applicable("It is -1 by arithmetic.")
    said = say("proportional", "proportional", kind="total", capacity_elasticity=arithmetic)
    assert "not tested" not in said


@pytest.mark.parametrize(
    ("lag", "expected"),
    [
        (Estimate(0.4, -1.0, 2.0), "without measurable lag"),
        (Estimate(372.0, 330.0, 420.0), "6.2 min late"),
        (Estimate(-20.0, -25.0, -15.0), "20 s early"),
        (unidentified("Flat."), "with a lag that the data do not show"),
    ],
)
def test_the_lag_is_said_as_people_say_it(lag, expected):
    assert expected in say("proportional", "proportional", lag_seconds=lag)


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        ("flat", "Pinned: moves only 10 % of its value"),
        ("cliff", "A cliff: 2.70 times steeper at high demand than at low"),
        ("distorted", "the signal per unit of work changes by 150 %"),
        ("concave", "doubling demand multiplies it by only 1.96"),
        ("quiet_demand", "quiet and busy hours"),
        ("too_little_data", "about 13 independent observations"),
        ("saturates", "rises 2.70 times as steeply"),
    ],
)
def test_rejections_name_their_numbers(finding, expected):
    assert expected in say("rejected", finding)


def test_a_signal_that_turns_around_at_high_demand_is_told_apart_from_one_that_flattens():
    said = say("rejected", "saturates", gain_ratio=Estimate(-1.2, -1.5, -0.9))
    assert said.startswith("Turns around: at high demand it falls")


def test_a_note_that_says_not_tested_is_not_said_twice():
    noted = unidentified("not tested: replicas never changed.")
    said = say("proportional", "proportional", capacity_elasticity=noted)
    assert said.count("not tested") == 1


def test_thin_coverage_is_said():
    assert "Only 62 % of the time is covered by data." in say(
        "proportional", "proportional", coverage_ratio=Estimate(0.62)
    )


def test_noise_asks_for_a_longer_window():
    noisy = say("proportional", "proportional", signal_to_noise_ratio=Estimate(0.7))
    assert "Noisy: demand explains 41 % of what it does; follow it through a longer" in noisy


def test_a_guard_tells_what_it_would_have_warned_of():
    said = say(
        "guard",
        "cliff",
        breach_recall_ratio=Estimate(0.9),
        false_alarms_per_day=Estimate(0.5),
    )
    assert (
        "It would have warned of 90 % of the breaches in time, at 0.5 false alarms a day." in said
    )


@pytest.mark.parametrize("finding", get_args(Finding))
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", ["some_ratio", "tbt_p99_seconds"])
def test_every_finding_is_whole_sentences_whatever_is_known(finding, known, name):
    measures = {} if known else dict.fromkeys(MEASURES, unidentified("Demand hardly moved."))
    said = say("undetermined", finding, name=name, **measures)
    assert re.fullmatch(r"[A-Z].*\.", said)
    assert not re.search(r"nan|None|\s{2}|\.\.|\( ?\)| ,", said)


def test_a_straight_line_that_starts_above_zero_is_told_from_proportion():
    line = {"demand_elasticity": Estimate(0.28, 0.25, 0.3), "linearity_ratio": Estimate(0.99)}
    said = say("guard", "rises", "tbt_mean_seconds", gain_ratio=Estimate(1.3, 1.1, 1.5), **line)
    assert "along almost a straight line, but far from in proportion (elasticity 0.28" in said


def test_an_elasticity_that_may_be_one_is_not_called_out_of_proportion():
    said = say("guard", "rises", "kv_cache_usage_ratio", demand_elasticity=Estimate(0.4, 0.1, 1.1))
    assert "whether in proportion the data do not say" in said
    assert "not in proportion" not in said


def test_only_what_reports_a_busy_service_is_said_to():
    assert "busy service" in say("rejected", "flat", "gpu_utilization_ratio")
    hits = say("rejected", "flat", "prefix_cache_hit_ratio", dynamic_range_ratio=Estimate(-0.07))
    assert "busy" not in hits
    assert "moves only 7 % of its value" in hits


def test_a_share_that_rounds_to_everything_is_not_said_so():
    nearly = say("proportional", "proportional", signal_to_noise_ratio=Estimate(900.0))
    assert "Demand explains over 99 % of what it does." in nearly


def test_a_patchy_signal_says_once_how_much_is_known():
    said = say("undetermined", "patchy", coverage_ratio=Estimate(0.19))
    assert said.count("19 %") == 1


def test_what_moves_but_not_with_demand_is_not_called_pinned():
    said = say("rejected", "flat", dynamic_range_ratio=Estimate(-0.85))
    assert said.startswith("Does not grow with demand (elasticity 0.97")
