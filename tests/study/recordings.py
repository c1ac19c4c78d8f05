"""Where the recordings of ../shared/data lie, and a study.toml over them."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LIMITS = """
[[objectives]]
signal = "ttft"
quantile = 0.95
at_most_seconds = 1.0
[[objectives]]
signal = "tbt"
quantile = 0.95
at_most_seconds = 0.04
[provisioning]
startup_seconds = 120
"""


def need(name: str) -> None:
    """Skip where the recording is not beside the checkout."""
    if not (DATA / name).exists():
        pytest.skip(f"the recording {name} of ../shared/data is not here")


def write_study(folder: Path, name: str, *sources: tuple[str, ...], more: str = "") -> Path:
    """Write study.toml over recordings: sources are (kind, path) or (kind, path, role)."""
    lines = [f'[study]\nname = "{name}"']
    for kind, path, *role in sources:
        need(path.split("/", maxsplit=1)[0])
        lines.append(f'[[sources]]\nkind = "{kind}"\npath = "{DATA / path}"')
        lines += [f'role = "{word}"' for word in role]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "study.toml"
    path.write_text("\n".join(lines) + "\n" + more, encoding="utf-8")
    return path
