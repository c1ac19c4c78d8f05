"""One server over written data and one over the recording, for all tests of this folder."""

from __future__ import annotations

import tarfile

import pytest

from tests.house.project import ROOT
from tests.real_servers.fleet import openmetrics
from tests.real_servers.server import blocks_from, needed, prometheus

RECORDING = ROOT.parent / "shared" / "data" / "dynamo_live" / "tsdb_blocks.tar.gz"


@pytest.fixture(scope="session")
def written_blocks(tmp_path_factory):
    needed("promtool")
    return blocks_from(tmp_path_factory.mktemp("written"), openmetrics())


@pytest.fixture(scope="session")
def written_server(written_blocks):
    with prometheus(written_blocks) as url:
        yield url


@pytest.fixture(scope="session")
def recorded_blocks(tmp_path_factory):
    needed("promtool")
    if not RECORDING.is_file():
        pytest.skip("the recordings are not beside this checkout")
    folder = tmp_path_factory.mktemp("recorded") / "data"
    with tarfile.open(RECORDING) as packed:
        packed.extractall(folder, filter="data")
    (folder / "wal").mkdir()
    return folder


@pytest.fixture(scope="session")
def recorded_server(recorded_blocks):
    with prometheus(recorded_blocks) as url:
        yield url
