"""The sentence behind each verdict, as an experienced operator would say it, with its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalstudy.ranking.gates import (
    LEAST_COVERAGE,
    interval_of,
    is_never_proportional,
    measure_of,
)
from signalstudy.vocabulary.spoken import spoken_duration, spoken_number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from signalstudy.evidence.evidence import SignalEvidence
    from signalstudy.ranking.gates import Finding, Judgement


def reason_for(signal: SignalEvidence, judgement: Judgement) -> str:
    """Say why the signal got its verdict: the finding first, then what else to know about it."""
    said = [_SENTENCES[judgement.finding](signal)]
    if judgement.verdict == "proportional":
        said.append(_capacity_remark(signal))
        said.append(_noise_remark(signal))
    if judgement.verdict == "guard":
        said.append(_warning_remark(signal))
    said.append(_coverage_remark(signal))
    return " ".join(filter(None, said))


def listed(names: Sequence[str]) -> str:
    """Join names as people do: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def evidence_in_brackets(signal: SignalEvidence, measure: str, spoken: str) -> str:
    """Give one measure as it stands in a sentence: `elasticity 0.97 [0.95, 0.99]`."""
    estimate = measure_of(signal, measure)
    if estimate.value is None:
        return f"{spoken} not known"
    interval = ""
    if estimate.low is not None or estimate.high is not None:
        low, high = interval_of(estimate)
        interval = f" [{_number(low)}, {_number(high)}]"
    return f"{spoken} {_number(estimate.value)}{interval}"


def _proportional(signal: SignalEvidence) -> str:
    return f"Rises with demand almost in proportion ({_elasticity(signal)}){_lateness(signal)}."


def _circular(signal: SignalEvidence) -> str:
    return (
        f"Is itself the measure of demand here{_note(signal, 'demand_correlation')}: that it "
        "follows demand is true by definition and shows nothing. Arrivals and tokens counted at "
        "the gateway, or a request log, would settle it."
    )


def _constant(signal: SignalEvidence) -> str:
    if is_never_proportional(signal.signal):
        return (
            "Never moved in these data, so whether it warns in time cannot be told; data that "
            "reach saturation would show it."
        )
    return "Never moved while demand did: it carries no information to scale on."


def _unknown_dependence(signal: SignalEvidence) -> str:
    because = _note(signal, "demand_correlation")
    return f"Whether it follows demand cannot be told{because}."


def _too_little_data(signal: SignalEvidence) -> str:
    observations = measure_of(signal, "effective_observations").value
    counted = (
        ""
        if observations is None
        else f", and the data hold about {observations:.0f} independent observations"
    )
    return (
        f"May follow demand ({_correlation(signal)}), but chance alone could look the same"
        f"{counted}; more days would decide."
    )


def _patchy(signal: SignalEvidence) -> str:
    return (
        f"Known together with demand for less than half of the time ({_correlation(signal)}, "
        f"{_elasticity(signal)}): what is missing could decide."
    )


def _does_not_follow(signal: SignalEvidence) -> str:
    return f"Does not follow demand: the two move independently ({_correlation(signal)})."


def _falls(signal: SignalEvidence) -> str:
    numbers = ", ".join((_correlation(signal), _elasticity(signal)))
    return (
        f"Falls as demand rises ({numbers}): scaling on it would remove replicas when they are "
        "needed most."
    )


def _flat(signal: SignalEvidence) -> str:
    moved = measure_of(signal, "dynamic_range_ratio").value
    share = "" if moved is None else f" only {_percent(moved)} of its value"
    return (
        f"Pinned: moves{share} over the whole range of demand ({_elasticity(signal)}), and so "
        "reports a busy service at any demand."
    )


def _concave(signal: SignalEvidence) -> str:
    return (
        f"Lags behind demand as it grows: doubling demand multiplies it by only "
        f"{_doubling(signal)} ({_elasticity(signal)}{_gain_clause(signal)}), so that a "
        "proportional scaler would add too few replicas."
    )


def _convex(signal: SignalEvidence) -> str:
    return (
        f"Overreacts: doubling demand multiplies it by {_doubling(signal)} "
        f"({_elasticity(signal)}{_gain_clause(signal)}), so that a proportional scaler would "
        "overshoot."
    )


def _vague_elasticity(signal: SignalEvidence) -> str:
    if not measure_of(signal, "demand_elasticity").is_known:
        because = _note(signal, "demand_elasticity")
        return f"Whether it grows in proportion to demand cannot be told{because}."
    return (
        f"The data do not say whether it grows in proportion to demand: the {_elasticity(signal)} "
        "leaves room for a flat signal as well as for a cliff; more days, or more range of "
        "demand, would decide."
    )


