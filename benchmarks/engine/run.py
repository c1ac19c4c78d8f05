"""Policies against rivals in the engine: `python benchmarks/engine/run.py`, or `make bench-engine`.

For each trace a fixed fleet first serves the first part; a study is fitted to what that leaves, the
policy it drafts, whatever signal it chose, is replayed on the rest, beside the rivals, each with
what suited it best on the first part, and the plans of hindsight. The fixed fleet is too small for
the busiest tenth of the time (`--short`): without that nothing would be seen of the knee, and the
study could give bounds only. Names: day, servegen (gated), code, conversation; or files, Mooncake
JSON lines or request logs.

`--prefill-times 1 --decode-times 1` is the whole H200 pair: some hours a trace. The default is a
smaller replica, which a trace of a tenth of the requests fills as well; a request may fill a
quarter of its KV cache, and longer ones are left out. `--quicken 4` lets the same rates pass in a
quarter of the time: steeper than the trace, and four times as fast to run; `--quicken 0.25` lets
them pass in four times as long, for traces too short to be studied by halves.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.engine.studies import STEP_SECONDS, write_study
from benchmarks.engine.traces import (
    Case,
    bears,
    case,
    longest_context,
    peak_work,
    quickened,
    replica,
    scale_of,
    small_enough,
    work_over_time,
)
from signalstudy.policy.write import write_policy
from signalstudy.replay.engine.processes import run_all, usual_jobs
from signalstudy.replay.engine.run import Fleet, job_of
from signalstudy.replay.engine.sight import View
from signalstudy.replay.engine.trace import reusable_tokens
from signalstudy.replay.recorded import replay_policy
from signalstudy.study.run import run_study

if TYPE_CHECKING:
    from signalstudy.replay.engine.profile import Profile
    from signalstudy.replay.engine.trace import Trace
    from signalstudy.replay.replay import Replay
    from signalstudy.study.study import ServiceStudy

NAMES = ("day", "servegen", "code", "conversation")
STARTUP_SECONDS, TBT_SECONDS, TTFT_SECONDS = 120.0, 0.04, 1.0
GPUS = {"prefill": 2.0, "decode": 2.0}
SIDES = {"prefill": "prefill", "decode": "decode"}
NEARLY_ALL, TTFT_SLACK = 0.998, 1.5
ATTAINMENT, MOST_TIMES_CLAIRVOYANT = 0.99, 1.3


def main() -> None:
    """Run every trace and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", nargs="*", default=list(NAMES))
    parser.add_argument("--prefill-times", type=float, default=4.0)
    parser.add_argument(
        "--decode-times",
        type=float,
        help="batch and KV cache of the whole replica by those of the simulated one; default: 10, "
        "or less where the trace's contexts are too long for that",
    )
    parser.add_argument("--quicken", type=float, default=1.0)
    parser.add_argument("--first", type=float, default=0.5, help="share of the trace to study")
    parser.add_argument(
        "--short",
        type=float,
        default=0.1,
        help="for about which share of the first part its fleet is too small",
    )
    parser.add_argument("--against", default="all")
    parser.add_argument("--jobs", type=int, default=usual_jobs())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep studies and replays there")
    options = parser.parse_args()
    for name in options.traces:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) if options.out is None else options.out / Path(name).stem
            one = case(name, options.seed)
            replay, said = bench(one, options, folder)
        print(f"\n### {one.name}\n\n{said}\n")
        if replay is not None:
            print(table(replay) + "\n")
            print("\n".join(verdicts(replay, is_gated=one.is_gated)))
        print(f"\n{time.perf_counter() - began:.0f} s", flush=True)


def bench(one: Case, options: argparse.Namespace, folder: Path) -> tuple[Replay | None, str]:
    """Serve the first part by a fixed fleet, study that, and replay the rest; say what was done.

    None where the study supports no policy.
    """
    profile = replica(options.prefill_times, options.decode_times or small_enough(one.trace))
    one = replace(one, trace=one.trace.fitting(longest_context(profile)))
    limits = {"ttft": ttft_limit(one.trace, profile, options.prefill_times), "tbt": TBT_SECONDS}
    able = bears(profile, one.trace, limits["tbt"])
    factor = scale_of(one, able)
    trace = quickened(one.trace.scaled(factor, options.seed), options.quicken, options.seed)
    split = trace.start + options.first * trace.seconds
    first = trace.between(None, split)
    fleet = {
        pool: max(round(float(np.quantile(work, 1.0 - options.short)) / able[pool]), 2)
        for pool, work in work_over_time(first).items()
    }
    service = studied(first, Fleet(SIDES, fleet, STARTUP_SECONDS, GPUS, profile), limits, folder)
    if service.policy is None:
        return None, f"{first.seconds / 3600.0:.2g} h on {fleet}: {service.policy_note}"
    replay = replay_policy(
        service.policy,
        service,
        engine="dynamo",
        against=options.against.split(","),
        trace=trace,
        profile=profile,
        span=(split, None),
        attainment=ATTAINMENT,
        startup_seconds=STARTUP_SECONDS,
        gpus_per_replica=GPUS,
        jobs=options.jobs,
        seed=options.seed,
        progress=lambda said: print(f"{time.strftime('%H:%M:%S')} {said}", file=sys.stderr),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "replay.json").write_text(json.dumps(replay.as_dict(), indent=1))
    spec = service.policy.document["spec"]
    target = spec["proportional"]["targetPerReplica"]
    peak = {pool: f"{work / able[pool]:.1f}" for pool, work in peak_work(trace).items()}
    left_out = "".join(note + " " for note in one.trace.notes if "left out" in note)
    said = (
        f"{left_out}{factor:.3g} x the trace's requests, quickened {options.quicken:g} times; "
        f"{replay.requests:,.0f} requests replayed. The peak needs about {peak['prefill']} prefill "
        f"and {peak['decode']} decode replicas. First part: {fleet['prefill']} x "
        f"{fleet['decode']}. The study chose {spec['signal']['perReplicaOf']}."
        f"{spec['signal']['name']} at {target['value']:.4g} a replica ({target['status']}). "
        f"{profile.source}; limits: TTFT {limits['ttft']:g} s, TBT {limits['tbt']:g} s."
    )
    return replay, said


