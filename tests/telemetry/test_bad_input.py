"""Bad input is refused: one clear sentence, and nothing left behind."""

from __future__ import annotations

import gzip
import json
import lzma
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pytest
import zstandard

from signalstudy.vocabulary.errors import SignalStudyError, TableError
from tests.telemetry.written import (
    GOOD,
    as_csv,
    as_dump,
    as_jsonl,
    as_parquet,
    changed,
    listing,
    parquet_of,
    read,
    study,
)

CSV, PARQUET, DUMP, JSONL = as_csv(GOOD), as_parquet(GOOD), as_dump(GOOD), as_jsonl(GOOD)
NOISE = np.random.default_rng(5).bytes(3000)
REQUESTS = b"arrived_at,prompt_tokens,output_tokens\n"
POINTS = b"concurrency_requests,ttft_seconds,tbt_seconds,prompt_tokens,output_tokens\n"


@dataclass
class Bad:
    """Content of one file, and the words that the error must hold."""

    about: str
    content: bytes | None
    words: tuple[str, ...]
    name: str = "samples.csv"
    kind: str = "table"
    more: dict[str, Any] = field(default_factory=dict)


def cuts(content: bytes, name: str, kind: str = "table") -> list[Bad]:
    return [
        Bad(f"{name} cut at {at:.0%}", content[: int(at * len(content))], (name,), name, kind)
        for at in (0.02, 0.6, 0.995)
    ]


