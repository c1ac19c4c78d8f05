"""The sentence behind each verdict, as an experienced operator would say it, with its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalstudy.ranking.gates import (
    ELASTICITY_GATE,
    LEAST_COVERAGE,
    interval_of,
    is_never_proportional,
    measure_of,
)
from signalstudy.ranking.phrases import (
    as_clause,
    capacity,
    correlation,
    doubling,
    elasticity,
    elasticity_clause,
    evidence_in_brackets,
    explained,
    gain,
    gain_clause,
    lateness,
    note_of,
    percent,
    steepness,
)
from signalstudy.vocabulary.spoken import spoken_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalstudy.evidence.evidence import SignalEvidence
    from signalstudy.ranking.gates import Finding, Judgement

CLEAR_SIGNAL_TO_NOISE = 9.0
"""A line is called straight where demand explains at least 90 % of the signal ..."""
STRAIGHT_LINEARITY = 0.98
"""... and where it explains nearly what the best rising curve does."""

MOST_PINNED_RANGE = 0.3
"""What moves by more than this over the range of demand is not called pinned."""


def reason_for(signal: SignalEvidence, judgement: Judgement) -> str:
    """Say why the signal got its verdict: the finding first, then what else to know about it."""
    said = [_SENTENCES[judgement.finding](signal)]
    if judgement.verdict == "proportional":
        said.append(_capacity_remark(signal))
        said.append(_noise_remark(signal))
    if judgement.verdict == "guard":
        said.append(_warning_remark(signal))
    if judgement.finding != "patchy":
        said.append(_coverage_remark(signal))
    return " ".join(filter(None, said))


def _proportional(signal: SignalEvidence) -> str:
    return f"Rises with demand almost in proportion ({elasticity(signal)}){lateness(signal)}."


def _circular(signal: SignalEvidence) -> str:
    return (
        f"Is itself the measure of demand here{note_of(signal, 'demand_correlation')}: that it "
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
    because = note_of(signal, "demand_correlation")
    return f"Whether it follows demand cannot be told{because}."


def _too_little_data(signal: SignalEvidence) -> str:
    observations = measure_of(signal, "effective_observations").value
    counted = (
        ""
        if observations is None
        else f", and the data hold about {observations:.0f} independent observations"
    )
    return (
        f"May follow demand ({correlation(signal)}), but chance alone could look the same"
        f"{counted}; more days would decide."
    )


def _quiet_demand(signal: SignalEvidence) -> str:
    return (
        f"Demand hardly varied, so a signal that follows it would look no different "
        f"({correlation(signal)}); a record with quiet and busy hours would decide."
    )


def _unclear_rise(signal: SignalEvidence) -> str:
    return (
        f"Moves when demand does, but whether it rises with it cannot be told "
        f"({correlation(signal)}); more days, or data that reach saturation, would show it."
    )


def _patchy(signal: SignalEvidence) -> str:
    coverage = measure_of(signal, "coverage_ratio").value or 0.0
    known = [
        evidence_in_brackets(signal, measure, spoken)
        for measure, spoken in (
            ("demand_correlation", "correlation"),
            ("demand_elasticity", "elasticity"),
        )
        if measure_of(signal, measure).is_known
    ]
    so_far = f" ({', '.join(known)} in what is known)" if known else ""
    return (
        f"Known together with demand for only {percent(coverage)} of the time{so_far}: too little "
        "to judge, because what is missing could decide."
    )


def _hardly_follows(signal: SignalEvidence) -> str:
    return f"Hardly follows demand ({correlation(signal)}): too weakly to tell it from chance."


def _does_not_follow(signal: SignalEvidence) -> str:
    return f"Does not follow demand: the two move independently ({correlation(signal)})."


def _falls(signal: SignalEvidence) -> str:
    numbers = ", ".join((correlation(signal), elasticity(signal)))
    return (
        f"Falls as demand rises ({numbers}): scaling on it would remove replicas when they are "
        "needed most."
    )


def _flat(signal: SignalEvidence) -> str:
    moved = measure_of(signal, "dynamic_range_ratio").value
    if moved is not None and abs(moved) > MOST_PINNED_RANGE:
        return (
            f"Does not grow with demand ({elasticity(signal)}, {correlation(signal)}): its level "
            "says next to nothing about how many replicas are needed."
        )
    share = "" if moved is None else f" only {percent(abs(moved))} of its value"
    says = (
        "reports a busy service at any demand"
        if signal.signal.endswith(("_utilization_ratio", "_activity_ratio", "_watts"))
        else "says next to nothing about demand"
    )
    return (
        f"Pinned: moves{share} over the whole range of demand ({elasticity(signal)}), and so "
        f"{says}."
    )


def _concave(signal: SignalEvidence) -> str:
    return (
        f"Lags behind demand as it grows: doubling demand multiplies it by only "
        f"{doubling(signal)} ({elasticity(signal)}{gain_clause(signal)}), so that a "
        "proportional scaler would add too few replicas."
    )


def _convex(signal: SignalEvidence) -> str:
    return (
        f"Overreacts: doubling demand multiplies it by {doubling(signal)} "
        f"({elasticity(signal)}{gain_clause(signal)}), so that a proportional scaler would "
        "overshoot."
    )


def _vague_elasticity(signal: SignalEvidence) -> str:
    if not measure_of(signal, "demand_elasticity").is_known:
        because = note_of(signal, "demand_elasticity")
        return f"Whether it grows in proportion to demand cannot be told{because}."
    return (
        f"The data do not say whether it grows in proportion to demand: the {elasticity(signal)} "
        "leaves room for a flat signal as well as for a cliff; more days, or more range of "
        "demand, would decide."
    )


def _saturates(signal: SignalEvidence) -> str:
    if (measure_of(signal, "gain_ratio").value or 0.0) < 0.0:
        return (
            f"Turns around: at high demand it falls as demand rises ({gain(signal)}), and would "
            "remove replicas when they are needed most."
        )
    return (
        f"Saturates: at high demand it rises {steepness(signal)} as steeply as at low demand "
        f"({gain(signal)}), blind just where capacity runs out."
    )


def _cliff(signal: SignalEvidence) -> str:
    shape = (
        f"A cliff: {steepness(signal)} steeper at high demand than at low ({gain(signal)}"
        f"{elasticity_clause(signal)})"
    )
    return f"{shape}; use it as a guard, not to set the number of replicas."


def _vague_gain(signal: SignalEvidence) -> str:
    if not measure_of(signal, "gain_ratio").is_known:
        return (
            "Whether its slope stays the same at high demand cannot be told"
            f"{note_of(signal, 'gain_ratio')}."
        )
    return (
        f"Whether its slope stays the same at high demand is open ({gain(signal)}); data with "
        "more range of demand would decide."
    )


def _distorted(signal: SignalEvidence) -> str:
    moved = measure_of(signal, "cache_distortion_ratio").value or 0.0
    return (
        f"Follows the cache: the signal per unit of work changes by {percent(moved)} as the "
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
        f"Does not fall when replicas are added ({capacity(signal)} where -1 is meant): a "
        "scaler that follows it climbs to its maximum and stays there."
    )


def _vague_capacity(signal: SignalEvidence) -> str:
    return (
        f"Whether it falls enough when replicas are added is open ({capacity(signal)} where -1 "
        "is meant)."
    )


def _noisy(signal: SignalEvidence) -> str:
    return (
        f"Drowned in noise: demand explains only {explained(signal)} of what it does "
        f"({correlation(signal)})."
    )


def _changed(signal: SignalEvidence) -> str:
    return (
        f"Changed its answer to demand during the record{note_of(signal, 'regime_shift_ratio')}: "
        "one target would be wrong before or after; leave what is past out with [[exclude]]."
    )


def _rises(signal: SignalEvidence) -> str:
    rise = measure_of(signal, "demand_elasticity")
    if not rise.is_known:
        return f"Rises with demand ({correlation(signal)}), but in no proportion to it; a guard."
    numbers = f"{elasticity(signal)}{gain_clause(signal)}"
    if interval_of(rise)[1] >= ELASTICITY_GATE[0] and interval_of(rise)[0] <= ELASTICITY_GATE[1]:
        return (
            f"Rises with demand, whether in proportion the data do not say ({numbers}); use it as "
            "a guard."
        )
    if _is_straight(signal):
        return (
            f"Rises with demand along almost a straight line, but far from in proportion "
            f"({numbers}), because the line starts well above zero; use it as a guard."
        )
    return f"Rises with demand but not in proportion ({numbers}); use it as a guard."


def _is_straight(signal: SignalEvidence) -> bool:
    """Whether a line explains a clear, flat-footed rise nearly as well as any rising curve."""
    line, snr = measure_of(signal, "linearity_ratio"), measure_of(signal, "signal_to_noise_ratio")
    rise = measure_of(signal, "demand_elasticity")
    if line.value is None or snr.value is None or rise.value is None:
        return False
    is_clear = snr.value >= CLEAR_SIGNAL_TO_NOISE and line.value >= STRAIGHT_LINEARITY
    return is_clear and interval_of(rise)[1] < ELASTICITY_GATE[0]


def _close_to_proportional(signal: SignalEvidence) -> str:
    why = (
        "a full cache can be healthy and an empty one overloaded"
        if signal.signal == "kv_cache_usage_ratio"
        else "beyond the knee such signals jump"
    )
    return (
        f"Rises with demand, here almost in proportion ({elasticity(signal)}), but {why}: "
        "a guard at best."
    )


def _unmoved_guard(signal: SignalEvidence) -> str:
    return (
        f"Stays level over all the demand seen here ({elasticity(signal)}), so whether it warns "
        "of saturation cannot be told; data that reach saturation would show it."
    )


def _capacity_remark(signal: SignalEvidence) -> str:
    """Say what adding replicas does to it; untested is said, and does not speak against it."""
    answer = measure_of(signal, "capacity_elasticity")
    if answer.value is not None:
        return f"It falls as replicas are added ({capacity(signal)})."
    if answer.status == "not_applicable" and signal.kind == "total":
        return ""
    why = as_clause(answer.note).removeprefix("not tested: ")
    return f"That it falls as replicas are added is not tested: {why}."


def _noise_remark(signal: SignalEvidence) -> str:
    snr = measure_of(signal, "signal_to_noise_ratio").value
    if snr is None:
        return ""
    if snr < 1.0:
        return (
            f"Noisy: demand explains {explained(signal)} of what it does; follow it through a "
            "longer window."
        )
    return f"Demand explains {explained(signal)} of what it does."


def _warning_remark(signal: SignalEvidence) -> str:
    recall = measure_of(signal, "breach_recall_ratio").value
    alarms = measure_of(signal, "false_alarms_per_day").value
    if recall is None:
        return ""
    false = "" if alarms is None else f", at {spoken_number(alarms, digits=2)} false alarms a day"
    return f"It would have warned of {percent(recall)} of the breaches in time{false}."


def _coverage_remark(signal: SignalEvidence) -> str:
    coverage = measure_of(signal, "coverage_ratio").value
    if coverage is None or coverage >= LEAST_COVERAGE:
        return ""
    return f"Only {percent(coverage)} of the time is covered by data."


_SENTENCES: dict[Finding, Callable[[SignalEvidence], str]] = {
    "proportional": _proportional,
    "circular": _circular,
    "constant": _constant,
    "unknown_dependence": _unknown_dependence,
    "too_little_data": _too_little_data,
    "quiet_demand": _quiet_demand,
    "unclear_rise": _unclear_rise,
    "patchy": _patchy,
    "does_not_follow": _does_not_follow,
    "hardly_follows": _hardly_follows,
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
