"""Mutated input for every parser and decoder of history: clear errors only.

`python tests/fuzz/fuzz.py [--seconds 60] [--seed 0] [target ...]`, or `make fuzz`. No crash, no
hang and no unbounded allocation: each input must be done within seconds, in an address space that
is limited. An input that fails is written into the working folder and named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

import duckdb  # noqa: E402
import numpy as np  # noqa: E402

from signalstudy.source import Source  # noqa: E402
from signalstudy.telemetry.chunks import ChunkError, decode_chunks  # noqa: E402
from signalstudy.telemetry.native_chunks import decode_native  # noqa: E402
from signalstudy.telemetry.promql import parse_selector  # noqa: E402
from signalstudy.telemetry.range_queries import matrix, native_series  # noqa: E402
from signalstudy.telemetry.read import READERS  # noqa: E402
from signalstudy.telemetry.remote_read import _collect, _decoded, _frames, _Waiting  # noqa: E402
from signalstudy.telemetry.tsdb import Passed, find_blocks, read_block  # noqa: E402
from signalstudy.vocabulary.errors import SignalStudyError  # noqa: E402
from tests.telemetry.block_writer import write_block  # noqa: E402
from tests.telemetry.chunk_writer import bits_of, encode  # noqa: E402
from tests.telemetry.native_writer import Histogram, encode_native  # noqa: E402
from tests.telemetry.scripted_server import export_lines, good_frame, matrix_answer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_SECONDS = 20.0
"""Of the processor: a machine that is busy elsewhere is no hang."""
ADDRESS_SPACE_BYTES = 6 << 30
CHUNK = encode([10_000 * i + i % 3 for i in range(50)], [bits_of(float(i * i)) for i in range(50)])
NATIVE = [Histogram(10_000 * i, 0.5 * i, {-3: i, 4: i * i}, {1: i}, zero=i) for i in range(20)]
LABELS = {"__name__": "up", "pod": "p", "job": "j"}
TEXT = b"".join(b'up{pod="p",job="a\\"b"} %d %d.5\n' % (i, 1000 + i) for i in range(20))
DUMP = b'{__name__="h", pod="p"} {count:3, sum:1.5, [-0.001,0.001]:1, (0.5,1]:2} 5000\n' + b"".join(
    b'{__name__="up", pod="p\\n"} %d %d\n' % (i, 1000 * i) for i in range(20)
)


def chunks(content: bytes) -> None:
    """Decode the bytes as one chunk, in both ways, which must agree."""
    data = np.frombuffer(content, dtype=np.uint8)
    where = np.zeros(1, np.int64), np.array([data.size])
    told = []
    for use_numba in (False, True):
        try:
            found = decode_chunks(data, *where, use_numba=use_numba)
            told.append((found.time_ms.tolist(), found.bits.tolist()))
        except ChunkError:
            told.append(None)
    assert told[0] == told[1], "the decoders differ"


def histograms(content: bytes) -> None:
    """Decode the bytes as a chunk of native histograms, of whole counts and of floats."""
    for encoding in (2, 3):
        with contextlib.suppress(ChunkError):
            decode_native(content, encoding, {})


def stream(content: bytes) -> None:
    """Read the bytes as an answer to a remote read, in pieces of odd sizes."""
    pieces = (content[i : i + 37] for i in range(0, len(content), 37))
    waiting = _Waiting()
    try:
        for frame in _frames(pieces):
            _collect(frame, waiting, {})
        if waiting.pieces:
            _decoded(waiting)
    except ValueError:  # what fetch_remote turns into one sentence
        pass


def message(content: bytes) -> None:
    """Read the bytes as a message whose checksum is right."""
    waiting = _Waiting()
    try:
        _collect(content, waiting, {})
        if waiting.pieces:
            _decoded(waiting)
    except ValueError:
        pass


@cache
def block_files() -> dict[str, bytes]:
    """Write a block and give its files."""
    samples = [(10_000 * i, float(i)) for i in range(200)]
    with tempfile.TemporaryDirectory() as folder:
        series = [(LABELS, [samples[:100], samples[100:]]), ({**LABELS, "pod": "q"}, [samples])]
        block = write_block(Path(folder), series, dead={0: (10, 20)})
        return {
            str(file.relative_to(block)): file.read_bytes()
            for file in sorted(block.rglob("*"))
            if file.is_file()
        }


def block_of(name: str) -> Callable[[bytes], None]:
    """Read a block one of whose files holds the bytes."""

    def attempt(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for file, sound in block_files().items():
                path = Path(folder) / "01A" / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content if file == name else sound)
            for block in find_blocks(folder, "fuzz")[0]:
                for _ in read_block(block, lambda _: True, Passed()):
                    pass

    return attempt


def text_of(kind: str) -> Callable[[bytes], None]:
    """Read a file of one kind that holds the bytes."""

    def attempt(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
            path = Path(folder) / "fuzz.txt"
            path.write_bytes(content)
            source = Source.model_validate({"kind": kind, "path": str(path)})
            READERS[kind](
                connection, source, number=1, is_wanted=lambda _: True, scratch=Path(folder)
            )

    return attempt


def answer(content: bytes) -> None:
    """Read the bytes as a server's JSON."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return
    matrix(said, "fuzz")
    for _ in native_series(said, "fuzz", {}):
        pass


