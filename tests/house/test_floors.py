"""Who may import whom, and what importing the package costs."""

import ast
import json
import subprocess
import sys
from pathlib import Path

from tests.house.project import ROOT, tree

HEAVY = (
    *("duckdb", "jinja2", "numpy", "pandas", "plotly", "polars", "pyarrow"),
    *("pydantic", "scipy", "sklearn", "statsmodels"),
)


def test_every_import_goes_down_and_statistics_know_arrays_only():
    kept = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert kept.returncode == 0, kept.stdout + kept.stderr


def test_importing_the_package_imports_no_heavy_library():
    program = f"""
import sys, json
import signalstudy
print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))))
"""
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(told.stdout) == []


def test_every_public_name_is_there_and_only_those():
    program = """
import signalstudy
for name in signalstudy.__all__:
    assert getattr(signalstudy, name) is not None, name
assert set(signalstudy.__all__) <= set(dir(signalstudy))
try:
    signalstudy.no_such_name
except AttributeError as error:
    assert "no_such_name" in str(error)
else:
    raise SystemExit("a name that is not there was found")
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_what_type_checkers_see_is_what_is_imported_when_first_used():
    package = tree(Path("signalstudy/__init__.py"))
    seen = {
        alias.asname or alias.name
        for block in package.body
        if isinstance(block, ast.If)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    program = "import json, signalstudy; print(json.dumps(signalstudy.__all__))"
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert seen
    assert {name for name in json.loads(told.stdout) if not name.startswith("__")} == seen
