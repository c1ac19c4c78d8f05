"""The gates of proportional control: what a signal must show, and the verdict that follows.

A gate ends in `passed`, `failed`, `undecided` (the data cannot tell) or `not_tested` (the question
did not arise, and that does not speak against the signal), and names its finding: the word that
`reasons` turns into a sentence. What has failed outweighs what is undecided: a flat signal is flat
whatever else is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from signalstudy.vocabulary.estimate import Estimate, unidentified

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalstudy.evidence.evidence import SignalEvidence
    from signalstudy.ranking.ranking import RankedSignal, Verdict

Outcome = Literal["passed", "failed", "undecided", "not_tested"]
Finding = Literal[
    "proportional",
    "circular",
    "constant",
    "unknown_dependence",
    "too_little_data",
    "quiet_demand",
    "unclear_rise",
    "patchy",
    "does_not_follow",
    "hardly_follows",
    "falls",
    "flat",
    "concave",
    "convex",
    "vague_elasticity",
    "saturates",
    "cliff",
    "vague_gain",
    "distorted",
    "vague_distortion",
    "ignores_replicas",
    "vague_capacity",
    "noisy",
    "changed",
    "rises",
    "close_to_proportional",
    "unmoved_guard",
]

ELASTICITY_GATE = (0.7, 1.4)
"""The interval of `demand_elasticity` must meet this (contract, section 5)."""
ELASTICITY_SAYS_SOMETHING = (0.35, 2.8)
"""... and must lie within twice the gate: one that reaches further excludes neither a flat signal
nor a cliff, and decides nothing."""
GAIN_GATE = (1.0 / 3.0, 3.0)
"""Proportional control bears a gain that changes by at most a factor of three."""
CONCAVE_GAIN = 2.0 / 3.0
"""A guard must not lose its slope at high demand, where it is needed."""
MOST_CACHE_DISTORTION = 0.25
MOST_CAPACITY_ELASTICITY = -0.5
LEAST_SIGNAL_TO_NOISE = 1.0 / 3.0
"""Demand must explain at least a quarter of the signal's variance: R2/(1-R2) = 1/3 at R2 = 0.25.
Averaging repairs less noise than that at the price of lag; more is another signal."""
MOST_REGIME_SHIFT = 0.25
"""A lasting change at equal demand that is surely larger makes one target wrong before or after:
as much as the prefix cache may distort."""
PINNED_ELASTICITY = 0.2
"""Below this, ten times the demand raises a signal by less than 60 %."""
CLIFF_GAIN = 1.5
"""A guard this much steeper at high demand is called a cliff."""
DEPENDENCE_LEVEL = 0.05
STRONG_CORRELATION = 0.5
"""Where the interval of a correlation that is not significant reaches this far, the data are too
few to tell: not significant is not independent."""
FEWEST_OBSERVATIONS = 10.0
"""Below so many effective observations independence cannot be told from dependence."""
SHAPES_OF_TWO_REGIMES = ("concave", "convex", "saturates", "cliff", "noisy")
"""What one curve through two straight ones may look like."""
PROMPT_RATES = ("prefill_tokens_per_second",)
LEAST_COVERAGE = 0.8
"""A signal covered less than this is flagged (methods.md, blocking check 7)."""
PATCHY_COVERAGE = 0.5
"""Below this the missing times may be the ones that matter: nothing is decided."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The outcome of one gate, and what it found."""

    outcome: Outcome
    finding: Finding = "proportional"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and the finding that decided it."""

    verdict: Verdict
    finding: Finding


def is_never_proportional(signal: str) -> bool:
    """Whether a signal is a guard at best, whatever its numbers: latency, waiting, KV occupancy.

    Latencies and queues are flat until the knee and then jump; a full KV cache may be healthy
    (methods.md, blocking check 12). Every signal in seconds is a latency.
    """
    is_latency = signal.endswith("_seconds")
    return is_latency or signal in ("waiting_requests", "kv_cache_usage_ratio")


def is_possible_guard(signal: str) -> bool:
    """Whether a steep rise of this signal warns of saturation, so that it can serve as a guard."""
    return is_never_proportional(signal) or signal in ("running_requests", "inflight_tokens")


def measure_of(signal: SignalEvidence | RankedSignal, name: str) -> Estimate:
    """Give a measure of the signal; one that was not taken counts as unidentified."""
    missing = f"{name} was not measured"
    return signal.measures.get(name) or unidentified(missing)


def interval_of(estimate: Estimate) -> tuple[float, float]:
    """Give the interval of a known estimate; without one, the value stands on both sides."""
    if estimate.value is None:
        raise ValueError("an estimate without a value has no interval")
    low = estimate.value if estimate.low is None else estimate.low
    high = estimate.value if estimate.high is None else estimate.high
    return low, high


def judge(signal: SignalEvidence) -> Judgement:
    """Give the verdict on one signal (methods.md, section 7.3; contract, section 5)."""
    if _is_patchy(signal):
        return Judgement("undetermined", "patchy")
    gates = [gate(signal) for gate in GATES]
    failures = [gate.finding for gate in gates if gate.outcome == "failed"]
    failed = next(iter(failures), None)
    if signal.signal in PROMPT_RATES and "distorted" in failures:
        failed = "distorted"  # the cause of whatever else is wrong with a count of prompt tokens
    open_findings = [gate.finding for gate in gates if gate.outcome == "undecided"]
    undecided = next(iter(open_findings), None)
    if "changed" in open_findings and failed in (None, *SHAPES_OF_TWO_REGIMES):
        failed, undecided = None, "changed"
    is_proportional = failed is None and undecided is None
    if is_never_proportional(signal.signal):
        return _judge_guard(signal)
    if is_possible_guard(signal.signal) and failed in ("convex", "cliff"):
        return _judge_guard(signal)
    if is_proportional:
        return Judgement("proportional", "proportional")
    if failed is not None:
        return Judgement("rejected", failed)
    return Judgement("undetermined", undecided or "unknown_dependence")


def _judge_guard(signal: SignalEvidence) -> Judgement:
    """Judge a signal that can be a guard at best: it must rise with demand and not flatten."""
    dependence = _follows_demand(signal)
    if dependence.outcome != "passed":
        # A queue that never formed may still warn when it does; a signal of noise will not.
        is_open = dependence.outcome == "undecided" or dependence.finding == "constant"
        return Judgement("undetermined" if is_open else "rejected", dependence.finding)
    elasticity, gain = measure_of(signal, "demand_elasticity"), measure_of(signal, "gain_ratio")
    if gain.is_known:
        low, high = interval_of(gain)
        # A large negative gain is a slope of either sign around a signal that rests at zero.
        if low > -CONCAVE_GAIN and high < CONCAVE_GAIN:
            return Judgement("rejected", "saturates")
        if low > 1.0 and (gain.value or 0.0) >= CLIFF_GAIN:
            return Judgement("guard", "cliff")
    is_vague = not elasticity.is_known
    if elasticity.is_known and interval_of(elasticity)[0] <= 0.0:
        highest = interval_of(elasticity)[1]
        if highest <= PINNED_ELASTICITY:
            # It falls, or its cliff was not visited.
            falls = highest < -PINNED_ELASTICITY
            return (
                Judgement("rejected", "falls")
                if falls
                else Judgement("undetermined", "unmoved_guard")
            )
        is_vague = True  # from level to steep: where a queue stands, latency is its history
    correlation = measure_of(signal, "demand_correlation")
    if is_vague and interval_of(correlation)[0] <= 0.0:
        return Judgement("undetermined", "unclear_rise")
    is_close = elasticity.is_known and _elasticity(signal).outcome == "passed"
    return Judgement("guard", "close_to_proportional" if is_close else "rises")


def _follows_demand(signal: SignalEvidence) -> Gate:
    """Ask for dependence on demand, and for its sign.

    Decided by the circular-shift p-value. Where nobody asked for one the correlation's interval
    decides; where the record is too short for one, that interval is too short to trust as well.
    """
    correlation = measure_of(signal, "demand_correlation")
    if _is_constant(signal):
        return Gate("failed", "constant")
    if correlation.value is None:
        is_circular = correlation.status == "not_applicable"
        return Gate("undecided", "circular" if is_circular else "unknown_dependence")
    independence = measure_of(signal, "independence_probability").value
    low, high = interval_of(correlation)
    excludes_zero = low > 0.0 or high < 0.0
    is_too_short = independence is None and "independence_probability" in signal.measures
    is_dependent = excludes_zero if independence is None else independence < DEPENDENCE_LEVEL
    is_dependent = is_dependent and not is_too_short
    if not is_dependent:
        is_weak = max(abs(low), abs(high)) < STRONG_CORRELATION
        is_enough = _effective_observations(signal, correlation) >= FEWEST_OBSERVATIONS
        if is_weak and is_enough:
            return _too_weak(signal, moves=excludes_zero and correlation.low is not None)
        return Gate("undecided", "too_little_data")
    elasticity = measure_of(signal, "demand_elasticity").value
    if correlation.value < 0.0 and (elasticity is None or elasticity < 0.0):
        is_steep = elasticity is None or elasticity <= -PINNED_ELASTICITY
        is_plain = correlation.value <= -STRONG_CORRELATION
        return Gate("failed", "falls" if is_steep or is_plain else "flat")
    return Gate("passed")


def _effective_observations(signal: SignalEvidence, correlation: Estimate) -> float:
    measured = measure_of(signal, "effective_observations").value
    known = correlation.effective_observations if measured is None else measured
    return FEWEST_OBSERVATIONS if known is None else known


def _too_weak(signal: SignalEvidence, *, moves: bool) -> Gate:
    """Judge a correlation too weak to tell from chance: the signal's fault, unless demand slept."""
    if _is_quiet(signal):
        return Gate("undecided", "quiet_demand")
    return Gate("failed", "hardly_follows" if moves else "does_not_follow")


