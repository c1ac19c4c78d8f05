"""Nothing that is public names a package registry or a path of the machine it was made on."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from pip._internal.models.index import PyPI

from tests.house.project import ROOT, files


def registry_hosts():
    """Tell the hosts of pip's default index and of the one this machine is set up to ask."""
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    own = {urlsplit(url).hostname for url in re.findall(r"https?://[^\s'\"]+", asked)}
    return {PyPI.netloc, PyPI.file_storage_domain} | {host for host in own if host}


def machine_paths():
    """Tell the folders that this checkout and its user live in."""
    common = {Path("/"), Path(tempfile.gettempdir())}
    return {str(path) for path in {ROOT, ROOT.parent, Path.home()} - common}


def holding(pattern):
    """List the files whose bytes hold the pattern."""
    found = re.compile(pattern.encode())
    return [str(name) for name in files() if found.search((ROOT / name).read_bytes())]


def test_no_file_names_a_package_registry():
    for host in registry_hosts():
        assert holding(rf"(?<![\w.-]){re.escape(host)}(?![\w-])") == [], "a registry's host"


def test_no_file_holds_a_path_of_this_machine():
    for path in machine_paths():
        assert holding(rf"(?<![\w.~-]){re.escape(path)}(/|\b)") == [], "a path of this machine"


def test_the_locks_hold_names_versions_and_hashes_only():
    line = re.compile(
        r"[a-z0-9._-]+==[\w.!+-]+( ; [\w\s.'\"<>=!()-]+)?( \\)?"
        r"|    --hash=sha256:[0-9a-f]{64}( \\)?"
    )
    for lock in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / lock).read_text(encoding="utf-8")
        assert [row for row in text.splitlines() if not line.fullmatch(row)] == []


def test_the_lock_of_development_holds_the_lock_of_the_program():
    pinned = {
        lock: set(re.findall(r"^[a-z0-9][^\\\n]*", (ROOT / lock).read_text(), flags=re.MULTILINE))
        for lock in ("requirements.txt", "requirements-dev.txt")
    }
    assert pinned["requirements.txt"] <= pinned["requirements-dev.txt"]
