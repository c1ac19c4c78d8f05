"""One service as the page shows it: sentences, key numbers, rows and figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalstudy.evidence.pooling import agreement_of_days
from signalstudy.report.drawn import (
    FigureBlock,
    demand_figures,
    ranking_figure,
    ratio_figure,
    telling_signals,
    threshold_figures,
    time_figures,
)
from signalstudy.report.present import (
    FACTS,
    Card,
    Fact,
    NamedNumber,
    demand_sources,
    facts_of,
    named_numbers,
    presented,
    table_of,
)
from signalstudy.report.replayed import ReplaySection, own_replay, replay_section
from signalstudy.vocabulary.spoken import (
    bound_sign,
    one_line,
    spoken_duration,
    spoken_estimate,
    spoken_number,
)
from signalstudy.vocabulary.units import unit_of

if TYPE_CHECKING:
    from signalstudy.ranking.ranking import RankedSignal
    from signalstudy.study.regimes import Regime
    from signalstudy.study.study import ServiceStudy
    from signalstudy.timeline.timeline import QualityCheck
    from signalstudy.vocabulary.estimate import Estimate

_WORST_FIRST = ("failed", "warning", "note", "ok")


@dataclass(frozen=True, slots=True)
class SignalRow:
    """One signal of the ranking."""

    rank: str
    pool: str
    signal: str
    verdict: str
    reason: str
    in_confidence_set: bool
    facts: tuple[Fact, ...]
    measures: tuple[NamedNumber, ...]
    source: str


@dataclass(frozen=True, slots=True)
class ServicePage:
    """Everything a service's page shows."""

    service: str
    tone: str
    objectives: str
    index_href: str
    summary: str
    threshold_sentence: str
    policy_sentence: str
    cards: tuple[Card, ...]
    fact_labels: tuple[str, ...]
    signals: tuple[SignalRow, ...]
    more_signals: tuple[SignalRow, ...]
    unavailable: tuple[SignalRow, ...]
    regimes: dict[str, list[Any]] | None
    agreement: tuple[str, ...]
    ranking_figure: FigureBlock | None
    time_figures: tuple[FigureBlock, ...]
    demand_figures: tuple[FigureBlock, ...]
    demand_sentence: str
    threshold_figures: tuple[FigureBlock, ...]
    threshold_numbers: tuple[NamedNumber, ...]
    threshold_is_known: bool
    hardware: dict[str, list[Any]] | None
    drift: dict[str, list[Any]] | None
    drift_sentences: tuple[str, ...]
    ratio_note: str
    ratio_figure: FigureBlock
    ratio_numbers: tuple[NamedNumber, ...]
    policy_yaml: str
    policy_file: str
    policy_href: str
    policy_notes: tuple[str, ...]
    replay: ReplaySection | None
    replay_sentence: str
    quality: tuple[QualityCheck, ...]
    demand_sources: tuple[tuple[str, str], ...]