def _is_quiet(signal: SignalEvidence) -> bool:
    """Whether demand hardly varied: any signal looks weak then (methods.md, 3)."""
    return measure_of(signal, "demand_correlation").status == "censored"


def _is_constant(signal: SignalEvidence) -> bool:
    dynamic_range = measure_of(signal, "dynamic_range_ratio").value
    is_without_correlation = not measure_of(signal, "demand_correlation").is_known
    return dynamic_range is not None and dynamic_range == 0.0 and is_without_correlation


def _elasticity(signal: SignalEvidence) -> Gate:
    """Ask that doubling demand about doubles the signal."""
    elasticity = measure_of(signal, "demand_elasticity")
    if elasticity.value is None:
        is_circular = elasticity.status == "not_applicable"
        return Gate("undecided", "circular" if is_circular else "vague_elasticity")
    low, high = interval_of(elasticity)
    if high < -PINNED_ELASTICITY:
        return Gate("failed", "falls")
    if high < ELASTICITY_GATE[0]:
        return Gate("failed", "flat" if high < PINNED_ELASTICITY else "concave")
    if low > ELASTICITY_GATE[1]:
        return Gate("failed", "convex")
    if low < ELASTICITY_SAYS_SOMETHING[0] or high > ELASTICITY_SAYS_SOMETHING[1]:
        return Gate("undecided", "vague_elasticity")
    return Gate("passed")


