"""explain: how a number of a study came about: window, rows, formula, interval, and PromQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from signalstudy.config import read_config
from signalstudy.evidence.gather import view_signal
from signalstudy.evidence.measures import MEASURES
from signalstudy.study.fitted import (
    ALSO_CALLED,
    Number,
    fitted_numbers,
    formula_of,
    pooled_numbers,
)
from signalstudy.study.grafana import signal_promql
from signalstudy.study.matchers import known_labels
from signalstudy.study.run import default_folder, run_study
from signalstudy.telemetry.read import read_telemetry
from signalstudy.vocabulary.errors import unknown_name
from signalstudy.vocabulary.spoken import one_line, spoken_estimate, spoken_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalstudy.config import StudyConfig
    from signalstudy.ranking.ranking import RankedSignal
    from signalstudy.study.study import ServiceStudy, Study
    from signalstudy.telemetry.telemetry import Telemetry
    from signalstudy.timeline.timeline import SignalSeries, Timeline
    from signalstudy.vocabulary.estimate import Estimate

OF_THE_RANKING = (
    "How likely is it the best?",
    "Share of resamples in which no signal predicts the replicas needed with a smaller loss.",
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where the numbers of one signal come from. `origin`: labelled sentences, in order."""

    service: str
    signal: str
    origin: tuple[tuple[str, str], ...]
    numbers: tuple[Number, ...]


def explain_study(
    path: str | Path,
    signal: str,
    *,
    measure: str | None = None,
    out: str | Path | None = None,
    service: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Explanation]:
    """Explain one signal (POOL.SIGNAL) in every service that has it, or in `service`.

    `measure`: only this number; all of them without it. Raises SignalStudyError with the choices.
    """
    config = read_config(path)
    folder = Path(out) if out is not None else default_folder(config)
    study = run_study(path, out=folder, service=service, progress=progress)
    telemetry = read_telemetry(config, folder, progress=progress)
    return explain(study, config, telemetry, signal, measure)


def explain(
    study: Study, config: StudyConfig, telemetry: Telemetry, signal: str, measure: str | None
) -> list[Explanation]:
    """Explain one signal of a study that has been run."""
    known = {
        f"{ranked.pool}.{ranked.signal}"
        for found in study.services.values()
        for ranked in found.ranking.signals
    }
    if signal not in known:
        raise unknown_name("--signal", "signal", signal, known)
    found = [
        _explanation(study, one, ranked, config, telemetry)
        for one in study.services.values()
        for ranked in one.ranking.signals
        if f"{ranked.pool}.{ranked.signal}" == signal
    ]
    return [_only(one, measure) for one in found] if measure is not None else found


def explanation_rows(found: list[Explanation]) -> list[dict[str, Any]]:
    """Give one row a number, for JSON and CSV."""
    return [
        {"service": one.service, "signal": one.signal, "measure": number.measure}
        | {"question": number.question, "formula": number.formula}
        | number.estimate.as_dict()
        | {name.replace(" ", "_"): sentence for name, sentence in one.origin}
        for one in found
        for number in one.numbers
    ]


def explanation_text(found: list[Explanation]) -> str:
    """Give the whole for people: first the data, then each number."""
    return "\n".join(_text(one) for one in found)


def _text(one: Explanation) -> str:
    lines = [f"{one.signal} of {one_line(one.service)}"]
    lines += [f"  {name:<9} {one_line(sentence)}" for name, sentence in one.origin]
    for number in one.numbers:
        estimate = number.estimate
        lines += ["", f"{number.measure}: {number.question}"]
        told = {
            "value": spoken_estimate(estimate) + (f" ({estimate.status})" * estimate.is_known),
            "note": estimate.note,
            "method": estimate.method,
            "formula": number.formula,
            "rests on": _weight(estimate),
        }
        lines += [f"  {name:<9} {one_line(text)}" for name, text in told.items() if text]
    return "\n".join(lines) + "\n"


def _weight(estimate: Estimate) -> str:
    parts = []
    if estimate.effective_observations is not None:
        worth = spoken_number(estimate.effective_observations, digits=3)
        parts.append(f"{worth} effective observations")
    if estimate.days is not None:
        parts.append(f"{spoken_number(estimate.days, digits=3)} days")
    return ", ".join(parts)


def _only(found: Explanation, measure: str) -> Explanation:
    names = {number.measure for number in found.numbers}
    others = (measure, ALSO_CALLED.get(measure, measure), f"policy.{measure}")
    asked = next((name for name in others if name in names), "")
    kept = tuple(
        number
        for number in found.numbers
        if number.measure == asked
        # maxStepRatio alone is that of every pool and direction.
        or (not asked and number.measure.split(".")[-1] == measure)
    )
    if not kept:
        raise unknown_name("--measure", "measure", measure, names)
    return Explanation(found.service, found.signal, found.origin, kept)


def _explanation(
    whole: Study,
    study: ServiceStudy,
    ranked: RankedSignal,
    config: StudyConfig,
    telemetry: Telemetry,
) -> Explanation:
    name = f"{ranked.pool}.{ranked.signal}"
    origin = [("verdict", f"{ranked.verdict}: {ranked.reason}")]
    timeline = study.timeline
    pool = None if timeline is None else timeline.pools.get(ranked.pool)
    series = None if pool is None else pool.signals.get(ranked.signal)
    if timeline is not None and series is not None:
        origin += [
            ("source", _source(study, series, ranked.pool, telemetry)),
            ("span", _span(timeline)),
            ("window", _window(series)),
            ("rows", _rows(timeline, series, ranked.pool)),
            ("demand", _demand(timeline, series, ranked.pool)),
            ("PromQL", _promql(study, series, ranked.pool, config, telemetry)),
        ]
    return Explanation(study.service, name, tuple(origin), tuple(_numbers(whole, study, ranked)))