def service_page(
    service: ServiceStudy, *, policy_yaml: str, policy_href: str, index_href: str
) -> ServicePage:
    """Turn a ServiceStudy into what its page shows."""
    replay, no_replay = own_replay(service)
    ranking = service.ranking
    shown = telling_signals(ranking)
    ranked = [signal for signal in ranking.signals if signal.verdict != "unavailable"]
    unavailable = [signal for signal in ranking.signals if signal.verdict == "unavailable"]
    demand = demand_figures(service)
    return ServicePage(
        service=one_line(service.service),
        tone=tone_of(service),
        objectives=", ".join(str(objective) for objective in service.objectives),
        index_href=index_href,
        summary=ranking.summary,
        threshold_sentence=threshold_sentence(service),
        policy_sentence=_policy_sentence(service),
        cards=key_numbers(service),
        fact_labels=tuple(FACTS.values()),
        signals=tuple(_signal_row(signal) for signal in shown),
        more_signals=tuple(_signal_row(signal) for signal in ranked if signal not in shown),
        unavailable=tuple(_signal_row(signal) for signal in unavailable),
        regimes=table_of(map(_regime_row, service.regimes)) if service.regimes else None,
        agreement=_agreement(service),
        ranking_figure=ranking_figure(service),
        time_figures=time_figures(service),
        demand_figures=demand,
        demand_sentence="" if demand else "No signal of these data can be held against demand.",
        threshold_figures=threshold_figures(service),
        threshold_numbers=_threshold_numbers(service),
        threshold_is_known=service.threshold.per_replica.is_known,
        hardware=_hardware(service),
        drift=_drift(service),
        drift_sentences=tuple(
            f"{one.pool}, {one.signal}: {one.sentence()}" for one in service.threshold.drifts
        ),
        ratio_note=service.pd_ratio.note,
        ratio_figure=ratio_figure(service),
        ratio_numbers=named_numbers(service.pd_ratio.estimates()),
        policy_yaml=policy_yaml,
        policy_file=f"policy/{service.policy.name}.yaml" if service.policy else "",
        policy_href=policy_href,
        policy_notes=service.policy.notes if service.policy else (),
        replay=None if replay is None else replay_section(replay),
        replay_sentence=no_replay,
        quality=tuple(sorted(service.quality, key=lambda check: _WORST_FIRST.index(check.status))),
        demand_sources=demand_sources(service),
    )


def tone_of(service: ServiceStudy) -> str:
    """Give the verdict that colours the page: that of the best signal."""
    if service.ranking.best is not None:
        return "proportional"
    verdicts = {signal.verdict for signal in service.ranking.signals}
    return next((v for v in ("undetermined", "guard", "rejected") if v in verdicts), "undetermined")


def _signal_row(signal: RankedSignal) -> SignalRow:
    return SignalRow(
        rank="" if signal.rank is None else str(signal.rank),
        pool=one_line(signal.pool),
        signal=one_line(signal.signal),
        verdict=signal.verdict,
        reason=signal.reason,
        in_confidence_set=signal.in_confidence_set,
        facts=facts_of(signal.measures),
        measures=named_numbers(signal.measures),
        source=one_line(signal.source),
    )


def _agreement(service: ServiceStudy) -> tuple[str, ...]:
    """Say how far the days agree on the order of signals, where there are days to compare."""
    return tuple(
        f"From day to day the order of {one_line(pool)} signals agrees by "
        f"{spoken_number(estimate.value, digits=2)} (Kendall's W, 1 is always the same; "
        f"{estimate.note})."
        for pool, estimate in agreement_of_days(service.evidence).items()
        if estimate.is_known
    )


def _regime_row(regime: Regime) -> dict[str, object]:
    """Give one regime: its span, what began it, and which signals hold in it."""
    kept = [s for s in regime.ranking.signals if s.verdict == "proportional"]
    lost = [s for s in regime.ranking.signals if s.verdict == "undetermined"]
    return {
        "from, to": regime.span,
        "began with": regime.started_with or "–",
        "proportional": _names(kept),
        "undetermined": _names(lost),
        "what to follow": regime.ranking.summary,
    }


def _names(signals: list[RankedSignal]) -> str:
    return one_line(", ".join(f"{s.pool}.{s.signal}" for s in signals)) or "–"


def threshold_sentence(service: ServiceStudy) -> str:
    """Say what a replica bears and what to hold it at, or why these data cannot tell."""
    threshold = service.threshold
    bears, unit = threshold.per_replica, unit_of(threshold.signal)
    if bears.value is None:
        return bears.note
    least = {"≥": "at least ", "<": "less than "}.get(bound_sign(bears), "")
    bound = f" before {threshold.binding.upper()} breaks its objective" if threshold.binding else ""
    sentence = (
        f"One {threshold.pool} replica bears {least}{spoken_number(bears.value)} {unit}"
        f"{_between(bears)}{bound}"
    )
    if threshold.target.value is None:
        return f"{sentence}. {threshold.target.note}"
    target = threshold.target
    room = ""
    if threshold.horizon_seconds.value is not None:
        ahead = spoken_duration(threshold.horizon_seconds.value)
        room = f", which leaves room for the ramp of the next {ahead}"
    return (
        f"{sentence}; hold it at {spoken_number(target.value)} {unit}{_between(target)}{room}. "
        f"{bears.note}"
    ).strip()


