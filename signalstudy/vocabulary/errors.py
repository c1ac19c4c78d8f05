"""Every error a user can see: one sentence that names the place and the choices."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class SignalStudyError(Exception):
    """What went wrong, where, and what would be possible. The CLI prints it and exits 2."""


class ConfigurationError(SignalStudyError):
    """A study.toml, a policy or an option that cannot be used as it is."""


class TableError(SignalStudyError):
    """A file or table whose content cannot be used as it is."""


class UnknownNameError(SignalStudyError):
    """A name that is not among the known ones."""


class QueryError(SignalStudyError):
    """A file of queries/ that does not fit its header or its engine."""


class NotEnoughDataError(SignalStudyError):
    """A statistic that these data cannot give; the message says why, as a sentence."""


class ExportError(SignalStudyError):
    """A policy that cannot be expressed in the form asked for."""


def unknown_name(place: str, what: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Build the one message for a name that is not known.

    `place` is where it stands (``study.toml, [[objectives]] 1``), `what` its kind (``signal``).
    """
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownNameError(
        f"{place}: unknown {what} {name!r}.{guess} Known: {', '.join(choices)}."
    )