def _saturates(signal: SignalEvidence) -> str:
    if (measure_of(signal, "gain_ratio").value or 0.0) < 0.0:
        return (
            f"Turns around: at high demand it falls as demand rises ({_gain(signal)}), and would "
            "remove replicas when they are needed most."
        )
    return (
        f"Saturates: at high demand it rises {_steepness(signal)} as steeply as at low demand "
        f"({_gain(signal)}), blind just where capacity runs out."
    )


def _cliff(signal: SignalEvidence) -> str:
    shape = (
        f"A cliff: {_steepness(signal)} steeper at high demand than at low ({_gain(signal)}"
        f"{_elasticity_clause(signal)})"
    )
    return f"{shape}; use it as a guard, not to set the number of replicas."


def _vague_gain(signal: SignalEvidence) -> str:
    if not measure_of(signal, "gain_ratio").is_known:
        return (
            "Whether its slope stays the same at high demand cannot be told"
            f"{_note(signal, 'gain_ratio')}."
        )
    return (
        f"Whether its slope stays the same at high demand is open ({_gain(signal)}); data with "
        "more range of demand would decide."
    )


def _distorted(signal: SignalEvidence) -> str:
    moved = measure_of(signal, "cache_distortion_ratio").value or 0.0
    return (
        f"Follows the cache: the signal per unit of work changes by {_percent(moved)} as the "
        "prefix-cache hit ratio moves; use its uncached form."
    )


def _vague_distortion(signal: SignalEvidence) -> str:
    return (
        "Whether the prefix cache distorts it is open "
        f"({evidence_in_brackets(signal, 'cache_distortion_ratio', 'distortion')}, at most 0.25 "
        "is tolerable)."
    )


def _ignores_replicas(signal: SignalEvidence) -> str:
    return (
        f"Does not fall when replicas are added ({_capacity(signal)} where -1 is meant): a "
        "scaler that follows it climbs to its maximum and stays there."
    )


def _vague_capacity(signal: SignalEvidence) -> str:
    return (
        f"Whether it falls enough when replicas are added is open ({_capacity(signal)} where -1 "
        "is meant)."
    )


def _noisy(signal: SignalEvidence) -> str:
    return (
        f"Drowned in noise: demand explains only {_explained(signal)} of what it does "
        f"({_correlation(signal)})."
    )


def _changed(signal: SignalEvidence) -> str:
    return (
        f"Changed its answer to demand during the record{_note(signal, 'regime_shift_ratio')}: one "
        "target would be wrong before or after; leave one of the two out with [[exclude]]."
    )


def _rises(signal: SignalEvidence) -> str:
    if not measure_of(signal, "demand_elasticity").is_known:
        return f"Rises with demand ({_correlation(signal)}), but in no proportion to it; a guard."
    return (
        f"Rises with demand but not in proportion ({_elasticity(signal)}{_gain_clause(signal)}); "
        "use it as a guard."
    )


def _close_to_proportional(signal: SignalEvidence) -> str:
    why = (
        "a full cache can be healthy and an empty one overloaded"
        if signal.signal == "kv_cache_usage_ratio"
        else "beyond the knee such signals jump"
    )
    return (
        f"Rises with demand, here almost in proportion ({_elasticity(signal)}), but {why}: "
        "a guard at best."
    )


def _unmoved_guard(signal: SignalEvidence) -> str:
    return (
        f"Stays level over all the demand seen here ({_elasticity(signal)}), so whether it warns "
        "of saturation cannot be told; data that reach saturation would show it."
    )


def _capacity_remark(signal: SignalEvidence) -> str:
    """Say what adding replicas does to it; untested is said, and does not speak against it."""
    capacity = measure_of(signal, "capacity_elasticity")
    if capacity.value is not None:
        return f"It falls as replicas are added ({_capacity(signal)})."
    if capacity.status == "not_applicable" and signal.kind == "total":
        return ""
    why = _clause(capacity.note).removeprefix("not tested: ")
    return f"That it falls as replicas are added is not tested: {why}."


def _noise_remark(signal: SignalEvidence) -> str:
    snr = measure_of(signal, "signal_to_noise_ratio").value
    if snr is None:
        return ""
    if snr < 1.0:
        return (
            f"Noisy: demand explains {_explained(signal)} of what it does; follow it through a "
            "longer window."
        )
    return f"Demand explains {_explained(signal)} of what it does."


