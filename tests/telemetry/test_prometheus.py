"""Whatever a server answers, a study gets its samples or one clear sentence."""

from __future__ import annotations

import gzip
import itertools
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from signalstudy.config import parse_config
from signalstudy.telemetry import transfer
from signalstudy.telemetry.promql import any_of, parse_selector, selector_text, window_seconds
from signalstudy.telemetry.read import read_telemetry
from signalstudy.vocabulary.durations import as_duration, duration_seconds
from signalstudy.vocabulary.errors import ConfigurationError, SignalStudyError
from tests.telemetry.scripted_server import (
    SAMPLES,
    START,
    STREAMED,
    TOKENS,
    Answer,
    data,
    export_lines,
    field_of,
    frame,
    good_frame,
    refusal,
    serving,
    sound,
)

READ, QUERY = "/api/v1/read", "/api/v1/query"


def instant(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def config(url, **more):
    span = {"start": instant(START), "end": instant(START + 600)}
    source = {"kind": "prometheus", "url": url, "requests_per_second": 1e6, **span, **more}
    source = {name: value for name, value in source.items() if value is not None}
    document = {"study": {"name": "chat"}, "sources": [source]}
    return parse_config(document, place="study.toml", folder=Path())


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(transfer, "FIRST_PAUSE_SECONDS", 0.0)


def studied(folder, script, **more):
    with serving(script) as (url, asked):
        return read_telemetry(config(url, **more), folder / "study"), asked


def increments(telemetry):
    frame_ = telemetry.samples("chat", "production")
    return frame_["time_ms"].to_list(), frame_["value"].to_list()


EXPECTED = ([t for t, _ in SAMPLES[1:]], [100.0] * 59)


def test_a_sound_server_is_read(tmp_path):
    told, asked = studied(tmp_path, sound())
    assert increments(told) == EXPECTED
    assert any("version 9.9, raw samples by remote read" in note for note in told.notes)
    assert all(a.headers["User-Agent"] == "signalstudy" for a in asked)


def test_without_remote_read_raw_samples_come_by_range_queries(tmp_path):
    script = sound()
    del script[READ]
    told, asked = studied(tmp_path, script)
    assert increments(told) == EXPECTED
    assert any("by range queries" in note for note in told.notes)
    forms = [a.form for a in asked if a.path == QUERY]
    assert all(f["partial_response"] == ["false"] and f["dedup"] == ["true"] for f in forms)
    assert all(f["max_source_resolution"] == ["0s"] for f in forms)


def test_victoriametrics_is_read_by_its_export(tmp_path):
    script = sound() | {
        READ: lambda _: refusal(400, "unsupported path"),
        "/api/v1/export": lambda _: Answer([export_lines()[:100], export_lines()[100:]]),
    }
    told, _ = studied(tmp_path, script)
    assert increments(told) == EXPECTED
    assert any("by VictoriaMetrics export" in note for note in told.notes)


@pytest.mark.parametrize("encoding", [4, 9])
def test_chunks_of_a_newer_encoding_make_it_fall_back(tmp_path, encoding):
    script = sound() | {READ: lambda _: Answer([good_frame(encoding)], headers=STREAMED)}
    told, _ = studied(tmp_path, script)
    assert increments(told) == EXPECTED
    assert any("by range queries" in note for note in told.notes)


def test_a_span_too_large_for_the_server_is_asked_in_halves(tmp_path):
    def at_most_five_minutes(asked):
        [query] = asked.form["query"]
        if window_seconds(query) > 302:
            return refusal(422, "query processing would load too many samples into memory")
        return data({"result": [{"metric": LABELS, "values": within(asked)}]})

    script = sound() | {QUERY: at_most_five_minutes}
    del script[READ]
    assert increments(studied(tmp_path, script)[0]) == EXPECTED


LABELS = {"__name__": TOKENS, "service": "chat", "pool": "decode", "replica": "d0"}


def within(asked):
    """Answer as Prometheus 2 does, whose windows are closed on both sides."""
    end, seconds = float(asked.form["time"][0]), window_seconds(asked.form["query"][0])
    return [[t / 1000, repr(v)] for t, v in SAMPLES if end - seconds <= t / 1000 <= end]


def flipped(content):
    return content[:40] + bytes([content[40] ^ 1]) + content[41:]


def endless(piece):
    return Answer(itertools.repeat(piece), headers=STREAMED)


def drip():
    while True:
        time.sleep(0.05)
        yield b"\x80"


HOSTILE = {
    "a frame cut off": (Answer([good_frame()[:-9]], headers=STREAMED), "cut off"),
    "a frame of another checksum": (Answer([flipped(good_frame())], headers=STREAMED), "checksum"),
    "a length that lies": (
        Answer([b"\xff\xff\xff\xff\xff\x1f" + good_frame()], headers=STREAMED),
        "claims",
    ),
    "a length without end": (endless(b"\x80" * 999), "no number"),
    "frames without end": (endless(frame(field_of(2, 0) * 1000)), "longer than"),
    "a chunk that is none": (
        Answer(
            [frame(field_of(1, field_of(2, field_of(3, 1) + field_of(4, b"\x09\x09x"))))],
            headers=STREAMED,
        ),
        "damaged",
    ),
    "a message cut off": (Answer([frame(b"\x0a\x7f")], headers=STREAMED), "cut off"),
    "an unknown kind of field": (Answer([frame(b"\x0b")], headers=STREAMED), "unknown kind"),
    "less than it claims": (Answer([good_frame()], headers=STREAMED, length=99_999), "closed"),
    "drop by drop": (Answer(drip(), headers=STREAMED), "longer than|no number"),
    "an error of its own": (refusal(500, "compaction ate it"), "500: compaction ate it"),
    "a wall": (refusal(401, "who are you"), "Credentials: token_env"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_stream_is_one_clear_error(tmp_path, monkeypatch, name):
    monkeypatch.setattr(transfer, "LARGEST_ANSWER_BYTES", 1 << 20)
    monkeypatch.setattr(transfer, "DEADLINE_SECONDS", 0.3)
    answer, said = HOSTILE[name]
    script = sound() | {READ: lambda _: answer}
    with pytest.raises(SignalStudyError, match=said) as caught:
        studied(tmp_path, script)
    assert "[[sources]] 1" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"[" * 100_000, b'{"status": "success"}', b'{"status": "error"}',
     b'{"status": "success", "data": {"result": [{"metric": 1}]}}',
     b'{"status": "success", "data": {"result": [{"metric": {}, "values": [["a", "b"]]}]}}',
     b'{"status": "success", "data": {"result": [{"metric": {}, "values": [[1]]}]}}',
     b'{"status": "success", "data": {"result": [{"metric": {}, "values": [[NaN, "1"]]}]}}'],
)  # fmt: skip
@pytest.mark.parametrize("path", [QUERY, "/api/v1/label/__name__/values"])
def test_an_answer_that_is_no_answer_is_one_clear_error(tmp_path, body, path):
    script = sound() | {path: lambda _: Answer([body])}
    del script[READ]
    with pytest.raises(SignalStudyError, match=r"\[\[sources\]\] 1, "):
        studied(tmp_path, script)


def test_the_budget_holds_where_a_server_tells_too_little_of_itself(tmp_path):
    with pytest.raises(ConfigurationError, match=r"60 samples came.* max_samples = 59"):
        studied(tmp_path, sound(), max_samples=59)
    assert increments(studied(tmp_path, sound(), max_samples=60)[0]) == EXPECTED


def test_what_a_server_warns_of_is_said(tmp_path):
    warned = {"status": "success", "data": [TOKENS], "warnings": ["no store for 3 days\n!"]}
    names = Answer([json.dumps(warned).encode()])
    told, _ = studied(tmp_path, sound() | {"/api/v1/label/__name__/values": lambda _: names})
    assert any("warns: no store for 3 days" in note for note in told.notes)


def test_a_bomb_of_zeros_is_not_unpacked_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "LARGEST_ANSWER_BYTES", 1 << 20)
    bomb = gzip.compress(bytes(1 << 24))
    packed = Answer([bomb], headers={"Content-Encoding": "gzip"})
    with pytest.raises(SignalStudyError, match="longer than"):
        studied(tmp_path, sound() | {"/api/v1/label/__name__/values": lambda _: packed})


