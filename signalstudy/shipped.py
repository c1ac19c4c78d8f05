"""Find the files that ship beside the code: queries, report templates, the sample."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """Give the path of a shipped file or folder, such as `queries`, in a wheel or a checkout.

    A wheel holds it as `<package>/_shipped/<name>`; an editable install or a bare checkout has it
    beside the package. Building copies the files, so a checkout never has a stale twin.
    """
    in_wheel = _PACKAGE / "_shipped" / name
    path = in_wheel if in_wheel.exists() else _PACKAGE.parent / name
    if not path.exists():
        raise FileNotFoundError(f"{name!r} ships with signalstudy, but is not at {path}")
    return path
