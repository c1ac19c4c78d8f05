"""Traces: read from either form, cut, scaled, and refused where they are wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import zstandard

from signalstudy.replay.engine.trace import (
    UNNAMED_START,
    read_trace,
    reusable_tokens,
    with_shared_prefix,
)
from signalstudy.vocabulary.errors import ConfigurationError, SignalStudyError
from tests.replay.engine import simulated

ROWS = [
    {"timestamp": 1000, "input_length": 1000, "output_length": 10, "hash_ids": [7, 8]},
    {"timestamp": 2500, "input_length": 600, "output_length": 20, "hash_ids": [7, 9]},
    {"timestamp": 4000, "input_length": 1100, "output_length": 30, "hash_ids": [7, 8, 10]},
]


def write_mooncake(path, rows=ROWS):
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(zstandard.compress(text) if path.suffix == ".zst" else text)
    return path


def write_log(path, **columns):
    frame = {
        "arrived_at": ["2026-01-05T00:00:00Z", "2026-01-05T00:00:02Z", "2026-01-05T00:00:01Z"],
        "service": ["chat", "chat", "search"],
        "prompt_tokens": [1000, 600, 50],
        "output_tokens": [10, 20, 5],
        "cached_prompt_tokens": [0, 128, 0],
    } | columns
    pl.DataFrame(frame).write_parquet(path)
    return path


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.zst"])
def test_mooncake_lines_are_read_with_their_prefixes(tmp_path, name):
    trace = read_trace(write_mooncake(tmp_path / name), "chat")
    assert trace.start == UNNAMED_START
    assert "counts from no named time" in trace.notes[0]
    assert trace.arrived_seconds.tolist() == [0.0, 1.5, 3.0]
    assert trace.prompt_tokens.tolist() == [1000, 600, 1100]
    assert trace.output_tokens.tolist() == [10, 20, 30]
    assert trace.first_block.tolist() == [0, 2, 4, 7]
    # The last block of a prompt is always computed again.
    assert reusable_tokens(trace).tolist() == [0.0, 512.0, 1024.0]


def test_what_is_written_is_read_again(tmp_path):
    trace = read_trace(write_mooncake(tmp_path / "t.jsonl"), "chat")
    trace.write(tmp_path / "again.jsonl")
    again = read_trace(tmp_path / "again.jsonl", "chat")
    assert again.arrived_seconds.tolist() == trace.arrived_seconds.tolist()
    assert reusable_tokens(again).tolist() == reusable_tokens(trace).tolist()


def test_a_request_log_is_read_for_one_service_in_order_of_arrival(tmp_path):
    trace = read_trace(write_log(tmp_path / "log.parquet"), "chat")
    assert trace.arrived_seconds.tolist() == [0.0, 2.0]
    assert trace.prompt_tokens.tolist() == [1000, 600]
    assert reusable_tokens(trace)[1] == 0.0  # nobody had that text before


def test_cached_tokens_come_back_as_shared_blocks():
    cached = np.array([448, 0, 448, 130, 400])
    trace = with_shared_prefix(
        "t", 0.0, arrived_seconds=np.arange(5.0), prompt_tokens=np.full(5, 500),
        output_tokens=np.ones(5, dtype=int), cached_tokens=cached,
    )  # fmt: skip
    assert reusable_tokens(trace).tolist() == [0.0, 0.0, 448.0, 128.0, 384.0]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"prompt_tokens": ["a", "b", "c"]}, "prompt_tokens"),
        ({"arrived_at": ["soon", "later", "never"]}, "no time"),
        ({"service": ["a", "b", "c"]}, "unknown service 'chat'"),
        ({"output_tokens": [0, None, 0]}, "at least two requests"),
    ],
)
def test_wrong_logs_are_refused_with_the_place(tmp_path, columns, said):
    path = write_log(tmp_path / "log.parquet", **columns)
    with pytest.raises(SignalStudyError, match=said) as caught:
        read_trace(path, "chat")
    assert "log.parquet" in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([ROWS[0] | {"hash_ids": [7]}, ROWS[1]], "1 hash_ids for a prompt of 1000"),
        ([ROWS[0] | {"input_length": 0, "hash_ids": []}, ROWS[1]], "at least one token"),
        ([{"timestamp": 1, "input_length": 5, "hash_ids": [1]}] * 2, "no column 'output_length'"),
        (ROWS[:1], "at least two requests"),
        ([{"a": 1}], "no column 'prompt_tokens'"),
        ([ROWS[0] | {"hash_ids": "x"}, ROWS[1]], "t.jsonl"),
    ],
)
def test_wrong_mooncake_lines_are_refused_with_the_place(tmp_path, rows, said):
    with pytest.raises(SignalStudyError, match=said):
        read_trace(write_mooncake(tmp_path / "t.jsonl", rows), "chat")


@pytest.mark.parametrize("content", [b"", b"{not json\n", b"\x00\x01\x02"])
def test_no_trace_at_all_is_refused(tmp_path, content):
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(SignalStudyError, match=r"t\.jsonl"):
        read_trace(path, "chat")
    with pytest.raises(SignalStudyError, match="no file"):
        read_trace(tmp_path / "none.jsonl", "chat")


def test_a_cut_starts_anew_and_an_empty_one_says_what_there_is():
    trace = simulated.trace(np.full(10, 2.0))
    start = trace.start
    cut = trace.between(start + 120.0, start + 240.0)
    assert cut.start == start + 120.0
    assert cut.arrived_seconds[0] >= 0.0
    assert cut.seconds < 120.0
    inside = (trace.arrived_seconds >= 120.0) & (trace.arrived_seconds < 240.0)
    assert cut.requests == inside.sum()
    with pytest.raises(ConfigurationError, match="2026-01-05T00:00:00Z"):
        trace.between(start + 9e5, None)


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
def test_scaling_keeps_the_rhythm_and_the_mix(factor):
    per_second = np.concatenate([np.full(10, 1.0), np.full(10, 4.0)])
    trace = simulated.trace(per_second, cached=128)
    scaled = trace.scaled(factor, seed=3)
    assert scaled.requests == pytest.approx(factor * trace.requests, rel=0.05)
    assert (np.diff(scaled.arrived_seconds) >= 0.0).all()
    late = np.mean(scaled.arrived_seconds > 600.0)
    assert late == pytest.approx(np.mean(trace.arrived_seconds > 600.0), abs=0.03)
    share = reusable_tokens(scaled).sum() / scaled.prompt_tokens.sum()
    assert share == pytest.approx(128 / 400, rel=0.02)
    again = trace.scaled(factor, seed=3)
    assert again.arrived_seconds.tolist() == scaled.arrived_seconds.tolist()


def test_no_scale_at_or_below_nothing():
    with pytest.raises(ConfigurationError, match="--scale 0"):
        simulated.trace(np.full(3, 1.0)).scaled(0.0, seed=0)


def test_what_no_replica_can_hold_is_left_out_and_said():
    trace = simulated.trace(np.full(3, 0.5))
    long = np.arange(trace.requests) % 7 == 0
    trace = replace(trace, output_tokens=np.where(long, 90_000, trace.output_tokens))
    kept = trace.fitting(50_000.0)
    assert kept.requests == int((~long).sum())
    assert kept.arrived_seconds.tolist() == trace.arrived_seconds[~long].tolist()
    assert np.diff(kept.first_block).tolist() == np.diff(trace.first_block)[~long].tolist()
    [said] = [note for note in kept.notes if "left out" in note]
    assert f"{int(long.sum()):,} of {trace.requests:,} requests" in said
    assert "50,000 tokens" in said
    assert kept.fitting(50_000.0) is kept
    with pytest.raises(ConfigurationError, match=r"a replica's KV cache holds 10 tokens"):
        trace.fitting(10.0)
