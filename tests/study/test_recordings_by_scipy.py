"""Real recordings measured again by plain NumPy and SciPy, from the raw files: the same answers.

Nothing of the package is used here but `run_study`, whose intervals must hold what comes out.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.signal import correlate, correlation_lags
from scipy.stats import linregress, pearsonr, spearmanr

from signalstudy.study.run import run_study
from tests.study.recordings import DATA, LIMITS, need, write_study

pytestmark = pytest.mark.recordings


def seconds(frame, column="timestamp"):
    return frame[column].cast(pl.Datetime("ms")).dt.epoch("ms").to_numpy() / 1000.0


def arrivals(frame, amount, edges):
    """Sum what arrived between edges, per second."""
    sums, _ = np.histogram(seconds(frame, "arrived_at"), edges, weights=amount)
    return sums / np.diff(edges)


def counter(frame, edges):
    """Give the rate of a counter between edges: increments, a fall is a start from zero."""
    total = np.zeros(edges.size - 1)
    for _, series in frame.sort("timestamp").group_by("replica", "le", maintain_order=True):
        values = series["value"].to_numpy()
        grown = np.diff(values)
        grown = np.where(grown < 0.0, values[1:], grown)
        total += np.diff(np.interp(edges, seconds(series)[1:], np.cumsum(grown)))
    return total / np.diff(edges)


def mean_gauge(frame, edges):
    """Average a gauge over replicas at the ends of the steps."""
    found = [
        np.interp(edges[1:], seconds(series), series["value"].to_numpy())
        for _, series in frame.sort("timestamp").group_by("replica", maintain_order=True)
    ]
    return np.mean(found, axis=0)


def lag_of(signal, demand, step, window=3600.0, most=600.0):
    """Give the lag of the largest cross-correlation of the high-passed pair, by a parabola."""
    width = 2 * round(window / step / 2) + 1
    kernel = np.full(width, 1.0 / width)
    x, y = (
        values - np.convolve(np.pad(values, width // 2, mode="reflect"), kernel, mode="valid")
        for values in (demand, signal)
    )
    lags = correlation_lags(y.size, x.size)
    inside = np.abs(lags) <= round(most / step)
    c = correlate(y - y.mean(), x - x.mean(), method="fft")[inside]
    top = int(np.abs(c).argmax())
    before, at, after = c[top - 1 : top + 2]
    return (lags[inside][top] + 0.5 * (before - after) / (before - 2.0 * at + after)) * step


def slope_of(signal, demand, width, bins=20):
    """Give the log-log slope of means over bins of demand, within its 5-95 % range."""
    x, y = (np.convolve(v, np.full(width, 1.0 / width), mode="valid") for v in (demand, signal))
    low, high = np.quantile(x, (0.05, 0.95))
    parts = np.array_split(np.argsort(x), bins)
    means = np.array([[x[part].mean(), y[part].mean()] for part in parts])
    means = means[(means[:, 0] >= low) & (means[:, 0] <= high)]
    return linregress(np.log(means[:, 0]), np.log(means[:, 1])).slope


def holds(estimate, value, slack=0.0):
    assert estimate.value is not None, estimate.note
    low, high = estimate.low - slack, estimate.high + slack
    assert low <= value <= high, f"{value} is not in [{low}, {high}]"


def measures(study, service=None):
    found = study.services[service] if service else next(iter(study.services.values()))
    return {(s.pool, s.signal): s.measures for s in found.ranking.signals}


def test_the_papers_figure(tmp_path):
    study = run_study(
        write_study(tmp_path, "fig2", ("table", "heteroscale_fig2/telemetry.csv")),
        out=tmp_path / "out",
    )
    rows = pl.read_csv(DATA / "heteroscale_fig2" / "telemetry.csv")
    prefill, decode = (rows.filter(pl.col("pool") == pool) for pool in ("prefill", "decode"))
    work = {
        "decode": prefill["prefill_uncached_tokens_per_second"].to_numpy(),
        "prefill": decode["decode_tokens_per_second"].to_numpy(),
    }
    found = measures(study)
    for pool, frame, signal in (
        ("prefill", prefill, "gpu_utilization_ratio"),
        ("prefill", prefill, "sm_activity_ratio"),
        ("prefill", prefill, "ttft_mean_seconds"),
        ("decode", decode, "sm_activity_ratio"),
        ("decode", decode, "tbt_mean_seconds"),
    ):
        values = frame[signal].to_numpy()
        known = np.isfinite(values) & np.isfinite(work[pool])
        x, y = work[pool][known], values[known]
        holds(found[pool, signal]["demand_correlation"], pearsonr(x, y).statistic)
        holds(found[pool, signal]["demand_elasticity"], slope_of(y, x, 1, bins=12), slack=0.02)
    # A gauge that is read at the end of six minutes seems half of them late.
    y = prefill["sm_activity_ratio"].to_numpy()
    lag = lag_of(y, work["prefill"], 360.0, window=7200.0, most=3600.0)
    holds(found["prefill", "sm_activity_ratio"]["lag_seconds"], lag + 180.0)


@pytest.fixture(scope="module")
def day_over(tmp_path_factory):
    need("dynamo_offline")
    folder = tmp_path_factory.mktemp("day")
    kinds = (("table", "samples"), ("requests", "requests"))
    sources = [(kind, f"dynamo_offline/day_over/{file}.parquet") for kind, file in kinds]
    study = run_study(write_study(folder, "day", *sources, more=LIMITS), out=folder / "out")
    rows = DATA / "dynamo_offline" / "day_over"
    return (
        study,
        pl.read_parquet(rows / "samples.parquet"),
        pl.read_parquet(rows / "requests.parquet"),
    )


def test_a_day_of_a_fixed_fleet(day_over):
    study, samples, requests = day_over
    [service] = study.services.values()
    step = service.timeline.step_seconds
    ends = service.timeline.time_seconds
    edges = np.append(ends[0] - step, ends)
    outputs = arrivals(requests, requests["output_tokens"].to_numpy(), edges)
    decode = samples.filter(pl.col("pool") == "decode")
    tokens = counter(decode.filter(pl.col("metric") == "vllm:generation_tokens_total"), edges)
    found = measures(study)["decode", "decode_tokens_per_second"]
    lag = lag_of(tokens, outputs, step)
    holds(found["lag_seconds"], lag, slack=step / 8.0)
    moved = round(lag / step)
    x, y = outputs[: outputs.size - moved], tokens[moved:]
    holds(found["demand_correlation"], pearsonr(x, y).statistic)
    holds(found["demand_elasticity"], slope_of(y, x, round(300.0 / step)), slack=0.02)
    busy = decode.filter(pl.col("metric") == "gpu_utilization_ratio")
    share = mean_gauge(busy, edges)
    gauge = measures(study)["decode", "gpu_utilization_ratio"]
    slope = slope_of(share, outputs, round(300.0 / step))
    holds(gauge["demand_elasticity"], slope, slack=0.02)
    # Saturated from the first requests: a tenth of the day's peak already shows most of the most.
    quiet = share[outputs <= 0.1 * np.quantile(outputs, 0.99)]
    assert quiet.size == 0 or np.median(quiet[quiet > 0.0]) > 0.5 * np.quantile(share, 0.99)
    assert slope < 0.2


def test_one_gpu_whose_utilization_falls_as_it_works_more(tmp_path):
    folders = (("table", "engine"), ("table", "gpu"), ("requests", "requests"))
    sources = [(kind, f"burstgpt_vllm_gpu/{name}/scale0900.parquet") for kind, name in folders]
    study = run_study(write_study(tmp_path, "burst", *sources), out=tmp_path / "out")
    [service] = study.services.values()
    engine, gpu = (
        pl.read_parquet(DATA / "burstgpt_vllm_gpu" / name / "scale0900.parquet")
        for name in ("engine", "gpu")
    )
    at = seconds(engine)
    share = np.interp(at, seconds(gpu), gpu["gpu_utilization_ratio"].to_numpy())
    work = engine["decode_tokens_per_second"].to_numpy()
    busy = work > 0.0
    rank = spearmanr(share[busy], work[busy]).statistic
    assert rank < -0.2
    [said] = [row.note for row in service.quality if row.check == "GPU utilization of unified"]
    assert "falls as decode_tokens_per_second rises" in said
    told = float(said.partition("rank correlation ")[2].partition(")")[0])
    assert told == pytest.approx(rank, abs=0.15)


def test_a_live_capture_with_restarts_agrees_with_the_clients_own_log(tmp_path):
    source = ("tsdb-dump", "dynamo_live/tsdb_dump.txt.xz")
    study = run_study(write_study(tmp_path, "live", source, more=LIMITS), out=tmp_path / "out")
    [service] = study.services.values()
    log = pl.read_parquet(DATA / "dynamo_live" / "requests.parquet")
    log = log.filter(pl.col("http_status") == 200)
    step = service.timeline.step_seconds
    ends = service.timeline.time_seconds
    edges = np.append(ends[0] - step, ends)
    outputs = arrivals(log, log["output_tokens"].to_numpy(), edges)
    offered = service.timeline.pools["decode"].demand.per_second
    known = np.isfinite(offered)
    # Demand was made of gateway counters; the log says the same but for when requests are counted.
    minute = np.full(12, 1.0 / 12.0)
    both = [np.convolve(np.where(known, v, 0.0), minute, mode="valid") for v in (outputs, offered)]
    assert pearsonr(*both).statistic > 0.95
    signal = service.timeline.pools["gateway"].signals["decode_tokens_per_second"].values
    usable = np.isfinite(signal)
    found = measures(study)["gateway", "decode_tokens_per_second"]
    lag = found["lag_seconds"].value
    moved = np.interp(ends + lag, ends[usable], signal[usable])
    r = pearsonr(outputs[known & usable], moved[known & usable]).statistic
    holds(found["demand_correlation"], r, slack=0.05)
    slope = slope_of(moved[usable & known], outputs[usable & known], 6, bins=10)
    holds(found["demand_elasticity"], slope, slack=0.05)


def test_replicas_of_which_one_in_eight_exports_correlate_no_better_than_the_raw_rows(tmp_path):
    sources = [("table", f"aibrix_autoscaling/{name}.parquet") for name in ("engine", "replicas")]
    sources.append(("requests", "aibrix_autoscaling/requests.parquet"))
    study = run_study(write_study(tmp_path, "aibrix", *sources), out=tmp_path / "out")
    service = study.services["aibrix-apa"]
    ends, step = service.timeline.time_seconds, service.timeline.step_seconds
    edges = np.append(ends[0] - step, ends)
    log = pl.read_parquet(DATA / "aibrix_autoscaling" / "requests.parquet")
    log = log.filter(pl.col("service") == "aibrix-apa")
    outputs = arrivals(log, log["output_tokens"].fill_null(0).to_numpy(), edges)
    offered = service.timeline.pools["unified"].demand.per_second
    known = np.isfinite(offered)
    assert np.allclose(offered[known], outputs[known], rtol=1e-6, atol=1e-6)
    view = service.timeline.pools["unified"].signals["running_requests"].values
    usable = np.isfinite(view) & known
    r = pearsonr(outputs[usable], view[usable]).statistic
    holds(measures(study, "aibrix-apa")["unified", "running_requests"]["demand_correlation"], r)
