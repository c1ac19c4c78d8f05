"""What the whole tool says of real recordings, and what it must not say."""

from __future__ import annotations

import pytest

from signalstudy.study.run import run_study
from tests.study.recordings import LIMITS, write_study

pytestmark = pytest.mark.recordings


def verdicts(service):
    return {(s.pool, s.signal): s.verdict for s in service.ranking.signals}


def only(study):
    [service] = study.services.values()
    return service


def recorded_run(folder, name, *, role="production"):
    kinds = (("table", "samples"), ("requests", "requests"))
    sources = [(kind, f"dynamo_offline/{name}/{file}.parquet", role) for kind, file in kinds]
    return only(run_study(write_study(folder, name, *sources, more=LIMITS), out=folder / "out"))


def test_the_papers_figure_gives_the_papers_conclusions(tmp_path):
    path = write_study(tmp_path, "dialogue", ("table", "heteroscale_fig2/telemetry.csv"))
    service = only(run_study(path, out=tmp_path / "out"))
    said = {key: word for key, word in verdicts(service).items() if word != "unavailable"}
    assert said == {
        ("prefill", "gpu_utilization_ratio"): "proportional",
        ("prefill", "sm_activity_ratio"): "proportional",
        ("prefill", "prefill_uncached_tokens_per_second"): "proportional",
        ("decode", "decode_tokens_per_second"): "proportional",
        ("prefill", "ttft_mean_seconds"): "guard",
        ("decode", "tbt_mean_seconds"): "guard",
        ("decode", "gpu_utilization_ratio"): "rejected",
        ("decode", "sm_activity_ratio"): "rejected",
    }
    by_name = {(s.pool, s.signal): s for s in service.ranking.signals}
    tbt = by_name["decode", "tbt_mean_seconds"]
    assert tbt.measures["demand_elasticity"].low <= 0.28 <= tbt.measures["demand_elasticity"].high
    # R2 0.98: a line, and yet no proportion.
    assert tbt.measures["demand_correlation"].value ** 2 == pytest.approx(0.98, abs=0.01)
    assert "almost a straight line, but far from in proportion" in tbt.reason
    assert "Pinned" in by_name["decode", "gpu_utilization_ratio"].reason
    assert "too few replicas" in by_name["decode", "sm_activity_ratio"].reason
    assert service.ranking.best.signal == "decode_tokens_per_second"
    assert service.evidence.demand_source["prefill"] == "served_other_pool"
    assert service.threshold.per_replica.status in ("unidentified", "not_applicable")
    assert service.policy is None


def test_a_day_of_a_fixed_fleet_keeps_work_signals_and_sees_through_decode_utilization(tmp_path):
    service = recorded_run(tmp_path, "day_over")
    said = verdicts(service)
    for signal in ("decode_tokens_per_second", "running_requests"):
        assert said["decode", signal] == "proportional"
    for signal in ("prefill_uncached_tokens_per_second", "gpu_utilization_ratio"):
        assert said["prefill", signal] == "proportional"
    assert said["decode", "gpu_utilization_ratio"] == "rejected"
    assert service.evidence.demand_source == dict.fromkeys(
        ("prefill", "decode", "gateway"), "requests"
    )
    # TBT never came near 40 ms: the knee was not visited, and no number says otherwise.
    capacity = service.threshold.capacities["decode"].per_replica
    assert capacity.status == "lower_bound"
    assert capacity.value <= service.threshold.capacities["decode"].max_observed
    assert service.policy is not None
    assert service.policy.document["spec"]["proportional"]["targetPerReplica"]["status"] != "ok"


def test_an_autoscaled_day_shows_that_signals_fall_when_replicas_are_added(tmp_path):
    service = recorded_run(tmp_path, "day_auto")
    by_name = {(s.pool, s.signal): s for s in service.ranking.signals}
    utilization = by_name["prefill", "gpu_utilization_ratio"]
    assert utilization.verdict == "proportional"
    assert utilization.measures["capacity_elasticity"].high <= -0.5
    assert by_name["decode", "gpu_utilization_ratio"].verdict == "rejected"
    assert by_name["decode", "decode_tokens_per_second"].measures["coverage_ratio"].value > 0.95


def test_a_moving_token_mix_gives_each_pool_its_own_signal(tmp_path):
    service = recorded_run(tmp_path, "shift")
    assert service.pd_ratio.moves_too_much
    pools = service.policy.document["spec"]["pools"]
    assert all("signal" in pools[pool] for pool in ("prefill", "decode"))


def test_a_pressure_test_alone_gives_a_capacity_below_the_true_knee(tmp_path):
    service = recorded_run(tmp_path, "ramp_p2d2", role="pressure-test")
    decode = service.threshold.capacities["decode"]
    # 4487 is the knee of decode from constant rates in this engine (methods.md, 8.3).
    assert decode.per_replica.low < 4487
    assert decode.per_replica.low >= 0.75 * decode.max_observed
    assert any(row.check == "production" for row in service.quality)


