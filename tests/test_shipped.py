import pytest

from signalstudy import shipped as shipped_module
from signalstudy.shipped import shipped


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped_module, "_PACKAGE", tmp_path / "signalstudy")
    (tmp_path / "queries").mkdir()
    return tmp_path / "signalstudy"


def test_a_checkout_has_its_files_beside_the_package(package):
    assert shipped("queries") == package.parent / "queries"


def test_a_wheel_has_its_files_inside_the_package(package):
    (package / "_shipped" / "queries").mkdir(parents=True)
    assert shipped("queries") == package / "_shipped" / "queries"


def test_what_does_not_ship_is_named(package):
    with pytest.raises(FileNotFoundError, match="'sonnets' ships with signalstudy"):
        shipped("sonnets")


def test_what_ships_is_found_from_here():
    assert shipped("queries").is_dir()
