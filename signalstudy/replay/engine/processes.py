"""Processes: engine runs side by side, each in a process of its own that can be ended."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

    from signalstudy.replay.engine.run import Job, Ran

POLL_SECONDS = 0.05
LEAST_SECONDS = 600.0
SECONDS_PER_REQUEST = 0.02
"""A run that takes this long is hung: ten times and more what a slow machine takes a request."""
TOLD_LINES = 5


@dataclass(slots=True)
class _Running:
    number: int
    job: Job
    folder: Path
    process: subprocess.Popen[str]
    ends_at: float
    share: float = 0.0
    told: deque[str] = field(default_factory=lambda: deque(maxlen=TOLD_LINES))
    readers: tuple[Thread, ...] = ()


def usual_jobs() -> int:
    """Say how many runs go side by side where nobody says: as many as there are processors."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(
    jobs: Sequence[Job],
    *,
    at_once: int,
    folder: Path,
    progress: Callable[[str], None] = lambda _: None,
    limit_seconds: float | None = None,
) -> list[Ran]:
    """Run every job, `at_once` at a time, and give what they left in their order.

    Raises ConfigurationError where a run breaks or takes longer than `limit_seconds` (default: by
    the requests of its trace); the others are ended with it.
    """
    waiting = deque(enumerate(jobs))
    running: list[_Running] = []
    found: dict[int, Ran] = {}
    said = ""
    try:
        while waiting or running:
            while waiting and len(running) < max(at_once, 1):
                running.append(_start(*waiting.popleft(), folder, limit_seconds))
            time.sleep(POLL_SECONDS)
            for one in list(running):
                if one.process.poll() is not None:
                    running.remove(one)
                    found[one.number] = _result(one)
                elif time.monotonic() > one.ends_at:
                    raise ConfigurationError(
                        f"{one.job.name}: the engine did not finish in time and was stopped at "
                        f"{one.share:.0%} of the span. Replay a shorter span, or a smaller --scale."
                    )
            now = _progress(running, len(found), len(jobs))
            if now != said:
                said = now
                progress(said)
    finally:
        for one in running:
            one.process.kill()
            one.process.wait()
            for reader in one.readers:
                reader.join()
    return [found[number] for number in range(len(jobs))]


def _start(number: int, job: Job, folder: Path, limit_seconds: float | None) -> _Running:
    own = Path(tempfile.mkdtemp(prefix=f"run-{number}-", dir=folder))
    (own / "job.pickle").write_bytes(pickle.dumps(job))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
                                "POLARS_MAX_THREADS": "1", "DYN_LOG": "error"}  # fmt: skip
    process = subprocess.Popen(  # noqa: S603 - our own module, in our own folder
        [sys.executable, "-m", "signalstudy.replay.engine.child", str(own)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    limit = limit_seconds
    if limit is None:
        limit = LEAST_SECONDS + SECONDS_PER_REQUEST * job.offered.arrived_seconds.size
    one = _Running(number, job, own, process, time.monotonic() + limit)
    assert process.stdout is not None  # noqa: S101 - both are pipes; for the type checker
    assert process.stderr is not None  # noqa: S101
    one.readers = (
        Thread(target=_read_share, args=(one, process.stdout), daemon=True),
        Thread(target=_read_told, args=(one, process.stderr), daemon=True),
    )
    for reader in one.readers:
        reader.start()
    return one


def _read_share(one: _Running, lines: IO[str]) -> None:
    with lines:
        for line in lines:
            try:
                one.share = float(line)
            except ValueError:
                one.told.append(line.strip())


def _read_told(one: _Running, lines: IO[str]) -> None:
    with lines:
        for line in lines:
            if line.strip():
                one.told.append(line.strip())


def _result(one: _Running) -> Ran:
    for reader in one.readers:
        reader.join()
    left = one.folder / "ran.pickle"
    if one.process.returncode or not left.is_file():
        told = one.told[-1] if one.told else f"it ended with status {one.process.returncode}"
        raise ConfigurationError(f"{one.job.name}: the engine broke off: {told}")
    ran: Ran = pickle.loads(left.read_bytes())  # noqa: S301 - written by our own process
    return ran


def _progress(running: Sequence[_Running], done: int, of: int) -> str:
    shares = ", ".join(f"{one.job.name} {one.share:.0%}" for one in running)
    return f"engine: {done} of {of} runs done{'; ' if shares else ''}{shares}"
