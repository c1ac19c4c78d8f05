"""What is printed of a study: no number that is none, no verdict on what is not there."""

from __future__ import annotations

import pytest

from signalstudy.study.run import run_study
from signalstudy.study.stages import study_text

POINTS = (
    "concurrency_requests,ttft_seconds,tbt_seconds,prompt_tokens,output_tokens\n"
    + "".join(f"{c},{0.1 + c / 100},{0.01 + c / 5000},1024,256\n" for c in (1, 2, 4, 8, 16, 32, 64))
)  # fmt: skip


@pytest.fixture
def said(tmp_path):
    def run(more):
        (tmp_path / "points.csv").write_text(POINTS)
        (tmp_path / "study.toml").write_text(
            f'[study]\nname = "sweep"\n[[sources]]\nkind = "points"\npath = "points.csv"\n{more}'
        )
        return study_text(run_study(tmp_path / "study.toml", out=tmp_path / "out"))

    return run


def test_operating_points_give_a_capacity_and_say_that_they_judge_no_signal(said):
    text = said('[[objectives]]\nsignal = "tbt"\nquantile = 0.9\nat_most_seconds = 0.015\n')
    assert "operating points without a time axis" in text
    assert "one replica of unified bears decode_tokens_per_second = " in text
    assert "none that the catalogue knows" not in text


def test_without_an_objective_the_reason_stands_where_the_number_would(said):
    text = said("")
    assert "what one replica of unified bears: not applicable. No objective is given." in text
    assert "= not applicable" not in text
    assert "no policy: No policy" not in text


def test_a_capacity_that_is_only_an_upper_bound_is_printed_as_one(said):
    text = said('[[objectives]]\nsignal = "ttft"\nquantile = 0.9\nat_most_seconds = 0.05\n')
    assert "bears decode_tokens_per_second < " in text
    assert "(censored, bound by ttft)" in text
