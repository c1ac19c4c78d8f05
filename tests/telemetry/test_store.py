"""The store: read once, whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import duckdb
import pytest

from signalstudy.config import read_config
from signalstudy.telemetry.read import _connect, read_telemetry
from signalstudy.telemetry.store import open_store
from tests.telemetry.written import GOOD, as_csv, as_parquet, listing, read, series, study, written

if TYPE_CHECKING:
    from pathlib import Path

PRESSURE = {"kind": "table", "role": "pressure-test"}


def tables(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """Everything a store says, in order, whatever the order on disk."""
    with duckdb.connect(str(folder / "telemetry.duckdb"), read_only=True) as store:
        said = {}
        for name in ("parts", "request_parts", "series", "points", "series_facts", "facts"):
            rows = store.execute(f"SELECT * FROM {name}").fetchall()
            said[name] = sorted(rows, key=str)
        return said


def progress_of(config, folder: Path) -> list[str]:
    said: list[str] = []
    read_telemetry(config, folder, progress=said.append)
    return said


def test_unchanged_sources_are_not_read_again(tmp_path):
    file = written(tmp_path, GOOD)
    first = read(tmp_path, study(file))
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in listing(tmp_path)}
    assert progress_of(study(file), tmp_path / "study") == [
        "sources are unchanged: the store is reused"
    ]
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in listing(tmp_path)} == before
    second = read(tmp_path, study(file))
    assert second == first


def test_a_touched_file_is_not_a_changed_one(tmp_path):
    file = written(tmp_path, GOOD)
    read(tmp_path, study(file))
    os.utime(file, (1, 1))
    assert len(progress_of(study(file), tmp_path / "study")) == 1


def test_the_same_data_elsewhere_is_the_same(tmp_path):
    read(tmp_path, study(written(tmp_path, GOOD)))
    other = written(tmp_path, GOOD, "other.csv")
    assert len(progress_of(study(other), tmp_path / "study")) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: study(written(folder, GOOD[:-1])),
        lambda folder: study(folder / "samples.csv", name="renamed"),
        lambda folder: study(folder / "samples.csv", labels={"pool": "replica"}),
        lambda folder: study(PRESSURE | {"path": folder / "samples.csv"}),
        lambda folder: study(folder / "samples.csv", signals=[{"name": "a", "metric": "b"}]),
    ],
)
def test_what_decides_the_reading_makes_it_read_again(tmp_path, change):
    rows = [{**row, "replica": "decode"} for row in GOOD]
    read(tmp_path, study(written(tmp_path, rows)))
    assert len(progress_of(change(tmp_path), tmp_path / "study")) > 1


def test_what_does_not_decide_it_does_not(tmp_path):
    file = written(tmp_path, GOOD)
    read(tmp_path, study(file))
    more = {
        "objectives": [{"signal": "ttft", "quantile": 0.9, "at_most_seconds": 1}],
        "provisioning": {"startup_seconds": 60},
    }
    assert len(progress_of(study(file, **more), tmp_path / "study")) == 1


def test_changed_data_replace_the_old_wholly(tmp_path):
    two_days = series("waiting_requests", [1.0] * 3, every=50_000)
    read(tmp_path, study(written(tmp_path, two_days)))
    assert [name for name in listing(tmp_path) if name.endswith(".parquet")] == [
        "study/telemetry/chat/2026-01-05.parquet",
        "study/telemetry/chat/2026-01-06.parquet",
    ]
    rows = [{**row, "service": "code"} for row in GOOD]
    telemetry = read(tmp_path, study(written(tmp_path, rows)))
    assert telemetry.services == ("code",)
    assert [name for name in listing(tmp_path) if name.endswith(".parquet")] == [
        "study/telemetry/code/2026-01-05.parquet"
    ]


def test_bad_new_data_leave_the_old_store(tmp_path):
    file = written(tmp_path, GOOD)
    read(tmp_path, study(file))
    before, said = listing(tmp_path), tables(tmp_path / "study")
    file.write_bytes(as_csv(GOOD) + b"1,2\n")
    with pytest.raises(Exception, match="line 92"):
        read(tmp_path, study(file))
    assert listing(tmp_path) == before
    assert tables(tmp_path / "study") == said


@pytest.mark.parametrize("torn", ["telemetry.duckdb", "telemetry/chat/2026-01-05.parquet"])
def test_a_torn_store_is_written_again(tmp_path, torn):
    file = written(tmp_path, GOOD)
    read(tmp_path, study(file))
    said = tables(tmp_path / "study")
    part = tmp_path / "study" / torn
    part.write_bytes(part.read_bytes()[:100])
    assert read(tmp_path, study(file)).samples("chat", "production").height == 89
    assert tables(tmp_path / "study") == said


def test_an_empty_folder_holds_no_store(tmp_path):
    assert open_store(tmp_path, "x") is None


def test_what_stands_in_the_folder_already_is_left_alone(tmp_path):
    (tmp_path / "study").mkdir()
    mine = tmp_path / "study" / "notes.new"
    mine.write_text("mine")
    read(tmp_path, study(written(tmp_path, GOOD)))
    assert mine.read_text() == "mine"


def start_and_kill(config: Path, folder: Path, at: str) -> None:
    """Start a run in a process of its own and kill it when it says that it does `at`."""
    code = (
        "import sys\n"
        "from signalstudy.config import read_config\n"
        "from signalstudy.telemetry.read import _connect, read_telemetry\n"
        "say = lambda said: print(said, flush=True)\n"
        "read_telemetry(read_config(sys.argv[1]), sys.argv[2], progress=say)\n"
        "say('done')\n"
    )
    command = [sys.executable, "-c", code, str(config), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if line.startswith(at):
                run.send_signal(signal.SIGKILL)
                break
            assert not line.startswith("done")


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of POSIX")
@pytest.mark.parametrize("at", ["reading", "taking increments", "writing"])
@pytest.mark.parametrize("has_store", [False, True])
def test_a_killed_run_leaves_nothing_that_the_next_one_trips_over(tmp_path, at, has_store):
    rows = series("vllm:generation_tokens_total", [7.0 * i for i in range(9_000)], every=20)
    text = b'[study]\nname = "chat"\n[[sources]]\nkind = "table"\npath = "samples.parquet"\n'
    file = written(tmp_path, text, "study.toml")
    if has_store:
        written(tmp_path, as_parquet(GOOD), "samples.parquet")
        read_telemetry(read_config(file), tmp_path / "killed")
    written(tmp_path, as_parquet(rows), "samples.parquet")
    start_and_kill(file, tmp_path / "killed", at)
    config = read_config(file)
    read_telemetry(config, tmp_path / "whole")
    read_telemetry(config, tmp_path / "killed")
    assert tables(tmp_path / "killed") == tables(tmp_path / "whole")
    names = listing(tmp_path / "whole")
    assert listing(tmp_path / "killed") == names
    assert not any("scratch" in name or ".new" in name for name in names)


def test_what_memory_does_not_hold_spills_into_the_scratch_folder(tmp_path):
    connection = _connect(tmp_path / "study" / "scratch.1")
    connection.execute("SET memory_limit = '40MB'")
    connection.execute("SET threads = 1")
    connection.execute(
        "CREATE TABLE sorted AS SELECT range AS r, hash(range) AS h FROM range(4000000) ORDER BY h"
    )
    assert connection.sql("SELECT count(*) FROM sorted").fetchall() == [(4_000_000,)]
    connection.close()
