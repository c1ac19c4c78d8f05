"""File and object names for services: RFC 1123 labels, never two alike."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LENGTH = 63
HASH_LENGTH = 8


def slugs(services: Iterable[str]) -> dict[str, str]:
    """Give every service a label of its own: a-z, 0-9 and inner dashes, 1 to 63 characters.

    A service that is such a label already keeps it. Any other gets a short hash of its raw name
    behind what is left of it, a longer one where even that is taken. The order of the services
    does not matter.
    """
    labels: dict[str, str] = {}
    changed = []
    for service in sorted(set(services)):
        if _sanitised(service) == service and service:
            labels[service] = service
        else:
            changed.append(service)
    taken = set(labels.values())
    for service in changed:
        digest = hashlib.sha256(service.encode("utf-8", "surrogatepass")).hexdigest()
        label = next(
            candidate
            for length in range(HASH_LENGTH, MAX_LENGTH)
            if (candidate := _with_hash(service, digest[:length])) not in taken
        )
        labels[service] = label
        taken.add(label)
    return labels


def _sanitised(service: str) -> str:
    """Keep what an RFC 1123 label may hold; accents are dropped, all else becomes a dash."""
    plain = unicodedata.normalize("NFKD", service).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:MAX_LENGTH].rstrip("-")


def _with_hash(service: str, digest: str) -> str:
    """Join what is readable of the name and a hash, within the length of a label."""
    readable = (_sanitised(service) or "service")[: MAX_LENGTH - len(digest) - 1].rstrip("-")
    return f"{readable}-{digest}" if readable else digest
