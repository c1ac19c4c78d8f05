"""The whole calibration: run every part, write what it found as JSON and as a table to read."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.calibration.cells import Cell, other_cells, well_posed_cells
from benchmarks.calibration.coverage import Coverage, judge_cell
from benchmarks.calibration.figure import draw_coverage
from benchmarks.calibration.nulls import FalsePositives, judge_nulls
from benchmarks.calibration.processes import spread
from benchmarks.calibration.services import IllPosed, Race, judge_ill_posed, judge_races

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEAST, MOST = 0.93, 0.98


@dataclass(frozen=True, slots=True)
class Calibration:
    """All that a calibration found, with its seed and the seconds that it took."""

    seed: int
    services: int
    seconds: float
    coverage: list[Coverage]
    nulls: list[FalsePositives]
    race: Race
    ill_posed: list[IllPosed]


def calibrate(
    services: int,
    *,
    seed: int,
    cells: Sequence[Cell],
    jobs: int = 1,
    keep: Callable[[list[Coverage]], None] = lambda _: None,
) -> Calibration:
    """Run all parts of the calibration, `services` to a cell, in `jobs` processes.

    `keep` is given what is known so far after each cell: a run of hours may be cut short.
    """
    began = time.perf_counter()
    coverage: list[Coverage] = []
    with spread(jobs) as start:
        judged = [start(partial(judge_cell, seed=seed), cell, services) for cell in cells]
        others = [
            start(partial(judge, seed=seed), services)
            for judge in (judge_nulls, judge_races, judge_ill_posed)
        ]
        for cell, found in zip(cells, judged, strict=True):
            coverage += found()
            keep(coverage)
            print(f"{time.perf_counter() - began:6.0f} s  {cell.name}", flush=True)
        nulls, race, ill_posed = (found() for found in others)
    seconds = time.perf_counter() - began
    return Calibration(seed, services, seconds, coverage, nulls, race, ill_posed)


def as_markdown(found: Calibration) -> str:
    """Write the figures as tables."""
    return "\n\n".join(
        [
            f"{found.services} records a cell, seed {found.seed}, {found.seconds:.0f} s.",
            "## Coverage of 95 % intervals, by measure",
            _by_measure(found.coverage),
            "## Lag in the clean pure-delay cells",
            _lags(found.coverage),
            "## Signals independent of demand that are said to follow it",
            _nulls(found.nulls),
            "## The best signal",
            _race(found.race),
            "## What cannot be told",
            _ill_posed(found.ill_posed),
            "## Coverage, by cell",
            _by_cell(found.coverage),
        ]
    )


def _by_measure(rows: Sequence[Coverage]) -> str:
    by_measure = defaultdict(list)
    for row in rows:
        by_measure[row.measure].append(row)
    lines = []
    for measure, of in by_measure.items():
        covered = np.array([row.covered_ratio for row in of])
        # A share of few records strays; 1.64 standard errors are what chance alone allows.
        slack = 1.64 * (0.95 * 0.05 / of[0].records) ** 0.5
        lines.append(
            [
                measure,
                f"{covered.mean():.3f}",
                f"{covered.min():.2f}",
                f"{(covered >= LEAST - slack).sum()} of {len(of)}",
                f"{(covered > MOST).sum()} of {len(of)}",
                f"{np.mean([row.unidentified_ratio for row in of]):.3f}",
            ]
        )
    head = ["measure", "mean", "least", f"at least {LEAST} (less chance)", f"above {MOST}"]
    return _table([*head, "no answer"], lines)


def _by_cell(rows: Sequence[Coverage]) -> str:
    return _table(
        ["cell", "signal", "measure", "truth", "covered", "below", "width", "RMSE", "bias", "none"],
        [
            [
                *(row.cell, row.signal, row.measure, f"{row.truth:.4g}"),
                *(f"{row.covered_ratio:.2f}", f"{row.below_ratio:.2f}", f"{row.median_width:.3g}"),
                *(f"{row.rmse:.3g}", f"{row.bias:.2g}", f"{row.unidentified_ratio:.2f}"),
            ]
            for row in rows
        ],
    )


def _lags(rows: Sequence[Coverage]) -> str:
    kept = [
        row
        for row in rows
        if row.measure == "lag_seconds" and "pure delay" in row.cell and "noise 0.02" in row.cell
    ]
    return _table(
        ["cell", "signal", "RMSE, s", "median width, s"],
        [[row.cell, row.signal, f"{row.rmse:.2f}", f"{row.median_width:.1f}"] for row in kept],
    )


def _nulls(rows: Sequence[FalsePositives]) -> str:
    return _table(
        ["memory, s", "rhythm", "a signal", "naive Pearson", "any of 12", "BH", "cannot tell"],
        [
            [
                *(f"{row.memory_seconds:g}", "yes" if row.has_rhythm else "no"),
                *(f"{row.per_signal:.3f}", f"{row.by_pearson:.2f}", f"{row.per_family:.2f}"),
                *(f"{row.per_family_controlled:.3f}", f"{row.undecided:.2f}"),
            ]
            for row in rows
        ],
    )


def _race(race: Race) -> str:
    return _table(
        ["best in set", "best first", "median size of set", "well-posed but undetermined"],
        [
            [
                *(f"{race.best_in_set:.3f}", f"{race.best_first:.3f}", f"{race.median_set:g}"),
                f"{race.well_posed_undetermined:.3f}",
            ]
        ],
    )


def _ill_posed(rows: Sequence[IllPosed]) -> str:
    return _table(
        ["cell", "asked", "share that admits it"],
        [[row.cell, row.asked, f"{row.admitted:.3f}"] for row in rows],
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Calibrate as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=100, help="records a cell")
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument(
        "--cells",
        type=int,
        nargs="*",
        help="0-15 the design, 16-24 the other cells; all by default",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--out", type=Path, default=Path("calibration-study"))
    options = parser.parse_args()
    cells = well_posed_cells() + other_cells()
    chosen = cells if options.cells is None else [cells[place] for place in options.cells]
    options.out.mkdir(parents=True, exist_ok=True)

    def keep(coverage: list[Coverage]) -> None:
        rows = json.dumps([asdict(row) for row in coverage], indent=1)
        (options.out / "coverage.json").write_text(rows + "\n", encoding="utf-8")
        figure = draw_coverage(coverage)
        figure.write_html(options.out / "coverage.html", include_plotlyjs=True)

    found = calibrate(
        options.services, seed=options.seed, cells=chosen, jobs=options.jobs, keep=keep
    )
    (options.out / "calibration.json").write_text(json.dumps(asdict(found), indent=1) + "\n")
    text = f"# Calibration\n\n{as_markdown(found)}\n"
    (options.out / "calibration.md").write_text(text, encoding="utf-8")
    print(f"{options.out / 'calibration.md'}")


if __name__ == "__main__":
    main()
