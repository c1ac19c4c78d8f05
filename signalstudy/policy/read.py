"""Read a policy file that anyone may have written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalstudy.policy.policy import Policy
from signalstudy.policy.schema import validate_policy
from signalstudy.policy.yaml_text import LARGEST_BYTES, parse
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def read_policy(path: Path) -> Policy:
    """Read and check a policy; ConfigurationError says what is wrong, and where."""
    place = str(path)
    document = parse(read_text(path), place)
    if not isinstance(document, dict):
        raise ConfigurationError(f"{place}: not a policy: it holds no keys at the top level.")
    validate_policy(document, place)
    return Policy(document["metadata"]["name"], document)


def read_text(path: Path) -> str:
    """Read a file that anyone may have written, up to a character more than a policy may have."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}.") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not a text file in UTF-8.") from error