def test_redirects_are_named_and_never_followed(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "s3cret")
    with serving(sound()) as (elsewhere, asked_elsewhere):
        moved = Answer([], 302, {"Location": elsewhere, "Content-Length": "0"})
        with pytest.raises(SignalStudyError, match=f"redirects to {elsewhere}"):
            studied(tmp_path, dict.fromkeys(sound(), lambda _: moved), token_env="SECRET")  # noqa: S106
        assert asked_elsewhere == []


def test_failures_that_pass_are_waited_out(tmp_path):
    counts = itertools.count()

    def moody(_):
        return refusal(503) if next(counts) % 3 < 2 else Answer([good_frame()], headers=STREAMED)

    assert increments(studied(tmp_path, sound() | {READ: moody})[0]) == EXPECTED


def test_nobody_there_is_one_clear_error(tmp_path):
    with serving({}) as (url, _):
        gone = url
    with pytest.raises(SignalStudyError, match=r"refused|connect"):
        read_telemetry(config(gone), tmp_path / "study")


@pytest.mark.parametrize(
    ("keys", "environment", "header", "value"),
    [
        ({"token_env": "T"}, {"T": "xyzzy"}, "Authorization", "Bearer xyzzy"),
        (
            {"username_env": "U", "password_env": "P"},
            {"U": "me", "P": "pw"},
            "Authorization",
            "Basic bWU6cHc=",
        ),
        ({"headers_env": "H"}, {"H": "X-Key: abc: d\nX-More: e"}, "X-Key", "abc: d"),
        ({"headers_env": "H"}, {"H": '{"X-Key": "xyzzy"}'}, "X-Key", "xyzzy"),
        ({"tenant": "team-a"}, {}, "X-Scope-OrgID", "team-a"),
    ],
)
def test_credentials_reach_the_server_and_nothing_else(
    tmp_path, monkeypatch, keys, environment, header, value
):
    for name, said in environment.items():
        monkeypatch.setenv(name, said)
    told, asked = studied(tmp_path, sound(), **keys)
    assert all(a.headers[header] == value for a in asked)
    if environment:
        for file in (tmp_path / "study").rglob("*"):
            content = file.read_bytes() if file.is_file() else b""
            assert not any(
                said.encode() in content for said in environment.values() if len(said) > 2
            )
        assert value not in repr(told)


