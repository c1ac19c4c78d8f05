"""One thing that will not work as intended, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` names the kind of fault, `where` the object and the path in it.

    An error will not do what its author means; a warning may not.
    """

    severity: Severity
    check: str
    where: str
    sentence: str


def findings_text(findings: Sequence[Finding]) -> str:
    """Give one line per finding, as compilers do, and how many there are."""
    lines = [f"{one.where} {one.severity}: {one.sentence} [{one.check}]" for one in findings]
    errors = sum(one.severity == "error" for one in findings)
    told = f"Errors: {errors}; warnings: {len(findings) - errors}."
    lines.append(told if findings else "Nothing found.")
    return "".join(f"{line}\n" for line in lines)


def error(check: str, where: str, sentence: str) -> Finding:
    """Report what will not work."""
    return Finding("error", check, where, sentence)


def warning(check: str, where: str, sentence: str) -> Finding:
    """Report what may not work."""
    return Finding("warning", check, where, sentence)
