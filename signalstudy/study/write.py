"""write_study: study.json, evidence.parquet and the policies, each whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from signalstudy.policy.write import write_policy
from signalstudy.study.summary import evidence_frame, summarise

if TYPE_CHECKING:
    from signalstudy.study.study import Study


def write_study(study: Study, folder: str | Path) -> list[str]:
    """Write what a study found into `folder`; give sentences about policies that moved.

    A policy whose service gets none in this run stays where it is and is named: it was true of
    other data.
    """
    said = write_policies(study, folder)
    write_summary(study, folder)
    return said


def write_policies(study: Study, folder: str | Path) -> list[str]:
    """Write the policies of a study's services; give sentences about those that moved."""
    place = Path(folder) / "policy"
    said: list[str] = []
    for service in study.services.values():
        path = place / f"{service.slug}.yaml"
        if service.policy is not None:
            place.mkdir(parents=True, exist_ok=True)
            said += write_policy(service.policy, path)
        elif path.exists():
            said.append(f"{path} is left from an earlier run: this study drafts no policy")
    return said


def write_summary(study: Study, folder: str | Path) -> None:
    """Write study.json and evidence.parquet."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    text = json.dumps(summarise(study), indent=1, ensure_ascii=False, allow_nan=False)
    _write_whole(place / "study.json", (text + "\n").encode("utf-8", "surrogatepass"))
    frame = evidence_frame(study)
    beside = place / f"evidence.parquet.{os.getpid()}.new"
    try:
        frame.write_parquet(beside, compression="zstd")
        beside.rename(place / "evidence.parquet")
    finally:
        beside.unlink(missing_ok=True)


def _write_whole(path: Path, content: bytes) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        beside.write_bytes(content)
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
