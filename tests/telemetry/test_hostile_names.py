"""Strangers' names stay names: in paths, in SQL, in folders."""

from __future__ import annotations

import re

import numpy as np
import pytest

from signalstudy.timeline.align import align
from signalstudy.vocabulary.errors import SignalStudyError
from tests.telemetry.written import (
    GOOD,
    as_csv,
    as_dump,
    as_jsonl,
    listing,
    read,
    study,
    written,
)

SERVICES = [
    "a\"b'c",
    "<script>alert(1)</script>",
    "a\nb",
    "a/b",
    "..",
    "../../etc",
    ".",
    "x" * 300,
    "*",
    "a[0-9]b",
    "'; drop table series;--",
    " ",
    "日本語",
    "CON",
    "%2e%2e",
]


@pytest.mark.parametrize("form", ["samples.csv", "samples.jsonl", "dump.txt"])
def test_hostile_service_names_stay_inside_the_folder_and_apart(tmp_path, form):
    rows = [
        {**row, "service": service, "value": row["value"] * (1 + at)}
        for at, service in enumerate(SERVICES)
        for row in GOOD[:30]
    ]
    content = {"samples.csv": as_csv, "samples.jsonl": as_jsonl, "dump.txt": as_dump}[form](rows)
    kind = "tsdb-dump" if form == "dump.txt" else "table"
    before = listing(tmp_path)
    telemetry = read(tmp_path, study({"kind": kind, "path": written(tmp_path, content, form)}))
    assert set(telemetry.services) == set(SERVICES)
    new = set(listing(tmp_path)) - set(before) - {form}
    assert all(name == "study" or name.startswith("study/telemetry") for name in new)
    folders = [name for name in new if re.fullmatch(r"study/telemetry/[^/]+", name)]
    assert len(folders) == len(SERVICES)
    assert all(re.fullmatch(r"study/telemetry/[a-z0-9-]{1,63}", name) for name in folders)
    for at, service in enumerate(SERVICES):
        rate = align(telemetry, service).pools["decode"].signals["decode_tokens_per_second"]
        assert np.nanmean(rate.values) == pytest.approx(10.0 * (1 + at))


def test_services_with_one_slug_are_kept_apart(tmp_path):
    rows = [{**row, "service": name} for name in ("A b", "a-b", "a_b", "a b") for row in GOOD[:30]]
    telemetry = read(tmp_path, study(written(tmp_path, rows)))
    assert telemetry.services == ("A b", "a b", "a-b", "a_b")
    assert len(list((tmp_path / "study" / "telemetry").iterdir())) == 4


def test_a_hostile_study_name_is_a_service_like_any(tmp_path):
    rows = [{k: v for k, v in row.items() if k != "service"} for row in GOOD]
    telemetry = read(tmp_path, study(written(tmp_path, rows), name="it's <b>/../x"))
    assert telemetry.services == ("it's <b>/../x",)


@pytest.mark.parametrize("name", ["a[0-9]*b", "it's", "{x}", "sp ace", "%41"])
def test_a_folder_may_have_any_name(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    telemetry = read(folder, study(written(folder, GOOD)))
    assert telemetry.samples("chat", "production").height == 89


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "study").write_text("mine")
    with pytest.raises(SignalStudyError, match="results cannot be written there"):
        read(tmp_path, study(written(tmp_path, GOOD)))
    assert (tmp_path / "study").read_text() == "mine"
