"""The whole calibration: run every part, write what it found as JSON and as a table to read."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
CHANCE = 1.64
"""Standard errors below which a share that strays is no evidence (5 % on one side)."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """All that a calibration found so far, with its seed and the seconds that it took."""

    seed: int
    services: int
    seconds: float
    coverage: list[Coverage] = field(default_factory=list)
    nulls: list[FalsePositives] = field(default_factory=list)
    race: Race | None = None
    ill_posed: list[IllPosed] = field(default_factory=list)


def calibrate(
    services: int,
    *,
    seed: int,
    cells: Sequence[Cell],
    cells_alone: bool = False,
    jobs: int = 1,
    keep: Callable[[Calibration], None] = lambda _: None,
) -> Calibration:
    """Run all parts of the calibration, or the cells alone, `services` each, in `jobs` processes.

    `keep` is given what is known so far after each part: a run of an hour may be cut short.
    """
    began = time.perf_counter()
    found = Calibration(seed, services, 0.0)
    beside: list[tuple[str, str, Callable[..., Any], tuple[Any, ...]]] = [
        ("what cannot be told", "ill_posed", judge_ill_posed, (services,)),
        ("the best signal", "race", judge_races, (services,)),
        ("independent signals", "nulls", judge_nulls, (services,)),
    ]
    parts = [
        *([] if cells_alone else beside),
        *((cell.name, "coverage", judge_cell, (cell, services)) for cell in cells),
    ]
    with spread(jobs) as start:
        started = [start(partial(judge, seed=seed), *inputs) for _, _, judge, inputs in parts]
        for (name, part, _, _), result in zip(parts, started, strict=True):
            got = result()
            if part == "coverage":
                got = [*found.coverage, *got]
            found = replace(found, seconds=time.perf_counter() - began, **{part: got})
            keep(found)
            print(f"{found.seconds:6.0f} s  {name}", flush=True)
    return found


def as_markdown(found: Calibration) -> str:
    """Write the figures as tables."""
    return "\n\n".join(
        [
            f"{found.services} records a cell, seed {found.seed}, {found.seconds:.0f} s.",
            "## Coverage of 95 % intervals, by measure",
            _by_measure(found.coverage),
            "## Coverage of 95 % intervals, by measure and signal",
            _by_signal(found.coverage),
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
    """Tabulate, by measure, in how many pairs of cell and signal its intervals hold what they say.

    `within`: at least 0.93, and at most 0.98 but where a stated resolution explains more. `by
    chance`: those that are short of it by less than 1.64 standard errors count as well.
    """
    by_measure = defaultdict(list)
    for row in rows:
        by_measure[row.measure].append(row)
    lines = []
    for measure, of in by_measure.items():
        covered = np.array([row.covered_ratio for row in of])
        at_floor = np.array([row.is_at_floor for row in of])
        lines.append(
            [
                *(measure, f"{covered.mean():.3f}", f"{covered.min():.3f}"),
                f"{np.mean([_is_within(row) for row in of]):.0%} of {len(of)}",
                f"{np.mean([_is_within(row, CHANCE) for row in of]):.0%}",
                f"{(covered < LEAST).mean():.0%}",
                f"{((covered > MOST) & ~at_floor).mean():.0%}",
                f"{((covered > MOST) & at_floor).mean():.0%}",
                f"{np.mean([row.unidentified_ratio for row in of]):.3f}",
            ]
        )
    head = ["measure", "mean", "least", "within", "by chance", f"below {LEAST}", f"above {MOST}"]
    return _table([*head, "above, at its resolution", "no answer"], lines)


def _is_within(row: Coverage, chance: float = 0.0) -> bool:
    most = 1.0 if row.is_at_floor else MOST
    slack = chance / max(row.records, 1) ** 0.5
    return bool(
        LEAST - slack * (LEAST * (1.0 - LEAST)) ** 0.5
        <= row.covered_ratio
        <= most + slack * (MOST * (1.0 - MOST)) ** 0.5
    )


def _by_signal(rows: Sequence[Coverage]) -> str:
    signals = list(dict.fromkeys(row.signal for row in rows))
    covered = defaultdict(list)
    for row in rows:
        covered[row.measure, row.signal].append(row.covered_ratio)
    return _table(
        ["measure", *signals],
        [
            [
                measure,
                *(
                    f"{np.mean(of):.3f}" if (of := covered.get((measure, signal))) else ""
                    for signal in signals
                ),
            ]
            for measure in dict.fromkeys(row.measure for row in rows)
        ],
    )


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
        ["memory, s", "rhythm", "a signal", "p", "naive Pearson", "any of 12", "BH", "cannot tell"],
        [
            [
                *(f"{row.memory_seconds:g}", "yes" if row.has_rhythm else "no"),
                *(f"{row.per_signal:.4f}", f"{row.excess_probability:.2f}"),
                *(f"{row.by_pearson:.2f}", f"{row.per_family:.3f}"),
                *(f"{row.per_family_controlled:.3f}", f"{row.undecided:.3f}"),
            ]
            for row in rows
        ],
    )


def _race(race: Race | None) -> str:
    head = ["best in set", "best first", "median size of set", "well-posed but undetermined"]
    if race is None:
        return _table(head, [])
    shares = (race.best_in_set, race.best_first)
    return _table(
        head,
        [
            [
                *(f"{share:.3f}" for share in shares),
                *(f"{race.median_set:g}", f"{race.well_posed_undetermined:.4f}"),
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
    parser.add_argument("--cells-alone", action="store_true", help="nothing beside the cells")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--out", type=Path, default=Path("calibration-study"))
    options = parser.parse_args()
    cells = well_posed_cells() + other_cells()
    chosen = cells if options.cells is None else [cells[place] for place in options.cells]
    # Cheap ones first: a run that is cut short then knows of most.
    chosen = sorted(chosen, key=lambda cell: cell.work)
    options.out.mkdir(parents=True, exist_ok=True)

    def keep(found: Calibration) -> None:
        rows = json.dumps(asdict(found), indent=1)
        (options.out / "calibration.json").write_text(f"{rows}\n", encoding="utf-8")
        text = f"# Calibration\n\n{as_markdown(found)}\n"
        (options.out / "calibration.md").write_text(text, encoding="utf-8")
        if found.coverage:
            figure = draw_coverage(found.coverage)
            figure.write_html(options.out / "coverage.html", include_plotlyjs=True)

    calibrate(
        options.services,
        seed=options.seed,
        cells=chosen,
        cells_alone=options.cells_alone,
        jobs=options.jobs,
        keep=keep,
    )
    print(f"{options.out / 'calibration.md'}")


if __name__ == "__main__":
    main()
