"""Signals of a fleet's store as plain data frames, for the loops that are the study's peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import signalstudy as ss
from signalstudy.evidence.breaches import find_breaches
from signalstudy.evidence.gather import view_signal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHOSEN = ("decode_tokens_per_second", "gpu_utilization_ratio")


def plain_records(folder: Path) -> Iterator[pd.DataFrame]:
    """Give two signals of the first service: signal, demand, replicas, hits, breaches."""
    config = ss.read_config(folder / "study.toml")
    telemetry = ss.read_telemetry(config, folder / "out")
    service = telemetry.services[0]
    timeline = ss.align(telemetry, service, objectives=config.objectives_of(service))
    if timeline is None:
        raise AssertionError(service)
    pool = timeline.pools["decode"]
    for name in CHOSEN:
        view = view_signal(timeline, pool, pool.signals[name])
        breaches = np.zeros(view.signal.size)
        breaches[find_breaches(view.slo_counts, breaches.size, view.step_seconds)[:, 0]] = 1.0
        yield pd.DataFrame(
            {
                "signal": view.signal,
                "demand": view.reference,
                "replicas": view.replicas,
                "hits": view.hit_ratio,
                "breaches": breaches,
            }
        ).interpolate(limit_direction="both")
