"""PromQL that a scaler can trust: one finite value while a target is up, none when none is.

A bare query is neither: without traffic it may be NaN or empty, in an outage a range keeps old
samples alive, and a bare `or vector(0)` says "no demand" where nothing is known, so that the scaler
takes the fleet away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TARGET_LABELS = ("cluster", "namespace", "job", "instance", "pod", "pool")
"""Labels that a scrape configuration gives to a target, so that `up` carries them as well."""
_TELLING_LABELS = {"job", "instance", "pod"}
"""Without one of these, `up` would count targets of other pools."""
_STRING = r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`'
_TOKEN = re.compile(
    rf"(?P<string>{_STRING})|(?P<comment>\#[^\n]*)|(?P<range>\[[^\]]*\])"
    rf"|(?P<matchers>\{{(?:[^{{}}\"'`]|{_STRING})*\}})"
    r"|(?P<number>\d[\w.]*)|(?P<name>[A-Za-z_:][\w:]*)|(?P<sign>\S)"
)
_LISTED = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan", "start", "end"}
_AGGREGATIONS = ("sum", "avg", "max", "min", "count")
_MATCHER = re.compile(rf"([A-Za-z_]\w*)\s*(=~|!~|!=|=)\s*({_STRING})")
_ONE_VALUE = re.compile(
    r"\((?P<single>.*) or \((?P<alive>.*)\) \* 0\) and on\(\) \((?P=alive)\)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Selector:
    """One vector selector of a query: the metric, "" where only labels name it, and matchers."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]
    """(label, operator, quoted value)"""

    def __str__(self) -> str:
        """Give it as PromQL."""
        inside = ",".join("".join(matcher) for matcher in self.matchers)
        return f"{self.metric}{{{inside}}}" if inside else self.metric


def selectors(query: str) -> list[Selector]:
    """List the series that a query reads, in its order."""
    found: list[Selector] = []
    tokens = [m for m in _TOKEN.finditer(query) if m.lastgroup not in ("comment", "range")]
    position = 0
    while position < len(tokens):
        kind, text = tokens[position].lastgroup, tokens[position].group()
        after = tokens[position + 1] if position + 1 < len(tokens) else None
        position += 1
        if kind == "matchers":
            found.append(Selector("", _matchers(text)))
        elif kind == "name" and after is not None and after.group() == "(":
            if text.lower() in _LISTED:
                position = _past_list(tokens, position)
        elif kind == "name" and after is not None and after.lastgroup == "matchers":
            found.append(Selector(text, _matchers(after.group())))
            position += 1
        elif kind == "name" and text.lower() not in _LISTED | _WORDS | set(_AGGREGATIONS):
            found.append(Selector(text, ()))
    return found


def _past_list(tokens: list[re.Match[str]], position: int) -> int:
    while position < len(tokens) and tokens[position].group() != ")":
        position += 1
    return position + 1


def _matchers(text: str) -> tuple[tuple[str, str, str], ...]:
    return tuple((m[1], m[2], m[3]) for m in _MATCHER.finditer(text))


def on_one_line(query: str) -> str:
    """Take comments and line breaks out of a query; strings stay as they are."""
    parts = re.sub(rf"({_STRING})|#[^\n]*|\s+", lambda match: match[1] or " ", query)
    return re.sub(rf"({_STRING})|\s+", lambda match: match[1] or " ", parts).strip()


def outermost(query: str) -> str:
    """Name the aggregation without `by` that wraps the whole query, "" where none does."""
    match = re.match(r"\s*([A-Za-z_]\w*)\s*\(", query)
    if match is None or match[1].lower() not in _AGGREGATIONS:
        return ""
    depth = 0
    for token in _TOKEN.finditer(query, match.end() - 1):
        depth += {"(": 1, ")": -1}.get(token.group(), 0)
        if depth == 0:
            return match[1].lower() if not query[token.end() :].strip() else ""
    return ""


def alive(query: str) -> str:
    """Give an expression with a value only while a target of the query is up.

    By `up` where the query names its targets, else by the presence of its own series: those turn
    stale with their target, but a restarted one may not show them before its first request. A pool
    may also be told by the engine's own label, which `up` does not carry: then `up` is absent, and
    the series themselves count.
    """
    made = _ONE_VALUE.fullmatch(on_one_line(query))
    if made:
        return made["alive"]
    found = selectors(query)
    for selector in found:
        matchers = tuple(m for m in selector.matchers if m[0] in TARGET_LABELS)
        labels = {label for label, _, _ in matchers}
        if labels & _TELLING_LABELS:
            up_now = Selector("up", matchers)
            is_up = f"sum({up_now}) > 0"
            if "pool" not in labels:
                return is_up
            return f"{is_up} or count({selector}) > 0 and on() absent({up_now})"
    return f"count({found[0]}) > 0" if found else "vector(1)"


def up(query: str) -> str:
    """Give the same for a query of `up` that the user named."""
    return f"{query if outermost(query) == 'sum' else f'sum({query})'} > 0"


def one_value(query: str, aggregation: str, is_alive: str) -> str:
    """Make a query give one finite value while `is_alive` has one, and none otherwise.

    Several series are taken together by `aggregation`; NaN and absence mean that nothing
    happened, which is 0. A query that was made so before is made anew from its inner one.
    """
    whole = on_one_line(query)
    made = _ONE_VALUE.fullmatch(whole)
    if made:
        return f"({made['single']} or ({is_alive}) * 0) and on() ({is_alive})"
    single = whole if outermost(whole) else f"{aggregation}({whole})"
    if "/" in whole or "quantile" in whole:
        single = f"({single} >= 0)"
    return f"({single} or ({is_alive}) * 0) and on() ({is_alive})"