def _constant_gain(signal: SignalEvidence) -> Gate:
    """Ask that the slope at high demand is that at low demand, within a factor of three."""
    gain = measure_of(signal, "gain_ratio")
    if gain.status == "not_applicable":
        return Gate("not_tested")
    if gain.value is None:
        return Gate("undecided", "vague_gain")
    low, high = interval_of(gain)
    if high < GAIN_GATE[0]:
        return Gate("failed", "saturates")
    if low > GAIN_GATE[1]:
        return Gate("failed", "cliff")
    if low <= 0.0 and high > GAIN_GATE[1]:
        return Gate("undecided", "vague_gain")
    return Gate("passed")


def _cache_neutral(signal: SignalEvidence) -> Gate:
    """Ask that the signal per unit of work is the same whatever the prefix cache does."""
    distortion = measure_of(signal, "cache_distortion_ratio")
    if distortion.value is None:
        return Gate("not_tested")
    if distortion.value < MOST_CACHE_DISTORTION:
        return Gate("passed")
    if interval_of(distortion)[0] < MOST_CACHE_DISTORTION:
        return Gate("undecided", "vague_distortion")
    return Gate("failed", "distorted")


def _falls_with_capacity(signal: SignalEvidence) -> Gate:
    """Ask that the signal falls when replicas are added (methods.md, blocking check 3)."""
    capacity = measure_of(signal, "capacity_elasticity")
    if capacity.value is None:
        return Gate("not_tested")
    low, high = interval_of(capacity)
    if high <= MOST_CAPACITY_ELASTICITY:
        return Gate("passed")
    if low <= MOST_CAPACITY_ELASTICITY:
        return Gate("undecided", "vague_capacity")
    return Gate("failed", "ignores_replicas")


def _is_patchy(signal: SignalEvidence) -> bool:
    """Whether signal and demand are known together too rarely to decide anything."""
    coverage = measure_of(signal, "coverage_ratio").value
    return coverage is not None and coverage < PATCHY_COVERAGE


def _audible(signal: SignalEvidence) -> Gate:
    """Ask that demand explains a fair part of what the signal does."""
    ratio = measure_of(signal, "signal_to_noise_ratio")
    if ratio.value is None:
        return Gate("not_tested")
    if interval_of(ratio)[1] < LEAST_SIGNAL_TO_NOISE:
        is_quiet = _is_quiet(signal)
        return Gate("undecided", "quiet_demand") if is_quiet else Gate("failed", "noisy")
    return Gate("passed")


def _steady(signal: SignalEvidence) -> Gate:
    """Ask that the signal answered demand the same way over the whole record (methods.md, 7.1)."""
    if changed_for_good(signal):
        return Gate("undecided", "changed")
    return Gate("passed" if measure_of(signal, "regime_shift_ratio").is_known else "not_tested")


def changed_for_good(signal: SignalEvidence) -> bool:
    """Whether the signal surely answers demand otherwise in one part of the record."""
    shift = measure_of(signal, "regime_shift_ratio")
    return shift.value is not None and interval_of(shift)[0] >= MOST_REGIME_SHIFT


GATES: tuple[Callable[[SignalEvidence], Gate], ...] = (
    _follows_demand,
    _elasticity,
    _constant_gain,
    _cache_neutral,
    _falls_with_capacity,
    _audible,
    _steady,
)
"""In the order in which a failure is told."""
