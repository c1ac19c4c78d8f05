"""A controller: what decides in a replay, and which signals it reads to do so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from signalstudy.policy.decide import decide
from signalstudy.policy.rules import STALE_AFTER_WINDOWS, compile_policy
from signalstudy.policy.state import Observation, State
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from signalstudy.policy.policy import Policy
    from signalstudy.replay.grounds import Grounds

Floats: TypeAlias = NDArray[np.float64]
EVALUATION_SECONDS = 15.0
LANE = "lane"
"""The reading that says which lane asks (lanes, 1), for rules that differ from lane to lane."""
Decide: TypeAlias = Callable[[State, Observation], Mapping[str, Floats]]


@dataclass(frozen=True, slots=True)
class Reads:
    """A signal of a pool that a controller reads, averaged over a window; a total or a mean.

    `starting_is_idle`: replicas that are starting count as idle in a mean. It is how the HPA keeps
    from asking again for what it has asked for: it multiplies by the ready ones alone.
    `is_own_queue`: where the recording does not show it, the model's own queue is read.
    """

    pool: str
    signal: str
    is_total: bool
    window_seconds: float
    starting_is_idle: bool = False
    is_own_queue: bool = False

    @property
    def key(self) -> str:
        """Its name in an observation."""
        return f"{self.pool}.{self.signal}"


@dataclass(frozen=True, slots=True)
class Controller:
    """Anything that scales.

    `latencies`: the latencies it guards by their name in an observation, and what latency each is
    (ttft, tbt, e2e). `decide` takes and gives arrays that broadcast: lanes by steps. It may look at
    the state and the readings of one moment only, or remember its own past (one lane).
    `observation_seconds`: how long a removed replica is kept running, by pool.
    `evaluation_seconds`: how often it acts at most, 0 where it keeps its own time.
    `explain`: says in a sentence why it decides as it does, from numbers of one moment.
    """

    name: str
    reads: tuple[Reads, ...]
    latencies: Mapping[str, str]
    bounds: Mapping[str, tuple[int, int]]
    observation_seconds: Mapping[str, float]
    decide: Decide
    evaluation_seconds: float = EVALUATION_SECONDS
    explain: Callable[[State, Observation], str] | None = None

    @property
    def is_soft(self) -> bool:
        """Whether removed replicas are watched, to be put back at once."""
        return any(seconds > 0.0 for seconds in self.observation_seconds.values())

    def drain_seconds(self, grounds: Grounds) -> dict[str, float]:
        """Say how long a removed replica is still paid for, by pool: observed, or draining."""
        return {
            name: max(self.observation_seconds.get(name, 0.0), pool.residence_seconds)
            for name, pool in grounds.pools.items()
        }


def policy_controller(policy: Policy, grounds: Grounds, name: str = "") -> Controller:
    """Make a policy decide, by `policy.decide` itself."""
    rules = compile_policy(policy)
    label = name or policy.name
    strangers = [rule.pool for rule in rules.pools if rule.pool not in grounds.pools]
    if strangers:
        raise ConfigurationError(
            f"{label}: it scales {', '.join(sorted(strangers))}; {grounds.service!r} has "
            f"{', '.join(grounds.pools)}."
        )
    reads = [
        Reads(
            rule.pool,
            rule.signal.key.split(".", 1)[1],
            rule.signal.is_total,
            rule.signal.stale_after_seconds / STALE_AFTER_WINDOWS,
        )
        for rule in rules.pools
        if rule.signal is not None
    ]
    spec = policy.document["spec"]["pools"]

    def ask(state: State, observation: Observation) -> dict[str, Floats]:
        steps = decide(rules, state, observation).steps
        return {pool: step.replicas for pool, step in steps.items()}

    return Controller(
        label,
        tuple(reads),
        {guard.key: guard.key.split(".", 1)[1].split("_", 1)[0] for guard in rules.guards},
        {rule.pool: (rule.min_replicas, rule.max_replicas) for rule in rules.pools},
        {
            pool: float(said["scaleIn"].get("observationSeconds", 0.0))
            for pool, said in spec.items()
        },
        ask,
        explain=lambda state, observation: decide(rules, state, observation).reason,
    )
