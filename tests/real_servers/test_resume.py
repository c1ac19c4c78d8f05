"""A run that is killed at any moment and started again ends where an undisturbed one does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from signalstudy.telemetry.read import read_telemetry
from tests.house.project import ROOT
from tests.real_servers.test_routes import WRITTEN, asked, config, tables

KILLS = 20 if os.environ.get("CI") == "true" else 4
PROGRAM = """
import sys
from pathlib import Path
from tests.real_servers.test_routes import asked, config
from signalstudy.telemetry import prometheus
from signalstudy.telemetry.read import read_telemetry
prometheus.DAY_MS = 400_000  # many tiles
url, start, end, folder = sys.argv[1:]
print("ready", flush=True)
read_telemetry(config(asked(url, (int(start), int(end)), requests_per_second=60)), Path(folder))
"""


def started(url, folder):
    arguments = [sys.executable, "-c", PROGRAM, url, *map(str, WRITTEN), str(folder)]
    process = subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture(scope="module")
def undisturbed(written_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return tables(read_telemetry(config(asked(written_server, WRITTEN)), folder / "study"))


def test_killed_again_and_again_then_resumed_it_is_the_same(written_server, undisturbed, tmp_path):
    random = np.random.default_rng(5)
    folder, at_work = tmp_path / "study", 0
    for kill in range(KILLS):
        process = started(written_server, folder)
        time.sleep(float(random.uniform(0.0, 1.5)) if kill % 4 else 0.05 * kill)
        at_work += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert at_work > 0
    process = started(written_server, folder)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    ask = config(asked(written_server, WRITTEN, requests_per_second=60))
    assert tables(read_telemetry(ask, folder)) == undisturbed
    assert sorted(path.name for path in folder.iterdir()) == ["telemetry", "telemetry.duckdb"]
