"""Twin of threshold/points.py: closed loops whose batch law is known, and measured sweeps."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.thresholds.points import FILE, leave_one_out
from signalstudy.threshold.points import draw_curve, fit_objective, fit_points, scatter_warning
from signalstudy.timeline.points import OperatingPoints
from signalstudy.vocabulary.objectives import Objective

TBT = Objective("tbt", 0.95, 0.05)


def closed_loop(concurrency, *, noise=0.0, output=500.0):
    c = np.asarray(concurrency, dtype=float)
    wobble = np.exp(noise * np.random.default_rng(0).standard_normal(c.size))
    same = np.ones(c.size)
    return OperatingPoints(
        "chat", c, 0.05 + 0.002 * c, (0.020 + 0.00025 * c) * wobble, 1000 * same,
        output * same, same,
    )  # fmt: skip


def true_work(limit, output=500.0):
    c = (limit - 0.020) / 0.00025
    return c * output / (0.05 + 0.002 * c + (output - 1) * limit)


def test_the_work_at_the_limit_is_interpolated():
    estimate = fit_objective(closed_loop([1, 2, 4, 8, 16, 32, 64, 128, 256]), TBT)
    assert estimate.status == "ok"
    assert estimate.value == pytest.approx(true_work(0.05), rel=0.05)
    assert estimate.low < true_work(0.05) < estimate.high
    assert "mean" in estimate.note


def test_noise_widens_the_interval():
    sweep = [1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256]
    still = fit_objective(closed_loop(sweep), TBT)
    noisy = fit_objective(closed_loop(sweep, noise=0.15), TBT)
    assert noisy.high / noisy.low > still.high / still.low


def test_a_limit_never_reached_gives_a_lower_bound_at_the_most_work_seen():
    points = closed_loop([1, 2, 4, 8, 16, 32])
    estimate = fit_objective(points, TBT)
    assert estimate.status == "lower_bound"
    assert estimate.value == pytest.approx(points.decode_tokens_per_second.max())


def test_a_limit_below_the_first_point_is_censored():
    estimate = fit_objective(closed_loop([1, 2, 4, 8, 16]), Objective("tbt", 0.95, 0.01))
    assert estimate.status == "censored"
    assert estimate.low is None


def test_three_points_are_too_few():
    estimate = fit_objective(closed_loop([1, 8, 256]), TBT)
    assert estimate.status == "unidentified"
    assert "too few" in estimate.note


def test_points_of_several_request_shapes_are_refused():
    points = closed_loop([1, 2, 4, 8, 16, 32])
    points.prompt_tokens[3:] = 8192.0
    assert "request shapes" in fit_objective(points, TBT).note


def mixed(*configurations):
    """Put the points of several configurations into one file."""
    names = ("concurrency_requests", "ttft_seconds", "tbt_seconds", "prompt_tokens",
             "output_tokens", "gpus_per_replica")  # fmt: skip
    columns = (np.concatenate([getattr(one, name) for one in configurations]) for name in names)
    return OperatingPoints("chat", *columns)


def faster(points, times, gpus=1.0):
    return OperatingPoints(
        "chat", points.concurrency_requests, points.ttft_seconds / times,
        points.tbt_seconds / times, points.prompt_tokens, points.output_tokens,
        np.full(points.tbt_seconds.size, gpus),
    )  # fmt: skip


def test_points_of_several_configurations_are_a_warning():
    sweep = closed_loop([1, 2, 4, 8, 16, 32, 64, 128], noise=0.02)
    again = closed_loop([1, 2, 4, 8, 16, 32, 64, 128])
    assert scatter_warning(sweep) == scatter_warning(mixed(sweep, again)) == ""
    other = faster(again, 2.0)
    said = scatter_warning(mixed(sweep, other))
    assert "at 8 of 8 concurrencies their work differs by up to 2" in said
    assert said in fit_objective(mixed(sweep, other), TBT).note
    assert "2 different gpus_per_replica" in scatter_warning(mixed(sweep, faster(again, 1.1, 4.0)))


def test_configurations_that_share_no_concurrency_are_told_by_the_points_left_out():
    slow, fast = closed_loop([1, 4, 16, 64]), faster(closed_loop([2, 8, 32, 128]), 4.0)
    assert "miss points that are left out by" in scatter_warning(mixed(slow, fast))
    assert scatter_warning(mixed(slow, closed_loop([2, 8, 32, 128]))) == ""


def test_the_tightest_objective_binds():
    points = closed_loop([1, 2, 4, 8, 16, 32, 64, 128, 256])
    ttft = Objective("ttft", 0.95, 0.1)
    capacity = fit_points(points, [TBT, ttft])
    assert capacity.binding == "ttft"
    assert capacity.per_replica.value == capacity.by_objective[str(ttft)].value
    assert capacity.max_observed == points.decode_tokens_per_second.max()


def test_unknown_values_are_left_out():
    points = closed_loop([1, 2, 4, 8, 16, 32, 64, 128, 256])
    points.tbt_seconds[2] = np.nan
    points.concurrency_requests[0] = np.nan
    assert fit_objective(points, TBT).effective_observations == 7


CURVES = [
    ("MiniMaxAI/MiniMax-M2.5", "b300_sxm", 8192),
    ("Qwen/Qwen3.5-397B-A17B", "b300_sxm", 1024),
    ("deepseek-ai/DeepSeek-R1", "b200_sxm", 1024),
]
CONFIGURATION = ["backend", "backend_version", "precision", "output_tokens", "tp_size", "pp_size",
                 "attention_dp_size", "moe_tp_size", "moe_ep_size", "config_id"]  # fmt: skip


@pytest.mark.recordings
@pytest.mark.parametrize(("model", "system", "prompt"), CURVES)
def test_measured_sweeps_give_work_between_the_points_around_the_limit(
    recordings, model, system, prompt
):
    rows = pl.read_parquet(recordings("aiconfigurator") / "silicon_sample.parquet").filter(
        (pl.col("model_path") == model)
        & (pl.col("system") == system)
        & (pl.col("prompt_tokens") == prompt)
        & (pl.col("mode") == "agg")
    )
    groups = rows.group_by(CONFIGURATION, maintain_order=True)
    group = max((g for _, g in groups), key=lambda g: g["concurrency_requests"].n_unique())
    columns = ["concurrency_requests", "ttft_seconds", "tbt_seconds", "prompt_tokens",
               "output_tokens", "gpus_per_replica"]  # fmt: skip
    points = OperatingPoints(model, *(group[c].cast(pl.Float64).to_numpy() for c in columns))
    limit = float(np.median(points.tbt_seconds))
    estimate = fit_objective(points, Objective("tbt", 0.5, limit))
    assert estimate.status == "ok"
    work = points.decode_tokens_per_second
    assert work[points.tbt_seconds < 0.7 * limit].max() <= estimate.value
    assert estimate.value <= work[points.tbt_seconds > 1.3 * limit].min()


def test_the_batch_law_is_followed_between_points_where_logarithms_are_not_straight():
    c = np.array([4.0, 8, 16, 32, 64, 128])
    latency = 0.010 + 0.0002 * c
    left_out = c != 32
    curve = draw_curve(c[left_out], latency[left_out], (c / latency)[left_out])
    assert curve.floor_seconds == pytest.approx(0.010, rel=0.1)
    assert curve.work_at(0.0164) == pytest.approx(32 / 0.0164, rel=0.02)


def test_work_never_falls_as_the_limit_is_loosened():
    c = np.array([1.0, 2, 4, 8, 16, 32, 64])
    latency = np.array([0.02, 0.021, 0.020, 0.05, 0.04, 0.09, 0.091])
    work = np.array([50.0, 90, 200, 160, 300, 280, 350])
    curve = draw_curve(c, latency, work)
    reached = [curve.work_at(limit) for limit in np.linspace(0.015, 0.12, 60)]
    assert np.all(np.diff(reached) >= -1e-9)


def test_repeats_at_one_concurrency_count_as_their_median():
    c = np.repeat([1.0, 2, 4, 8], 3)
    latency = np.repeat([0.02, 0.022, 0.026, 0.034], 3)
    latency[2] = 9.0
    curve = draw_curve(c, latency, c / latency)
    assert curve.latency_seconds[0] == pytest.approx(0.02)


@pytest.mark.recordings
def test_concurrencies_left_out_of_measured_sweeps_are_predicted(recordings):
    found = leave_one_out(recordings("aiconfigurator") / FILE)
    assert found.curves == 149
    assert found.median_error < 0.06 < found.plain_median_error
    assert found.error_80 < 0.12 < found.plain_error_80
    assert 0.93 < found.covered < 0.98
    assert found.width < 0.5