def _source(study: ServiceStudy, series: SignalSeries, pool: str, telemetry: Telemetry) -> str:
    """Say what was read, and what of it was dropped."""
    role = study.timeline.role if study.timeline is not None else ""
    rows = [
        row
        for row in telemetry.series.get((study.service, role), ())
        if row.pool == pool and row.metric and row.metric in _parts_of(series.source)
    ]
    if not rows:
        return f"{series.source or 'not said'} (no single series of it is kept)"
    facts = [telemetry.facts[row.key] for row in rows if row.key in telemetry.facts]
    dropped = [
        f"{what}: {count}"
        for count, what in (
            (sum(fact.copies for fact in facts), "copies of a sample (one kept)"),
            (sum(fact.conflicts for fact in facts), "instants with two values (one kept)"),
            (sum(fact.gaps for fact in facts), "gaps (no increment crosses them)"),
            (sum(fact.resets for fact in facts), "counter resets (counted from 0 again)"),
        )
        if count
    ]
    samples = sum(row.samples for row in rows)
    return f"{series.source}: {len(rows)} series, {samples:,} samples" + (
        f"; {'; '.join(dropped)}" if dropped else "; none dropped"
    )


def _parts_of(source: str) -> set[str]:
    """Name every metric of a source, histogram parts included."""
    names = {part for piece in source.replace(" / ", ", ").replace(" - ", ", ").split(", ")
             for part in (piece.strip(),)}  # fmt: skip
    return names | {f"{name}{part}" for name in names for part in ("_bucket", "_sum", "_count")}


def _span(timeline: Timeline) -> str:
    first = datetime.fromtimestamp(float(timeline.time_seconds[0]) - timeline.step_seconds, UTC)
    last = datetime.fromtimestamp(float(timeline.time_seconds[-1]), UTC)
    return (
        f"{first.isoformat(timespec='seconds')} to {last.isoformat(timespec='seconds')}: "
        f"{timeline.time_seconds.size:,} steps of {timeline.step_seconds:g} s, "
        f"{timeline.days:.3g} days of {timeline.role}"
    )


def _window(series: SignalSeries) -> str:
    """Say over how long a value looks, and what a controller adds."""
    how = "sum over replicas" if series.kind == "total" else "mean over replicas"
    averaged = (
        f"a mean over the {series.averaged_seconds:g} s before its time"
        if series.averaged_seconds
        else "a reading at its time"
    )
    more = [
        f"{what} {seconds:g} s"
        for what, seconds in (
            ("rate window", series.window_seconds),
            ("scraped every", series.scrape_seconds),
            ("renewed by its exporter every", series.refresh_seconds),
        )
        if seconds
    ]
    return "; ".join([f"each value is {averaged}, the {how}", *more])


def _rows(timeline: Timeline, series: SignalSeries, pool: str) -> str:
    """Count the steps that evidence rests on, and why the others do not count."""
    view = view_signal(timeline, timeline.pools[pool], series)
    usable = timeline.usable
    signal, reference = np.isfinite(view.signal), np.isfinite(view.reference)
    lost = (
        (int((~usable).sum()), "in [[exclude]] spans"),
        (int((usable & ~signal).sum()), "without the signal"),
        (int((usable & signal & ~reference).sum()), "without demand or ready replicas"),
    )
    why = ", ".join(f"{count:,} {what}" for count, what in lost if count)
    used = int((usable & signal & reference).sum())
    return f"{used:,} of {usable.size:,} steps used" + (f"; left out: {why}" if why else "")


def _demand(timeline: Timeline, series: SignalSeries, pool: str) -> str:
    demand = timeline.pools.get(series.judged_by, timeline.pools[pool]).demand
    if demand is None:
        return "not known"
    per = "" if series.kind == "total" else ", per ready replica"
    note = f". {demand.note}" if demand.note else ""
    return f"{demand.unit} per second from {demand.source.replace('_', ' ')}{per}{note}"


def _promql(
    study: ServiceStudy,
    series: SignalSeries,
    pool: str,
    config: StudyConfig,
    telemetry: Telemetry,
) -> str:
    step = study.timeline.step_seconds if study.timeline is not None else 0.0
    query = next(
        (
            found
            for known in (known_labels(telemetry, config), None)
            if (
                found := signal_promql(
                    series, pool, study.service, config, step_seconds=step, known=known
                )
            )
        ),
        "",
    )
    return query or f"none: {series.source or 'its source'} is no metric of the catalogue"


def _numbers(whole: Study, study: ServiceStudy, ranked: RankedSignal) -> list[Number]:
    """List every number that a study has of a signal: evidence, rank, and what was fitted."""
    numbers = []
    for name, estimate in ranked.measures.items():
        measure = MEASURES.get(name)
        question, formula = (
            OF_THE_RANKING if measure is None else (measure.question, formula_of(measure.function))
        )
        numbers.append(Number(name, question, formula, estimate))
    return numbers + fitted_numbers(study, ranked) + pooled_numbers(whole, ranked)
