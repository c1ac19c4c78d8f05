"""Time the main job against its limits and a physical floor: `make bench`.

A recording is made (two services, 24 hours, six replicas each, every 10 s, as engine counters,
gauges and histograms, with request logs), then studied by the command line in a process of its own.
The floor is one DuckDB scan of the same files. Ratios are of CPU seconds, which a busy machine does
not change. Figures go to stdout as a Markdown table; copy them into benchmarks/README.md.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.study_file import study_toml
from signalstudy.synthetic.generate import generate_service
from signalstudy.synthetic.service import ServiceSpec
from signalstudy.synthetic.write import write_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.synthetic.service import SyntheticPool, SyntheticService

COUNTERS = {
    "decode_tokens_per_second": "vllm:generation_tokens_total",
    "prefill_tokens_per_second": "vllm:prompt_tokens_total",
    "requests_per_second": "vllm:request_success_total",
}
HISTOGRAMS = {
    "prefill": ("vllm:time_to_first_token_seconds", "ttft_seconds", "prefill_step"),
    "decode": ("vllm:request_time_per_output_token_seconds", "tbt_seconds", "decode_step"),
}
EDGES = (0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, np.inf)
STUDY = study_toml(
    "benchmark", [("table", "telemetry-*.parquet"), ("requests", "requests-*.parquet")]
)


def main() -> None:
    """Make the recording, study it, print the table."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = sum(_write_service(folder, number) for number in (1, 2))
        (folder / "study.toml").write_text(STUDY, encoding="utf-8")
        floor, floor_cpu = _scan(folder)
        first, first_cpu, peak_bytes = _study(folder)
        again, again_cpu, _ = _study(folder)
    imports = statistics.median(_import() for _ in range(9))
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"load average {os.getloadavg()[1]:.1f}\n"
    )
    print("| what | elapsed | CPU | limit |\n|---|---|---|---|")
    print(f"| `signalstudy run`, first time | {first:.1f} s | {first_cpu:.1f} s | 20 s elapsed |")
    print(f"| ... again, store reused | {again:.1f} s | {again_cpu:.1f} s | |")
    print(f"| floor: DuckDB scans the same files | {floor:.2f} s | {floor_cpu:.2f} s | |")
    print(f"| ratio of the first run to the floor | | {first_cpu / floor_cpu:.0f} | |")
    print(f"| `import signalstudy`, median of 9 | {imports * 1e3:.0f} ms | | 200 ms |\n")
    print(f"{rows / 1e6:.2f} M rows of telemetry and the requests beside them; ", end="")
    print(f"peak memory {peak_bytes / 1e9:.2f} GB of the 1 GB allowed.")


def _write_service(folder: Path, number: int) -> int:
    spec = ServiceSpec(
        name=f"service-{number}", step_seconds=10.0, prefill_replicas=3, decode_replicas=3
    )
    service = generate_service(spec, seed=number)
    write_table(service, folder / "wide")
    (folder / "wide" / "requests.parquet").rename(folder / f"requests-{number}.parquet")
    frames = [
        frame
        for pool in service.pools.values()
        for frame in (*_scalars(service, pool), _histogram(service, pool))
    ]
    table = pl.concat(frames, how="diagonal").with_columns(pl.lit(spec.name).alias("service"))
    table.write_parquet(folder / f"telemetry-{number}.parquet")
    return table.height


def _scalars(service: SyntheticService, pool: SyntheticPool) -> list[pl.DataFrame]:
    step = service.spec.step_seconds
    frames = []
    for name, values in pool.replica_signals.items():
        for replica in range(values.shape[1]):
            series = values[:, replica]
            if name in COUNTERS:
                series = np.cumsum(np.nan_to_num(series) * step)
            metric = COUNTERS.get(name, name)
            frames.append(_long(service, pool.pool, f"{pool.pool}-{replica}", metric, series))
    ready = {"ready_replicas": pool.replicas, "starting_replicas": pool.starting}
    return frames + [_long(service, pool.pool, None, name, v) for name, v in ready.items()]


def _histogram(service: SyntheticService, pool: SyntheticPool) -> pl.DataFrame:
    metric, latency, step = HISTOGRAMS[pool.pool]
    requests = service.requests
    seconds, at = getattr(requests, latency), getattr(requests, step)
    steps = pool.replicas.size
    frames = []
    for replica in range(int(pool.replicas.max())):
        mine = np.arange(seconds.size) % int(pool.replicas.max()) == replica
        name = f"{pool.pool}-{replica}"
        for edge in EDGES:
            within = mine & (seconds <= edge) & (at < steps)
            counts = np.cumsum(np.bincount(at[within], minlength=steps)[:steps])
            le = "+Inf" if np.isinf(edge) else f"{edge:g}"
            frames.append(_long(service, pool.pool, name, f"{metric}_bucket", counts, le=le))
        total = np.bincount(at[mine & (at < steps)], seconds[mine & (at < steps)], steps)
        frames.append(_long(service, pool.pool, name, f"{metric}_sum", np.cumsum(total)))
        number = np.bincount(at[mine & (at < steps)], minlength=steps)[:steps]
        frames.append(_long(service, pool.pool, name, f"{metric}_count", np.cumsum(number)))
    return pl.concat(frames)


def _long(
    service: SyntheticService,
    pool: str,
    replica: str | None,
    metric: str,
    values: NDArray[np.float64] | NDArray[np.int64],
    *,
    le: str | None = None,
) -> pl.DataFrame:
    spec = service.spec
    ends = spec.start_seconds + spec.step_seconds * (1 + np.arange(values.size))
    stamps = pl.Series("timestamp", (ends * 1000).astype(np.int64)).cast(pl.Datetime("ms", "UTC"))
    return pl.DataFrame({"timestamp": stamps, "value": values.astype(float)}).with_columns(
        pl.lit(metric).alias("metric"),
        pl.lit(pool).alias("pool"),
        pl.lit(replica, dtype=pl.String).alias("replica"),
        pl.lit(le, dtype=pl.String).alias("le"),
    )


def _scan(folder: Path) -> tuple[float, float]:
    """Time one scan of every column of the files that the study reads: elapsed and CPU seconds."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    connection = duckdb.connect()
    for kind in ("telemetry", "requests"):
        files = [str(file) for file in sorted(folder.glob(f"{kind}-*.parquet"))]
        connection.sql("SELECT bit_xor(hash(COLUMNS(*))) FROM read_parquet($files)",
                       params={"files": files}).fetchall()  # fmt: skip
    return time.perf_counter() - begin, time.process_time() - begin_cpu


def _study(folder: Path) -> tuple[float, float, float]:
    """Give elapsed and CPU seconds and peak bytes of `signalstudy run` in its own process."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "signalstudy.cli", "run", "study.toml", "--quiet"],
        cwd=folder, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    elapsed = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return elapsed, cpu, after.ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def _import() -> float:
    code = (
        "import time; t = time.perf_counter(); import signalstudy; print(time.perf_counter() - t)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


if __name__ == "__main__":
    main()
