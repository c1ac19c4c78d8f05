"""Fit simulated pressure tests whose true knee is known; count how often the bound is unsafe."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.thresholds.cells import CELLS
from benchmarks.thresholds.fleet import serve
from benchmarks.thresholds.planted import tables
from benchmarks.thresholds.points import DATA, FILE, leave_one_out
from benchmarks.thresholds.recording import recorded
from benchmarks.thresholds.traffic import Ramp
from benchmarks.thresholds.truth import AMPLE_REPLICAS, RUN_REQUESTS, true_rate, work_per_replica
from signalstudy.threshold.fit import fit_threshold

if TYPE_CHECKING:
    from benchmarks.thresholds.cells import Cell
    from benchmarks.thresholds.fleet import Fleet

FIRST_RATE_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """One pressure test: status, and bound and value over the true knee (None: there is none)."""

    status: str
    low_over_truth: float | None
    value_over_truth: float | None
    covered: bool | None


def measure(
    cell: Cell, tests: int, *, seed: int = 0, truth_requests: int = RUN_REQUESTS
) -> list[Outcome]:
    """Run and fit the tests of one cell, each with arrivals, lengths and noise of its own."""
    fleet = _sized(cell)
    rate = true_rate(
        fleet, cell.mix, cell.objective, seed=seed + 7_000, run_requests=truth_requests
    )
    truth = work_per_replica(fleet, cell.mix, cell.pool, rate)
    ramp = Ramp(
        FIRST_RATE_SHARE * rate, cell.over_knee * rate, cell.steps, cell.dwell_seconds,
        shuffled=cell.shuffled,
    )  # fmt: skip
    objectives = [cell.objective, cell.other]
    outcomes = []
    for test in range(tests):
        rng = np.random.default_rng((seed, test, 99))
        served = serve(fleet, ramp.offered(cell.mix, rng), rng)
        timeline = recorded(
            fleet, served, objectives, seconds=ramp.seconds + 120.0,
            step_seconds=cell.step_seconds, by_buckets=cell.by_buckets,
        )  # fmt: skip
        threshold, _ = fit_threshold(None, None, objectives, pressure_test=timeline, seed=test)
        found = threshold.capacities[cell.pool].per_replica
        covered = None
        if found.low is not None and found.high is not None:
            covered = found.low <= truth <= found.high
        outcomes.append(
            Outcome(
                found.status,
                None if found.low is None else found.low / truth,
                None if found.value is None else found.value / truth,
                covered,
            )
        )
    return outcomes


def _sized(cell: Cell) -> Fleet:
    """Give the other pool as many replicas as put its knee where the cell wants it.

    Where it shall saturate first it is the pool under test that grows.
    """
    other = "decode" if cell.pool == "prefill" else "prefill"
    own = _rate_of_one(cell, cell.pool)
    theirs = _rate_of_one(cell, other)
    mine = getattr(cell.fleet, f"{cell.pool}_replicas")
    if cell.other_over_knee >= 1.0:
        count = int(np.ceil(cell.other_over_knee * own * mine / theirs))
        return replace(cell.fleet, **{f"{other}_replicas": min(count, AMPLE_REPLICAS)})
    few = getattr(cell.fleet, f"{other}_replicas")
    count = int(np.ceil(few * theirs / (cell.other_over_knee * own)))
    return replace(cell.fleet, **{f"{cell.pool}_replicas": count})


def _rate_of_one(cell: Cell, pool: str) -> float:
    """Give a rough knee of one replica of a pool, in requests per second."""
    if pool == "prefill":
        per_prompt = (
            cell.fleet.prefill_seconds
            + cell.fleet.prefill_seconds_per_token * cell.mix.prompt_tokens
        )
        return 0.75 / per_prompt
    limit = (cell.objective if cell.pool == "decode" else cell.other).at_most_seconds
    pace = np.array(cell.fleet.iteration_seconds())
    running = int(np.searchsorted(pace, limit)) - 1
    return max(running, 1) / float(pace[max(running, 1)]) / cell.mix.output_tokens


def summary(outcomes: list[Outcome]) -> dict[str, object]:
    """Sum up the tests of a cell, or of all of them."""
    low = np.array([o.low_over_truth for o in outcomes if o.low_over_truth is not None])
    ok = np.array([o.low_over_truth for o in outcomes if o.status == "ok"], dtype=float)
    covered = [o.covered for o in outcomes if o.covered is not None]
    return {
        "tests": len(outcomes),
        "statuses": dict(Counter(o.status for o in outcomes).most_common()),
        "unsafe_share": float((low > 1.0).mean()) if low.size else None,
        "low_over_truth_median": float(np.median(low)) if low.size else None,
        "low_over_truth_median_ok": float(np.median(ok)) if ok.size else None,
        "covered_share": float(np.mean(covered)) if covered else None,
    }


def main() -> None:
    """Measure and print a Markdown table; every outcome goes to the JSON file asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=20, help="pressure tests a cell")
    parser.add_argument("--only", default="", help="cells whose name contains this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write every outcome there")
    parser.add_argument("--points", action="store_true", help="measured sweeps instead")
    parser.add_argument("--planted", action="store_true", help="joint fits, and drift")
    asked = parser.parse_args()
    if asked.planted:
        print(tables(asked.tests))
        return
    if asked.points:
        print(leave_one_out(DATA / FILE))
        return
    print("| setting | tests | statuses | bound above truth | median bound / truth | of ok | "
          "interval covers |\n|---|---|---|---|---|---|---|")  # fmt: skip
    everything: dict[str, list[Outcome]] = {}
    for cell in CELLS:
        if asked.only in cell.name:
            began = time.process_time()
            everything[cell.name] = measure(cell, asked.tests, seed=asked.seed)
            print(_row(cell.name, summary(everything[cell.name])), flush=True)
            print(f"{cell.name}: {time.process_time() - began:.0f} s", file=sys.stderr)
    hard = {cell.name for cell in CELLS if cell.hard}
    whole = [o for name, found in everything.items() if name not in hard for o in found]
    print(_row("**all but the last two**", summary(whole)))
    if asked.json:
        asked.json.write_text(
            json.dumps({name: [asdict(o) for o in found] for name, found in everything.items()})
        )


def _row(name: str, found: dict[str, object]) -> str:
    def said(key: str) -> str:
        value = found[key]
        return "-" if value is None else f"{value:.3f}"

    statuses = found["statuses"]
    assert isinstance(statuses, dict)
    listed = ", ".join(f"{count} {status}" for status, count in statuses.items())
    cells = [said(key) for key in ("unsafe_share", "low_over_truth_median",
                                   "low_over_truth_median_ok", "covered_share")]  # fmt: skip
    return f"| {name} | {found['tests']} | {listed} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