def _between(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" ({spoken_number(estimate.low)} to {spoken_number(estimate.high)})"


def _hardware(service: ServiceStudy) -> dict[str, list[Any]] | None:
    """Give the table of hardware types, None where no pool mixes several."""
    rows: list[dict[str, object]] = [
        {
            "hardware": one.hardware,
            "pool": one.pool,
            "replicas": one.replicas,
            "bears": f"{spoken_estimate(one.per_replica)} {one.signal}",
            "status": one.per_replica.status,
            "target": spoken_estimate(one.target),
            "bound by": one.binding or None,
        }
        for one in service.threshold.by_hardware
    ]
    return table_of(rows) if rows else None


def _drift(service: ServiceStudy) -> dict[str, list[Any]] | None:
    """Give the table of what a replica bears part by part, None where the record was not cut."""
    rows: list[dict[str, object]] = [
        {
            "pool": drift.pool,
            "part": one.part,
            "replicas": one.replicas,
            "bears": f"{spoken_estimate(one.per_replica)} {drift.signal}",
            "status": one.per_replica.status,
            "bound by": one.binding or None,
        }
        for drift in service.threshold.drifts
        for one in drift.parts
    ]
    return table_of(rows) if rows else None


def _policy_sentence(service: ServiceStudy) -> str:
    if service.policy is None:
        return service.policy_note or "No policy can be drafted from these data."
    also = f" {service.policy_note}" if service.policy_note else ""
    return f"The policy is drafted, ready to export: policy/{service.policy.name}.yaml.{also}"


def key_numbers(service: ServiceStudy) -> tuple[Card, ...]:
    """Choose the numbers that stand beneath the verdict."""
    threshold, best = service.threshold, service.ranking.best
    follow = (
        Card("signal to follow", one_line(best.signal), detail=f"{best.pool} pool", is_words=True)
        if best is not None
        else Card("signal to follow", "none qualifies", is_words=True)
    )
    cards = [
        follow,
        _card("target per replica", threshold.signal, threshold.target),
        _card("capacity per replica", threshold.signal, threshold.per_replica),
        _card("prefill per decode replica", "ratio", service.pd_ratio.ratio),
        _card(
            "time to react",
            "horizon_seconds",
            threshold.horizon_seconds,
            "lag, start-up and evaluation",
        ),
    ]
    timeline = service.timeline or service.pressure_test
    if timeline is not None:
        steps = f"{timeline.time_seconds.size:,} steps of {spoken_duration(timeline.step_seconds)}"
        value, _, unit = spoken_duration(timeline.days * 86400.0).partition(" ")
        cards.append(Card("recorded", value, unit, detail=steps))
    return tuple(cards)


def _card(label: str, name: str, estimate: Estimate, detail: str = "") -> Card:
    number = presented(name, estimate)
    if not number.is_known:
        words = "does not apply" if number.status == "not_applicable" else "cannot tell"
        return Card(label, words, is_words=True)
    value, _, unit = number.text.partition(" ")
    status = "" if number.status == "ok" else number.status
    return Card(label, value, unit, number.interval, status, detail)


def _threshold_numbers(service: ServiceStudy) -> tuple[NamedNumber, ...]:
    threshold = service.threshold
    own = named_numbers(
        {
            "target": threshold.target,
            "per_replica": threshold.per_replica,
            "headroom_ratio": threshold.headroom_ratio,
            "horizon_seconds": threshold.horizon_seconds,
        },
        threshold.signal,
    )
    pools = [
        numbers
        for pool, capacity in threshold.capacities.items()
        for numbers in named_numbers(
            {f"capacity of {pool}": capacity.per_replica}
            | {f"{pool}, {name}": found for name, found in capacity.by_objective.items()},
            capacity.signal,
        )
    ]
    return (*own, *pools)
