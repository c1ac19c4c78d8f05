"""Write a synthetic service as files that `signalstudy run` reads: tables and a study.toml."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from signalstudy.synthetic.service import RequestLog, SyntheticPool, SyntheticService
    from signalstudy.vocabulary.objectives import Objective

    Floats = NDArray[np.float64]

TELEMETRY = "telemetry.parquet"
REQUESTS = "requests.parquet"
STUDY = "study.toml"
_UTC_MICROSECONDS = pl.Datetime("us", "UTC")


def write_table(service: SyntheticService, folder: Path) -> Path:
    """Write a wide table, the request log and a study.toml into `folder`; give the latter's path.

    One row per time, pool and replica, and one per time and pool (replica null) for what exists
    only for the pool: latency quantiles and the number of replicas.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frames = [
        frame
        for pool in service.pools.values()
        for frame in (_pool_rows(service, pool), *_replica_rows(service, pool))
    ]
    telemetry = pl.concat(frames, how="diagonal").sort("timestamp", "pool", "replica")
    telemetry.write_parquet(folder / TELEMETRY)
    _request_rows(service).write_parquet(folder / REQUESTS)
    path = folder / STUDY
    path.write_text(_study_toml(service), encoding="utf-8")
    return path


def _pool_rows(service: SyntheticService, pool: SyntheticPool) -> pl.DataFrame:
    state = {"ready_replicas": pool.replicas, "starting_replicas": pool.starting}
    return _rows(service, pool.pool, None, pool.pool_signals | state)


def _replica_rows(service: SyntheticService, pool: SyntheticPool) -> list[pl.DataFrame]:
    most = int(pool.replicas.max())
    return [
        _rows(
            service,
            pool.pool,
            f"{service.spec.name}-{pool.pool}-{replica}",
            {name: values[:, replica] for name, values in pool.replica_signals.items()},
            kept=pool.replicas > replica,
        )
        for replica in range(most)
    ]


def _rows(
    service: SyntheticService,
    pool: str,
    replica: str | None,
    signals: dict[str, Floats],
    *,
    kept: NDArray[np.bool_] | None = None,
) -> pl.DataFrame:
    mask = np.ones(service.time_seconds.size, dtype=np.bool_) if kept is None else kept
    times = _instants(service.time_seconds[mask])
    labels = {"service": service.spec.name, "pool": pool, "replica": replica}
    frame = pl.DataFrame({"timestamp": times}).with_columns(
        *(pl.lit(value, dtype=pl.String).alias(label) for label, value in labels.items())
    )
    columns = [
        pl.Series(name, values[mask], dtype=pl.Float64).fill_nan(None)
        for name, values in signals.items()
    ]
    return frame.with_columns(columns)


def _request_rows(service: SyntheticService) -> pl.DataFrame:
    """Give one row a request, in the order of arrival.

    Where no signal is to follow demand, end-to-end times are left out: completions counted from
    them would follow it.
    """
    requests = service.requests
    columns = {
        "arrived_at": _instants(requests.arrived_seconds),
        "service": [service.spec.name] * requests.arrived_seconds.size,
        **_whole_tokens(requests),
        "ttft_seconds": requests.ttft_seconds,
        "tbt_seconds": requests.tbt_seconds,
    }
    if not service.spec.independent_noise:
        columns["e2e_seconds"] = requests.e2e_seconds
    return pl.DataFrame(columns)


def _whole_tokens(requests: RequestLog) -> dict[str, NDArray[np.int64]]:
    names = ("prompt_tokens", "cached_prompt_tokens", "output_tokens")
    return {name: getattr(requests, name).astype(np.int64) for name in names}


def _instants(seconds: Floats) -> pl.Series:
    microseconds = np.rint(seconds * 1e6).astype(np.int64)
    return pl.Series(microseconds).cast(_UTC_MICROSECONDS)


def _study_toml(service: SyntheticService) -> str:
    spec = service.spec
    name = json.dumps(spec.name)  # a JSON string is a TOML basic string
    return "\n".join(
        [
            "# A synthetic service whose right answers are known.",
            "[study]",
            f"name = {name}",
            f"step_seconds = {spec.step_seconds:g}",
            "",
            "[[sources]]",
            'kind = "table"',
            f'path = "{TELEMETRY}"',
            "",
            "[[sources]]",
            'kind = "requests"',
            f'path = "{REQUESTS}"',
            "",
            *_objective_toml(spec.ttft_objective),
            "",
            *_objective_toml(spec.tbt_objective),
            "",
            "[provisioning]",
            f"startup_seconds = {spec.startup_seconds:g}",
            "",
        ]
    )


def _objective_toml(objective: Objective) -> list[str]:
    return [
        "[[objectives]]",
        f'signal = "{objective.signal}"',
        f"quantile = {objective.quantile:g}",
        f"at_most_seconds = {objective.at_most_seconds:g}",
    ]
