"""write_report(): a Study as HTML pages that open offline."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import plotly
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from signalstudy.policy.write import policy_yaml
from signalstudy.replay.replay import replays_json
from signalstudy.report.page import key_numbers, service_page, tone_of
from signalstudy.report.pooled import pooled_table
from signalstudy.report.present import study_facts
from signalstudy.report.replayed import replay_section
from signalstudy.shipped import shipped
from signalstudy.telemetry.store import tool_version
from signalstudy.vocabulary.spoken import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalstudy.policy.policy import Policy
    from signalstudy.replay.replay import Replay
    from signalstudy.study.study import ServiceStudy, Study

INDEX_FILE = "report.html"
REPLAY_FILE = "replay.html"
PLOTLY_FILE = "plotly.min.js"
_CARDS_OF_AN_INDEX = 4


def write_report(study: Study, folder: str | Path) -> Path:
    """Write the pages of a study into `folder` and give the path of report.html.

    With one service report.html is its page; with several it is an index, and each service has
    `report-<slug>.html` beside it. plotly.js stands once beside the pages. Where the service's
    policy file is already in the folder, the page shows that file (a refit leaves numbers that
    did not move) and links to it; so write policies first.
    """
    is_alone = len(study.services) == 1
    for service in study.services.values():
        write_page(study, service, folder, is_alone=is_alone)
    return Path(folder) / INDEX_FILE if is_alone else write_index(study, folder)


def write_page(study: Study, service: ServiceStudy, folder: str | Path, *, is_alone: bool) -> Path:
    """Write the page of one service, as report.html where it `is_alone`, and give its path."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    _write_whole(target / PLOTLY_FILE, _plotly_script().read_bytes())
    page = service_page(
        service,
        policy_yaml=_policy_text(service.policy, target),
        policy_href=_policy_href(service.policy, target),
        index_href="" if is_alone else INDEX_FILE,
    )
    path = target / (INDEX_FILE if is_alone else page_file(service))
    template = _environment().get_template("service.html")
    _write_whole(path, template.render(page=page, **_shown(study)).encode())
    return path


def write_replay(replays: Sequence[Replay], folder: str | Path) -> Path:
    """Write replay.json and replay.html into `folder` and give the path of the page."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    text = replays_json(replays)
    _write_whole(target / "replay.json", text.encode())
    _write_whole(target / PLOTLY_FILE, _plotly_script().read_bytes())
    page = (
        _environment()
        .get_template("replay.html")
        .render(
            study={"tool_version": tool_version()},
            sections=[replay_section(replay) for replay in replays],
            report_href=INDEX_FILE if (target / INDEX_FILE).is_file() else "",
            nonce=hashlib.sha256(text.encode()).hexdigest()[:32],
            plotly_file=PLOTLY_FILE,
        )
    )
    path = target / REPLAY_FILE
    _write_whole(path, page.encode())
    return path


def write_index(study: Study, folder: str | Path) -> Path:
    """Write report.html as the index of the services' pages, and give its path."""
    entries = [_index_entry(service) for service in study.services.values()]
    template = _environment().get_template("index.html")
    path = Path(folder) / INDEX_FILE
    pooled = pooled_table([service.evidence for service in study.services.values()])
    text = template.render(services=entries, pooled=pooled, **_shown(study))
    _write_whole(path, text.encode())
    return path


def _shown(study: Study) -> dict[str, object]:
    return {"study": study_facts(study), "nonce": _nonce(study), "plotly_file": PLOTLY_FILE}


def page_file(service: ServiceStudy) -> str:
    """Name a service's page when there is more than one."""
    return f"report-{service.slug}.html"


def _environment() -> Environment:
    loader = FileSystemLoader(shipped("reports/templates"))
    environment = Environment(
        loader=loader,
        autoescape=True,  # every label is untrusted text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(name: str) -> Markup:
    """Let a long name break after its underscores; everything else in it is escaped."""
    return Markup("_<wbr>").join(name.split("_"))


def _index_entry(service: ServiceStudy) -> dict[str, object]:
    return {
        "name": one_line(service.service),
        "href": page_file(service),
        "tone": tone_of(service),
        "summary": service.ranking.summary,
        "cards": key_numbers(service)[:_CARDS_OF_AN_INDEX],
    }


def _policy_text(policy: Policy | None, folder: Path) -> str:
    if policy is None:
        return ""
    written = folder / _policy_file(policy)
    return written.read_text("utf-8") if written.is_file() else policy_yaml(policy)


def _policy_href(policy: Policy | None, folder: Path) -> str:
    if policy is None or not (folder / _policy_file(policy)).is_file():
        return ""
    return _policy_file(policy)


def _policy_file(policy: Policy) -> str:
    return f"policy/{policy.name}.yaml"


def _plotly_script() -> Path:
    return Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


def _nonce(study: Study) -> str:
    """Name the page's own scripts for its content security policy.

    Made of the digest of all sources, so that the same study gives the same page and no label in
    those sources can know it.
    """
    known = f"{study.digest} {study.start} {study.end} {study.seed} {study.tool_version}"
    return hashlib.sha256(known.encode()).hexdigest()[:32]


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; one that already holds the content is left alone."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
