"""Install a wheel as a user would, outside the checkout, and run it.

`python tests/house/try_wheel.py dist/<name>.whl`. The runtime lock only: what the tests need must
not be what the program needs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

LOCK = Path(__file__).resolve().parents[2] / "requirements.txt"


def main(wheel: Path) -> None:
    """Make a clean environment, install lock and wheel, run three commands in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        outside = Path(folder)
        venv.create(outside / "venv", with_pip=True)
        pip = (str(outside / "venv/bin/python"), "-m", "pip", "--disable-pip-version-check", "-q")
        tool = str(outside / "venv/bin/signalstudy")
        for command in (
            (*pip, "install", "--no-compile", "--require-hashes", "--requirement", str(LOCK)),
            (*pip, "install", "--no-deps", "--no-index", str(wheel.resolve())),
            (*pip, "check"),
            (tool, "--help"),
            (tool, "signals"),
            (tool, "demo", "--out", "demo"),
        ):
            print("$", " ".join(Path(word).name for word in command), flush=True)
            subprocess.run(command, cwd=outside, check=True, stdin=subprocess.DEVNULL)
        for made in ("study.json", "evidence.parquet", "report.html"):
            if not (outside / "demo" / made).stat().st_size:
                sys.exit(f"the demo of the installed wheel left an empty {made}")
        if not list((outside / "demo" / "policy").glob("*.yaml")):
            sys.exit("the demo of the installed wheel wrote no policy")
    print(f"{wheel.name} works outside the checkout")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
