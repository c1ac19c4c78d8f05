"""Damaged bytes are read or refused; nothing else ever happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import zstandard

from signalstudy.timeline.align import align
from signalstudy.vocabulary.errors import SignalStudyError
from tests.telemetry.written import (
    GOOD,
    Row,
    as_csv,
    as_dump,
    as_jsonl,
    as_parquet,
    listing,
    read,
    study,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

CSV = as_csv(GOOD)


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """Change, drop or double some bytes."""
    data = bytearray(content)
    for _ in range(int(random.integers(1, 6))):
        at = int(random.integers(0, max(len(data), 1)))
        match int(random.integers(0, 4)):
            case 0:
                data[at : at + 1] = bytes([int(random.integers(0, 256))])
            case 1:
                del data[at : at + int(random.integers(1, 40))]
            case 2:
                data[at:at] = data[at : at + int(random.integers(1, 40))]
            case _:
                data[at:at] = random.choice(
                    [b'"', b"\n", b",", b"\x00", b"NaN", b"-", b"1e999", b"{", b"\xff"]
                )
    return bytes(data)


def small(form: Callable[[Sequence[Row]], bytes]) -> bytes:
    return form(GOOD[:4] + GOOD[30:33])


@pytest.mark.parametrize(
    ("name", "kind", "content", "times"),
    [
        ("a.csv", "table", small(as_csv), 10),
        ("a.jsonl", "table", small(as_jsonl), 6),
        ("a.parquet", "table", small(as_parquet), 10),
        ("a.txt", "tsdb-dump", small(as_dump), 10),
        ("a.csv.zst", "table", zstandard.compress(small(as_csv)), 4),
    ],
)
def test_damaged_bytes_are_read_or_refused_but_never_crash(tmp_path, name, kind, content, times):
    random = np.random.default_rng(20260105)
    for attempt in range(times):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        file = written(folder, mutated(content, random), name)
        try:
            telemetry = read(folder, study({"kind": kind, "path": file}))
        except SignalStudyError:
            assert listing(folder) == [name]
            continue
        for service in telemetry.services:
            align(telemetry, service)


def test_the_same_seed_damages_alike(tmp_path: Path):
    one, two = (mutated(CSV, np.random.default_rng(1)) for _ in range(2))
    assert one == two != CSV
