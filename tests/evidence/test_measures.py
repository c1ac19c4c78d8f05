import inspect

from signalstudy.evidence.measures import MEASURES

CONTRACT = {
    "coverage_ratio",
    "demand_correlation",
    "effective_observations",
    "lag_seconds",
    "seen_lag_seconds",
    "signal_to_noise_ratio",
    "peak_separation",
    "linearity_ratio",
    "demand_elasticity",
    "gain_ratio",
    "dynamic_range_ratio",
    "capacity_elasticity",
    "cache_distortion_ratio",
    "breach_recall_ratio",
    "breach_lead_seconds",
    "false_alarms_per_day",
}


def test_every_measure_of_the_contract_is_taken():
    assert set(MEASURES) >= CONTRACT


def test_every_measure_asks_a_question_and_bears_the_name_of_its_function():
    for name, measure in MEASURES.items():
        assert measure.question.endswith("?")
        assert measure.function.__name__ == name
        assert (measure.function.__doc__ or "").split("\n")[0].endswith(".")


def test_all_measures_have_one_signature():
    signatures = {str(inspect.signature(measure.function)) for measure in MEASURES.values()}
    assert signatures == {"(prepared: 'Prepared') -> 'Estimate'"}
