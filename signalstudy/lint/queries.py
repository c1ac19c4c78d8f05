"""What a query says when nothing happens, when nobody answers, and over how long it looks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from signalstudy.lint.finding import error, warning
from signalstudy.scalers.promql import on_one_line, selectors
from signalstudy.vocabulary.signals import metric_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalstudy.lint.finding import Finding

LONGEST_RANGE_SECONDS = 600.0
_RANGE = re.compile(r"\[(\d+(?:\.\d+)?)(ms|s|m|h|d|w)(?::[^\]]*)?\]")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_ZERO = re.compile(r"\bor\s+(?:on\s*\(\s*\)\s*)?vector\s*\(\s*0(?:\.0*)?\s*\)", re.IGNORECASE)
_INCREASE = re.compile(r"\b(?:rate|irate|increase|delta|deriv|resets|changes)\s*\(")
_FILTERED = re.compile(r"(?:>=?|==|<=?)\s*(?!bool)[-+]?[\d.]")
_LISTED = r"(?:by|without)\s*\(\s*\w[^()]*\)"
_CALL = re.compile(rf"(?P<name>[a-z_]+)\s*(?P<listed>{_LISTED}\s*)?\(")
_TOGETHER, _BARE = {"sum", "avg", "max", "min", "count"}, {"rate", "irate", "increase"}


def query_findings(query: str, where: str) -> Iterator[Finding]:
    """Check one query by its text."""
    text = on_one_line(query)
    if _ZERO.search(text) and not re.search(r"\band\s+on\s*\(\s*\)", text):
        yield error(
            "zero_in_outage",
            where,
            "a bare `or vector(0)` says 0 when nothing is known, so that an outage scales the "
            "fleet in. Use `or (sum(up{...}) > 0) * 0`: 0 only while a target is up.",
        )
    can_be_nan = "histogram_quantile" in text or _divides(text)
    if can_be_nan and not _FILTERED.search(text) and not _ZERO.search(text):
        yield warning(
            "nan_at_idle",
            where,
            "without traffic this is NaN or nothing (0 / 0, or a quantile of no observations), so "
            "that an idle fleet is never scaled in. Filter it: `(...) >= 0 or (sum(up{...}) > 0) "
            "* 0`.",
        )
    for selector in selectors(text):
        if metric_type(selector.metric) == "counter" and not _INCREASE.search(text):
            yield error(
                "counter_without_rate",
                where,
                f"{selector.metric} is a counter: without rate() it only ever grows, and the fleet "
                "with it.",
            )
            break
    for number, unit in _RANGE.findall(text):
        seconds = float(number) * _SECONDS[unit]
        if seconds > LONGEST_RANGE_SECONDS:
            yield warning(
                "long_window",
                where,
                f"a window of {number}{unit} shows demand {seconds / 2.0:.0f} s late: longer than "
                "new capacity takes to arrive.",
            )
    if "flow_control" in text:
        yield warning(
            "series_switched_off",
            where,
            "flow-control metrics exist only where the endpoint picker runs with flow control.",
        )


def several_series(query: str, where: str) -> Iterator[Finding]:
    """Check that a query which has to give one element does not plainly give one a series."""
    text = _without_text(on_one_line(query))
    call = _CALL.match(text)
    if call is None:
        return
    rest = text[_closing(text, call.end() - 1) + 1 :].strip()
    is_listed = call["listed"] is not None or re.fullmatch(_LISTED, rest) is not None
    is_whole = rest == "" or re.fullmatch(_LISTED, rest) is not None
    if is_whole and (call["name"] in _BARE or (call["name"] in _TOGETHER and is_listed)):
        yield error(
            "several_series",
            where,
            "the answer has an element for each series, and more than one is an error: take them "
            "together with sum() or avg(), without by.",
        )


def _closing(text: str, at: int) -> int:
    """Give where the bracket at `at` closes, the end where it does not."""
    depth = 0
    for place in range(at, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return len(text)


def range_seconds(query: str) -> float | None:
    """Give the longest window of a query, None where it has none."""
    found = [float(number) * _SECONDS[unit] for number, unit in _RANGE.findall(query)]
    return max(found, default=None)


def _divides(text: str) -> bool:
    """Say whether a query divides by something that may be 0: by series, not by a number."""
    return bool(re.search(r"/\s*(?:(?:on|ignoring)\s*\([^)]*\)\s*)?(?!\s|\d)", _without_text(text)))


def _without_text(text: str) -> str:
    """Take the matchers out, whose strings may hold anything."""
    return re.sub(r"\{[^}]*\}", "", text)
