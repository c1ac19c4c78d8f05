"""Recovery: planted dips are found, and long falls are not dips."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.threshold.recovery import estimate_recovery, recoveries


def with_dips(lasting: int, depth: float, *, every: int = 30, dips: int = 40) -> np.ndarray:
    demand = np.full(every * dips, 100.0)
    for start in range(5, demand.size, every):
        demand[start : start + lasting - 1] = 100.0 * (1.0 - depth)
    return demand


@pytest.mark.parametrize("lasting", [2, 5, 12])
def test_planted_dips_last_as_long_as_planted(lasting):
    found = recoveries(with_dips(lasting, 0.4), 15, 0.2)
    assert found.size >= 39
    assert set(found.tolist()) == {float(lasting)}


def test_shallow_dips_and_long_falls_are_none():
    assert recoveries(with_dips(5, 0.15), 15, 0.2).size == 0
    assert recoveries(with_dips(20, 0.4), 15, 0.2).size == 0


def test_what_is_not_known_is_neither_a_dip_nor_its_end():
    demand = with_dips(5, 0.4)
    demand[::30] = np.nan
    assert set(recoveries(demand, 15, 0.2).tolist()) == {5.0}
    assert recoveries(np.full(100, np.nan), 15, 0.2).size == 0


def test_the_estimate_is_the_quantile_in_seconds_with_its_interval(build):
    demand = np.concatenate([with_dips(3, 0.4, dips=90), with_dips(10, 0.4, dips=30)])
    pool = build.pool("decode", demand, np.ones(demand.size), demand=demand)
    timeline = build.timeline({"decode": pool}, [])
    found = estimate_recovery(timeline, pool, 0.2)
    assert found.value == found.high == 600.0
    assert 180.0 <= found.low <= 600.0
    short = build.timeline({"decode": pool}, [], role="pressure-test")
    assert estimate_recovery(short, pool, 0.2).status == "not_applicable"
    flat = np.full(demand.size, 5.0)
    rest = build.pool("decode", flat, np.ones(flat.size), demand=flat)
    assert estimate_recovery(timeline, rest, 0.2).status == "unidentified"
