"""Whole services through gathering and ranking: who wins, and what cannot be told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.calibration.cells import Cell, draw_record
from signalstudy.evidence.evidence import Evidence
from signalstudy.evidence.gather import gather_view
from signalstudy.evidence.shared import Shared
from signalstudy.ranking.rank import rank_signals
from signalstudy.synthetic.traffic import autoregression

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from signalstudy.evidence.evidence import SignalView
    from signalstudy.ranking.ranking import Ranking

    Floats = NDArray[np.float64]

CELL = Cell(2.0, 30.0, 0.02, False, 0.0, False)
NOISES = {"best": 0.03, "near": 0.2, "far": 0.3, "worst": 0.4}
NOISE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Race:
    """Four signals of one demand with noise of 3, 20, 30 and 40 %: who is in the set."""

    services: int
    best_in_set: float
    best_first: float
    median_set: float
    well_posed_undetermined: float


@dataclass(frozen=True, slots=True)
class IllPosed:
    """A question that the data cannot answer, and how often the answer is that they cannot.

    `asked`: what must be unidentified (a measure) or undetermined (a verdict).
    """

    cell: str
    asked: str
    services: int
    admitted: float


def judge_races(services: int, *, seed: int) -> Race:
    """Rank signals that differ in noise alone, all in proportion to demand."""
    in_set, first, sizes, undetermined = [], [], [], []
    for number in range(services):
        rng = np.random.default_rng((seed, number, 7))
        work = next(iter(draw_record(CELL, number, seed))).noisy
        ranking = _rank([_noisier(work, name, noise, rng) for name, noise in NOISES.items()])
        by_name = {signal.signal: signal for signal in ranking.signals}
        in_set.append(by_name["best"].in_confidence_set)
        first.append(ranking.signals[0].signal == "best")
        sizes.append(sum(signal.in_confidence_set for signal in ranking.signals))
        undetermined += [signal.verdict == "undetermined" for signal in ranking.signals]
    return Race(
        services=services,
        best_in_set=float(np.mean(in_set)),
        best_first=float(np.mean(first)),
        median_set=float(np.median(sizes)),
        well_posed_undetermined=float(np.mean(undetermined)),
    )


def judge_ill_posed(services: int, *, seed: int) -> list[IllPosed]:
    """Ask what cannot be told: of demand that rests, of a lag out of reach, of a closed loop."""
    questions: list[tuple[str, str, Callable[[SignalView, np.random.Generator], SignalView]]] = [
        ("demand that does not vary", "verdict", _with_resting_demand),
        ("lag beyond the range searched", "lag_seconds", _with_long_lag),
        ("replicas that never change", "capacity_elasticity", lambda view, _: view),
        ("replicas that follow demand", "capacity_elasticity", _in_closed_loop),
        ("replicas that follow demand", "demand_elasticity", _in_closed_loop),
    ]
    found = []
    for cell, asked, change in questions:
        admitted = []
        for number in range(services):
            rng = np.random.default_rng((seed, number, 11))
            work = next(iter(draw_record(CELL, number, seed))).noisy
            ranking = _rank([change(work, rng)])
            signal = ranking.signals[0]
            admitted.append(
                signal.verdict == "undetermined"
                if asked == "verdict"
                else signal.measures[asked].value is None
            )
        found.append(IllPosed(cell, asked, services, float(np.mean(admitted))))
    return found


def _rank(views: list[SignalView]) -> Ranking:
    shared = Shared()
    gathered = tuple(gather_view(view, shared=shared) for view in views)
    return rank_signals(Evidence("planted", gathered))


def _noisier(work: SignalView, name: str, noise: float, rng: np.random.Generator) -> SignalView:
    factor = 1.0 + noise * autoregression(work.signal.size, work.step_seconds, NOISE_SECONDS, rng)
    return replace(work, name=name, signal=work.signal * np.maximum(factor, 0.0))


def _with_resting_demand(view: SignalView, rng: np.random.Generator) -> SignalView:
    rest = np.full(view.demand.size, 1000.0)
    noise = autoregression(rest.size, view.step_seconds, NOISE_SECONDS, rng)
    return replace(view, demand=rest, reference=rest, signal=1000.0 + 50.0 * noise)


def _with_long_lag(view: SignalView, _: np.random.Generator) -> SignalView:
    late = round(1500.0 / view.step_seconds)
    return replace(view, signal=np.roll(view.signal, late))


def _in_closed_loop(view: SignalView, rng: np.random.Generator) -> SignalView:
    """Let an autoscaler keep work per replica at its target, but for what rounding leaves."""
    replicas = np.maximum(view.demand / 25.0, 1.0)
    noise = 1.0 + 0.02 * rng.standard_normal(replicas.size)
    return replace(
        view,
        kind="intensive",
        replicas=replicas,
        signal=view.signal / replicas * noise,
        reference=view.demand / replicas,
    )
