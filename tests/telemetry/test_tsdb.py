"""TSDB blocks give what was written into them; what is damaged or odd is said in one sentence."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from signalstudy.telemetry.raw_parts import series_text
from signalstudy.telemetry.tsdb import Passed, find_blocks, read_block
from signalstudy.vocabulary.errors import TableError
from tests.house.project import ROOT
from tests.telemetry.block_writer import Series, write_block
from tests.telemetry.chunk_writer import bits_of
from tests.telemetry.written import as_dump, read, sample, study, written

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from signalstudy.telemetry.telemetry import Telemetry

START_MS = 1_767_571_200_000
TOKENS = "vllm:generation_tokens_total"
RECORDING = ROOT.parent / "shared" / "data" / "dynamo_live"


def grown(count: int, start: int = 0, step: float = 50.0) -> list[tuple[int, float]]:
    return [(START_MS + 10_000 * i, step * i) for i in range(start, start + count)]


def tokens(replica: str, *chunks: list[tuple[int, float]]) -> Series:
    labels = {"__name__": TOKENS, "service": "chat", "pool": "decode", "replica": replica}
    return labels, list(chunks)


TWO = [tokens("d0", grown(60), grown(60, 60)), tokens("d1", grown(120, step=7.0))]


def everything(folder: Path) -> dict[str, dict[int, int]]:
    """All samples of all blocks: series -> time -> bits."""
    found: dict[str, dict[int, int]] = {}
    for block in find_blocks(str(folder), "here")[0]:
        for batch in read_block(block, lambda _: True, Passed()):
            ends = np.cumsum(batch.counts)
            for labels, begin, end in zip(batch.labels, ends - batch.counts, ends, strict=True):
                times, bits = batch.time_ms[begin:end].tolist(), batch.bits[begin:end].tolist()
                found.setdefault(series_text(labels), {}).update(zip(times, bits, strict=True))
    return found


def increments(telemetry: Telemetry) -> pl.DataFrame:
    return telemetry.samples("chat", "production").sort("key", "time_ms")


def tsdb(path: Path) -> dict[str, object]:
    return {"kind": "tsdb", "path": path}


def test_a_block_gives_back_what_was_written_into_it(tmp_path):
    write_block(tmp_path, TWO)
    expected = {
        series_text(labels): {t: bits_of(v) for chunk in chunks for t, v in chunk}
        for labels, chunks in TWO
    }
    assert everything(tmp_path) == expected


def test_blocks_and_a_dump_of_them_are_the_same_telemetry_under_the_same_keys(tmp_path):
    write_block(tmp_path / "blocks", TWO)
    rows = [
        sample(TOKENS, (t - START_MS) / 1000, v, replica=labels["replica"])
        for labels, chunks in TWO
        for chunk in chunks
        for t, v in chunk
    ]
    dump = written(tmp_path, as_dump(rows), "dump.txt")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    blocks = read(tmp_path / "a", study(tsdb(tmp_path / "blocks")))
    dumped = read(tmp_path / "b", study({"kind": "tsdb-dump", "path": dump}))
    assert increments(blocks).equals(increments(dumped))
    assert blocks.facts == dumped.facts
    assert blocks.series == dumped.series


def test_deleted_spans_are_not_read(tmp_path):
    dead = {0: (START_MS + 100_000, START_MS + 700_000)}
    block = write_block(tmp_path, TWO, dead=dead)
    first = everything(tmp_path)[series_text(TWO[0][0])]
    assert sorted(first) == [START_MS + 10_000 * i for i in (*range(10), *range(71, 120))]
    assert len(everything(tmp_path)[series_text(TWO[1][0])]) == 120
    told = read(tmp_path, study(tsdb(block)))
    assert "61 samples are deleted by tombstones" in told.notes


def test_blocks_that_overlap_count_each_sample_once(tmp_path):
    write_block(tmp_path / "both", [tokens("d0", grown(80))], ulid="01A")
    write_block(tmp_path / "both", [tokens("d0", grown(80, 40))], ulid="01B")
    write_block(tmp_path / "one", [tokens("d0", grown(120))])
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    both = read(tmp_path / "a", study(tsdb(tmp_path / "both")))
    one = read(tmp_path / "b", study(tsdb(tmp_path / "one")))
    assert increments(both).equals(increments(one))
    assert both.series == one.series
    assert both.facts == one.facts  # no copies: what overlaps is no fault of the server's
    assert any("overlap" in note for note in both.notes)


def test_blocks_that_a_compaction_replaced_are_set_aside(tmp_path):
    parents = {"compaction": {"parents": [{"ulid": "01A"}]}}
    write_block(tmp_path, [tokens("d0", grown(80))], ulid="01A")
    write_block(tmp_path, [tokens("d0", grown(80))], ulid="01B", meta=parents)
    blocks, _ = find_blocks(str(tmp_path), "here")
    assert [block.ulid for block in blocks] == ["01B"]


def test_downsampled_blocks_are_left_out_and_labels_of_thanos_put_in(tmp_path):
    coarse = {"thanos": {"downsample": {"resolution": 300_000}}}
    raw = {"thanos": {"downsample": {"resolution": 0}, "labels": {"cluster": "c1"}}}
    write_block(tmp_path, [tokens("d0", grown(80))], ulid="01A", meta=coarse)
    write_block(tmp_path, [tokens("d0", grown(80))], ulid="01B", meta=raw)
    assert any("downsampled" in note for note in find_blocks(str(tmp_path), "here")[1])
    assert all('cluster="c1"' in name for name in everything(tmp_path))


def test_chunks_of_a_newer_encoding_are_counted_and_said(tmp_path):
    write_block(tmp_path, [tokens("d0", grown(80))], ulid="01A")
    newer = ({**TWO[0][0], "__name__": "vllm:e2e_request_latency_seconds"}, [grown(5)])
    write_block(tmp_path, [newer], ulid="01B", encoding=4)
    told = read(tmp_path, study(tsdb(tmp_path)))
    assert any("1 chunks of encoding XOR2 are left out" in note for note in told.notes)


def test_staleness_markers_and_nan_are_set_aside_and_counted(tmp_path):
    stale = np.uint64(0x7FF0000000000002).view(np.float64)
    gone = [*grown(40), (START_MS + 400_000, stale), (START_MS + 410_000, float("nan"))]
    # in a stream of floats the marker's bits survive, for they are only copied
    write_block(tmp_path, [tokens("d0", gone)])
    told = read(tmp_path, study(tsdb(tmp_path)))
    assert "1 staleness markers are set aside" in told.notes
    assert "1 samples are NaN and are set aside" in told.notes


def test_the_head_is_not_read_and_that_is_said(tmp_path):
    write_block(tmp_path, TWO)
    (tmp_path / "chunks_head").mkdir()
    (tmp_path / "chunks_head" / "000001").write_bytes(b"x")
    assert any("the head" in note for note in find_blocks(str(tmp_path), "here")[1])


def test_a_store_is_read_again_when_a_block_is_added(tmp_path):
    write_block(tmp_path / "blocks", [tokens("d0", grown(60))], ulid="01A")
    config = study(tsdb(tmp_path / "blocks"))
    first = read(tmp_path, config)
    assert read(tmp_path, config).digest == first.digest
    write_block(tmp_path / "blocks", [tokens("d0", grown(60, 60))], ulid="01B")
    assert increments(read(tmp_path, config)).height == 119


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("index", lambda c: c[:100], "no index|table of contents"),
        ("index", lambda c: c[:-1] + b"\0", "table of contents"),
        ("index", lambda c: c[:4] + b"\x03" + c[5:], "format is 3"),
        ("index", lambda c: c[:12] + b"#" + c[13:], "checksum of the part at 5"),
        ("chunks/000001", lambda c: c[:200], "truncated"),
        ("chunks/000001", lambda c: c[:60] + b"#" + c[61:], "checksums of 1 chunks"),
        ("chunks/000001", lambda c: b"", "missing or empty"),
        ("chunks/000001", lambda c: b"x" * len(c), "no file of chunks"),
        ("tombstones", lambda c: c[:7], "tombstones"),
        ("tombstones", lambda c: c[:5] + b"\x81" + c[5:], "tombstones"),
        ("meta.json", lambda c: c[:9], "meta.json"),
        ("meta.json", lambda c: b"[]", "no description"),
        ("meta.json", lambda c: b"{}", "no description"),
        ("meta.json", lambda c: c.replace(b'"maxTime":', b'"maxTime": 1e999, "was":'), "no desc"),
        ("meta.json", lambda c: c.replace(b"{", b'{"thanos": 1, ', 1), "no description"),
    ],
)
def test_damage_is_one_error_that_names_the_block(tmp_path, name, damage, said):
    block = write_block(tmp_path, TWO)
    file = block / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(TableError, match=said) as caught:
        read(tmp_path, study(tsdb(tmp_path)))
    assert "01A" in str(caught.value)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("name", ["index", "chunks/000001", "tombstones"])
def test_any_flipped_byte_is_found_or_changes_nothing(tmp_path, name):
    block = write_block(tmp_path, TWO, dead={1: (START_MS, START_MS + 5)})
    expected, file = everything(tmp_path), block / name
    sound = file.read_bytes()
    random = np.random.default_rng(4)
    found = 0
    for _ in range(120):
        content = bytearray(sound)
        content[random.integers(0, len(content))] ^= 1 << int(random.integers(0, 8))
        file.write_bytes(content)
        try:
            assert everything(tmp_path) == expected
        except TableError:
            found += 1
    assert found > 60


def test_a_folder_without_blocks_says_what_a_block_is(tmp_path):
    with pytest.raises(TableError, match=r"no TSDB block. A block is"):
        read(tmp_path, study(tsdb(tmp_path)))
    (tmp_path / "wal").mkdir()
    with pytest.raises(TableError, match="take a snapshot"):
        read(tmp_path, study(tsdb(tmp_path)))
    with pytest.raises(TableError, match="there is no folder"):
        read(tmp_path, study(tsdb(tmp_path / "nowhere")))


@pytest.mark.recordings
def test_the_recorded_block_is_the_recorded_dump(tmp_path):
    if not RECORDING.is_dir():
        pytest.skip("the recordings are not beside this checkout")
    with tarfile.open(RECORDING / "tsdb_blocks.tar.gz") as packed:
        packed.extractall(tmp_path / "blocks", filter="data")
    found = everything(tmp_path / "blocks")
    assert (len(found), sum(map(len, found.values()))) == (2703, 613_495)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    named = {"labels": {"service": "model_name"}}
    blocks = read(tmp_path / "a", study(tsdb(tmp_path / "blocks"), **named))
    dump = {"kind": "tsdb-dump", "path": RECORDING / "tsdb_dump.txt.xz"}
    dumped = read(tmp_path / "b", study(dump, **named))
    assert blocks.facts == dumped.facts
    assert blocks.services == dumped.services
    for service in blocks.services:
        mine, theirs = (
            told.samples(service, "production").sort("key", "time_ms") for told in (blocks, dumped)
        )
        assert mine.equals(theirs)
