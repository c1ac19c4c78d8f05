"""Formulas of KEDA's scalingModifiers: the arithmetic of expr-lang that sizes a fleet.

Numbers, names, + - * /, comparisons, && || !, c ? a : b, and max min ceil floor round abs.
"""

from __future__ import annotations

import math
import operator
import re
from typing import TYPE_CHECKING

from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)|([A-Za-z_]\w*)|(\|\||&&|[<>=!]=|[-+*/%<>()?:,!]))"
)
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "max": max,
    "min": min,
    "ceil": math.ceil,
    "floor": math.floor,
    "round": lambda x: math.floor(x + 0.5),
    "abs": abs,
    "float": float,
    "int": int,
}
_OPERATORS: tuple[dict[str, Callable[[float, float], float]], ...] = (
    {"||": lambda a, b: float(bool(a) or bool(b))},
    {"&&": lambda a, b: float(bool(a) and bool(b))},
    {
        "==": operator.eq,
        "!=": operator.ne,
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
    },
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": lambda a, b: a / b if b else math.nan, "%": math.fmod},
)
"""Binary operators, the loosest first."""
DEEPEST = 60


def names(formula: str) -> set[str]:
    """List the names that a formula reads, functions left out."""
    return {token for token in _tokens(formula) if token.isidentifier()} - {
        *_FUNCTIONS,
        "and",
        "or",
    }


def evaluate(formula: str, values: Mapping[str, float]) -> float:
    """Work a formula out; ConfigurationError says what in it is not understood."""
    reader = _Reader(formula, values)
    result = reader.choice(0)
    if reader.position < len(reader.tokens):
        raise reader.error()
    return float(result)


def _tokens(formula: str) -> list[str]:
    found, position = [], 0
    text = formula.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ConfigurationError(
                f"formula {formula[:200]!r}: {text[position : position + 20]!r} is not understood."
            )
        found.append(match.group().strip())
        position = match.end()
    return found


class _Reader:
    """Recursive descent: each method reads one kind of expression from `position` on."""

    def __init__(self, formula: str, values: Mapping[str, float]) -> None:
        self.formula, self.values = formula, values
        self.tokens, self.position = _tokens(formula), 0

    def error(self) -> ConfigurationError:
        """Say where reading stopped."""
        rest = " ".join(self.tokens[self.position : self.position + 5]) or "its end"
        return ConfigurationError(f"formula {self.formula[:200]!r}: not understood at {rest!r}.")

    def takes(self, token: str) -> bool:
        """Read a token if it is the next one."""
        if self.position < len(self.tokens) and self.tokens[self.position] == token:
            self.position += 1
            return True
        return False

    def choice(self, depth: int) -> float:
        """Read `condition ? one : other`."""
        if depth > DEEPEST:
            raise self.error()
        condition = self.operation(0, depth)
        if not self.takes("?"):
            return condition
        one = self.choice(depth + 1)
        if not self.takes(":"):
            raise self.error()
        other = self.choice(depth + 1)
        return one if condition else other

    def operation(self, level: int, depth: int) -> float:
        """Read operators of one strength, from left to right."""
        if level == len(_OPERATORS):
            return self.operand(depth)
        value = self.operation(level + 1, depth)
        while self.position < len(self.tokens) and self.tokens[self.position] in _OPERATORS[level]:
            sign = self.tokens[self.position]
            self.position += 1
            value = float(_OPERATORS[level][sign](value, self.operation(level + 1, depth)))
        return value

    def operand(self, depth: int) -> float:
        """Read a number, a name, a call, a bracket, or one with a sign before it."""
        if self.position >= len(self.tokens) or depth > DEEPEST:
            raise self.error()
        if self.takes("-"):
            return -self.operand(depth + 1)
        if self.takes("!"):
            return float(not self.operand(depth + 1))
        if self.takes("("):
            value = self.choice(depth + 1)
            if not self.takes(")"):
                raise self.error()
            return value
        token = self.tokens[self.position]
        if token[0].isdigit() or token[0] == ".":
            self.position += 1
            return float(token)
        if token in _FUNCTIONS:
            self.position += 1
            return float(_FUNCTIONS[token](*self.arguments(depth)))
        if token not in self.values:
            raise self.error()
        self.position += 1
        return self.values[token]

    def arguments(self, depth: int) -> list[float]:
        """Read `(a, b, ...)`."""
        if not self.takes("("):
            raise self.error()
        values = [self.choice(depth + 1)]
        while self.takes(","):
            values.append(self.choice(depth + 1))
        if not self.takes(")"):
            raise self.error()
        return values
