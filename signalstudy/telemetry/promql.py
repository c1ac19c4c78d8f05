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
TEXT = r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
MATCHER = re.compile(rf"""\s*([a-zA-Z_][a-zA-Z0-9_]*|{TEXT})\s*(=~|!~|!=|=)\s*{TEXT}\s*""")
QUOTED_NAME = re.compile(rf"\s*{TEXT}\s*(?=,|$)")
CLASSIC = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
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
            if one := QUOTED_NAME.match(rest):  # since version 3, for names of any letters
                found.append(Matcher("__name__", "=", _unquoted(one.group(1))))
            elif one := MATCHER.match(rest):
                label = one.group(1)
                label = _unquoted(label) if label[0] in "'\"" else label
                found.append(Matcher(label, one.group(3), _unquoted(one.group(4))))
            else:
                raise _no_selector(text, place)
            rest = rest[one.end() :]
            if rest and not rest.startswith(","):
                raise _no_selector(text, place)
            rest = rest[1:].strip()
    if not found:
        raise _no_selector(text, place)
    return tuple(found)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda e: ESCAPED.get(e[1], e[1]), text[1:-1])


def _no_selector(text: str, place: str) -> ConfigurationError:
    return ConfigurationError(
        f"{place}: {text!r} is no selector. Write one such as "
        'vllm:num_requests_running or {namespace="llm", pod=~"chat-.*"}.'
    )


def selector_text(matchers: Sequence[Matcher]) -> str:
    """Write matchers as a selector."""
    said = (
        f"{m.name if CLASSIC.fullmatch(m.name) else _quoted(m.name)}{m.operator}{_quoted(m.value)}"
        for m in matchers
    )
    return "{" + ",".join(said) + "}"


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