def ttft_limit(trace: Trace, profile: Profile, prefill_times: float) -> float:
    """Give the limit of TTFT in seconds: the usual, or what long prompts can keep at all.

    Nearly all prompts must have half as much time again as their own prefill takes; else a trace
    with long ones would miss its objective on a fleet of any size.
    """
    uncached = trace.prompt_tokens - reusable_tokens(trace)
    long = float(np.quantile(uncached, NEARLY_ALL))
    pass_tokens = profile.engine["max_num_batched_tokens"]
    passes, rest = divmod(long, pass_tokens)
    whole, last = np.interp([pass_tokens, rest], profile.prefill_tokens, profile.prefill_ms) / 1000
    alone = passes * whole + (last if rest else 0.0)
    return max(TTFT_SECONDS * prefill_times, float(np.ceil(TTFT_SLACK * alone)))


def studied(first: Trace, fleet: Fleet, limits: dict[str, float], folder: Path) -> ServiceStudy:
    """Let a fixed fleet serve the first part and study what it leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    view = View(STEP_SECONDS, {}, {}, {}, {}, 0)
    job = job_of(first, folder / "first.jsonl", fleet, view, telemetry_seconds=STEP_SECONDS)
    [ran] = run_all([job], at_once=1, folder=folder)
    path = write_study(ran, job, folder / "study", name="bench", limits=limits,
                       quantile=ATTAINMENT)  # fmt: skip
    [service] = run_study(path, out=folder / "out").services.values()
    if service.policy is not None:
        write_policy(service.policy, folder / "policy.yaml")
    return service


def table(replay: Replay) -> str:
    """Give the runs as a Markdown table, the cheapest first."""
    best = next((run.gpu_hours.value for run in replay.runs if run.name == "clairvoyant"), None)
    lines = ["| run | GPU-hours | of clairvoyant | attainment | scale events | given, flags |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for run in sorted(replay.runs, key=lambda run: run.gpu_hours.value):
        of = "" if best is None else f"{run.gpu_hours.value / best:.2f}"
        remarks = " ".join([run.given, *run.flags]).replace("|", "/")
        lines.append(
            f"| {run.name} | {run.gpu_hours.value:.1f} | {of} | "
            f"{run.slo_attainment_ratio.value:.4f} | {run.scale_events.value:.0f} | {remarks} |"
        )
    return "\n".join(lines)


def verdicts(replay: Replay, *, is_gated: bool) -> list[str]:
    """Say how the policy stands against issue 6's gate."""
    runs = {run.name: run for run in replay.runs}
    policy = replay.runs[0]
    cost, kept = policy.gpu_hours.value, policy.slo_attainment_ratio.value
    said = [f"* attainment {kept:.4f}, asked {ATTAINMENT}: {_passed(kept >= ATTAINMENT)}"]
    if "clairvoyant" in runs:
        times = cost / runs["clairvoyant"].gpu_hours.value
        said.append(f"* {times:.2f} x clairvoyant, at most {MOST_TIMES_CLAIRVOYANT}: "
                    f"{_passed(times <= MOST_TIMES_CLAIRVOYANT)}")  # fmt: skip
    if "fixed-peak" in runs:
        times = cost / runs["fixed-peak"].gpu_hours.value
        said.append(f"* {times:.2f} x the best fixed fleet, below 1: {_passed(times < 1.0)}")
    better = [
        run.name
        for run in replay.runs[1:]
        if run.name != "clairvoyant"
        and run.gpu_hours.value < cost
        and run.slo_attainment_ratio.value >= kept
    ]
    said.append(f"* cheaper and at least as good: {', '.join(better) or 'nobody'}: "
                f"{_passed(not better)}")  # fmt: skip
    return said if is_gated else [*said, "* no gate on this trace"]


def _passed(is_so: bool) -> str:
    return "yes" if is_so else "NO"


if __name__ == "__main__":
    main()
