"""What the study says of the sample that ships: the cache moves one service, and rests in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from signalstudy.study.run import run_study

SAMPLE = Path(__file__).resolve().parents[2] / "sample" / "study.toml"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory):
    return run_study(SAMPLE, out=tmp_path_factory.mktemp("sample"))


def signals_of(study, service: str):
    return {(s.pool, s.signal): s for s in study.services[service].ranking.signals}


def test_where_cache_hits_vary_all_prompt_tokens_are_rejected_and_the_uncached_ones_kept(study):
    found = signals_of(study, "search")
    every = found["prefill", "prefill_tokens_per_second"]
    uncached = found["prefill", "prefill_uncached_tokens_per_second"]
    assert every.verdict == "rejected"
    assert "Follows the cache" in every.reason
    assert every.measures["cache_distortion_ratio"].low > 0.25
    assert uncached.verdict == "proportional"
    assert uncached.measures["cache_distortion_ratio"].high < 0.25


def test_decode_utilization_is_rejected_in_both_services(study):
    for service in study.services:
        assert signals_of(study, service)["decode", "gpu_utilization_ratio"].verdict == "rejected"


def test_no_day_of_the_sample_holds_two_regimes(study):
    assert all(service.regimes == () for service in study.services.values())
