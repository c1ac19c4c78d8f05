"""A real Prometheus on a free port of this machine, over data of ours; it scrapes nothing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_SECONDS = 60.0
QUIET = "global: {scrape_interval: 1h}\n"


def needed(name: str) -> str:
    """Give the path of a program; skip where it is absent, but fail in CI."""
    found = shutil.which(name)
    if found is None:
        sentence = f"{name} is not installed; on Debian: apt-get install prometheus"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(sentence)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def prometheus(data: Path, *options: str) -> Iterator[str]:
    """Run a server over the blocks in `data` until the end of the context; give its address."""
    program = needed("prometheus")
    config = data.parent / "prometheus.yml"
    config.write_text(QUIET, encoding="utf-8")
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--storage.tsdb.retention.time=100y",
        "--log.level=error",
        *options,
    ]
    with (data.parent / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _await_ready(url, process, data.parent / "prometheus.log")
            yield url
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def _await_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            if httpx.get(f"{url}/-/ready", timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the server did not come up: {log.read_text(encoding='utf-8')}")


def promtool(*arguments: str | Path) -> str:
    """Run promtool; give what it prints."""
    done = subprocess.run(
        [needed("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def blocks_from(folder: Path, openmetrics: str) -> Path:
    """Write blocks of OpenMetrics text into `folder`/data."""
    text = folder / "written.txt"
    text.write_text(openmetrics, encoding="utf-8")
    data = folder / "data"
    data.mkdir(exist_ok=True)
    promtool("tsdb", "create-blocks-from", "openmetrics", "-q", text, data)
    return data
