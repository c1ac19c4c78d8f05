from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from signalstudy.report.drawn import (
    demand_figures,
    script_json,
    telling_signals,
    threshold_figures,
    time_figures,
)


@given(st.text() | st.sampled_from(["</script>", "<!--", "\u2028", "&lt;"]))
def test_json_in_a_script_means_the_same_and_holds_nothing_html_reads(text):
    escaped = str(script_json(json.dumps({"label": text}, ensure_ascii=False)))
    assert not set("<>&\u2028\u2029") & set(escaped)
    assert json.loads(escaped) == {"label": text}


def test_best_guards_and_rejected_hardware_are_drawn_against_demand(studies):
    blocks = demand_figures(studies.make_service())
    verdicts = [block.verdict for block in blocks]
    assert verdicts[:3] == ["proportional"] * 3
    assert verdicts.count("guard") == 3
    rejected = [block.alt for block in blocks if block.verdict == "rejected"]
    assert rejected[0].startswith("sm_activity_ratio")
    assert rejected[1].startswith("gpu_utilization_ratio")


def test_where_a_figure_cannot_be_drawn_the_sentence_stands(studies):
    (block,) = threshold_figures(studies.make_bare_service())
    assert block.json == ""
    assert block.sentence.startswith("No objective is stated")
    assert block.status == "not_applicable"


def test_a_pressure_test_is_drawn_beside_production(studies):
    service = studies.make_service(pressure_test=studies.make_timeline(steps=300))
    assert [block.title for block in time_figures(service)] == ["Production", "Pressure test"]


def test_points_are_drawn_where_there_is_no_time(studies):
    (block,) = time_figures(studies.make_bare_service())
    assert block.title == "Operating points"
    assert block.json


def test_the_guards_shown_are_of_different_latencies_first(studies):
    service = studies.make_service()
    guard = service.ranking.signals[4]
    names = [f"e2e_p{n}_seconds" for n in (50, 90, 99)] + ["tbt_mean_seconds", "waiting_requests"]
    signals = tuple(replace(guard, signal=name, verdict="guard") for name in names * 2)
    shown = telling_signals(replace(service.ranking, signals=signals))
    assert {signal.signal for signal in shown} >= {
        "e2e_p50_seconds",
        "tbt_mean_seconds",
        "waiting_requests",
    }


def test_the_cliff_that_users_feel_is_drawn_before_other_guards(studies):
    service = studies.make_service()
    guard = service.ranking.signals[4]
    names = ("kv_cache_usage_ratio", "running_requests", "waiting_requests", "ttft_p99_seconds")
    signals = tuple(replace(guard, signal=name, verdict="guard") for name in names * 2)
    shown = telling_signals(replace(service.ranking, signals=signals))
    assert "ttft_p99_seconds" in {signal.signal for signal in shown[:5]}
    most = tuple(replace(guard, signal=f"x{n}", verdict="guard") for n in range(9))
    late = replace(guard, signal="ttft_p99_seconds", verdict="guard")
    shown = telling_signals(replace(service.ranking, signals=(*most, late)))
    assert late in shown
