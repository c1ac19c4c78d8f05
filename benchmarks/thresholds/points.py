"""Leave one concurrency out of measured sweeps, and predict the work at its latency.

Data: `../shared/data/aiconfigurator` (InferenceX and NVIDIA sweeps), aggregated curves of six or
more concurrencies, median over repeats. Run: `python benchmarks/thresholds/run.py --points`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from signalstudy.threshold.points import fit_objective
from signalstudy.timeline.points import OperatingPoints
from signalstudy.vocabulary.objectives import Objective

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "aiconfigurator"
FILE = "silicon_sample.parquet"
CONFIGURATION = ("model_path", "system", "backend", "backend_version", "precision",
                 "prompt_tokens", "output_tokens", "tp_size", "pp_size", "attention_dp_size",
                 "moe_tp_size", "moe_ep_size", "config_id")  # fmt: skip
FEWEST_CONCURRENCIES = 6


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What came of all points left out: errors per curve, and of the interval.

    `curves`: how many; `median_error`, `error_80`: of the curves' median relative errors, the
    median and the 80 % quantile, and the same for plain log-log interpolation; `covered`: share of
    intervals that hold the point; `width`: their median width over the value.
    """

    curves: int
    points: int
    median_error: float
    error_80: float
    plain_median_error: float
    plain_error_80: float
    covered: float
    width: float


def leave_one_out(path: Path) -> LeftOut:
    """Leave out every inner concurrency of every curve in turn."""
    curves = read_curves(path)
    ours, plain, covered, widths, points = [], [], [], [], 0
    for curve in curves:
        errors, plain_errors = [], []
        for place in range(1, curve.tbt_seconds.size - 1):
            truth = float(curve.decode_tokens_per_second[place])
            limit = float(curve.tbt_seconds[place])
            rest = _without(curve, place)
            found = fit_objective(rest, Objective("tbt", 0.5, limit))
            assert found.value is not None
            errors.append(abs(found.value / truth - 1.0))
            plain_errors.append(abs(_plain(rest, limit) / truth - 1.0))
            if found.low is not None and found.high is not None:
                covered.append(found.low <= truth <= found.high)
                widths.append((found.high - found.low) / found.value)
        points += len(errors)
        ours.append(np.median(errors))
        plain.append(np.median(plain_errors))
    return LeftOut(
        len(curves), points, float(np.median(ours)), float(np.quantile(ours, 0.8)),
        float(np.median(plain)), float(np.quantile(plain, 0.8)), float(np.mean(covered)),
        float(np.median(widths)),
    )  # fmt: skip


def read_curves(path: Path) -> list[OperatingPoints]:
    """Read the curves, each sorted by concurrency, the median of repeats at each."""
    values = ("ttft_seconds", "tbt_seconds", "gpus_per_replica")
    rows = (
        pl.read_parquet(path)
        .filter((pl.col("mode") == "agg") & pl.col("concurrency_requests").is_not_null())
        .group_by(*CONFIGURATION, "concurrency_requests")
        .agg(pl.col(values).median())
        .sort("concurrency_requests")
    )
    columns = ("concurrency_requests", "ttft_seconds", "tbt_seconds", "prompt_tokens",
               "output_tokens", "gpus_per_replica")  # fmt: skip
    return [
        OperatingPoints(str(key), *(group[name].cast(pl.Float64).to_numpy() for name in columns))
        for key, group in rows.group_by(CONFIGURATION, maintain_order=True)
        if group.height >= FEWEST_CONCURRENCIES
    ]


def _without(points: OperatingPoints, place: int) -> OperatingPoints:
    kept = np.arange(points.tbt_seconds.size) != place
    columns = (points.concurrency_requests, points.ttft_seconds, points.tbt_seconds,
               points.prompt_tokens, points.output_tokens, points.gpus_per_replica)  # fmt: skip
    return OperatingPoints(points.service, *(column[kept] for column in columns))


def _plain(points: OperatingPoints, limit: float) -> float:
    """Interpolate log work over log latency, the yardstick."""
    order = np.argsort(points.tbt_seconds, kind="stable")
    latency = np.log(points.tbt_seconds[order])
    work = np.log(points.decode_tokens_per_second[order])
    return float(np.exp(np.interp(np.log(limit), latency, work)))
