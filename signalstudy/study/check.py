"""check_study: are the data of a study there and usable, before any statistics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from signalstudy.config import read_config
from signalstudy.study.run import default_folder
from signalstudy.telemetry.read import read_telemetry
from signalstudy.timeline.align import align, read_points
from signalstudy.vocabulary.errors import unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalstudy.telemetry.telemetry import Telemetry


def check_study(
    path: str | Path,
    *,
    out: str | Path | None = None,
    service: str | None = None,
    last: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Read the sources and give one row per service and finding; raises SignalStudyError.

    Rows have service, check, status and note; the first ones of a service count what is there.
    """
    config = read_config(path, last=last)
    folder = Path(out) if out is not None else default_folder(config, last)
    telemetry = read_telemetry(config, folder, progress=progress)
    if service is not None and service not in telemetry.services:
        raise unknown_name("--service", "service", service, telemetry.services)
    rows = []
    for name in telemetry.services if service is None else (service,):
        rows += _size(telemetry, name)
        points = read_points(telemetry, name)
        if points is not None:
            count = points.concurrency_requests.size
            rows.append(_row(name, "operating points", "ok", f"{count} points"))
        for role in ("production", "pressure-test"):
            timeline = align(
                telemetry,
                name,
                role=role,
                objectives=config.objectives_of(name),
                step_seconds=config.study.step_seconds,
            )
            if timeline is None:
                continue
            steps = timeline.time_seconds.size
            note = (
                f"{steps} steps of {timeline.step_seconds:g} s, {timeline.days:.2f} days, pools "
                f"{', '.join(timeline.pools)}"
            )
            rows.append(_row(name, f"span of {role}", "ok", note))
            rows += [_row(name, q.check, q.status, q.note) for q in timeline.quality]
    return rows


def _row(service: str, check: str, status: str, note: str) -> dict[str, Any]:
    return {"service": service, "check": check, "status": status, "note": note}


def _size(telemetry: Telemetry, service: str) -> list[dict[str, Any]]:
    rows = [
        row for (name, _), found in telemetry.series.items() if name == service for row in found
    ]
    if not rows:
        return []
    samples = sum(row.samples for row in rows)
    disk = sum(file.stat().st_size for file in telemetry.folder.rglob("*") if file.is_file())
    note = f"{len(rows)} series, {samples} samples; the whole store takes {disk / 1e6:.1f} MB"
    return [_row(service, "size", "ok", note)]