def _warning_remark(signal: SignalEvidence) -> str:
    recall = measure_of(signal, "breach_recall_ratio").value
    alarms = measure_of(signal, "false_alarms_per_day").value
    if recall is None:
        return ""
    false = "" if alarms is None else f", at {spoken_number(alarms, digits=2)} false alarms a day"
    return f"It would have warned of {_percent(recall)} of the breaches in time{false}."


def _coverage_remark(signal: SignalEvidence) -> str:
    coverage = measure_of(signal, "coverage_ratio").value
    if coverage is None or coverage >= LEAST_COVERAGE:
        return ""
    return f"Only {_percent(coverage)} of the time is covered by data."


def _lateness(signal: SignalEvidence) -> str:
    lag = measure_of(signal, "lag_seconds")
    if lag.value is None:
        return ", with a lag that the data do not show"
    low, high = interval_of(lag)
    if low <= 0.0 <= high:
        return ", without measurable lag"
    side = "late" if lag.value > 0.0 else "early"
    return f", {spoken_duration(float(f'{abs(lag.value):.2g}'))} {side}"


def _steepness(signal: SignalEvidence) -> str:
    gain = measure_of(signal, "gain_ratio").value
    return "less" if gain is None else f"{_number(gain)} times"


def _doubling(signal: SignalEvidence) -> str:
    elasticity = measure_of(signal, "demand_elasticity").value
    return "an unknown factor" if elasticity is None else _number(2.0**elasticity)


def _explained(signal: SignalEvidence) -> str:
    snr = max(measure_of(signal, "signal_to_noise_ratio").value or 0.0, 0.0)
    return _percent(snr / (1.0 + snr))


def _elasticity(signal: SignalEvidence) -> str:
    return evidence_in_brackets(signal, "demand_elasticity", "elasticity")


def _elasticity_clause(signal: SignalEvidence) -> str:
    is_known = measure_of(signal, "demand_elasticity").is_known
    return f", {_elasticity(signal)}" if is_known else ""


def _gain(signal: SignalEvidence) -> str:
    return evidence_in_brackets(signal, "gain_ratio", "gain ratio")


def _gain_clause(signal: SignalEvidence) -> str:
    gain = measure_of(signal, "gain_ratio").value
    return "" if gain is None or gain <= 0.0 else f", {_gain(signal)}"


def _capacity(signal: SignalEvidence) -> str:
    return evidence_in_brackets(signal, "capacity_elasticity", "capacity elasticity")


def _correlation(signal: SignalEvidence) -> str:
    return evidence_in_brackets(signal, "demand_correlation", "correlation")


def _note(signal: SignalEvidence, measure: str) -> str:
    note = measure_of(signal, measure).note
    return f" ({_clause(note)})" if note else ""


def _clause(note: str) -> str:
    """Make a sentence fit into another: no full stop, no capital unless it is an acronym."""
    text = note.strip().rstrip(".")
    starts_plain = text[:1].isupper() and not text[1:2].isupper()
    return text[:1].lower() + text[1:] if starts_plain else text


def _number(value: float) -> str:
    """Give two decimals, as ratios are read; three digits where they are large."""
    if abs(value) >= 10.0:
        return spoken_number(value, digits=3)
    return f"{value:.2f}".replace("-0.00", "0.00")


def _percent(share: float) -> str:
    percent = 100.0 * share
    return f"{percent:,.0f} %" if abs(percent) >= 10.0 else f"{spoken_number(percent, digits=2)} %"


_SENTENCES: dict[Finding, Callable[[SignalEvidence], str]] = {
    "proportional": _proportional,
    "circular": _circular,
    "constant": _constant,
    "unknown_dependence": _unknown_dependence,
    "too_little_data": _too_little_data,
    "patchy": _patchy,
    "does_not_follow": _does_not_follow,
    "falls": _falls,
    "flat": _flat,
    "concave": _concave,
    "convex": _convex,
    "vague_elasticity": _vague_elasticity,
    "saturates": _saturates,
    "cliff": _cliff,
    "vague_gain": _vague_gain,
    "distorted": _distorted,
    "vague_distortion": _vague_distortion,
    "ignores_replicas": _ignores_replicas,
    "vague_capacity": _vague_capacity,
    "noisy": _noisy,
    "changed": _changed,
    "rises": _rises,
    "close_to_proportional": _close_to_proportional,
    "unmoved_guard": _unmoved_guard,
}
