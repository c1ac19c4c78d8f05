"""History: what really happened, as the run that the others are set beside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.replay.planned import run_plan
from signalstudy.replay.replay import Run
from signalstudy.replay.score import pool_run, score
from signalstudy.vocabulary.estimate import Estimate, not_applicable, unidentified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.replay.draws import Draws
    from signalstudy.replay.grounds import Grounds

    Floats = NDArray[np.float64]

FEWEST_KNOWN_SHARE = 0.5
NO_REPLICAS = "The recording does not say how many replicas there were."


def start_replicas(grounds: Grounds) -> dict[str, float]:
    """Say with how many replicas every policy starts: as recorded, else as demand needs."""
    start = {}
    for name, pool in grounds.pools.items():
        known = pool.recorded_ready[np.isfinite(pool.recorded_ready)]
        first = max(round(600.0 / grounds.step_seconds), 1)
        work = pool.work[:first].mean() / grounds.step_seconds
        needed = np.ceil(work / (pool.capacity.per_replica.value or 1.0))
        start[name] = max(float(known[0]) if known.size else float(needed), 1.0)
    return start


def recorded_run(grounds: Grounds, draws: Draws) -> Run:
    """Give what really happened: recorded replicas, counted requests.

    A flag says what the model makes of the same replicas, which shows how far to trust it.
    """
    asked = {name: _asked(pool.recorded_ready, pool.recorded_starting)
             for name, pool in grounds.pools.items()}  # fmt: skip
    ready = {name: _held(pool.recorded_ready) for name, pool in grounds.pools.items()}
    attained, uncensored = _attained(grounds)
    if any(not np.isfinite(values).any() for values in ready.values()):
        unknown = unidentified(NO_REPLICAS)
        return Run(
            "recorded", unknown, attained, uncensored, unknown, unknown, unknown, {},
            flags=(NO_REPLICAS,),
        )  # fmt: skip
    lane = draws.part(slice(0, 1))
    journey = run_plan(grounds, lane, asked, ready)
    found = score(grounds, lane, journey.pools, {})
    said = (f"The model gives attainment {float(found.attainment[0]):.4f} for these replicas.",)
    has_two = {"prefill", "decode"} <= set(journey.pools)
    return Run(
        name="recorded",
        gpu_hours=Estimate(float(found.gpu_hours[0]), method="ready and starting replicas"),
        slo_attainment_ratio=attained,
        uncensored_attainment_ratio=uncensored,
        minutes_over_capacity=Estimate(float(found.minutes_over[0]), method="as the model has it"),
        scale_events=Estimate(float(found.scale_events[0]), method="changes of the replicas"),
        pd_imbalance_ratio=Estimate(float(found.pd_imbalance[0]), method="as the model has it")
        if has_two
        else not_applicable("The service has one pool."),
        replica_seconds={
            pool: float(seconds[0]) for pool, seconds in found.replica_seconds.items()
        },
        flags=said,
        pools={pool: pool_run(pool, path, grounds, lane) for pool, path in journey.pools.items()},
        late_ratio=_late(grounds),
    )


def _asked(ready: Floats, starting: Floats) -> Floats:
    return _held(ready) + np.nan_to_num(_held(starting))


def _held(values: Floats) -> Floats:
    """Hold the last known number over gaps, and the first before it; NaN where none is known."""
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        return values
    last = np.searchsorted(known, np.arange(values.size), side="right") - 1
    return np.asarray(values[known[np.maximum(last, 0)]])


def _attained(grounds: Grounds) -> tuple[Estimate, Estimate]:
    """Count requests within every limit: with and without the censored steps."""
    counts = [one.counts for one in grounds.objectives]
    if any(one is None for one in counts):
        missing = next(o.objective for o in grounds.objectives if o.counts is None)
        none = unidentified(f"The recording does not count requests over {missing}.")
        return none, none
    rows = _rows(grounds)
    whole_span = np.ones(grounds.known.size, dtype=bool)
    return _share(grounds, rows, whole_span), _share(grounds, rows, ~grounds.censored)


def _rows(grounds: Grounds) -> slice:
    """Give the steps of the span in the whole timeline."""
    begin = int(np.searchsorted(grounds.whole.time_seconds, grounds.time_seconds[0] - 1e-6))
    return slice(begin, begin + grounds.time_seconds.size)


def _late(grounds: Grounds) -> Floats | None:
    """Give the share of each step's requests that were late (n,), NaN where none was counted."""
    late = np.zeros(grounds.time_seconds.size)
    for one in grounds.objectives:
        if one.counts is None:
            return None
        observed = one.counts.observed[_rows(grounds)]
        over = one.counts.over_high[_rows(grounds)]
        late += np.divide(over, observed, out=np.full(late.size, np.nan), where=observed > 0)
    return np.minimum(late, 1.0)


def _share(grounds: Grounds, rows: slice, keep: NDArray[np.bool_]) -> Estimate:
    whole = grounds.whole.attained
    if whole is not None and (offered := float(whole.offered[rows][keep].sum())):
        within = float(whole.within[rows][keep].sum())
        return Estimate(within / offered, method="requests of the log within every limit")
    late, latest = 0.0, 0.0
    brackets = False
    for one in grounds.objectives:
        counts = one.counts
        if counts is None:
            continue
        observed = float(np.nansum(counts.observed[rows][keep]))
        if not observed:
            return unidentified(f"The recording has no requests counted over {one.objective}.")
        share = float(np.nansum(counts.over_high[rows][keep])) / observed
        late, latest = late + share, max(latest, share)
        brackets |= not counts.is_exact
    method = (
        "1 - the sum of the counted shares over each limit; high: as if those late once were late "
        "always"
    )
    note = "A limit is no edge of the histogram: the edge below it is counted." if brackets else ""
    least, most = max(1.0 - late, 0.0), 1.0 - latest
    return Estimate(least, low=least, high=most, note=note, method=method)
