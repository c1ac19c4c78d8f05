"""What a source holds does not depend on how it is written down, split or ordered."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
import pytest

from signalstudy.timeline.align import align
from signalstudy.vocabulary.objectives import Objective
from tests.telemetry.written import (
    DUMPS,
    FORMS,
    START,
    Row,
    as_csv,
    as_dump,
    iso,
    read,
    sample,
    series,
    study,
    written,
)

if TYPE_CHECKING:
    from pathlib import Path

    from signalstudy.timeline.timeline import Timeline

OBJECTIVES = (Objective("tbt", 0.9, 0.05),)


def recording() -> list[Row]:
    """Two replicas of uneven rate with a reset, a histogram, gauges and demand."""
    rows: list[Row] = []
    random = np.random.default_rng(3)
    for replica, phase in (("d0", 0.0), ("d1", 3.7)):
        tokens, counts, total = 0.0, np.zeros(3), 0.0
        for i in range(40):
            at = 10.0 * i + phase
            tokens = 50.0 if (replica, i) == ("d1", 20) else tokens + random.integers(50, 900)
            arrived = random.integers(0, 9, 3)
            counts += np.cumsum(arrived)
            total += float(arrived @ [0.02, 0.06, 0.2])
            said = [
                ("vllm:generation_tokens_total", tokens, None),
                ("vllm:num_requests_running", float(random.integers(0, 30)), None),
                ("vllm:request_time_per_output_token_seconds_sum", round(total, 6), None),
                ("vllm:request_time_per_output_token_seconds_count", counts[2], None),
                *(
                    ("vllm:request_time_per_output_token_seconds_bucket", count, le)
                    for count, le in zip(counts, ("0.05", "0.1", "+Inf"), strict=True)
                ),
            ]
            rows += [
                sample(metric, at, float(value), replica=replica, le=le)
                for metric, value, le in said
            ]
    return rows


ROWS = recording()


def aligned(folder: Path, *sources: Path | dict[str, object]) -> Timeline:
    timeline = align(read(folder, study(*sources)), "chat", objectives=OBJECTIVES)
    assert timeline is not None
    return timeline


def contents(timeline: Timeline) -> dict[str, object]:
    """Everything of a Timeline but the texts that name files."""
    said: dict[str, object] = {
        field.name: getattr(timeline, field.name)
        for field in fields(timeline)
        if field.name not in ("pools", "slo_counts", "quality", "events")
    }
    for name, pool in timeline.pools.items():
        said[f"{name} ready"] = pool.ready_replicas
        said[f"{name} demand"] = pool.demand.per_second if pool.demand else None
        for signal in pool.signals.values():
            said[f"{name} {signal.name}"] = signal.values
            said[f"{name} {signal.name} cadence"] = signal.scrape_seconds
    for count in timeline.slo_counts:
        said["observed"], said["over"] = count.observed, (count.over_low, count.over_high)
    return said


def assert_same(one: Timeline, two: Timeline) -> None:
    first, second = contents(one), contents(two)
    assert list(first) == list(second)
    for name, values in first.items():
        np.testing.assert_allclose(
            np.nan_to_num(np.asarray(values, dtype=float) if not isinstance(values, str) else 0),
            np.nan_to_num(
                np.asarray(second[name], dtype=float) if not isinstance(values, str) else 0
            ),
            rtol=1e-9,
            err_msg=name,
        )


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return aligned(folder, written(folder, ROWS))


def test_the_recording_holds_what_the_tests_need(expected):
    pool = expected.pools["decode"]
    assert {"decode_tokens_per_second", "running_requests", "tbt_p90_seconds"} <= set(pool.signals)
    assert expected.slo_counts[0].observed.sum() > 100
    assert expected.slo_counts[0].is_exact
    assert any(event.kind == "counter_reset" for event in expected.events)


@pytest.mark.parametrize("name", [name for name in FORMS if name != "samples.csv"])
def test_every_form_of_a_table_gives_the_same_timeline(tmp_path, expected, name):
    file = written(tmp_path, FORMS[name](ROWS), name)
    assert_same(aligned(tmp_path, file), expected)


@pytest.mark.parametrize("name", DUMPS)
def test_a_tsdb_dump_gives_the_same_timeline_as_a_table(tmp_path, expected, name):
    file = written(tmp_path, DUMPS[name](ROWS), name)
    assert_same(aligned(tmp_path, {"kind": "tsdb-dump", "path": file}), expected)


def test_the_order_of_rows_never_matters(tmp_path, expected):
    order = np.random.default_rng(1).permutation(len(ROWS))
    assert_same(aligned(tmp_path, written(tmp_path, [ROWS[i] for i in order])), expected)


def test_rows_that_stand_twice_count_once(tmp_path, expected):
    assert_same(aligned(tmp_path, written(tmp_path, ROWS + ROWS[::3])), expected)


@pytest.mark.parametrize("cut", [1, 100, len(ROWS) // 2, len(ROWS) - 1])
def test_a_recording_may_come_as_two_files_of_one_glob(tmp_path, expected, cut):
    written(tmp_path, ROWS[:cut], "part-1.csv")
    written(tmp_path, ROWS[cut:], "part-2.csv")
    assert_same(aligned(tmp_path, tmp_path / "part-*.csv"), expected)


def test_a_recording_may_come_as_two_sources(tmp_path, expected):
    half = len(ROWS) // 2
    one, two = written(tmp_path, ROWS[:half], "1.csv"), written(tmp_path, ROWS[half:], "2.csv")
    assert_same(aligned(tmp_path, one, two), expected)
    dumps = [
        {"kind": "tsdb-dump", "path": written(tmp_path, as_dump(part), name)}
        for part, name in ((ROWS[:half], "1.txt"), (ROWS[half:], "2.txt"))
    ]
    assert_same(aligned(tmp_path, *dumps), expected)


def test_a_source_named_twice_counts_once(tmp_path, expected):
    file = written(tmp_path, ROWS)
    assert_same(aligned(tmp_path, file, file), expected)


def test_sources_of_two_roles_stay_apart(tmp_path, expected):
    file = written(tmp_path, ROWS)
    sources = [{"kind": "table", "path": file, "role": r} for r in ("production", "pressure-test")]
    telemetry = read(tmp_path, study(*sources))
    for role in ("production", "pressure-test"):
        found = align(telemetry, "chat", role=role, objectives=OBJECTIVES)
        assert found.role == role
        np.testing.assert_array_equal(
            contents(found)["decode decode_tokens_per_second"],
            contents(expected)["decode decode_tokens_per_second"],
        )


def test_shifting_time_shifts_results_and_nothing_else(tmp_path, expected):
    shift = 86_400.0 * 3 + 50.0
    moved = [
        {**row, "timestamp": iso(at + shift)}
        for row in ROWS
        for at in [np.datetime64(row["timestamp"][:-6], "ms").astype(float) / 1000.0]
    ]
    found = aligned(tmp_path, written(tmp_path, moved))
    np.testing.assert_allclose(found.time_seconds, expected.time_seconds + shift)
    one, two = contents(found), contents(expected)
    for name in one:
        if name.startswith("decode decode"):
            np.testing.assert_allclose(one[name], two[name], rtol=1e-6)


def test_a_wide_table_says_the_same_as_a_long_one(tmp_path):
    values = {
        "decode_tokens_per_second": [100.0 + 7 * (i % 9) for i in range(30)],
        "kv_cache_usage_ratio": [0.01 * (i % 50) for i in range(30)],
        "offered_requests_per_second": [2.0 + i % 3 for i in range(30)],
    }
    long = [row for name, v in values.items() for row in series(name, v)]
    wide = [
        {"timestamp": iso(START + 10 * i), "service": "chat", "pool": "decode", "replica": "d0"}
        | {name: v[i] for name, v in values.items()}
        for i in range(30)
    ]
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
    one = aligned(tmp_path / "one", written(tmp_path / "one", long))
    assert_same(aligned(tmp_path / "two", written(tmp_path / "two", wide)), one)
    assert one.pools["decode"].demand.source == "offered_requests"


def test_a_wide_table_has_own_columns_as_candidates(tmp_path):
    rows = [
        {
            "timestamp": iso(START + 10 * i),
            "kv_cache_usage_ratio": 0.5 + 0.01 * i,
            "batch_fill_ratio": 0.3 + 0.01 * i,
            "tool_calls_per_second": 5.0,
            "open_streams_requests": 7.0 + i,
            "region": "eu",
        }
        for i in range(30)
    ]
    pool = aligned(tmp_path, written(tmp_path, rows)).pools["unified"]
    assert set(pool.signals) == {
        "kv_cache_usage_ratio",
        "batch_fill_ratio",
        "tool_calls_per_second",
        "open_streams_requests",
    }
    assert pool.signals["tool_calls_per_second"].kind == "total"
    assert pool.signals["open_streams_requests"].kind == "total"
    assert pool.signals["batch_fill_ratio"].kind == "intensive"


def test_own_names_of_a_long_table_are_counted_and_not_candidates(tmp_path):
    rows = series("kv_cache_usage_ratio", [0.1] * 20) + series("my_gauge", [1.0] * 20)
    timeline = aligned(tmp_path, written(tmp_path, rows))
    assert set(timeline.pools["decode"].signals) == {"kv_cache_usage_ratio"}
    assert any("1 metrics" in row.note and "my_gauge" in row.note for row in timeline.quality)


def test_signals_of_all_three_kinds_can_be_named(tmp_path):
    rows = series("my_gauge", [float(i) for i in range(30)])
    rows += series("my_jobs_total", [20.0 * i for i in range(30)])
    for part, factor in (("_sum", 4.0), ("_count", 20.0)):
        rows += series(f"my_wait_seconds{part}", [factor * i for i in range(30)])
    for le, factor in (("0.1", 5.0), ("0.5", 15.0), ("+Inf", 20.0)):
        rows += series("my_wait_seconds_bucket", [factor * i for i in range(30)], le=le)
    named = [
        {"name": "gauge_ratio", "metric": "my_gauge"},
        {"name": "jobs", "metric": "my_jobs_total", "kind": "counter"},
        {"name": "tool_wait_seconds", "metric": "my_wait_seconds", "kind": "histogram"},
    ]
    telemetry = read(tmp_path, study(written(tmp_path, rows), signals=named))
    found = align(telemetry, "chat").pools["decode"].signals
    assert found["gauge_ratio"].values[:3].tolist() == [0.0, 1.0, 2.0]
    assert np.nanmean(found["jobs_per_second"].values) == pytest.approx(2.0)
    assert np.nanmedian(found["tool_wait_mean_seconds"].values) == pytest.approx(0.2)
    assert np.nanmedian(found["tool_wait_p50_seconds"].values) == pytest.approx(0.3)


def test_own_signals_have_unit_pool_and_aggregation(tmp_path):
    rows = [
        row
        for replica in ("d0", "d1")
        for row in series("wait_gauge", [250.0] * 20, replica=replica)
        + series("jobs_gauge", [3.0] * 20, replica=replica)
    ]
    named = [
        {"name": "wait_seconds", "metric": "wait_gauge", "unit": "ms"},
        {"name": "jobs", "metric": "jobs_gauge", "aggregation": "sum"},
    ]
    telemetry = read(tmp_path, study(written(tmp_path, rows), signals=named))
    found = align(telemetry, "chat").pools["decode"].signals
    assert (found["wait_seconds"].values[5], found["wait_seconds"].kind) == (0.25, "intensive")
    assert (found["jobs"].values[5], found["jobs"].kind) == (6.0, "total")


def test_a_column_in_another_unit_is_converted_once(tmp_path):
    rows = [
        {
            "timestamp": iso(START + 10 * i),
            "ttft_p99_ms": 250.0,
            "gpu_utilization_percent": 40.0 + i,
            "scratch_mib": 2.0,
        }
        for i in range(20)
    ]
    found = aligned(tmp_path, written(tmp_path, rows)).pools["unified"].signals
    assert found["ttft_p99_seconds"].values[3] == 0.25
    assert found["gpu_utilization_ratio"].values[3] == pytest.approx(0.43)
    assert found["scratch_bytes"].values[3] == 2.0**21


def test_a_request_log_alone_is_a_study(tmp_path):
    random = np.random.default_rng(2)
    at = np.sort(random.uniform(0, 3600, 4000))
    rows = [
        {
            "arrived_at": iso(START + t),
            "prompt_tokens": 100,
            "output_tokens": 21,
            "cached_prompt_tokens": 40,
            "ttft_seconds": 0.2,
            "e2e_seconds": 1.2,
        }
        for t in at
    ]
    timeline = aligned(tmp_path, {"kind": "requests", "path": written(tmp_path, rows)})
    demand = timeline.pools["unified"].demand
    assert demand.source == "requests"
    assert np.nansum(demand.per_second) * timeline.step_seconds == pytest.approx(
        21 * 4000, rel=0.01
    )
    signals = timeline.pools["gateway"].signals
    assert np.nanmedian(signals["ttft_p90_seconds"].values) == pytest.approx(0.2, rel=0.03)
    assert np.nanmedian(signals["tbt_mean_seconds"].values) == pytest.approx(0.05)
    assert np.nanmedian(timeline.prefix_cache_hit_ratio) == pytest.approx(0.4)
    assert timeline.slo_counts[0].over_high.sum() == 0
    assert timeline.slo_counts[0].observed.sum() == pytest.approx(4000, abs=20)


def test_points_are_read_and_need_no_time(tmp_path):
    rows = [
        {
            "concurrency_requests": c,
            "ttft_seconds": 0.1,
            "tbt_seconds": 0.02,
            "prompt_tokens": 100,
            "output_tokens": 50,
        }
        for c in (4, 1, 2)
    ]
    telemetry = read(tmp_path, study({"kind": "points", "path": written(tmp_path, rows)}))
    assert telemetry.services == ("chat",)
    assert telemetry.points("chat")["concurrency_requests"].to_list() == [1.0, 2.0, 4.0]
    assert align(telemetry, "chat") is None


def test_a_service_without_history_does_not_spoil_the_others(tmp_path):
    rows = [*ROWS, sample("vllm:num_requests_running", 0.0, 1.0, service="new")]
    telemetry = read(tmp_path, study(written(tmp_path, as_csv(rows))))
    assert telemetry.services == ("chat", "new")
    assert align(telemetry, "chat") is not None
    assert align(telemetry, "new") is None


def test_bucket_counts_belong_to_the_step_in_which_their_interval_ends(tmp_path: Path) -> None:
    metric = "vllm:time_to_first_token_seconds_bucket"
    rows = [
        sample(metric, at, value, le=le, replica=replica)
        for replica, le, counts in (
            ("d0", "0.5", {0: 1.0, 10: 3.0, 10.1: 7.0, 20: 7.0}),
            ("d1", "0.5", {0: 5.0, 10: 8.0}),
            ("d0", "+Inf", {0: 1.0, 20: 10.0, 400: 99.0}),
        )
        for at, value in counts.items()
    ]
    telemetry = read(tmp_path, study(written(tmp_path, rows)))
    found = telemetry.bucket_counts(
        "chat", "production", start_ms=START * 1e3, step_ms=10_000.0, steps=3
    )
    assert {cell: counts.tolist() for cell, counts in found.items()} == {
        ("decode", "ttft", 0.5): [5.0, 4.0, 0.0],
        ("decode", "ttft", np.inf): [0.0, 9.0, 0.0],
    }
