"""Say whether recorded and engine replay agree, and what a policy costs the engine.

`python benchmarks/engine/agreement.py [day_over|day_auto ...] [--hours H]`

On the days of dynamo_offline (24 h, 345,207 requests each) the study's drafted policy is replayed
on the recorded demand and in the engine; GPU-hours may differ by a tenth (issue 6). Then the engine
plays back the replicas that the policy asked for, without a policy: the closed loop may take 1.25
times its processor seconds. Figures go to stdout as a Markdown table.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.study_file import study_toml
from signalstudy.replay.controller import policy_controller
from signalstudy.replay.engine.run import Plan
from signalstudy.replay.engine.score import attainment, gpu_hours_of
from signalstudy.replay.engine.setting import controlled, setting_of
from signalstudy.replay.recorded import replay_policy
from signalstudy.study.run import run_study

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "dynamo_offline"
PROFILE = DATA / "h200_llama31_70b_bf16_tp2_vllm0240.npz"
GPUS = {"prefill": 2.0, "decode": 2.0}
COLUMNS = ("day", "recorded GPU-hours", "engine GPU-hours", "engine / recorded",
           "recorded attainment", "engine attainment", "closed loop, processor s",
           "played back, processor s", "closed / played back")  # fmt: skip


def _study_toml(name: str) -> str:
    sources = [
        ("table", DATA / name / "samples.parquet"),
        ("requests", DATA / name / "requests.parquet"),
    ]
    return study_toml(name, sources, limits={"ttft": 1.0, "tbt": 0.04}, gpus="2")


def main() -> None:
    """Replay each day three times and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("days", nargs="*", default=["day_over", "day_auto"])
    parser.add_argument("--hours", type=float, default=24.0)
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for name in options.days:
        print(f"| {' | '.join(compare(name, options.hours))} |", flush=True)


def compare(name: str, hours: float) -> list[str]:
    """Give one day's row."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "study.toml").write_text(_study_toml(name), encoding="utf-8")
        [service] = run_study(folder / "study.toml", out=folder / "out").services.values()
        timeline = service.timeline
        start = float(timeline.time_seconds[0] - timeline.step_seconds)
        span = (start, start + 3600.0 * hours)
        recorded = replay_policy(
            service.policy, service, span=span, draws=0, gpus_per_replica=GPUS
        ).runs[1]
        setting = setting_of(
            service, folder, trace=DATA / name / "requests.parquet", profile=PROFILE, span=span,
            gpus_per_replica=GPUS, jobs=1,
        )  # fmt: skip
        make = functools.partial(policy_controller, service.policy, setting.grounds, name)
        job = controlled(setting.template, make(), make)
        [closed] = setting.run([job])
        later = closed.asked[1:]
        plan = Plan(
            np.array([at for at, _ in later]),
            {pool: np.array([float(asked[pool]) for _, asked in later]) for pool in GPUS},
        )
        [played] = setting.run([replace(job, make=None, plan=plan)])
        kept, cost = attainment(closed, job, setting.objectives), gpu_hours_of(closed, job)
    recorded_cost = recorded.gpu_hours.value
    ratio = closed.processor_seconds / played.processor_seconds
    return [
        name, f"{recorded_cost:.1f}", f"{cost:.1f}", f"{cost / recorded_cost:.3f}",
        f"{recorded.slo_attainment_ratio.value:.4f}", f"{kept:.4f}",
        f"{closed.processor_seconds:.0f}", f"{played.processor_seconds:.0f}", f"{ratio:.2f}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
