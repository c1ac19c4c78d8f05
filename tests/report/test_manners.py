"""Every result is a table with manners: .frame(), a short repr, escaped HTML."""

from __future__ import annotations

import polars as pl
import pytest

HOSTILE = "<script>alert(1)</script>\n"


def nouns(studies):
    """One of each noun that has a table."""
    service = studies.make_service(HOSTILE, ranking=studies.make_ranking(HOSTILE))
    return [
        service.ranking,
        studies.make_evidence(HOSTILE),
        service.threshold,
        service.pd_ratio,
    ]


@pytest.mark.parametrize("which", range(4))
def test_a_noun_prints_in_ten_lines_and_escapes_in_html(studies, which):
    noun = nouns(studies)[which]
    assert 2 <= len(repr(noun).splitlines()) <= 10
    assert "<script>" not in noun._repr_html_()
    assert noun._repr_html_().startswith("<table>")


def test_a_ranking_as_frame_holds_each_signal_and_the_value_of_each_measure(studies):
    ranking = studies.make_ranking()
    frame = ranking.frame()
    assert frame.height == len(ranking.signals)
    assert frame["rank"].to_list() == [signal.rank for signal in ranking.signals]
    assert frame["demand_correlation"][0] == 0.98
    assert frame.schema["in_confidence_set"] == pl.Boolean


def test_a_ranking_prints_its_verdict_first(studies):
    lines = repr(studies.make_ranking()).splitlines()
    assert lines[0].startswith("chat: Follow decode_tokens_per_second")
    assert lines[2].split()[:3] == ["1", "decode.decode_tokens_per_second", "proportional"]


def test_evidence_as_frame_is_the_form_of_evidence_parquet(studies):
    evidence = studies.make_evidence()
    frame = evidence.frame()
    assert frame.columns[:4] == ["service", "pool", "signal", "measure"]
    assert frame.height == sum(len(signal.measures) for signal in evidence.signals)
    unknown = frame.filter(pl.col("value").is_null())
    assert set(unknown["status"]) == {"unidentified", "not_applicable"}
    assert unknown["note"].str.len_chars().min() > 0


def test_frames_of_nothing_keep_their_columns(studies):
    bare = studies.make_bare_service()
    assert bare.evidence.frame().columns[-1] == "method"
    assert bare.evidence.frame().height == 0
    assert bare.threshold.frame()["status"].to_list() == ["not_applicable"] * 4


def test_a_threshold_as_frame_holds_every_pools_capacity(studies):
    frame = studies.make_threshold().frame()
    assert "prefill.prefill_uncached_tokens_per_second" in frame["quantity"].to_list()
    assert studies.make_service().pd_ratio.frame()["value"].to_list() == [1.29, 5.4]
