"""Replicas, events, start-up, SLO counts, exclusions: what a Timeline holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from signalstudy.timeline.align import align, read_points
from signalstudy.timeline.replicas import replica_events, startup_durations
from signalstudy.vocabulary.objectives import Objective
from tests.telemetry.written import (
    START,
    as_dump,
    iso,
    read,
    sample,
    series,
    study,
    timeline_of,
    written,
)


def flat(metric: str, value: float, steps: int = 40, **labels: str) -> list[dict[str, Any]]:
    return series(metric, [value] * steps, **labels)


def test_replicas_are_counted_by_their_live_series(tmp_path):
    rows = flat("vllm:num_requests_running", 4, 60, replica="d0")
    rows += [
        sample("vllm:num_requests_running", 200 + 10.0 * i, 4, replica="d1") for i in range(20)
    ]
    timeline = timeline_of(tmp_path, rows)
    pool = timeline.pools["decode"]
    assert pool.replicas_source == "counted live series"
    assert pool.ready_replicas[[5, 30, 50]].tolist() == [1, 2, 1]
    assert [(e.kind, e.at_seconds - START) for e in timeline.events] == [
        ("scale_out", 200.0),
        ("scale_in", 400.0),
    ]


def test_a_replica_that_started_again_with_new_labels_is_one_replica(tmp_path):
    rows = flat("vllm:num_requests_running", 4, 60, replica="d0")
    for worker, begin in (("a", 0), ("b", 300)):
        rows += [
            sample("vllm:num_requests_running", begin + 10.0 * i, 4, replica="d1", worker=worker)
            for i in range(20)
        ]
    pool = timeline_of(tmp_path, rows).pools["decode"]
    assert pool.ready_replicas[[5, 25, 40, 55]].tolist() == [2, 1, 2, 1]


def test_resets_are_events_and_do_not_make_negative_rates(tmp_path):
    values = [100.0 * i for i in range(20)] + [50.0 + 100.0 * i for i in range(20)]
    timeline = timeline_of(tmp_path, series("vllm:generation_tokens_total", values))
    rate = timeline.pools["decode"].signals["decode_tokens_per_second"].values
    assert np.nanmin(rate) == pytest.approx(5.0)  # 50 tokens were made after the reset, at least
    assert np.nansum(rate) * 10.0 == pytest.approx(1900 + 50 + 1900)
    assert [event.kind for event in timeline.events] == ["counter_reset"]


def test_a_stale_marker_ends_a_series_and_is_no_value(tmp_path):
    rows = flat("vllm:num_requests_running", 4, 40, replica="d0")
    rows += flat("vllm:num_requests_running", 4, 20, replica="d1")
    rows += [sample("vllm:num_requests_running", 200.0, float("nan"), replica="d1")]
    content = as_dump(rows).replace(b"nan", b"NaN")
    source = {"kind": "tsdb-dump", "path": written(tmp_path, content, "dump.txt")}
    pool = align(read(tmp_path, study(source)), "chat").pools["decode"]
    assert pool.signals["running_requests"].values[[10, 30]].tolist() == [8.0, 4.0]
    assert pool.ready_replicas[[10, 30]].tolist() == [2.0, 1.0]


def test_events_are_the_changes_of_ready_replicas():
    ready = np.array([2.0, 2.0, np.nan, 3.0, 1.0])
    found = replica_events(np.arange(5.0), ready, "decode")
    assert [(e.kind, e.at_seconds, e.note) for e in found] == [
        ("scale_out", 3.0, "2 to 3 ready replicas"),
        ("scale_in", 4.0, "3 to 1 ready replicas"),
    ]


def test_start_up_is_measured_from_starting_to_ready():
    at = 10.0 * np.arange(30)
    ready, starting = np.full(30, 2.0), np.zeros(30)
    starting[5:17] = 1.0  # one asked for at 50 s, ready at 170 s
    ready[17:] = 3.0
    starting[20:24] += 2.0  # two at 200 s, ready at 240 s and 250 s
    starting[24] = 1.0
    ready[24:] += 1.0
    ready[25:] += 1.0
    assert startup_durations(at, ready, starting).tolist() == [120.0, 40.0, 50.0]


def test_a_replica_that_never_came_gives_no_start_up():
    starting = np.array([0, 1, 1, 0, 0, 0.0])
    assert startup_durations(np.arange(6.0), np.full(6, 2.0), starting).size == 0
    assert startup_durations(np.arange(6.0), np.full(6, np.nan), starting).size == 0


def test_an_exporter_that_renews_slower_than_it_is_scraped_is_noticed(tmp_path):
    random = np.random.default_rng(1)
    stairs = np.repeat(random.uniform(0.2, 0.9, 100), 3)
    rows = series("DCGM_FI_PROF_SM_ACTIVE", stairs.tolist())
    rows += series("vllm:kv_cache_usage_perc", random.uniform(0.2, 0.9, 300).tolist())
    signals = timeline_of(tmp_path, rows).pools["decode"].signals
    assert signals["sm_activity_ratio"].refresh_seconds == pytest.approx(30.0)
    assert signals["sm_activity_ratio"].scrape_seconds == pytest.approx(10.0)
    assert signals["kv_cache_usage_ratio"].refresh_seconds == 0.0


def test_excluded_spans_are_not_usable_and_stay_in_the_arrays(tmp_path):
    rows = flat("vllm:num_requests_running", 4)
    timeline = timeline_of(tmp_path, rows, excluded=[(START + 95.0, START + 200.0)])
    ends = timeline.time_seconds[~timeline.usable] - START
    assert (ends[0], ends[-1]) == (100.0, 200.0)
    assert np.isfinite(timeline.pools["decode"].signals["running_requests"].values).all()


def latency_rows(edges: tuple[str, ...]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Give a histogram and the very requests it counted."""
    random = np.random.default_rng(11)
    at = np.sort(random.uniform(0.0, 390.0, 3000))
    ttft = random.lognormal(-1.5, 0.8, 3000)
    log = [
        {"arrived_at": iso(START + t), "ttft_seconds": v, "prompt_tokens": 1, "output_tokens": 1}
        for t, v in zip(at, ttft, strict=True)
    ]
    seen = at + ttft
    rows = [
        sample("vllm:time_to_first_token_seconds_bucket", t, float(n), le=le)
        for t in np.arange(0.0, 410.0, 10.0)
        for le in edges
        for n in [((seen <= t) & (ttft <= float(le.replace("Inf", "inf")))).sum()]
    ]
    rows += [
        sample("vllm:time_to_first_token_seconds_count", t, float((seen <= t).sum()))
        for t in np.arange(0.0, 410.0, 10.0)
    ]
    return rows, log


