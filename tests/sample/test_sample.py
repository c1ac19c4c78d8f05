"""The sample that ships: small enough, sound as an export, and true to what its README plants."""

from __future__ import annotations

import ast
import json
import sys
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

SAMPLE = Path(__file__).resolve().parents[2] / "sample"
LIMIT_BYTES = 5_000_000
LABELS = ["metric", "service", "pool", "replica", "le", "source"]
DAY_SECONDS = 86_400


@pytest.fixture(scope="module")
def telemetry() -> pl.DataFrame:
    return pl.read_parquet(SAMPLE / "telemetry.parquet")


@pytest.fixture(scope="module")
def requests() -> pl.DataFrame:
    return pl.read_parquet(SAMPLE / "requests.parquet")


@pytest.fixture(scope="module")
def truth() -> dict:
    return json.loads((SAMPLE / "truth.json").read_text())


@pytest.fixture(scope="module")
def study() -> dict:
    return tomllib.loads((SAMPLE / "study.toml").read_text())


def day_of(truth: dict, service: str) -> dict:
    return next(day for day in truth["days"] if day["service"] == service)


def knee_of(truth: dict, service: str, pool: str) -> list[dict]:
    return [k for k in truth["knees"] if (k["service"], k["pool"]) == (service, pool)]


def increases(frame: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Increments per series; a decrease is a reset, as Prometheus has it."""
    return (
        frame.filter(pl.col("metric") == metric)
        .sort(*LABELS, "timestamp")
        .with_columns(previous=pl.col("value").shift(1).over(LABELS))
        .with_columns(
            increase=pl.when(pl.col("value") >= pl.col("previous"))
            .then(pl.col("value") - pl.col("previous"))
            .otherwise(pl.col("value"))
        )
    )


def shipped_files() -> list[Path]:
    skipped = {"__pycache__", ".mypy_cache", ".ruff_cache"}
    return [p for p in SAMPLE.rglob("*") if p.is_file() and not skipped & set(p.parts)]


def test_the_whole_sample_stays_under_five_megabytes() -> None:
    assert sum(path.stat().st_size for path in shipped_files()) <= LIMIT_BYTES


def test_nothing_but_the_documented_files_is_shipped() -> None:
    tables = {path.name for path in shipped_files() if path.suffix not in {".py", ".md"}}
    assert tables == {"study.toml", "truth.json", "telemetry.parquet", "requests.parquet"}


def test_the_readme_speaks_of_every_file_and_every_metric(telemetry: pl.DataFrame) -> None:
    text = (SAMPLE / "README.md").read_text()
    families = telemetry["metric"].unique().str.replace(r"_(bucket|sum|count)$", "")
    missing = [name for name in [*families, "truth.json", "study.toml"] if name not in text]
    assert not missing


def test_the_readme_states_the_knees_of_the_truth(truth: dict) -> None:
    text = (SAMPLE / "README.md").read_text()
    assert all(f"{knee['per_replica']:,.0f}" in text for knee in truth["knees"])
    assert all(
        f"{ratio} prefill replicas" in text for ratio in truth["prefill_per_decode"].values()
    )


def test_the_telemetry_is_a_long_table(telemetry: pl.DataFrame) -> None:
    assert telemetry.columns == ["timestamp", *LABELS, "value"]
    assert telemetry.schema["timestamp"] == pl.Datetime("ms", "UTC")
    assert telemetry["value"].is_finite().all()
    assert telemetry.select("timestamp", *LABELS).is_duplicated().sum() == 0


def test_samples_stand_series_by_series_in_order_of_time(telemetry: pl.DataFrame) -> None:
    labels = telemetry.select(pl.struct(LABELS).rle_id().alias("run"), *LABELS)
    assert labels["run"].n_unique() == labels.select(LABELS).n_unique()
    steps = telemetry.select(pl.col("timestamp").diff().over(LABELS)).to_series().drop_nulls()
    assert steps.min().total_seconds() > 0


@pytest.mark.parametrize("service", ["chat", "search"])
def test_both_services_cover_twenty_four_hours(telemetry: pl.DataFrame, service: str) -> None:
    times = telemetry.filter(pl.col("service") == service)["timestamp"]
    assert (times.max() - times.min()).total_seconds() == DAY_SECONDS
    ready = telemetry.filter(
        (pl.col("metric") == "ready_replicas") & (pl.col("service") == service)
    )
    assert ready.group_by("pool").len()["len"].to_list() == [DAY_SECONDS // 15 + 1] * 2


def test_shares_and_percentages_stay_in_their_ranges(telemetry: pl.DataFrame) -> None:
    top = dict(telemetry.group_by("metric").agg(pl.col("value").max()).iter_rows())
    assert 0 < top["vllm:kv_cache_usage_perc"] <= 1
    assert 0 < top["DCGM_FI_PROF_SM_ACTIVE"] <= 1
    assert 1 < top["DCGM_FI_DEV_GPU_UTIL"] <= 100
    assert telemetry["value"].min() >= 0


def test_gpu_metrics_are_renewed_every_thirty_seconds_only(telemetry: pl.DataFrame) -> None:
    one = telemetry.filter(
        (pl.col("metric") == "DCGM_FI_PROF_SM_ACTIVE") & (pl.col("replica") == "chat-prefill-0")
    ).sort("timestamp")
    changed = one.filter(pl.col("value").diff() != 0)["timestamp"].diff().drop_nulls()
    assert (changed.dt.total_seconds() % 30).max() == 0


def test_counters_decrease_only_where_a_new_replica_takes_over_a_name(
    telemetry: pl.DataFrame, truth: dict
) -> None:
    counters = telemetry.filter(pl.col("metric").str.contains("_total$|_bucket$|_count$|_sum$"))
    resets = (
        counters.sort(*LABELS, "timestamp")
        .with_columns(step=pl.col("value").diff().over(LABELS))
        .filter(pl.col("step") < 0)
    )
    assert set(resets["service"]) == {"chat"}
    for pool in ("prefill", "decode"):
        hours = [
            change["hour"]
            for change in day_of(truth, "chat")["replica_changes"]
            if change["pool"] == pool
        ]
        seen = resets.filter(pl.col("pool") == pool)["timestamp"].unique()
        assert len(seen) > 0
        start = telemetry["timestamp"].min()
        ready_after = np.array(hours) * 3600.0 + 120.0
        for moment in seen:
            late = (moment - start).total_seconds() - ready_after
            assert ((late >= 0) & (late <= 120)).any()


def test_buckets_are_cumulative_and_end_at_the_count(telemetry: pl.DataFrame) -> None:
    for family in (
        "vllm:time_to_first_token_seconds",
        "vllm:request_time_per_output_token_seconds",
    ):
        key = ["service", "replica", "timestamp"]
        buckets = (
            telemetry.filter(pl.col("metric") == f"{family}_bucket")
            .with_columns(edge=pl.col("le").str.replace(r"\+Inf", "inf").cast(pl.Float64))
            .sort(*key, "edge")
        )
        assert buckets.select(pl.col("value").diff().over(key)).to_series().min() >= 0
        total = buckets.filter(pl.col("le") == "+Inf").select(*key, "value")
        count = telemetry.filter(pl.col("metric") == f"{family}_count").select(*key, "value")
        assert total.sort(key).equals(count.sort(key))


def test_every_objective_stands_on_a_bucket_edge(telemetry: pl.DataFrame, study: dict) -> None:
    family = {
        "ttft": "vllm:time_to_first_token_seconds",
        "tbt": "vllm:request_time_per_output_token_seconds",
    }
    for objective in study["objectives"]:
        metric = f"{family[objective['signal']]}_bucket"
        edges = telemetry.filter(pl.col("metric") == metric)["le"].unique().to_list()
        assert objective["at_most_seconds"] in [float(edge.replace("+", "")) for edge in edges]


def test_every_source_of_the_study_is_there(study: dict) -> None:
    assert all((SAMPLE / source["path"]).is_file() for source in study["sources"])


def test_the_request_log_agrees_with_the_counters(
    telemetry: pl.DataFrame, requests: pl.DataFrame, truth: dict
) -> None:
    assert requests.height == day_of(truth, "chat")["requests"]
    chat = telemetry.filter(pl.col("service") == "chat")
    for metric, column in (
        ("vllm:prompt_tokens_total", "prompt_tokens"),
        ("vllm:generation_tokens_total", "output_tokens"),
        ("vllm:prefix_cache_hits_total", "cached_prompt_tokens"),
    ):
        counted = increases(chat, metric)["increase"].sum()
        assert counted == pytest.approx(requests[column].sum(), rel=0.002)


def test_end_to_end_time_is_first_token_plus_the_others(requests: pl.DataFrame) -> None:
    parts = pl.col("ttft_seconds") + pl.col("tbt_seconds") * (pl.col("output_tokens") - 1)
    gap = requests.select((parts - pl.col("e2e_seconds")).abs() / pl.col("e2e_seconds").clip(1))
    assert gap.to_series().max() < 0.12


def test_uncached_tokens_are_the_prompt_tokens_that_were_no_hits(telemetry: pl.DataFrame) -> None:
    key = ["service", "replica", "timestamp"]
    wide = telemetry.filter(pl.col("pool") == "prefill").pivot(
        on="metric",
        index=key,
        values="value",
        aggregate_function="first",
    )
    gap = (
        pl.col("vllm:prompt_tokens_total")
        - pl.col("vllm:prefix_cache_hits_total")
        - pl.col("vllm:prompt_tokens_by_source_total")
    )
    assert wide.select(gap.abs().max()).item() == 0


def test_chat_visits_its_knee_on_both_sides_many_times(requests: pl.DataFrame, truth: dict) -> None:
    shares = (
        requests.sort("arrived_at")
        .group_by_dynamic("arrived_at", every="10m")
        .agg(
            ttft=(pl.col("ttft_seconds") > 1.0).mean(),
            tbt=(pl.col("tbt_seconds") > 0.05).mean(),
            slowest=pl.col("tbt_seconds").max(),
        )
    )
    for signal in ("ttft", "tbt"):
        over = (shares[signal] > 0.05).to_numpy()
        assert over.sum() >= 8
        assert (~over).sum() >= 8
        assert (np.diff(over.astype(int), prepend=0) == 1).sum() >= 5
        stated = day_of(truth, "chat")["ten_minute_blocks"][signal]["blocks_over"]
        assert abs(int(over.sum()) - stated) <= 2
    assert shares["slowest"].max() < 0.15  # exceeded, not collapsed


def test_hits_of_search_vary_widely_and_regardless_of_demand(telemetry: pl.DataFrame) -> None:
    search = telemetry.filter(pl.col("service") == "search")
    per_hour = [
        increases(search, f"vllm:prefix_cache_{name}_total")
        .with_columns(pl.col("timestamp").dt.offset_by("-1ms").dt.truncate("30m"))
        .group_by("timestamp", maintain_order=True)
        .agg(pl.col("increase").sum())
        .sort("timestamp")["increase"]
        .to_numpy()
        for name in ("hits", "queries")
    ]
    hits, queries = per_hour[0][1:], per_hour[1][1:]
    ratio = hits / queries
    assert ratio.min() < 0.15
    assert ratio.max() > 0.75
    assert abs(np.corrcoef(ratio, queries)[0, 1]) < 0.25
    uncached = queries - hits
    assert np.corrcoef(uncached, queries)[0, 1] < 0.85  # all-token TPS is no measure of work here


def test_search_shows_its_demand_at_the_gateway_only(
    telemetry: pl.DataFrame, requests: pl.DataFrame, truth: dict
) -> None:
    assert set(requests["service"]) == {"chat"}
    gateway = telemetry.filter(pl.col("pool") == "gateway")
    assert set(gateway["service"]) == {"search"}
    arrived = gateway.filter(pl.col("metric") == "dynamo_frontend_requests_started_total")
    assert arrived["value"].max() == pytest.approx(day_of(truth, "search")["requests"], rel=1e-3)


@pytest.mark.parametrize("service", ["chat", "search"])
def test_ready_replicas_follow_the_planted_schedule(
    telemetry: pl.DataFrame, truth: dict, service: str
) -> None:
    start = telemetry["timestamp"].min()
    for change in day_of(truth, service)["replica_changes"]:
        series = telemetry.filter(
            (pl.col("metric") == "ready_replicas")
            & (pl.col("service") == service)
            & (pl.col("pool") == change["pool"])
        ).sort("timestamp")
        elapsed = (series["timestamp"] - start).dt.total_seconds().to_numpy()
        later = series["value"].to_numpy()[np.searchsorted(elapsed, change["hour"] * 3600 + 150)]
        assert later == change["replicas"]


def test_the_truth_names_a_knee_with_runs_on_both_sides(truth: dict) -> None:
    assert len(truth["knees"]) == 6
    for knee in truth["knees"]:
        at = np.array([run[knee["signal"]] for run in knee["runs"]])
        share = np.array([run["share_over_limit_ratio"] for run in knee["runs"]])
        allowed = 1 - knee["objective"]["quantile"]
        assert (share[at < 0.9 * knee["per_replica"]] < allowed).all()
        assert (share[at > 1.1 * knee["per_replica"]] > allowed).all()
        assert at.min() < knee["per_replica"] < at.max()


def test_the_objectives_of_the_study_are_those_of_the_truth(truth: dict, study: dict) -> None:
    asked = {(o["signal"], o["quantile"], o["at_most_seconds"]) for o in study["objectives"]}
    assert {tuple(k["objective"].values()) for k in truth["knees"]} == asked


def test_cache_hits_move_the_capacity_in_all_tokens_far_more_than_in_uncached_ones(
    truth: dict,
) -> None:
    knees = sorted(knee_of(truth, "search", "prefill"), key=lambda k: k["prefix_cache_hit_ratio"])
    every = [k["all_prefill_tokens_per_second_per_replica"] for k in knees]
    uncached = [k["per_replica"] for k in knees]
    assert every == sorted(every)
    assert max(every) / min(every) > 1.5 * max(uncached) / min(uncached)


def test_the_generator_needs_only_the_engine_numpy_and_pyarrow() -> None:
    roots = set()
    for path in [SAMPLE / "generate.py", *(SAMPLE / "generator").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                roots |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                roots.add(str(node.module).split(".")[0])
    assert roots - sys.stdlib_module_names == {"dynamo", "generator", "numpy", "pyarrow"}