def selector(content: bytes) -> None:
    """Read the bytes as a selector."""
    parse_selector(content.decode(errors="replace"), "fuzz")


TARGETS: dict[str, tuple[Callable[[bytes], None], bytes]] = {
    "chunks": (chunks, CHUNK),
    "histograms": (histograms, encode_native(NATIVE, schema=2)),
    "stream": (stream, good_frame() * 2),
    "message": (message, good_frame()[6:]),
    "index": (block_of("index"), block_files()["index"]),
    "segment": (block_of("chunks/000001"), block_files()["chunks/000001"]),
    "tombstones": (block_of("tombstones"), block_files()["tombstones"]),
    "meta": (block_of("meta.json"), block_files()["meta.json"]),
    "tsdb-dump": (text_of("tsdb-dump"), DUMP),
    "openmetrics": (text_of("openmetrics"), TEXT),
    "vm-export": (text_of("vm-export"), export_lines()),
    "answer": (answer, json.dumps(matrix_answer()).encode()),
    "selector": (selector, b'up{pod=~"a.*",job!="b\\"c"}'),
}


def mutated(seed: bytes, random: np.random.Generator) -> bytes:
    """Flip, cut, repeat, insert and overwrite: one to four changes."""
    content = bytearray(seed)
    for _ in range(int(random.integers(1, 5))):
        at = int(random.integers(0, len(content) + 1))
        size = int(random.integers(1, 1 + 2 ** int(random.integers(0, 7))))
        change = int(random.integers(0, 6))
        if change == 0 and at < len(content):
            content[at] ^= 1 << int(random.integers(0, 8))
        elif change == 1:
            del content[at : at + size]
        elif change == 2:
            content[at:at] = content[at : at + size] * int(random.integers(1, 9))
        elif change == 3:
            content[at:at] = random.bytes(size)
        elif change == 4:
            content[at : at + size] = b"\xff" * size
        else:
            content[at : at + size] = bytes(size)
    return bytes(content)


def once(name: str, content: bytes) -> None:
    """Try one input; raises AssertionError where it does anything but end or be refused."""
    attempt, _ = TARGETS[name]
    said = ""
    signal.setitimer(signal.ITIMER_PROF, LONGEST_SECONDS)
    try:
        attempt(content)
    except SignalStudyError as error:
        said = str(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
    assert "\n" not in said, f"an error of several lines: {said}"


def fuzz(name: str, seconds: float, seed: int) -> int:
    """Try inputs for a while; give their number."""
    random = np.random.default_rng(seed)
    _, start = TARGETS[name]
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        content = mutated(start, random)
        try:
            once(name, content)
        except BaseException:
            failing = Path(f"fuzz-{name}-{seed}-{count}.bin")
            failing.write_bytes(content)
            print(f"{name}: input {count} of seed {seed} fails; it is in {failing}")  # noqa: T201
            raise
        count += 1
    return count


class Hang(BaseException):
    """An input that is not done in time; no handler of errors catches it."""


def hang(*_: object) -> None:
    """Stop what is not done."""
    raise Hang(f"not done after {LONGEST_SECONDS:g} s of the processor")


def attempt_target(name: str, seconds: float, seed: int) -> str:
    """Fuzz one target in an address space that is limited; give what to say of it."""
    signal.signal(signal.SIGPROF, hang)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    once(name, TARGETS[name][1])
    return f"{name}: {fuzz(name, seconds, seed)} inputs"


def main() -> None:
    """Fuzz the targets named, or all, as many at a time as there are processors."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], default=[])
    said = parser.parse_args()
    names = said.targets or list(TARGETS)
    with ProcessPoolExecutor(os.cpu_count(), max_tasks_per_child=1) as pool:
        for sentence in pool.map(
            attempt_target, names, [said.seconds] * len(names), [said.seed] * len(names)
        ):
            print(sentence, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
