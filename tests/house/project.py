"""The files of this project, for the tests that keep house."""

import ast
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@cache
def files() -> tuple[Path, ...]:
    """List what git tracks or would track, relative to the root."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing says which files are the project's")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = sorted({name for name in listed.split("\0") if name})
    return tuple(Path(name) for name in names if (ROOT / name).is_file())


def python_files(*folders: str) -> list[Path]:
    """List the Python files below these folders; all of them where none is named."""
    return [
        name
        for name in files()
        if name.suffix == ".py" and (not folders or name.parts[0] in folders)
    ]


@cache
def tree(name: Path) -> ast.Module:
    """Parse one Python file."""
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), filename=str(name))