def test_histogram_and_single_requests_count_alike_where_the_limit_is_an_edge(tmp_path):
    rows, log = latency_rows(("0.1", "0.25", "0.5", "1.0", "+Inf"))
    limit = (Objective("ttft", 0.95, 0.5),)
    (tmp_path / "log").mkdir()
    [counted] = timeline_of(tmp_path, rows, objectives=limit).slo_counts
    logged = {"kind": "requests", "path": written(tmp_path / "log", log, "requests.csv")}
    samples = written(tmp_path / "log", flat("vllm:num_requests_running", 1, 41), "samples.csv")
    both = read(tmp_path / "log", study(samples, logged))
    [known] = align(both, "chat", objectives=limit).slo_counts
    assert counted.is_exact
    assert (counted.source, known.source) == ("histogram of decode", "requests")
    np.testing.assert_array_equal(counted.over_low, counted.over_high)
    inside = slice(0, 38)
    np.testing.assert_array_equal(counted.observed[inside], known.observed[1:39])
    np.testing.assert_array_equal(counted.over_low[inside], known.over_low[1:39])


def test_requests_within_every_limit_are_counted_one_by_one(tmp_path):
    """Late twice is missed once; never finished is missed; one token has no time between tokens."""
    latencies = [(0.1, 0.02, 9), (2.0, 0.09, 9), (0.1, 0.09, 9), (None, None, 9), (0.1, None, 1)]
    log = [
        {
            "arrived_at": iso(START + 2.0 * i),
            "prompt_tokens": 9,
            "output_tokens": tokens,
            "ttft_seconds": ttft,
            "tbt_seconds": tbt,
        }
        for i, (ttft, tbt, tokens) in enumerate(latencies * 20)
    ]
    limits = (Objective("ttft", 0.9, 1.0), Objective("tbt", 0.9, 0.05))
    logged = {"kind": "requests", "path": written(tmp_path, log, "requests.csv")}
    samples = written(tmp_path, flat("vllm:num_requests_running", 1, 41), "samples.csv")
    timeline = align(read(tmp_path, study(samples, logged)), "chat", objectives=limits)
    assert timeline.attained.offered.sum() == 100
    assert timeline.attained.within.sum() == 40
    half = timeline.between(0.0, float(timeline.time_seconds[19]))
    assert half.attained.within.sum() == pytest.approx(40, abs=2)


