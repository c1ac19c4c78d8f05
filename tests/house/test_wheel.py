"""The wheel, built from the source archive, holds what git holds: nothing is left behind."""

import subprocess
import sys
import zipfile
from pathlib import PurePosixPath

import pytest

from tests.house.project import ROOT, files

SHIPPED = ("queries", "reports/templates", "sample")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (made,) = folder.glob("*.whl")
    return zipfile.ZipFile(made)


def of_git():
    """Tell where each file of git should stand in the wheel."""
    for name in files():
        if name.parts[0] == "signalstudy":
            yield name.as_posix()
        elif any(PurePosixPath(name).is_relative_to(folder) for folder in SHIPPED):
            yield f"signalstudy/_shipped/{name.as_posix()}"


def test_the_wheel_holds_what_git_holds_and_nothing_else(wheel):
    held = {name for name in wheel.namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert held == set(of_git())


def test_what_a_study_needs_is_inside(wheel):
    held = wheel.namelist()
    assert "signalstudy/vocabulary/catalogue.toml" in held
    for folder in SHIPPED:
        assert any(name.startswith(f"signalstudy/_shipped/{folder}/") for name in held), folder
    assert [name for name in held if name.endswith(".schema.json")]


def test_the_wheel_is_small_enough_to_ship(wheel):
    sizes = {row.filename: row.compress_size for row in wheel.infolist()}
    sample = sum(size for name, size in sizes.items() if "/_shipped/sample/" in name)
    assert sample <= 5_000_000
    assert sum(sizes.values()) <= 6_000_000


def test_the_wheel_carries_its_licence_and_its_command(wheel):
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert f"{info}/licenses/LICENSE" in wheel.namelist()
    assert "signalstudy = signalstudy.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
