"""Regimes: where a record holds several, what holds in each of them.

A signal whose answer to demand surely changed, at a deploy or for no known reason, has no one
verdict. The record is cut there, each part is studied as a record of its own, and the verdicts are
set side by side.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from signalstudy.evidence.gather import CHANGES
from signalstudy.evidence.regimes import FEWEST_HOURS
from signalstudy.ranking.gates import changed_for_good, is_never_proportional
from signalstudy.ranking.phrases import evidence_in_brackets
from signalstudy.ranking.rank import rank_signals
from signalstudy.timeline.timeline import QualityCheck

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalstudy.evidence.evidence import Evidence
    from signalstudy.ranking.ranking import RankedSignal, Ranking
    from signalstudy.timeline.timeline import Timeline

MOST_CUTS_DEEP = 2
"""Four regimes at most: more are no regimes but a signal that drifts."""
WARM_UP_SECONDS = 600.0
"""Left out after a change: rollouts take their time and caches start cold (methods, 7.1)."""
HOUR_SECONDS = 3600.0
KEY_MEASURES = (
    "demand_correlation",
    "lag_seconds",
    "signal_to_noise_ratio",
    "demand_elasticity",
    "gain_ratio",
    "capacity_elasticity",
    "cache_distortion_ratio",
)


@dataclass(frozen=True, slots=True)
class Regime:
    """One part of a record, and what holds in it.

    `started_with`: what is known to have changed when it began; "" for the first one, and where
    only the signals tell.
    """

    start_seconds: float
    end_seconds: float
    started_with: str
    ranking: Ranking

    @property
    def settled_seconds(self) -> tuple[float, float]:
        """Give start and end, without the warm-up after a change."""
        warm_up = WARM_UP_SECONDS if self.started_with else 0.0
        return self.start_seconds + warm_up, self.end_seconds

    @property
    def span(self) -> str:
        """Say from when to when."""
        return f"{_when(self.start_seconds)} to {_when(self.end_seconds)}"


def study_regimes(
    timeline: Timeline | None,
    evidence: Evidence,
    gather: Callable[[Timeline], Evidence],
    *,
    seed: int,
) -> tuple[Regime, ...]:
    """Cut a record where signals changed their answer to demand; nothing where none did.

    `gather` asks all measures of a part.
    """
    if timeline is None:
        return ()
    start = float(timeline.time_seconds[0]) - timeline.step_seconds
    whole = _Part(timeline, evidence, start, "")
    parts = _cut(whole, gather, MOST_CUTS_DEEP)
    if len(parts) < 2:
        return ()
    return tuple(
        Regime(
            start_seconds=part.start_seconds,
            end_seconds=float(part.timeline.time_seconds[-1]),
            started_with=part.started_with,
            ranking=rank_signals(part.evidence, seed=seed),
        )
        for part in parts
    )


@dataclass(frozen=True, slots=True)
class _Part:
    timeline: Timeline
    evidence: Evidence
    start_seconds: float
    started_with: str


def _cut(part: _Part, gather: Callable[[Timeline], Evidence], deep: int) -> list[_Part]:
    """Cut a part in two where it must be, and each of these again."""
    cut = _place_to_cut(part.evidence) if deep else None
    if cut is None:
        return [part]
    at, why = cut
    end = float(part.timeline.time_seconds[-1])
    if min(at - part.start_seconds, end - at) < FEWEST_HOURS * HOUR_SECONDS:
        return [part]
    before = part.timeline.between(part.start_seconds, at)
    after = part.timeline.between(at + WARM_UP_SECONDS, end)
    halves = (
        _Part(before, gather(before), part.start_seconds, part.started_with),
        _Part(after, gather(after), at, why),
    )
    return [found for half in halves for found in _cut(half, gather, deep - 1)]


def _place_to_cut(evidence: Evidence) -> tuple[float, str] | None:
    """Give the time at which most signals changed, known events first, and what is known of it.

    Latencies and queues change for many reasons; without a known event they cut nothing.
    """
    changed = [
        (signal.changed_with, signal.changed_at_seconds)
        for signal in evidence.signals
        if signal.changed_at_seconds is not None
        and changed_for_good(signal)
        and (signal.changed_with or not is_never_proportional(signal.signal))
    ]
    known = [item for item in changed if item[0]]
    if not changed:
        return None
    hours = Counter((why, round(at / HOUR_SECONDS)) for why, at in known or changed)
    (why, hour), _ = hours.most_common(1)[0]
    times = sorted(at for w, at in changed if (w, round(at / HOUR_SECONDS)) == (why, hour))
    return times[len(times) // 2], why


def with_regimes(ranking: Ranking, evidence: Evidence, regimes: tuple[Regime, ...]) -> Ranking:
    """Say in the reasons of signals that changed, and in the summary, what holds in each regime."""
    if not regimes:
        return ranking
    changed = {(s.pool, s.signal) for s in evidence.signals if changed_for_good(s)}
    signals = tuple(
        replace(signal, reason=f"{signal.reason} {_by_regime(signal, regimes)}")
        if (signal.pool, signal.signal) in changed
        else signal
        for signal in ranking.signals
    )
    return replace(ranking, signals=signals, summary=f"{ranking.summary} {_summary(regimes)}")


def noted_changes(
    timeline: Timeline | None, regimes: tuple[Regime, ...]
) -> tuple[QualityCheck, ...]:
    """Say of each known change whether signals answered demand otherwise from then on."""
    rows = []
    for event in timeline.events if timeline is not None else ():
        if event.kind in CHANGES:
            is_cut = any(regime.started_with == event.note for regime in regimes)
            said = "some signals answer" if is_cut else "no signal is seen to answer"
            note = f"{event.note}, {_when(event.at_seconds)}: {said} demand otherwise since then"
            status: Literal["warning", "note"] = "warning" if is_cut else "note"
            rows.append(QualityCheck(f"{event.kind} of {event.pool}", status, note))
    return tuple(rows)


def _by_regime(signal: RankedSignal, regimes: tuple[Regime, ...]) -> str:
    said = []
    for number, regime in enumerate(regimes):
        own = next(
            (
                s
                for s in regime.ranking.signals
                if (s.pool, s.signal) == (signal.pool, signal.signal)
            ),
            None,
        )
        if own is not None and own.verdict != "unavailable":
            elasticity = evidence_in_brackets(own, "demand_elasticity", "elasticity")
            said.append(f"{_since(regimes, number)} {own.verdict} ({elasticity})")
    return f"Each regime alone: {'; '.join(said)}."


def _summary(regimes: tuple[Regime, ...]) -> str:
    leaders = []
    for regime in regimes:
        best = regime.ranking.best
        leaders.append("no signal qualifies" if best is None else f"{best.signal} of {best.pool}")
    spans = [_since(regimes, number) for number in range(len(regimes))]
    if len(set(leaders)) == 1:
        return f"The record holds {len(regimes)} regimes, {'; '.join(spans)}: in each {leaders[0]}."
    said = "; ".join(f"{span} {leader}" for span, leader in zip(spans, leaders, strict=True))
    return f"The record holds {len(regimes)} regimes: {said}."


def _since(regimes: tuple[Regime, ...], number: int) -> str:
    """Say which regime is meant: `until ...`, `from ... on (when ...)`."""
    if number == 0:
        return f"until {_when(regimes[1].start_seconds)}"
    why = regimes[number].started_with
    reason = f" (when {why})" if why else ""
    return f"from {_when(regimes[number].start_seconds)} on{reason}"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def summarise_regime(regime: Regime) -> dict[str, Any]:
    """Give a regime in the form of study.json: its span, and verdicts with their key measures."""
    return {
        "start": datetime.fromtimestamp(regime.start_seconds, UTC).isoformat(timespec="seconds"),
        "end": datetime.fromtimestamp(regime.end_seconds, UTC).isoformat(timespec="seconds"),
        "started_with": regime.started_with,
        "summary": regime.ranking.summary,
        "signals": [
            {
                "pool": signal.pool,
                "signal": signal.signal,
                "verdict": signal.verdict,
                "in_confidence_set": signal.in_confidence_set,
                "reason": signal.reason,
                "measures": {
                    name: signal.measures[name].as_dict()
                    for name in KEY_MEASURES
                    if name in signal.measures
                },
            }
            for signal in regime.ranking.signals
            if signal.verdict != "unavailable"
        ],
    }
