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

KILLS = int(os.environ.get("KILLS", "3"))
"""Moments at which a run is killed; `make kill` takes twenty."""
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


def finished(url, folder):
    """Run to the end; give the seconds it took from its first word on."""
    process, began = started(url, folder), time.monotonic()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return time.monotonic() - began


def assert_same(url, folder, undisturbed):
    ask = config(asked(url, WRITTEN, requests_per_second=60))
    said = []
    assert tables(read_telemetry(ask, folder, progress=said.append)) == undisturbed
    assert said == ["sources are unchanged: the store is reused"]
    assert sorted(path.name for path in folder.iterdir()) == ["telemetry", "telemetry.duckdb"]


def test_killed_at_any_moment_and_resumed_it_is_the_same_each_time(
    written_server, undisturbed, tmp_path
):
    random = np.random.default_rng(7)
    lasting = finished(written_server, tmp_path / "whole")
    assert_same(written_server, tmp_path / "whole", undisturbed)
    at_work = 0
    for kill in range(KILLS):
        folder = tmp_path / f"study-{kill}"
        process = started(written_server, folder)
        time.sleep(float(random.uniform(0.0, lasting)))
        at_work += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        finished(written_server, folder)
        assert_same(written_server, folder, undisturbed)
    assert at_work > 0


def test_killed_again_and_again_then_resumed_it_is_the_same(written_server, undisturbed, tmp_path):
    random = np.random.default_rng(5)
    folder, at_work = tmp_path / "study", 0
    for kill in range(2 * KILLS):
        process = started(written_server, folder)
        time.sleep(float(random.uniform(0.0, 1.5)) if kill % 4 else 0.05 * kill)
        at_work += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert at_work > 0
    finished(written_server, folder)
    assert_same(written_server, folder, undisturbed)
