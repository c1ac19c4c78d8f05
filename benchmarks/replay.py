"""Time ten policies on the recorded replay of a week at 15 s: `python benchmarks/replay.py`.

Limits (issue 6): under 10 s without draws, under 60 s with 100. The week is a planted P/D service
with a daily rhythm and bursts; the policies are one, with ten targets and tolerances.
Figures go to stdout as a Markdown table; copy them into benchmarks/README.md.
"""

from __future__ import annotations

import platform
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the planted services of tests

from signalstudy.replay.recorded import replay_policy
from tests.replay import planted

DAYS = 7
LIMITS_SECONDS = {0: 10.0, 100: 60.0}


def week() -> np.ndarray:
    """Give a week of decode tokens per second: a day's rhythm, bursts of minutes, and noise."""
    rng = np.random.default_rng(11)
    rhythm = np.tile(planted.day(20_000.0), DAYS)
    slow = np.convolve(rng.standard_normal(rhythm.size), np.full(20, 1.0), mode="same") / 4.5
    return rhythm * np.exp(0.1 * slow + 0.1 * rng.standard_normal(rhythm.size))


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
    main()
