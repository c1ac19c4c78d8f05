"""The YAML that policies are written and read in: plain data, no surprises.

Reading: numbers and words as YAML 1.2 has them (`no`, `12:30` and dates are text), no duplicate
keys, no aliases, no tags, one document. Manifests that users have may hold several documents,
Lists, aliases and merge keys. Writing: text that YAML 1.1 or 1.2 would take for something
else is quoted, so that whatever reads it gets the same words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LARGEST_BYTES = 1_000_000
MOST_VALUES = 200_000
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_INTEGER = re.compile(r"^[-+]?[0-9]+$")
_BOOLEAN = re.compile(r"^(true|True|TRUE|false|False|FALSE)$")
_NULL = re.compile(r"^(~|null|Null|NULL|)$")
TEMPLATE = " It looks like a template: render it first, as `helm template` does."
_UNSEEN = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_MERGE_TAG = "tag:yaml.org,2002:merge"


class _Reader(yaml.SafeLoader):
    """Safe loading with YAML 1.2 scalars, refusing what a policy never needs."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own convention

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse aliases: a few lines of them can stand for gigabytes."""
        if self.check_event(yaml.events.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(
                None, None, "aliases are not allowed", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Refuse a key that stands twice, and keys that are not text."""
        self.refuse_keys(node.value)
        return super().construct_mapping(node, deep)

    def refuse_keys(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Raise for the first key that is not text or was there before."""
        seen = set()
        for key, _ in pairs:
            if key.tag != "tag:yaml.org,2002:str":
                raise yaml.constructor.ConstructorError(
                    None, None, "keys have to be text", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)


class _ManifestReader(_Reader):
    """The same with aliases and merge keys, which manifests have, as far as they stay small."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own convention

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Read aliases too."""
        return yaml.SafeLoader.compose_node(self, parent, index)

    def construct_document(self, node: Any) -> Any:
        """Refuse what a few lines of aliases blow up before it is built."""
        if _values_in(node, {}) > MOST_VALUES:
            raise yaml.constructor.ConstructorError(
                None, None, f"aliases stand for more than {MOST_VALUES:,} values", node.start_mark
            )
        return super().construct_document(node)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Merge `<<`; a key of its own goes before one that is merged, none may stand twice."""
        if any(key.tag == _MERGE_TAG for key, _ in node.value):
            self.refuse_keys(pair for pair in node.value if pair[0].tag != _MERGE_TAG)
            self.flatten_mapping(node)
            node.value = list({key.value: (key, value) for key, value in node.value}.values())
        return super().construct_mapping(node, deep)


def _values_in(node: Any, known: dict[int, int]) -> int:
    """Count what a node stands for with its aliases written out; endless ones count for all."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = MOST_VALUES + 1
    inner: list[Any] = []
    if isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        inner = node.value
    known[id(node)] = 1 + sum(_values_in(part, known) for part in inner)
    return known[id(node)]


for _tag, _pattern, _first in (
    ("bool", _BOOLEAN, "tTfF"),
    ("int", _INTEGER, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("null", _NULL, ["~", "n", "N", ""]),
):
    _Reader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))
    _ManifestReader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))
_ManifestReader.add_implicit_resolver(_MERGE_TAG, re.compile("^(?:<<)$"), ["<"])


class Block(str):
    """Text of several lines that is written line by line, for people to read."""

    __slots__ = ()


class _Writer(yaml.SafeDumper):
    """Safe dumping without aliases, quoting also what only YAML 1.2 takes for a number."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's signature
        """Write every value out where it stands."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """Indent lists below their key, as Kubernetes manifests do in documentation."""
        super().increase_indent(flow, indentless=False)


_Writer.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def _write_text(writer: _Writer, text: str) -> yaml.Node:
    """Double-quote what has more than one line or cannot be seen; PyYAML folds such text."""
    style = None if text.isprintable() else '"'
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Writer.add_representer(str, _write_text)
_Writer.add_representer(
    Block, lambda writer, text: writer.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def dump(document: dict[str, Any]) -> str:
    """Write a document in its own key order; what turns or hides text on a screen is escaped."""
    text = yaml.dump(document, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=2**31)
    # Text that holds such letters was quoted, where the escape means the same.
    return _UNSEEN.sub(lambda letter: f"\\u{ord(letter[0]):04x}", text)


def parse(text: str, place: str) -> Any:
    """Read one document; ConfigurationError names the place and the line."""
    return _parsed(text, place, lambda: yaml.load(text, Loader=_Reader))  # noqa: S506  # safe


def parse_all(text: str, place: str) -> list[Any]:
    """Read every object of a manifest file, lists of them taken apart; errors as in `parse`."""
    found = _parsed(text, place, lambda: list(yaml.load_all(text, Loader=_ManifestReader)))
    return [one for document in found for one in _objects(document)]


def _objects(document: Any) -> list[Any]:
    """Take a List apart, as kubectl writes and takes it."""
    if document is None:
        return []
    if isinstance(document, dict) and str(document.get("kind", "")).endswith("List"):
        items = document.get("items")
        return [one for one in items if one is not None] if isinstance(items, list) else []
    return [document]


def _parsed(text: str, place: str, read: Callable[[], Any]) -> Any:
    if len(text) > LARGEST_BYTES:
        raise ConfigurationError(
            f"{place}: more than {LARGEST_BYTES:,} characters are not read; give it in parts."
        )
    try:
        return read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        problem = error.problem or "broken"
        if problem.startswith("but "):
            problem = f"{error.context}, {problem}"
        hint = TEMPLATE if "{{" in text else ""
        raise ConfigurationError(
            f"{place}{line}: not readable as YAML: {problem}.{hint}"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigurationError(
            f"{place}: not readable as YAML: {one_line(str(error))}."
        ) from error
    except (RecursionError, ValueError) as error:
        raise ConfigurationError(
            f"{place}: not readable as YAML: nested too deeply or a number too long."
        ) from error


def one_line(text: str) -> str:
    """Escape whatever would end or disguise a line of comment."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )
