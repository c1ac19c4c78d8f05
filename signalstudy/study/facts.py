"""study_facts: what lint holds a manifest against, from study.toml or a finished study.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from signalstudy.lint.facts import facts_of
from signalstudy.study.run import run_study
from signalstudy.study.summary import summarise
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalstudy.lint.facts import Facts


def study_facts(
    path: str | Path,
    *,
    service: str | None = None,
    out: str | Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Facts:
    """Run the study of study.toml, or read study.json, and take one service out of it.

    The only service where none is named.
    """
    if Path(path).suffix != ".json":
        return facts_of(
            summarise(run_study(path, out=out, service=service, progress=progress)), service
        )
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as problem:
        raise ConfigurationError(f"{path}: cannot be read: {problem.strerror}.") from problem
    except ValueError as problem:
        raise ConfigurationError(f"{path}: not readable as JSON: {problem}.") from problem
    return facts_of(content, service)
