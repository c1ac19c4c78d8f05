"""The View of a study: how soon and how well its scrapes would show the simulated fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from signalstudy.replay.draws import lags, noise_of_a_minute
from signalstudy.replay.engine.sight import FLOWS, GAUGES, MEASURED, View
from signalstudy.replay.relations import seen_relation
from signalstudy.threshold.tolerance import WINDOW_SECONDS

if TYPE_CHECKING:
    from signalstudy.replay.grounds import Grounds

SHORTEST_SCRAPE_SECONDS, LONGEST_SCRAPE_SECONDS = 1.0, 60.0


def view_of(grounds: Grounds, seed: int) -> View:
    """Take scrape cadence, exporter lag and noise of each signal from a study."""
    scrape = float(
        np.clip(round(grounds.step_seconds), SHORTEST_SCRAPE_SECONDS, LONGEST_SCRAPE_SECONDS)
    )
    lag, noise, relations = {}, {}, {}
    for pool in grounds.pools:
        places = [
            grounds.whole.pools[one] for one in (pool, "gateway") if one in grounds.whole.pools
        ]
        for signal in {name for place in places for name in place.signals}:
            key = f"{pool}.{signal}"
            lag[key] = float(lags(grounds, pool, signal, np.zeros(1))[0])
            if signal in MEASURED:
                minute = noise_of_a_minute(grounds, pool, signal)
                noise[key] = minute * float(np.sqrt(WINDOW_SECONDS / scrape))
            if signal in (*FLOWS, *GAUGES):
                continue
            relation = seen_relation(grounds.whole, pool, signal)
            if relation is not None:
                relations[key] = relation
    work = {name: pool.capacity.signal for name, pool in grounds.pools.items()}
    return View(scrape, lag, noise, work, relations, seed)
