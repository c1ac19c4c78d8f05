"""The recorded replay: its time, and what it makes of recordings whose truth is known.

`python benchmarks/replay.py` times ten policies on a week at 15 s. `python benchmarks/replay.py
recordings` replays all rivals on day_over, day_auto and shift of ../shared/data/dynamo_offline.

Limits (issue 6): under 10 s without draws, under 60 s with 100. The week is a planted P/D service
with a daily rhythm and bursts; the policies are one, with ten targets and tolerances.
Figures go to stdout as Markdown tables; copy them into benchmarks/README.md.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the planted services of tests

from signalstudy.replay.recorded import replay_policy
from signalstudy.study.run import run_study
from tests.replay import planted
from tests.study.recordings import DATA, LIMITS, write_study

RECORDINGS = ("day_over", "day_auto", "shift")
FILES = (("table", "samples"), ("requests", "requests"))
DAYS = 7
LIMITS_SECONDS = {0: 10.0, 100: 60.0}


def week() -> np.ndarray:
    """Give a week of decode tokens per second: a day's rhythm, bursts of minutes, and noise."""
    rng = np.random.default_rng(11)
    rhythm = np.tile(planted.day(20_000.0), DAYS)
    slow = np.convolve(rng.standard_normal(rhythm.size), np.full(20, 1.0), mode="same") / 4.5
    return rhythm * np.exp(0.1 * slow + 0.1 * rng.standard_normal(rhythm.size))


def replay_recordings() -> None:
    """Print for each recording what happened, what the model makes of it, and every run."""
    print("| recording | run | GPU-hours | attainment | scale events |\n|---|---|---|---|---|")
    for name in RECORDINGS:
        with tempfile.TemporaryDirectory() as folder:
            sources = [(kind, f"dynamo_offline/{name}/{file}.parquet") for kind, file in FILES]
            config = write_study(Path(folder), name, *sources, more=LIMITS)
            study = run_study(config, out=Path(folder) / "out")
        [service] = study.services.values()
        gpus = {"prefill": 2.0, "decode": 2.0}
        replay = replay_policy(
            service.policy, service, against=["all"], draws=0, gpus_per_replica=gpus
        )
        meta = (DATA / "dynamo_offline" / name / "meta.json").read_text(encoding="utf-8")
        print(
            f"| {name} | the engine itself | {json.loads(meta)['summary']['gpu_hours']:.1f} | | |"
        )
        for run in replay.runs:
            kept, events = run.slo_attainment_ratio.value, run.scale_events.value
            print(f"| | {run.name} | {run.gpu_hours.value:.1f} | {kept:.4f} | {events:.0f} |")
        print(f"| | {' '.join(replay.runs[0].flags)} | | | |", flush=True)


def main() -> None:
    """Replay and print."""
    service = planted.disaggregated(week(), 12.0)
    capacity = planted.Estimate(2000.0, 1800.0, 2100.0)
    decode = planted.capacity("decode", planted.TBT, per_replica=capacity)
    prefill = service.threshold.capacities["prefill"]
    service = service.but(threshold=planted.threshold(prefill, decode))
    policies = [
        planted.split_policy(proportional={
            "targetPerReplica": {"value": target, "status": "ok"},
            "scaleOutTolerance": 0.05 + 0.01 * number, "scaleInTolerance": 0.2,
        })
        for number, target in enumerate(np.linspace(900.0, 1800.0, 10).tolist())
    ]  # fmt: skip
    print(f"{platform.machine()}, {platform.python_version()}, numpy {np.__version__}\n")
    print("| draws | seconds | limit | scale events a policy |\n|---|---|---|---|")
    for draws, limit in LIMITS_SECONDS.items():
        began, worked = time.perf_counter(), time.process_time()
        replay = replay_policy(policies, service, draws=draws)
        took, cpu = time.perf_counter() - began, time.process_time() - worked
        events = np.mean([run.scale_events.value for run in replay.runs[1:]])
        print(f"| {draws} | {took:.1f} ({cpu:.1f} of a processor) | {limit:g} | {events:.0f} |")


if __name__ == "__main__":
    if sys.argv[1:] == ["recordings"]:
        replay_recordings()
    else:
        main()
