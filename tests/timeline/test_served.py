"""Served work where only a request log tells it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalstudy.timeline.grid import Grid
from signalstudy.timeline.served import spread_evenly

GRID = Grid(np.arange(10.0, 110.0, 10.0), 10.0)


def spread(*pieces):
    starts, ends, amounts = (np.array(column, dtype=float) for column in zip(*pieces, strict=True))
    return spread_evenly(GRID, starts, ends, amounts)


def test_an_amount_within_one_step_is_that_step_s():
    expected = np.zeros(10)
    expected[2] = 5.0
    np.testing.assert_allclose(spread((22.0, 27.0, 50.0)), expected, atol=1e-9)


def test_an_amount_over_steps_is_shared_by_time():
    found = spread((5.0, 25.0, 40.0))
    np.testing.assert_allclose(found[:4], [1.0, 2.0, 1.0, 0.0], atol=1e-9)


def test_what_lies_outside_the_grid_is_left_out():
    assert spread((-50.0, -10.0, 40.0)).sum() == pytest.approx(0.0, abs=1e-9)
    assert spread((200.0, 240.0, 40.0)).sum() == pytest.approx(0.0, abs=1e-9)
    assert spread((-10.0, 10.0, 40.0)).sum() * 10.0 == pytest.approx(20.0)


@given(
    st.lists(
        st.tuples(st.floats(-50, 150), st.floats(0, 80), st.floats(0, 1e4)), min_size=1, max_size=20
    )
)
def test_the_sum_is_what_overlaps_the_grid(pieces):
    pieces = [(start, start + length, amount) for start, length, amount in pieces]
    found = spread(*pieces)
    overlap = sum(
        amount * max(min(max(end, start + 1e-3), 100.0) - max(start, 0.0), 0.0)
        / max(end - start, 1e-3)
        for start, end, amount in pieces
    )  # fmt: skip
    assert found.sum() * 10.0 == pytest.approx(overlap, rel=1e-6, abs=1e-3)
    assert (found > -1e-6 * (1.0 + abs(found).max())).all()


@pytest.mark.recordings
def test_the_log_of_a_recording_tells_what_its_engines_counted(tmp_path):
    import polars as pl  # noqa: PLC0415 - only where recordings are

    from signalstudy.study.run import run_study  # noqa: PLC0415
    from tests.study.recordings import DATA, write_study  # noqa: PLC0415

    run = "dynamo_offline/ramp_p2d2"
    path = write_study(tmp_path / "whole", "ramp", ("table", f"{run}/samples.parquet"))
    whole = next(iter(run_study(path, out=tmp_path / "a").services.values())).timeline
    states = ["ready_replicas", "starting_replicas"]
    rows = pl.read_parquet(DATA / run / "samples.parquet").filter(pl.col("metric").is_in(states))
    rows.write_parquet(tmp_path / "replicas.parquet")
    path.write_text(
        '[study]\nname = "ramp"\nstep_seconds = 5\n'
        '[[sources]]\nkind = "table"\npath = "../replicas.parquet"\n'
        f'[[sources]]\nkind = "requests"\npath = "{DATA / run / "requests.parquet"}"\n'
    )
    log = next(iter(run_study(path, out=tmp_path / "b").services.values())).timeline
    for pool in ("prefill", "decode"):
        counted, told = whole.pools[pool].served_per_second, log.pools[pool].served_per_second
        size = min(counted.size, told.size)
        assert np.nansum(told) == pytest.approx(np.nansum(counted), rel=0.02)
        both = np.isfinite(counted[:size] + told[:size])
        assert np.corrcoef(counted[:size][both], told[:size][both])[0, 1] > 0.98
