"""A short form of benchmarks/calibration, with seeds that are stated and bounds that can fail."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from benchmarks.calibration.calibrate import Calibration, as_markdown
from benchmarks.calibration.cells import Cell, draw_record, well_posed_cells
from benchmarks.calibration.coverage import judge_cell
from benchmarks.calibration.nulls import _judge_null
from benchmarks.calibration.services import judge_ill_posed, judge_races

SEED = 20260101
RECORDS = 200
LEAST = 0.93 - 1.64 * (0.93 * 0.07 / RECORDS) ** 0.5
"""What chance alone leaves of 93 % in nineteen of twenty cases."""
QUICK = Cell(1.0, 30.0, 0.3, is_redeployed=True, smear_seconds=0.0, is_bursty=False)


@pytest.fixture(scope="module")
def coverage():
    return judge_cell(QUICK, RECORDS, seed=SEED, long_days=14.0)


def test_two_levels_of_every_factor_meet_equally_often():
    cells = well_posed_cells()
    assert len(set(cells)) == 16
    for factor in ("step_seconds", "noise_ratio", "is_redeployed", "smear_seconds", "is_bursty"):
        _, times = np.unique([getattr(cell, factor) for cell in cells], return_counts=True)
        assert times.tolist() == [8, 8]


def test_equal_seeds_draw_equal_records():
    first, again = (next(iter(draw_record(QUICK, 3, 1))).noisy for _ in range(2))
    assert (first.signal == again.signal).all()


def test_intervals_of_a_day_cover_what_was_planted(coverage):
    of_work = {row.measure: row for row in coverage if row.signal == "work"}
    assert set(of_work) >= {"lag_seconds", "demand_elasticity", "capacity_elasticity"}
    for row in of_work.values():
        assert row.covered_ratio >= LEAST, row
        # A noisy day often cannot tell a long dead time from a slow rise, and says so.
        is_told_seldom = row.measure in ("dead_time_seconds", "rise_time_seconds")
        assert row.unidentified_ratio <= (0.25 if is_told_seldom else 0.05), row


def test_the_lag_of_a_day_is_found_within_a_fifth_of_a_step(coverage):
    [lag] = [row for row in coverage if (row.signal, row.measure) == ("work", "lag_seconds")]
    assert lag.rmse < QUICK.step_seconds / 5.0
    assert abs(lag.bias) < QUICK.step_seconds / 10.0


def test_independent_signals_are_seldom_said_to_follow_demand():
    found = _judge_null(RECORDS, 300.0, has_rhythm=True, rng=np.random.default_rng(SEED))
    assert found.undecided == 0.0
    assert found.excess_probability > 0.01
    assert found.by_pearson > 0.5
    # All twelve of a service are independent, so that one is one too many.
    assert found.per_family_controlled <= 0.05 + 1.64 * (0.05 * 0.95 / RECORDS) ** 0.5


def test_the_best_signal_is_in_the_set_and_comes_first():
    race = judge_races(20, seed=SEED)
    assert race.best_in_set >= 0.95
    assert race.best_first >= 0.9
    assert race.median_set == 1.0
    assert race.well_posed_undetermined <= 0.05


def test_what_cannot_be_told_is_not_told():
    found = judge_ill_posed(20, seed=SEED)
    assert min(row.admitted for row in found) >= 0.95


def test_the_figures_are_written_as_tables_and_as_json(coverage):
    found = Calibration(SEED, 20, 1.0, coverage, [], judge_races(2, seed=SEED), [])
    text = as_markdown(found)
    assert text.count("lag_seconds") >= 3
    assert json.loads(json.dumps(asdict(found)))["seed"] == SEED
