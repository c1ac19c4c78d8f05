"""Every measure has one shape, a question, and a name that ends in what it is."""

import inspect

import pytest

from signalstudy.evidence.measures import MEASURES

OF_THE_CONTRACT = {
    *("coverage_ratio", "demand_correlation", "effective_observations"),
    *("lag_seconds", "seen_lag_seconds", "signal_to_noise_ratio", "peak_separation"),
    *("linearity_ratio", "demand_elasticity", "gain_ratio", "dynamic_range_ratio"),
    *("capacity_elasticity", "cache_distortion_ratio", "breach_recall_ratio"),
    *("breach_lead_seconds", "false_alarms_per_day"),
}
ENDINGS = (
    *("_ratio", "_seconds", "_per_day"),
    *("_correlation", "_elasticity", "_probability", "_observations", "_separation"),
)


def test_the_measures_of_the_contract_are_all_there():
    assert set(MEASURES) >= OF_THE_CONTRACT


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_asks_a_question(name):
    question = MEASURES[name].question
    assert question[0].isupper()
    assert question.endswith("?")


def test_no_two_measures_ask_the_same():
    assert len({measure.question for measure in MEASURES.values()}) == len(MEASURES)


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_is_named_by_what_it_is_and_its_function_by_the_same(name):
    assert name.endswith(ENDINGS)
    assert MEASURES[name].function.__name__ == name


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_takes_a_prepared_pair_and_gives_an_estimate(name):
    function = MEASURES[name].function
    ((parameter),) = inspect.signature(function).parameters.values()
    assert parameter.annotation == "Prepared"
    assert inspect.signature(function).return_annotation == "Estimate"
    assert inspect.getdoc(function).split("\n")[0].endswith((".", "?"))
