"""Init over a real server and real blocks writes a study that runs as it is."""

from __future__ import annotations

import httpx

from signalstudy.config import read_config
from signalstudy.study.check import check_study
from signalstudy.study.init import write_study_file
from signalstudy.telemetry.read import read_telemetry
from tests.real_servers.fleet import EVERY, RUNNING, START, STEPS, openmetrics
from tests.real_servers.server import blocks_from, prometheus, promtool
from tests.real_servers.test_routes import config, dumped, from_blocks, numbers


def test_a_server_is_found_with_its_span_and_the_study_runs(tmp_path, written_server):
    write_study_file(written_server, tmp_path / "study.toml")
    [source] = read_config(tmp_path / "study.toml").sources
    assert source.start.timestamp() <= START
    assert source.end.timestamp() >= START + EVERY * (STEPS - 1)
    assert check_study(tmp_path / "study.toml", out=tmp_path / "out")
    text = (tmp_path / "study.toml").read_text()
    assert "decode x 3" in text
    assert "0.1 0.25 0.5 1 2.5" in text


def test_what_a_server_deleted_is_not_in_its_blocks(tmp_path):
    """Deleted through the admin interface; the tombstones are then honoured as promtool does."""
    data = blocks_from(tmp_path, openmetrics(seed=3, steps=400))
    before = numbers(from_blocks(data))
    span = {"start": START + 1000, "end": START + 2000}
    with prometheus(data, "--web.enable-admin-api") as url:
        form = {"match[]": f'{RUNNING}{{replica="d0"}}', **span}
        answer = httpx.post(f"{url}/api/v1/admin/tsdb/delete_series", params=form)
        assert answer.status_code == httpx.codes.NO_CONTENT
    after = numbers(from_blocks(data))
    assert sum(map(len, before.values())) - sum(map(len, after.values())) > 80
    assert after == numbers(dumped(data))
    told = read_telemetry(config({"kind": "tsdb", "path": str(data)}), tmp_path / "study")
    assert any("deleted by tombstones" in note for note in told.notes)
    assert promtool("tsdb", "list", data)
