"""Candidates: one policy a usable signal, and where study and replay put them.

HeteroScale's Algorithm 1 (arXiv:2508.19559): simulate every candidate policy, then choose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalstudy.vocabulary.spoken import spoken_duration, spoken_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from signalstudy.policy.policy import Policy
    from signalstudy.replay.replay import Run
    from signalstudy.vocabulary.estimate import Estimate

ALIKE_SHARE = 0.02
"""GPU-hours nearer than this are alike: rounding and the seed of the noise make as much."""
ALIKE_MISSED, ALIKE_MISSED_SHARE = 0.001, 0.2
"""Misses nearer than this are alike, or than a fifth of them."""
LATER_SECONDS = 15.0
FULLER_SHARE, MORE_MOVES = 0.03, 1.5


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy that follows one signal. `rank`, `verdict`: the study's. `seen_lag`: in seconds."""

    key: str
    rank: int
    verdict: str
    policy: Policy
    target: Estimate
    seen_lag: Estimate | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a candidate stands: by the study, and by what its replay kept and cost.

    `replay_rank`: those that kept what was asked by cost, then the others by what they kept; who
    cannot be told apart shares a rank. `finding`: where the two disagree, how and why.
    """

    run: str
    verdict: str
    study_rank: int
    replay_rank: int
    finding: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Give the form of replay.json."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def stand(
    candidates: Sequence[Candidate], runs: Mapping[str, Run], asked: float
) -> tuple[Standing, ...]:
    """Set the study's order and the replay's side by side, in the study's order.

    `runs`: by a candidate's key. `asked`: the share of requests that is to be kept.
    """
    ordered = sorted(candidates, key=lambda one: one.rank)
    ranks: dict[str, int] = {}
    leader: Run | None = None  # of those that cannot be told apart
    rank = 1
    for at, one in enumerate(sorted(ordered, key=lambda each: _worth(runs[each.key], asked))):
        if leader is None or not _alike(leader, runs[one.key], asked):
            leader, rank = runs[one.key], at + 1
        ranks[one.key] = rank
    return tuple(
        Standing(
            one.key,
            one.verdict,
            at + 1,
            ranks[one.key],
            _finding(one, ordered[at + 1 :], runs, asked),
        )
        for at, one in enumerate(ordered)
    )


def _worth(run: Run, asked: float) -> tuple[bool, float]:
    kept, cost = run.slo_attainment_ratio.value or 0.0, run.gpu_hours.value or 0.0
    return kept < asked, -kept if kept < asked else cost


def _alike(one: Run, other: Run, asked: float) -> bool:
    """Say whether a replay cannot tell two runs apart."""
    (misses, worth), (also, other_worth) = _worth(one, asked), _worth(other, asked)
    if misses != also:
        return False
    if misses:
        missed = 1.0 + max(worth, other_worth)
        return abs(worth - other_worth) <= max(ALIKE_MISSED, ALIKE_MISSED_SHARE * missed)
    return abs(worth - other_worth) <= ALIKE_SHARE * max(worth, other_worth)


def _finding(
    one: Candidate, later: Sequence[Candidate], runs: Mapping[str, Run], asked: float
) -> str:
    """Say where the replay contradicts the study's order, and why; "" where it does not.

    `later`: the candidates that the study puts behind this one.
    """
    run = runs[one.key]
    misses = _worth(run, asked)[0]
    if (
        misses
        and one.verdict == "proportional"
        and not all(_worth(other, asked)[0] for other in runs.values())
    ):
        return f"The study calls it fit to drive; it keeps {_kept(run)}. {_why_missed(one, run)}"
    better = min(later, key=lambda each: _worth(runs[each.key], asked), default=None)
    if better is None:
        return ""
    other = runs[better.key]
    if _worth(other, asked) >= _worth(run, asked) or _alike(run, other, asked):
        return ""
    if misses:
        return f"Ranked before {better.key}, which keeps {_kept(other)}; it keeps {_kept(run)}."
    saved = 1.0 - (other.gpu_hours.value or 0.0) / (run.gpu_hours.value or 1.0)
    return (
        f"Ranked before {better.key}, which keeps {_kept(other)} at {saved:.0%} fewer GPU-hours: "
        f"{_why_cheaper(better, one, other, run)}."
    )


def _kept(run: Run) -> str:
    return f"{run.slo_attainment_ratio.value or 0.0:.4f} of the requests"


def _why_missed(one: Candidate, run: Run) -> str:
    said = [flag for flag in run.flags if not flag.startswith("Flaps")]
    lag = one.seen_lag.value if one.seen_lag is not None else None
    if lag is not None and lag >= LATER_SECONDS:
        said.append(f"A controller sees it {spoken_duration(lag)} late.")
    if one.target.status != "ok":
        said.append(f"Its target is {one.target.status.replace('_', ' ')}.")
    if run.worst_moments:
        said.append(f"Worst: {run.worst_moments[0].sentence()}")
    return " ".join(said) or "Its target leaves too little room for what demand does."


def _why_cheaper(better: Candidate, one: Candidate, other: Run, run: Run) -> str:
    """Cost is how full replicas are kept: say in which pool, and what let them be fuller."""
    said = []
    for pool in run.pools:
        theirs, mine = _fill(other, pool), _fill(run, pool)
        if theirs > mine + FULLER_SHARE:
            said.append(f"that one keeps {pool} {theirs:.0%} full on average, this one {mine:.0%}")
    if one.target.status == "lower_bound" and better.target.status == "ok":
        said.append("this one's capacity is a lower bound, so that its target is too cautious")
    their_moves, moves = (each.scale_events.value or 0.0 for each in (other, run))
    if moves > MORE_MOVES * their_moves:
        said.append(f"it moves {spoken_number(moves)} times, that one {spoken_number(their_moves)}")
    return "; ".join(said) or "its target leaves more room"


def _fill(run: Run, pool: str) -> float:
    path = run.pools[pool]
    bears = float(path.capacity_per_second.sum())
    return float(path.offered_per_second.sum()) / bears if bears else 0.0