def test_between_edges_the_counts_bracket_the_truth_and_the_report_says_so(tmp_path):
    rows, log = latency_rows(("0.1", "0.25", "0.5", "1.0", "+Inf"))
    timeline = timeline_of(tmp_path, rows, objectives=[Objective("ttft", 0.95, 0.4)])
    [counted] = timeline.slo_counts
    truth = sum(row["ttft_seconds"] > 0.4 for row in log)
    assert not counted.is_exact
    assert (counted.edge_low_seconds, counted.edge_high_seconds) == (0.25, 0.5)
    assert counted.over_low.sum() <= truth <= counted.over_high.sum()
    assert any("between the bucket edges 0.25 and 0.5" in row.note for row in timeline.quality)


def test_replicas_with_different_edges_share_what_they_have_in_common(tmp_path):
    rows, _ = latency_rows(("0.1", "0.5", "+Inf"))
    other, _ = latency_rows(("0.25", "0.5", "+Inf"))
    rows += [{**row, "replica": "d1"} for row in other]
    [counted] = timeline_of(tmp_path, rows, objectives=[Objective("ttft", 0.9, 0.5)]).slo_counts
    assert counted.is_exact
    assert counted.observed.sum() == pytest.approx(6000, rel=0.05)


def test_an_objective_nobody_tells_of_is_said_to_be_unjudged(tmp_path):
    rows = flat("vllm:num_requests_running", 4)
    timeline = timeline_of(tmp_path, rows, objectives=[Objective("e2e", 0.9, 0.5)])
    assert timeline.slo_counts == ()
    assert any("cannot be judged" in row.note for row in timeline.quality)


def test_totals_are_not_known_where_too_few_replicas_export(tmp_path):
    rows = flat("ready_replicas", 4, 40)
    for replica in ("d0", "d1", "d2", "d3"):
        steps = 40 if replica in ("d0", "d1") else 20
        rows += flat("vllm:num_requests_running", 3, steps, replica=replica)
        rows += flat("kv_cache_usage_ratio", 0.5, steps, replica=replica)
    timeline = timeline_of(tmp_path, rows)
    found = timeline.pools["decode"].signals
    assert found["running_requests"].values[5] == 12.0
    assert np.isnan(found["running_requests"].values[30])
    assert found["kv_cache_usage_ratio"].values[30] == 0.5
    assert any("of the ready replicas have" in row.note for row in timeline.quality)


def test_the_hit_ratio_comes_from_counters_without_averaging_ratios(tmp_path):
    asked = np.cumsum([1000.0 if i % 2 else 10.0 for i in range(60)])
    hits = np.cumsum([100.0 if i % 2 else 10.0 for i in range(60)])
    rows = series("vllm:prefix_cache_queries_total", asked.tolist())
    rows += series("vllm:prefix_cache_hits_total", hits.tolist())
    timeline = timeline_of(tmp_path, rows)
    assert np.nanmedian(timeline.prefix_cache_hit_ratio) == pytest.approx(110 / 1010, rel=0.05)


def test_points_are_nouns_of_their_own(tmp_path):
    rows = [
        {
            "concurrency_requests": 4,
            "ttft_seconds": 0.5,
            "tbt_seconds": 0.02,
            "prompt_tokens": 100,
            "output_tokens": 26,
        }
    ]
    telemetry = read(tmp_path, study({"kind": "points", "path": written(tmp_path, rows)}))
    points = read_points(telemetry, "chat")
    assert points.decode_tokens_per_second.tolist() == [104.0]
    assert np.isnan(points.gpus_per_replica).all()
    assert read_points(telemetry, "other") is None


def test_littles_law_closes_on_sound_data_and_not_on_a_missing_replica(tmp_path):
    for place, tokens in (("sound", 400.0), ("torn", 200.0)):
        rows = flat("vllm:num_requests_running", 20, 80)
        rows += series("vllm:generation_tokens_total", [tokens * 10 * i for i in range(80)])
        rows += series(
            "vllm:request_time_per_output_token_seconds_sum", [10.0 * i * 0.05 for i in range(80)]
        )
        rows += series(
            "vllm:request_time_per_output_token_seconds_count", [10.0 * i for i in range(80)]
        )
        (tmp_path / place).mkdir()
        [row] = [
            row
            for row in timeline_of(tmp_path / place, rows).quality
            if row.check.startswith("Little")
        ]
        assert row.status == {"sound": "ok", "torn": "warning"}[place]
