"""The little PromQL that reading needs: selectors with their matchers, and windows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalstudy.vocabulary.durations import PART, duration_seconds
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

OPERATORS = ("=", "!=", "=~", "!~")
"""In the order of their numbers in a remote read."""
NAME = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*")
MATCHER = re.compile(
    r"""\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*"""
)
ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}
REGEX_SPECIAL = re.compile(r"([.+*?()|\[\]{}^$\\])")


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label: `operator` is =, !=, =~ or !~."""

    name: str
    operator: str
    value: str


def parse_selector(text: str, place: str) -> tuple[Matcher, ...]:
    """Read `metric{label="value", ...}`; raises ConfigurationError where it is something else."""
    found: list[Matcher] = []
    rest = text.strip()
    if name := NAME.match(rest):
        found.append(Matcher("__name__", "=", name.group(1)))
        rest = rest[name.end() :]
    if rest:
        if not (rest.startswith("{") and rest.endswith("}")):
            raise _no_selector(text, place)
        rest = rest[1:-1].strip()
        while rest:
            one = MATCHER.match(rest)
            if one is None:
                raise _no_selector(text, place)
            value = re.sub(r"\\(.)", lambda e: ESCAPED.get(e[1], e[1]), one.group(3)[1:-1])
            found.append(Matcher(one.group(1), one.group(2), value))
            rest = rest[one.end() :]
            if rest and not rest.startswith(","):
                raise _no_selector(text, place)
            rest = rest[1:].strip()
    if not found:
        raise _no_selector(text, place)
    return tuple(found)


def _no_selector(text: str, place: str) -> ConfigurationError:
    return ConfigurationError(
        f"{place}: {text!r} is no selector. Write one such as "
        'vllm:num_requests_running or {namespace="llm", pod=~"chat-.*"}.'
    )


def selector_text(matchers: Sequence[Matcher]) -> str:
    """Write matchers as a selector."""
    return "{" + ",".join(f"{m.name}{m.operator}{_quoted(m.value)}" for m in matchers) + "}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def any_of(names: Sequence[str]) -> Matcher:
    """Match every metric of `names`, which are taken literally."""
    if len(names) == 1:
        return Matcher("__name__", "=", names[0])
    return Matcher("__name__", "=~", "|".join(REGEX_SPECIAL.sub(r"\\\1", n) for n in names))


def window_seconds(expression: str) -> float | None:
    """Tell the window over which an expression averages, None where it names none.

    The longest range selector counts; a recording rule may carry it in its name (`:rate1m`).
    """
    unquoted = re.sub(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", '""', expression)
    found = re.findall(rf"\[\s*((?:{PART})+)\s*[:\]]", unquoted)
    found += re.findall(
        rf":[a-z_]*(?:rate|increase|delta|avg|sum|max|min)_?((?:{PART})+)\b", unquoted
    )
    return max((duration_seconds(text) for text in found), default=None)
