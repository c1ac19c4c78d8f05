"""The verdict on a service in one sentence: what to follow, or why nothing qualifies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalstudy.ranking.phrases import listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from signalstudy.ranking.ranking import RankedSignal, Verdict

_STAND_INS = {
    "served_other_pool": "the work served by the other pool stood in for it",
    "served_own": "the pool's own served work stood in for it",
}


def summary_of(
    signals: Sequence[RankedSignal], demand_source: Mapping[str, str], ties: Sequence[str]
) -> str:
    """Say in one sentence what to follow and what to guard with, or why nothing qualifies."""
    best = next((s for s in signals if s.verdict == "proportional"), None)
    said = _nothing_qualifies(signals) if best is None else _follow(best, signals, ties)
    judged_pools = {s.pool for s in signals if s.verdict != "unavailable"}
    stand_ins = {
        _STAND_INS[source]
        for pool, source in demand_source.items()
        if source in _STAND_INS and (best is None or pool == best.pool) and pool in judged_pools
    }
    if stand_ins:
        said += f"; offered demand was not recorded, {' or '.join(sorted(stand_ins))}"
    return f"{said}."


def _follow(best: RankedSignal, signals: Sequence[RankedSignal], ties: Sequence[str]) -> str:
    elasticity = best.measures["demand_elasticity"].value
    strength = "" if elasticity is None else f" (elasticity {elasticity:.2f})"
    said = f"Follow {_named(best)}: it rises with demand in proportion{strength}"
    if ties:
        others = "another signal" if len(ties) == 1 else f"{len(ties)} others"
        said += f", tied with {others} ({listed(ties)})"
    guards = _guards(signals)
    if guards:
        said += f"; guard it with {listed([_named(guard) for guard in guards])}"
    return said


def _guards(signals: Sequence[RankedSignal]) -> list[RankedSignal]:
    """Give one guard of each pool: its first TTFT or TBT, which is what users feel, else its first.

    What the gateway measures repeats the pools, so it is named only where they have nothing.
    """
    guards = [s for s in signals if s.verdict == "guard"]
    first: dict[str, RankedSignal] = {}
    for signal in sorted(guards, key=lambda s: not s.signal.startswith(("ttft_", "tbt_"))):
        first.setdefault(signal.pool, signal)
    of_pools = [guard for pool, guard in first.items() if pool != "gateway"]
    return of_pools or list(first.values())


def _nothing_qualifies(signals: Sequence[RankedSignal]) -> str:
    counted: list[tuple[Verdict, str]] = [
        ("guard", "fit as guards only"),
        ("rejected", "rejected"),
        ("undetermined", "undetermined for want of data"),
    ]
    counts = [(sum(s.verdict == verdict for s in signals), said) for verdict, said in counted]
    found = [f"{count} {said}" for count, said in counts if count]
    if not found:
        return "No signal could be judged: the data hold none that the catalogue knows"
    said = f"No signal qualifies for proportional control: {', '.join(found)}"
    undecided = next((s for s in signals if s.verdict == "undetermined"), None)
    if undecided is not None:
        said += f"; {_named(undecided)} is the nearest that more data could decide"
    return said


def _named(signal: RankedSignal) -> str:
    return f"{signal.signal} of the {signal.pool} pool"
