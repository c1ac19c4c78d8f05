"""Lines of a VictoriaMetrics export are read as the samples that they are."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from signalstudy.vocabulary.errors import TableError
from tests.telemetry.scripted_server import LABELS, SAMPLES, export_lines
from tests.telemetry.written import as_dump, read, sample, study, written

GOOD = export_lines()


def exported(file):
    return {"kind": "vm-export", "path": file}


def line(**changes):
    said = {"metric": LABELS, "values": [1.0, 2.0], "timestamps": [1000, 2000]} | changes
    return json.dumps(said).encode() + b"\n"


def increments(telemetry):
    return telemetry.samples("chat", "production").sort("key", "time_ms").rows()


def test_an_export_and_a_dump_of_the_same_samples_are_the_same(tmp_path):
    rows = [sample(LABELS["__name__"], t / 1000 - 1_767_571_200, v) for t, v in SAMPLES]
    told = []
    for name, content, kind in (
        ("a.jsonl", GOOD, "vm-export"),
        ("b.jsonl.gz", gzip.compress(GOOD + line(metric={"__name__": "odd_metric"})), "vm-export"),
        ("c.txt", as_dump(rows), "tsdb-dump"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        source = {"kind": kind, "path": written(folder, content, name)}
        told.append(increments(read(folder, study(source))))
    assert told[0] == told[1] == told[2]
    assert len(told[0]) == 59


def test_values_that_json_lacks_are_read_or_set_aside(tmp_path):
    odd = line(values=[1.0, None, "NaN", "Infinity", 5.0], timestamps=[0, 1, 2, 3, 4])
    telemetry = read(tmp_path, study(exported(written(tmp_path, odd, "a.jsonl"))))
    assert "2 samples are NaN and are set aside" in telemetry.notes
    assert any("1 samples are no measurement" in note for note in telemetry.notes)
    assert len(increments(telemetry)) == 1


def test_times_that_no_calendar_has_are_set_aside(tmp_path):
    odd = line(values=[1.0, 2.0], timestamps=[2**62, -(2**62)])
    telemetry = read(tmp_path, study(exported(written(tmp_path, GOOD + odd, "a.jsonl"))))
    assert "2 samples are outside the years 1 to 9999 and set aside" in telemetry.notes
    assert len(increments(telemetry)) == 59


def test_a_sample_that_stands_in_two_files_counts_once(tmp_path):
    written(tmp_path, GOOD, "a.jsonl")
    written(tmp_path, GOOD, "b.jsonl")
    telemetry = read(tmp_path, study(exported(tmp_path / "*.jsonl")))
    assert len(increments(telemetry)) == 59
    assert all(fact.copies == 0 for fact in telemetry.facts.values())


@pytest.mark.parametrize(
    "bad",
    [
        b"hello\n",
        b"[]\n",
        b"{}\n",
        b"[" * 100_000,
        line(metric=[]),
        line(metric={"a": "b"}),
        line(values=[1.0]),
        line(values=["x", "y"]),
        line(timestamps=[1, 2**70]),
        line(timestamps=[[1], [2]]),
        line(timestamps=["x", "y"]),
    ],
)
def test_a_line_that_is_no_series_is_named(tmp_path, bad):
    with pytest.raises(TableError, match=r"a\.jsonl, line 2 is no series of an export"):
        read(tmp_path, study(exported(written(tmp_path, GOOD + bad, "a.jsonl"))))
    assert not (tmp_path / "study").exists()


def test_damaged_lines_are_an_error_or_other_numbers_never_more(tmp_path):
    random = np.random.default_rng(8)
    errors = 0
    for _ in range(40):
        content = bytearray(GOOD * 3)
        for _ in range(int(random.integers(1, 4))):
            content[random.integers(0, len(content))] = int(random.integers(0, 256))
        try:
            read(tmp_path, study(exported(written(tmp_path, bytes(content), "a.jsonl"))))
        except TableError:
            errors += 1
    assert errors > 0
