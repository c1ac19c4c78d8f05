"""run_and_report: study, write and let go, service by service."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from signalstudy.report.write import INDEX_FILE, write_index, write_page
from signalstudy.study.run import run_study
from signalstudy.study.write import write_policies, write_summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalstudy.study.study import ServiceStudy, Study


def run_and_report(
    path: str | Path,
    folder: str | Path,
    *,
    service: str | None = None,
    last: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Study, Path, list[str]]:
    """Run a study and write all of its output; memory does not grow with the number of services.

    Gives the study, whose services have lost their timelines, the path of report.html, and
    sentences about policies that moved. Policies come before the pages, which show them.
    """
    place = Path(folder)
    moved: list[str] = []

    def finish(one: Study, is_alone: bool) -> ServiceStudy:
        [found] = one.services.values()
        moved.extend(write_policies(one, place))
        write_page(one, found, place, is_alone=is_alone)
        return replace(found, timeline=None, pressure_test=None)

    study = run_study(path, out=place, service=service, last=last, progress=progress, finish=finish)
    write_summary(study, place)
    page = place / INDEX_FILE if len(study.services) == 1 else write_index(study, place)
    return study, page, moved
