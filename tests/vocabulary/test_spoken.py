from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalstudy.vocabulary.estimate import Estimate, unidentified
from signalstudy.vocabulary.spoken import (
    one_line,
    spoken_duration,
    spoken_estimate,
    spoken_number,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (-0.0, "0"),
        (2310.4, "2,310"),
        (9999.96, "10,000"),
        (1234567.0, "1,235,000"),
        (999.96, "1,000"),
        (0.98204, "0.982"),
        (12.0, "12"),
        (-4.25, "-4.25"),
        (1e-7, "1e-07"),
        (3e15, "3e+15"),
    ],
)
def test_a_number_is_spoken_with_four_significant_digits(value, text):
    assert spoken_number(value) == text


@given(st.floats(-1e11, 1e11).filter(lambda value: abs(value) > 1e-4))
def test_a_spoken_number_is_the_number_to_four_digits(value):
    assert float(spoken_number(value).replace(",", "")) == pytest.approx(value, rel=6e-4)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0, "0 s"),
        (0.04, "40 ms"),
        (-12.0, "-12 s"),
        (119.0, "119 s"),
        (372.0, "6.2 min"),
        (5400.0, "90 min"),
        (86400.0, "24 h"),
        (3 * 86400.0, "3 d"),
    ],
)
def test_a_duration_is_spoken_in_the_unit_people_use(seconds, text):
    assert spoken_duration(seconds) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (None, "–"),
        (Estimate(0.982, 0.97, 0.99), "0.982 [0.97, 0.99]"),
        (Estimate(2310.0, 2240.0, status="lower_bound"), "≥ 2,310 [2,240, –]"),
        (Estimate(3.0), "3"),
        (unidentified("Why."), "unidentified"),
    ],
)
def test_an_estimate_is_spoken_in_one_cell(estimate, text):
    assert spoken_estimate(estimate) == text


@given(st.text())
def test_a_label_never_breaks_the_line(text):
    assert one_line(text).isprintable()


def test_a_printable_label_is_left_as_it_is():
    assert one_line("chat/Qwen3-8B é 中") == "chat/Qwen3-8B é 中"
    assert one_line("a\nb") == "a\\nb"


def test_a_value_above_the_truth_is_not_spoken_as_if_it_were_known():
    broken = Estimate(31490.0, high=31490.0, status="censored", note="broken throughout")
    assert spoken_estimate(broken) == "< 31,490"
    ratio = Estimate(0.82, status="censored", note="neither knee was visited")
    assert spoken_estimate(ratio) == "0.82"