def test_a_token_may_stand_in_a_file(tmp_path):
    (tmp_path / "token").write_text("abc\n")
    _, asked = studied(tmp_path, sound(), token_file=str(tmp_path / "token"))
    assert all(a.headers["Authorization"] == "Bearer abc" for a in asked)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"token_env": "NOT_SET"}, "NOT_SET.*not set"),
        ({"token_file": "nowhere"}, "token_file"),
        ({"ca_file": "nowhere"}, "ca_file"),
        ({"match": ["a b c"]}, "no selector"),
        ({"queries": {"tokens_of_mars": "x"}}, "no signal"),
        ({"url": "ftp://x"}, "http://"),
        ({"url": "http://me:pw@host"}, "credentials"),
        ({"start": None}, "start and end, or last"),
        ({"last": "2d"}, "start and end, or last"),
        ({"start": None, "end": None, "last": "soon"}, "no duration"),
        ({"end": instant(START - 1)}, "end is not after start"),
        ({"path": "x"}, "no path"),
        ({"max_samples": 0}, "max_samples"),
    ],
)
def test_a_wrong_configuration_is_one_clear_error(tmp_path, keys, said):
    with serving(sound()) as (url, _), pytest.raises(ConfigurationError, match=said):
        read_telemetry(config(**({"url": url} | keys)), tmp_path / "study")


def test_last_is_counted_back_from_now_and_rounded():
    [source] = config("http://x", start=None, end=None, last="14d").sources
    assert (source.end - source.start).total_seconds() == 14 * 86400
    late = datetime.now(UTC) - source.end
    assert 0 <= late.total_seconds() < 14 * 864
    assert source.end.timestamp() % 60 == 0


def test_requests_keep_their_distance(tmp_path):
    began = time.monotonic()
    _, asked = studied(tmp_path, sound(), requests_per_second=20)
    assert time.monotonic() - began >= (len(asked) - 1) / 20


def test_a_killed_run_goes_on_with_the_tiles_it_has(tmp_path, monkeypatch):
    """A day a tile: the second run asks for those alone that the first did not get."""
    days = {"start": instant(START - 4 * 86400), "end": instant(START + 600)}
    counts = itertools.count()

    def failing(_):
        answer = Answer([good_frame()], headers=STREAMED)
        return answer if next(counts) < 4 else refusal(418, "tired")

    with (
        serving(sound() | {READ: failing}) as (url, _),
        pytest.raises(SignalStudyError, match=r"tired.* 3 of 5 tiles are kept"),
    ):
        read_telemetry(config(url, **days), tmp_path / "study")
    kept = list((tmp_path / "study" / "fetched").rglob("*.parquet"))
    assert len(kept) == 3  # the first answer was the probe's
    monkeypatch.setattr(
        "signalstudy.telemetry.prometheus._digest", lambda *_: kept[0].parent.name[2:]
    )
    with serving(sound()) as (url, asked):
        told = read_telemetry(config(url, **days), tmp_path / "study")
    assert increments(told) == EXPECTED
    assert len([a for a in asked if a.path == READ]) == 1 + 5 - 3
    assert not (tmp_path / "study" / "fetched").exists()


def test_selectors_are_read_and_written_alike():
    for text in (
        'vllm:num_requests_running{pod=~"a.*",namespace!="x\\"y",model!~"b|c"}',
        "{job='d'}",
        '{"vllm.requests.running", "k8s.pod.name"=~"a.*", zone="z"}',
        "up",
    ):
        matchers = parse_selector(text, "here")
        assert parse_selector(selector_text(matchers), "here") == matchers
    for text in ("", "{}", "rate(x[1m])", '{a="b" c="d"}', "{a=b}", 'x{a="b"'):
        with pytest.raises(ConfigurationError, match="no selector"):
            parse_selector(text, "here")
    assert any_of(["a.b", "c"]).value == "a\\.b|c"


def test_windows_are_told_from_expressions():
    assert window_seconds("sum(rate(x[1m30s]))") == 90
    assert window_seconds('max_over_time(rate(x{a="[9d]"}[1m])[1h:])') == 3600
    assert window_seconds("job:vllm_decode:rate1m") == 60
    assert window_seconds("sum(x)") is None


def test_durations_are_read_and_written_alike():
    for text in ("30s", "5m", "90m", "2h", "14d"):
        assert as_duration(duration_seconds(text)) == text
    assert duration_seconds("1h30m") == 5400
    with pytest.raises(ValueError, match="no duration"):
        duration_seconds("1 hour")
    assert np.isclose(duration_seconds("500ms"), 0.5)
