"""The Policy: the document of contract section 6, ready to be written as YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Policy:
    """One ScalingPolicy.

    `name` is the service as an RFC 1123 slug; `document` is the whole mapping, plain Python values
    only, in the key order of the contract. `notes` are sentences for people, written as comments.
    `queries` are PromQL given at export time for what the document has no place for: `POOL.up`
    (the targets of a pool, 1 while up) and `POOL.replicas`.
    """

    name: str
    document: dict[str, Any]
    notes: tuple[str, ...] = ()
    queries: Mapping[str, str] = field(default_factory=dict)
