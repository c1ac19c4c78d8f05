from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalstudy.scalers.formula import evaluate, names
from signalstudy.vocabulary.errors import ConfigurationError
from tests.scalers import documented


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("8 / 2 / 2", 2.0),
        ("7 % 4 - -1", 4.0),
        ("a > 1 ? 10 : 20", 10.0),
        ("a > 2 ? 10 : a > 1 ? 20 : 30", 20.0),
        ("a > 1 && b > 5 || !(a > 1)", 0.0),
        ("max(a, b, 1.5) + min(a, b)", 5.0),
        ("ceil(2.1) + floor(2.9) + round(2.5) + abs(0 - 1)", 9.0),
        ("1e3 * .5", 500.0),
        ("a == 2 != 0", 1.0),
    ],
)
def test_arithmetic_is_that_of_expr(formula, value):
    assert evaluate(formula, {"a": 2.0, "b": 3.0}) == value


def test_a_division_by_zero_is_no_number():
    assert math.isnan(evaluate("1 / a", {"a": 0.0}))


def test_names_are_those_of_triggers_not_of_functions():
    assert names("max(tps / 1890, n * 1.1) > ceil(x_1) ? 1 : 0") == {"tps", "n", "x_1"}


@pytest.mark.parametrize(
    "formula",
    ["", "1 +", "(1", "max(1", "max 1", "a ? 1", "1 2", "unknown", "a; b", "'text'", "a ? b : "],
)
def test_what_is_not_understood_is_said(formula):
    with pytest.raises(ConfigurationError, match="understood"):
        evaluate(formula, {"a": 1.0, "b": 2.0})


def test_brackets_without_end_are_refused_not_followed():
    with pytest.raises(ConfigurationError):
        evaluate("(" * 500 + "1" + ")" * 500, {})


@given(st.floats(0.0, 1e6), st.floats(1.0, 100.0), st.floats(0.0, 0.1))
def test_two_readings_of_one_formula_agree(tps, n, tbt):
    text = (
        "max(tps / 1890 > n * 1.1 || tps / 1890 < n * 0.8 ? tps / 1890 : n, "
        "tbt > 0.048 ? n * 1.2 : tbt > 0.044 ? n * 1.1 : 0)"
    )
    values = {"tps": tps, "n": n, "tbt": tbt}
    assert evaluate(text, values) == documented.formula(text, values)