REFUSED = [
    Bad("a missing file", None, ("no file", "samples.csv")),
    Bad("a glob that matches nothing", None, ("no file", "part-*.csv"), "part-*.csv"),
    Bad("an empty file", b"", ("samples.csv is empty",)),
    Bad("blank lines", b"\n\n\n", ("no table with named columns",)),
    Bad(
        "a request log as table",
        REQUESTS + b"2026-01-05T00:00:00Z,9,9\n",
        ('kind = "requests"', "'timestamp'"),
    ),
    Bad("operating points as table", POINTS + b"1,0.1,0.01,9,9\n", ('kind = "points"',)),
    Bad("a table as request log", CSV, ("no request log", 'kind = "table"'), kind="requests"),
    Bad("a column twice", CSV.replace(b"pool", b"service", 1), ("column 'service' twice",)),
    Bad("a header only", CSV.splitlines(keepends=True)[0], ("samples.csv", "holds no sample")),
    *cuts(PARQUET, "a.parquet"),
    *cuts(gzip.compress(CSV), "a.csv.gz"),
    *cuts(zstandard.compress(CSV), "a.csv.zst"),
    *cuts(lzma.compress(CSV), "a.csv.xz"),
    *cuts(gzip.compress(DUMP), "a.txt.gz", "tsdb-dump"),
    *cuts(zstandard.compress(DUMP), "a.txt.zst", "tsdb-dump"),
    *cuts(lzma.compress(DUMP), "a.txt.xz", "tsdb-dump"),
    Bad("a broken JSON line", JSONL[:-30], ("a.jsonl", "line 91"), "a.jsonl"),
    Bad("one JSON object", json.dumps({"a": GOOD}).encode(), ("'timestamp'", "a."), "a.json"),
    Bad("a JSON number", b"3\n", ("no table with named columns",), "a.json"),
    Bad("a dump with a strange line", DUMP + b"hello\n", ("line 91", "'hello'"), "a", "tsdb-dump"),
    Bad("a CSV as dump", CSV, ("line 1", "no sample"), "a.txt", "tsdb-dump"),
    Bad("an empty dump", b"", ("is empty",), "a.txt", "tsdb-dump"),
    *(
        Bad(f"noise as {name}", NOISE, ("a.",), name, kind)
        for name, kind in (
            ("a.csv", "table"),
            ("a.jsonl", "table"),
            ("a.parquet", "table"),
            ("a.csv.gz", "table"),
            ("a.csv.xz", "table"),
            ("a.csv.zst", "table"),
            ("a.txt", "tsdb-dump"),
        )
    ),
    Bad("Parquet called CSV", PARQUET, ("no CSV in UTF-8",)),
    Bad("CSV called Parquet", CSV, ("a.parquet",), "a.parquet"),
    Bad("UTF-16", CSV.decode().encode("utf-16"), ("no CSV in UTF-8",)),
    Bad("Latin-1", CSV.replace(b"chat", b"caf\xe9"), ("samples.csv", "utf-8")),
    Bad("an unknown ending", CSV, ("samples.xlsx", ".parquet", ".zst"), "samples.xlsx"),
    Bad("a short row", CSV + b"1,2\n", ("line 92", "2 columns", "names 6")),
    Bad("a long row", CSV + b"1,2,3,4,5,6,7\n", ("line 92", "7 columns", "names 6")),
    Bad("no value", CSV.replace(b"value", b"valeu", 1), ("'value'", "Columns:", "valeu")),
    Bad("no time", CSV.replace(b"timestamp", b"time", 1), ("'timestamp'", "Columns: time,")),
    Bad("capitals", CSV.replace(b"timestamp", b"Timestamp", 1), ("'timestamp'", "Timestamp")),
    Bad("line breaks in names", CSV.replace(b"value", b'"a\nb"', 1), ("'value'", r"a\nb")),
    Bad("text for a number", changed("value", lambda i, _: "many" if i == 7 else 1), ("'many'",)),
    Bad("two value columns", CSV.replace(b"replica", b"value", 1), ("column 'value' twice",)),
    Bad("text for a time", changed("timestamp", lambda *_: "noon"), ("'timestamp'", "'noon'")),
    Bad("an endless time", changed("timestamp", lambda *_: "infinity"), ("inf", "no time")),
    Bad("an absurd epoch", changed("timestamp", lambda *_: 9e300), ("9e+300", "no time")),
    Bad("a 30-digit epoch", changed("timestamp", lambda i, _: 10**30 + i), ("no time",)),
    Bad("a true time", changed("timestamp", lambda *_: "true"), ("'timestamp'", "no time")),
    Bad(
        "a day or a month",
        changed("timestamp", lambda i, _: f"03/04/2026 00:{i % 60:02}:00"),
        ("03/04/2026", "whether day or month comes first is not told", "ISO 8601"),
    ),
    Bad(
        "a day, then",
        changed("timestamp", lambda i, _: f"14-03-2026 00:{i % 60:02}:00"),
        ("14-03-2026", "no time", "ISO 8601"),
    ),
    Bad("no times at all", changed("timestamp", lambda *_: ""), ("holds no sample",)),
    Bad("no values at all", changed("value", lambda *_: ""), ("holds no sample",)),
    Bad("nothing but NaN", changed("value", lambda *_: "NaN"), ("no sample is a finite number",)),
    Bad("values beyond reason", changed("value", lambda *_: 1e308), ("finite number",)),
    Bad("a single sample", as_csv(GOOD[:1]), ("a single sample a series",)),
    Bad("unknown metrics", changed("metric", lambda *_: "a\nb"), (r"a\nb", "[[signals]]")),
    Bad("a strange pool", changed("pool", lambda *_: "gpu"), ("'gpu'", "[labels.pools]")),
    Bad("labels that are no JSON", changed("labels", lambda *_: "{oops"), ("'{oops'", "no JSON")),
    Bad("text in a wide table", b"timestamp,waiting_requests\n2026-01-05,x\n", ("'x'", "number")),
    Bad("a wide table without signals", b"timestamp,a\n2026-01-05,x\n", ("no column", "signal")),
    Bad(
        "Parquet without rows",
        parquet_of([], timestamp=pl.Datetime("ms", "UTC"), metric=pl.String, value=pl.Float64),
        ("a.parquet", "holds no sample"),
        "a.parquet",
    ),
    Bad(
        "lists for numbers",
        parquet_of([{**row, "value": [1.0]} for row in GOOD]),
        ("'value'", "DOUBLE[]"),
        "a.parquet",
    ),
    Bad("an empty request log", REQUESTS, ("holds no request",), "r.csv", "requests"),
    Bad("requests without arrivals", b"a,b\n1,2\n", ("'arrived_at'",), "r.csv", "requests"),
    Bad(
        "text for tokens",
        REQUESTS + b"2026-01-05T00:00:00Z,abc,2\n",
        ("'prompt_tokens'", "'abc'"),
        "r.csv",
        "requests",
    ),
    Bad("strange points", b"a,b\n1,2\n", ("'concurrency_requests'",), "p.csv", "points"),
    Bad("points of nothing", POINTS + b"0,1,1,1,1\n", ("above 0",), "p.csv", "points"),
]


@pytest.mark.parametrize("bad", REFUSED, ids=lambda bad: bad.about)
def test_bad_input_is_refused_in_one_line_and_leaves_nothing(tmp_path, bad):
    file = tmp_path / bad.name
    if bad.content is not None:
        file.write_bytes(bad.content)
    before = listing(tmp_path)
    with pytest.raises(SignalStudyError) as caught:
        read(tmp_path, study({"kind": bad.kind, "path": file}))
    message = str(caught.value)
    assert all(word in message for word in bad.words), message
    assert message.isprintable()
    assert len(message) < 700
    assert re.search(r"\w+Error|Traceback", message) is None
    assert listing(tmp_path) == before


def test_a_folder_for_a_file_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(TableError, match=r"is a folder. Name files, for example .*\*\.parquet"):
        read(tmp_path, study(tmp_path))