@pytest.mark.parametrize("run", ["0100", "0300", "0500", "0700", "0900", "1500"])
def test_one_gpu_under_bursts_never_promotes_gpu_utilization(run, tmp_path):
    sources = [
        (kind, f"burstgpt_vllm_gpu/{folder}/scale{run}.parquet")
        for kind, folder in (("table", "engine"), ("table", "gpu"), ("requests", "requests"))
    ]
    service = only(run_study(write_study(tmp_path, "burst", *sources), out=tmp_path / "out"))
    said = verdicts(service)
    assert said["unified", "gpu_utilization_ratio"] in ("rejected", "undetermined")
    assert said["gateway", "ttft_mean_seconds"] in ("guard", "undetermined", "rejected")
    assert service.evidence.demand_source["unified"] == "gateway_arrivals"
    falls = [row for row in service.quality if row.check == "GPU utilization of unified"]
    assert falls
    assert "would remove replicas under demand" in falls[0].note
    # Minutes of one GPU: whatever the verdicts, no number goes into a policy.
    assert service.policy is None


def test_half_a_minute_of_demand_decides_nothing(tmp_path):
    sources = [
        (kind, f"burstgpt_vllm_gpu/{folder}/scale1500.parquet")
        for kind, folder in (("table", "engine"), ("table", "gpu"), ("requests", "requests"))
    ]
    service = only(run_study(write_study(tmp_path, "burst", *sources), out=tmp_path / "out"))
    assert set(verdicts(service).values()) <= {"undetermined", "unavailable", "rejected"}
    [demand] = [row for row in service.quality if row.check == "demand of unified"]
    assert demand.status == "warning"
    assert "19% of the record" in demand.note


def test_production_and_pressure_test_of_two_names_are_joined_on_demand(tmp_path):
    sources = [
        (kind, f"dynamo_offline/{run}/{file}.parquet", role)
        for run, role in (("day_over", "production"), ("ramp_p2d2", "pressure-test"))
        for kind, file in (("table", "samples"), ("requests", "requests"))
    ]
    join = LIMITS + "[labels]\nservice = []\n"
    service = only(
        run_study(write_study(tmp_path, "chat", *sources, more=join), out=tmp_path / "o")
    )
    prefill = service.threshold.capacities["prefill"].per_replica
    # The day never reached the knee (lower_bound), the pressure test did.
    assert prefill.status == "ok"
    assert "pressure-test" in prefill.note
    assert service.policy is not None


def test_totals_of_which_most_replicas_are_missing_decide_nothing(tmp_path):
    sources = [("table", f"aibrix_autoscaling/{name}.parquet") for name in ("engine", "replicas")]
    sources.append(("requests", "aibrix_autoscaling/requests.parquet"))
    study = run_study(write_study(tmp_path, "aibrix", *sources), out=tmp_path / "out")
    assert set(study.services) == {f"aibrix-{name}" for name in ("apa", "hpa", "kpa", "optimizer")}
    for service in study.services.values():
        assert verdicts(service)["unified", "decode_tokens_per_second"] == "undetermined"
        assert service.policy is None


def test_a_prometheus_dump_with_restarts_is_read_exactly_and_judged_with_care(tmp_path):
    path = write_study(tmp_path, "live", ("tsdb-dump", "dynamo_live/tsdb_dump.txt.xz"), more=LIMITS)
    service = only(run_study(path, out=tmp_path / "out"))
    counts = {c.objective.signal: c for c in service.timeline.slo_counts}
    assert counts["ttft"].observed.sum() == 7135  # the client's own record
    assert counts["ttft"].is_exact
    assert not counts["tbt"].is_exact
    assert service.evidence.demand_source["decode"] == "gateway_tokens"
    assert service.threshold.target.value is None


def test_operating_points_give_capacities_without_a_time_axis(tmp_path):
    import polars as pl  # noqa: PLC0415 - only where recordings are

    from tests.study.recordings import DATA, need  # noqa: PLC0415

    need("aiconfigurator")
    rows = pl.read_parquet(DATA / "aiconfigurator" / "silicon_sample.parquet")
    curve = ["model_path", "system", "backend", "backend_version", "precision", "prompt_tokens",
             "output_tokens", "tp_size", "config_id"]  # fmt: skip
    rows = rows.filter(pl.col("mode") == "agg", pl.col("concurrency_requests").is_not_null())
    rows = rows.with_columns(pl.len().over(curve).alias("n")).filter(pl.col("n") >= 6)
    for number, (_, part) in enumerate(list(rows.group_by(curve, maintain_order=True))[:3]):
        folder = tmp_path / str(number)
        folder.mkdir()
        part.write_csv(folder / "points.csv")
        limit = float(part["tbt_seconds"].median())
        (folder / "study.toml").write_text(
            '[study]\nname = "points"\n[[sources]]\nkind = "points"\npath = "points.csv"\n'
            f'[[objectives]]\nsignal = "tbt"\nquantile = 0.5\nat_most_seconds = {limit}\n'
        )
        service = only(run_study(folder / "study.toml", out=folder / "out"))
        capacity = service.threshold.per_replica
        assert capacity.status in ("ok", "lower_bound", "censored")
        assert capacity.value <= service.threshold.max_observed * 1.001
        assert service.ranking.best is None
        assert "operating points" in service.ranking.summary
