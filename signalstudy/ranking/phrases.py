"""How one measure stands in a sentence: numbers, intervals, shares, clauses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalstudy.ranking.gates import interval_of, measure_of
from signalstudy.vocabulary.spoken import duration_unit, spoken_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalstudy.evidence.evidence import SignalEvidence
    from signalstudy.ranking.ranking import RankedSignal

MOST_EXPLAINED = 0.99
"""Above this a rounded share would say that nothing is left to explain."""


def listed(names: Sequence[str]) -> str:
    """Join names as people do: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def evidence_in_brackets(signal: SignalEvidence | RankedSignal, measure: str, spoken: str) -> str:
    """Give one measure as it stands in a sentence: `elasticity 0.97 [0.95, 0.99]`."""
    estimate = measure_of(signal, measure)
    if estimate.value is None:
        return f"{spoken} not known"
    interval = ""
    if estimate.low is not None or estimate.high is not None:
        low, high = interval_of(estimate)
        interval = f" [{number(low)}, {number(high)}]"
    return f"{spoken} {number(estimate.value)}{interval}"


def lateness(signal: SignalEvidence) -> str:
    """Say how late the signal is, as a clause."""
    lag = measure_of(signal, "lag_seconds")
    if lag.value is None:
        return ", with a lag that the data do not show"
    low, high = interval_of(lag)
    if low <= 0.0 <= high:
        return ", without measurable lag"
    side = "late" if lag.value > 0.0 else "early"
    unit, length = duration_unit(lag.value)
    return f", {spoken_number(abs(lag.value) / length, digits=2)} {unit} {side}"


def steepness(signal: SignalEvidence) -> str:
    """Say how much steeper it is at high demand."""
    ratio = measure_of(signal, "gain_ratio").value
    return "less" if ratio is None else f"{number(ratio)} times"


def doubling(signal: SignalEvidence) -> str:
    """Say by what doubling demand multiplies it."""
    power = measure_of(signal, "demand_elasticity").value
    return "an unknown factor" if power is None else number(2.0**power)


def explained(signal: SignalEvidence) -> str:
    """Say how much of what it does demand explains."""
    snr = max(measure_of(signal, "signal_to_noise_ratio").value or 0.0, 0.0)
    share = snr / (1.0 + snr)
    return "over 99 %" if share > MOST_EXPLAINED else percent(share)  # nothing is explained whole


def elasticity(signal: SignalEvidence) -> str:
    """Give the elasticity with its interval."""
    return evidence_in_brackets(signal, "demand_elasticity", "elasticity")


def elasticity_clause(signal: SignalEvidence) -> str:
    """Give the elasticity as a clause, or nothing."""
    is_known = measure_of(signal, "demand_elasticity").is_known
    return f", {elasticity(signal)}" if is_known else ""


def gain(signal: SignalEvidence) -> str:
    """Give the gain ratio with its interval."""
    return evidence_in_brackets(signal, "gain_ratio", "gain ratio")


def gain_clause(signal: SignalEvidence) -> str:
    """Give a rising gain as a clause, or nothing."""
    ratio = measure_of(signal, "gain_ratio").value
    return "" if ratio is None or ratio <= 0.0 else f", {gain(signal)}"


def capacity(signal: SignalEvidence) -> str:
    """Give the capacity elasticity with its interval."""
    return evidence_in_brackets(signal, "capacity_elasticity", "capacity elasticity")


def correlation(signal: SignalEvidence) -> str:
    """Give the correlation with its interval."""
    return evidence_in_brackets(signal, "demand_correlation", "correlation")


def note_of(signal: SignalEvidence, measure: str) -> str:
    """Give a measure's note in brackets, or nothing."""
    note = measure_of(signal, measure).note
    return f" ({as_clause(note)})" if note else ""


def as_clause(note: str) -> str:
    """Make a sentence fit into another: no full stop, no capital unless it is an acronym."""
    text = note.strip().rstrip(".")
    starts_plain = text[:1].isupper() and not text[1:2].isupper()
    return text[:1].lower() + text[1:] if starts_plain else text


def number(value: float) -> str:
    """Give two decimals, as ratios are read; three digits where they are large."""
    if abs(value) >= 10.0:
        return spoken_number(value, digits=3)
    return f"{value:.2f}".replace("-0.00", "0.00")


def percent(share: float) -> str:
    """Give a share in per cent."""
    hundred = 100.0 * share
    return f"{hundred:,.0f} %" if abs(hundred) >= 10.0 else f"{spoken_number(hundred, digits=2)} %"
