"""Prefill and decode as two objects: whether their targets split the work as the ratio says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalstudy.lint.finding import error
from signalstudy.scalers.promql import on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from signalstudy.lint.facts import Facts
    from signalstudy.lint.finding import Finding
    from signalstudy.lint.sized import Metric, Sized


def split_findings(fleets: Sequence[Sized], facts: Facts | None) -> Iterator[Finding]:
    """Check pairs of objects that divide one total."""
    for decode in (one for one in fleets if one.pool == "decode"):
        for prefill in (one for one in fleets if one.pool == "prefill"):
            for first, second in _shared(decode, prefill):
                ratio = first.target / second.target
                known = None if facts is None else facts.ratio_bounds
                if first.target == second.target and prefill.most != decode.most:
                    yield error(
                        "ratio_split",
                        second.where,
                        "prefill and decode divide one total by the same target, so that both "
                        f"get the same replicas; up to {prefill.most} and {decode.most} were "
                        "meant. The target of prefill is that of decode / (prefill per decode).",
                    )
                elif known is not None and not known[1] <= ratio <= known[2]:
                    yield error(
                        "ratio_split",
                        second.where,
                        f"the targets keep {ratio:.3g} prefill per decode, the study finds "
                        f"{known[0]:.3g} [{known[1]:.3g}, {known[2]:.3g}].",
                    )


def _shared(decode: Sized, prefill: Sized) -> Iterator[tuple[Metric, Metric]]:
    """Pair what both divide; with several metrics each, the other's is there for the band."""
    if len(decode.metrics) > 1 and len(prefill.metrics) > 1:
        return
    for first in decode.metrics:
        for second in prefill.metrics:
            same = (on_one_line(first.query), first.name if not first.query else "") == (
                on_one_line(second.query),
                second.name if not second.query else "",
            )
            if same and first.division == second.division == "total" and second.target > 0.0:
                yield first, second
