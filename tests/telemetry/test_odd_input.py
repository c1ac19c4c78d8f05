"""Odd input gives a sound result that says what it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from signalstudy.timeline.align import align
from signalstudy.vocabulary.objectives import Objective
from tests.telemetry.written import (
    GOOD,
    START,
    Row,
    as_csv,
    as_jsonl,
    changed,
    iso,
    parquet_of,
    read,
    study,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CSV = as_csv(GOOD)
REQUESTS = b"arrived_at,prompt_tokens,output_tokens\n"


@dataclass
class Odd:
    """What is accepted, with the words of the data_quality row that says so."""

    about: str
    content: bytes
    words: tuple[str, ...] = ()
    status: str = "note"
    name: str = "samples.csv"
    kind: str = "table"
    rate: float | None = 10.0
    steps: int = 30


def wide(**columns: Callable[[int], Any]) -> bytes:
    rows = [
        {"timestamp": iso(START + 10 * i)} | {name: give(i) for name, give in columns.items()}
        for i in range(30)
    ]
    return as_csv(rows)


def epoch(factor: float) -> bytes:
    return changed("timestamp", lambda i, _: round((START + 10 * (i % 30)) * factor))


ACCEPTED = [
    Odd("a byte-order mark", b"\xef\xbb\xbf" + CSV),
    Odd("Windows line ends", CSV.replace(b"\n", b"\r\n")),
    Odd("semicolons", CSV.replace(b",", b";")),
    Odd("tabs", CSV.replace(b",", b"\t")),
    Odd("epoch seconds", epoch(1), ("read as seconds since 1970",)),
    Odd("epoch milliseconds", epoch(1e3), ("read as milliseconds since 1970",)),
    Odd("epoch microseconds", epoch(1e6), ("read as microseconds since 1970",)),
    Odd("epoch nanoseconds", epoch(1e9), ("read as nanoseconds since 1970",)),
    Odd(
        "times without zone",
        changed("timestamp", lambda _, row: row["timestamp"].replace("+00:00", "")),
        ("no time zone: read as UTC",),
    ),
    Odd("every row twice", as_csv(GOOD + GOOD), ("90 samples stand twice",)),
    Odd(
        "two values at one time",
        as_csv(GOOD + [{**row, "value": 0.0} for row in GOOD]),
        ("with different values", "largest"),
        "warning",
    ),
    Odd("the last row first", as_csv(GOOD[::-1])),
    Odd(
        "NaN and infinities",
        changed("value", lambda i, row: ["NaN", "inf", "-inf"][i % 3] if i > 40 else row["value"]),
        ("49 samples are no measurement",),
    ),
    Odd(
        "rows without time",
        changed("timestamp", lambda i, row: "" if i >= 60 else row["timestamp"]),
        ("30 rows lack a timestamp",),
    ),
    Odd(
        "percent for a ratio",
        changed("value", lambda i, row: 10.0 * (i % 9) if i >= 60 else row["value"]),
        ("kv_cache_usage_ratio reaches 80", "percent?", "Divide by 100"),
        "warning",
    ),
    Odd(
        "milliseconds for seconds",
        wide(decode_tokens_per_second=lambda _: 10.0, ttft_p99_seconds=lambda i: 300.0 + i),
        ("ttft_p99_seconds has a median of", "milliseconds?"),
        "warning",
    ),
    Odd(
        "milliseconds in a request log",
        REQUESTS.replace(b"\n", b",ttft_seconds\n")
        + b"".join(f"{iso(START + i)},10,30,{200 + i}\n".encode() for i in range(60)),
        ("ttft_seconds of the request log has a median of 229.5 s",),
        "warning",
        name="r.csv",
        kind="requests",
        rate=None,
        steps=0,
    ),
    Odd(
        "negative values",
        changed("value", lambda i, row: -row["value"] if i >= 30 else row["value"]),
        ("num_requests_running (24)", "readings below 0 of what cannot be negative are left out"),
        "warning",
    ),
    Odd(
        "a column of flags",
        wide(decode_tokens_per_second=lambda _: 10.0, ok=lambda i: str(i % 2 == 0).lower()),
        ("column 'ok' is neither number nor text",),
    ),
    Odd(
        "an empty column",
        wide(decode_tokens_per_second=lambda _: 10.0, kv_cache_usage_ratio=lambda _: None),
    ),
    Odd(
        "nested columns",
        parquet_of(
            [
                {
                    "timestamp": iso(START + 10 * i),
                    "decode_tokens_per_second": 10.0,
                    "s": {"a": 1},
                    "l": [1, 2],
                }
                for i in range(30)
            ]
        ),
        ("column 's' is neither number nor text",),
        name="a.parquet",
    ),
    Odd("labels as a JSON list", changed("labels", lambda *_: "[1]")),
    Odd(
        "two stretches ten years apart",
        as_csv(
            GOOD
            + [{**row, "timestamp": row["timestamp"].replace("2026", "2016")} for row in GOOD[:12]]
        ),
        ("long pauses", "only the stretch with most of them", "2026-01-05"),
        "warning",
    ),
    Odd(
        "the far future",
        changed("timestamp", lambda _, row: row["timestamp"].replace("2026", "9990")),
    ),
    Odd(
        "the far past",
        changed("timestamp", lambda _, row: row["timestamp"].replace("2026", "0005")),
    ),
    Odd("a single replica", CSV, ("1 ready, from counted live series",), "ok"),
    Odd("two samples", as_csv(GOOD[:2]), steps=1),
    Odd(
        "SQL in the names of labels",
        as_csv([{**row, 'x"; drop table series;--': "1", "it's": "q", "$1": "a"} for row in GOOD]),
    ),
    Odd(
        "SQL in the names of signals",
        wide(
            **{
                "decode_tokens_per_second": lambda _: 10.0,
                'x"; drop table series;--': float,
                "it's": float,
                "$name": float,
            }
        ),
    ),
]


@pytest.mark.parametrize("odd", ACCEPTED, ids=lambda odd: odd.about)
def test_odd_input_gives_a_sound_result_that_says_what_it_did(tmp_path, odd):
    file = tmp_path / odd.name
    file.write_bytes(odd.content)
    timeline = align(read(tmp_path, study({"kind": odd.kind, "path": file})), "chat")
    assert timeline is not None
    if odd.steps:
        assert timeline.time_seconds.size == odd.steps
    if odd.rate is not None:
        pool = timeline.pools.get("decode") or timeline.pools["unified"]
        rate = pool.signals["decode_tokens_per_second"].values
        assert np.nanmax(np.abs(rate - odd.rate)) < 1e-6
    said = [row for row in timeline.quality if all(word in row.note for word in odd.words)]
    assert said, [row.note for row in timeline.quality]
    if odd.words:
        assert said[0].status == odd.status


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-05T00:00:00Z", 0),
        ("2026-01-05T02:00:00+02:00", 0),
        ("2026-01-04T19:00:00-05:00", 0),
        ("2026-01-05 00:00:00", 0),
        ("2026-01-05T00:00:00.250Z", 0.25),
    ],
)
@pytest.mark.parametrize("form", [as_csv, as_jsonl, "text"])
def test_a_time_is_the_same_instant_in_every_spelling(tmp_path, text, seconds, form):
    """In one file with another spelling, so that the column is text and not guessed."""
    rows: list[Row] = [
        {"timestamp": text, "decode_tokens_per_second": 5.0},
        {"timestamp": "2026-01-05T00:00:10Z", "decode_tokens_per_second": 5.0},
        {"timestamp": "2026-01-05T00:00:20Z", "decode_tokens_per_second": 5.0},
    ]
    if form == "text":
        content, name = parquet_of(rows), "a.parquet"
    else:
        content, name = form(rows), "a.csv" if form is as_csv else "a.jsonl"
    telemetry = read(tmp_path, study(written(tmp_path, content, name)))
    first = telemetry.samples("chat", "production")["time_ms"].min()
    assert first == (START + seconds) * 1000


def test_sources_that_do_not_overlap_in_time_are_said_to(tmp_path):
    samples = written(tmp_path, GOOD)
    log = REQUESTS + b"".join(f"{iso(START - 9e5 + i)},10,30\n".encode() for i in range(60))
    requests = {"kind": "requests", "path": written(tmp_path, log, "r.csv")}
    timeline = align(read(tmp_path, study(samples, requests)), "chat")
    assert timeline is not None
    assert timeline.pools["decode"].demand.source == "served_own"
    assert any("does not overlap" in row.note for row in timeline.quality)


def test_files_of_one_glob_may_have_different_columns(tmp_path):
    written(tmp_path, GOOD, "a1.csv")
    written(tmp_path, b"x,y\n1,2\n", "a2.csv")
    timeline = align(read(tmp_path, study(tmp_path / "a*.csv")), "chat")
    assert any("1 rows lack a timestamp" in row.note for row in timeline.quality)


def test_an_objective_in_milliseconds_is_asked_about(tmp_path):
    limits = [Objective("tbt", 0.95, 50.0), Objective("ttft", 0.95, 50.0)]
    timeline = align(read(tmp_path, study(written(tmp_path, GOOD))), "chat", objectives=limits)
    [row] = [row for row in timeline.quality if row.check == "seconds or milliseconds"]
    assert row.status == "warning"
    assert row.note.startswith("p95 tbt <= 50 s: milliseconds?")


def test_times_of_one_column_may_be_written_in_several_ways(tmp_path):
    """Numbers of any unit and texts, in files of one glob and even in one file."""
    spelled = [iso(START), START + 10, (START + 20) * 1000, (START + 30) * 10**9]
    one, *others = ({"timestamp": at, "decode_tokens_per_second": 5.0} for at in spelled)
    written(tmp_path, as_csv([one]), "a1.csv")
    written(tmp_path, as_csv(others[:1]), "a2.csv")
    written(tmp_path, as_csv([one | {"timestamp": iso(START + 40)}, *others[1:]]), "a3.csv")
    telemetry = read(tmp_path, study(tmp_path / "a*.csv"))
    times = telemetry.samples("chat", "production")["time_ms"].sort()
    assert times.to_list() == [(START + seconds) * 1000 for seconds in (0, 10, 20, 30, 40)]
    assert any("written in several ways" in note for note in telemetry.notes)
