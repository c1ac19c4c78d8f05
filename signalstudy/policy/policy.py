"""The Policy: the document of contract section 6, ready to be written as YAML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Policy:
    """One ScalingPolicy.

    `name` is the service as an RFC 1123 slug; `document` is the whole mapping, plain Python values
    only, in the key order of the contract. `notes` are sentences for people, written as comments.
    """

    name: str
    document: dict[str, Any]
    notes: tuple[str, ...] = ()
