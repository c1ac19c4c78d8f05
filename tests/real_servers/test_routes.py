"""Every route to the same samples gives the same samples, bit for bit, and the same telemetry."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from signalstudy.config import parse_config, read_config
from signalstudy.telemetry.chunks import STALE_BITS
from signalstudy.telemetry.promql import Matcher
from signalstudy.telemetry.range_queries import fetch_ranges
from signalstudy.telemetry.raw_parts import series_text
from signalstudy.telemetry.read import read_telemetry
from signalstudy.telemetry.remote_read import Wanted, fetch_remote
from signalstudy.telemetry.transfer import Server
from signalstudy.telemetry.tsdb import Passed, find_blocks, read_block
from signalstudy.vocabulary.errors import ConfigurationError, TableError
from tests.real_servers.fleet import EVERY, RUNNING, START, STEPS, TOKENS
from tests.real_servers.server import promtool
from tests.telemetry.chunk_writer import bits_of

RECORDED = (1_795_333_822, 1_795_335_120)
WRITTEN = (START - 60, START + EVERY * STEPS + 60)
ALL = (Matcher("__name__", "=~", ".+"),)


def instant(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def asked(url, span, **more):
    return {
        "kind": "prometheus",
        "url": url,
        "start": instant(span[0]),
        "end": instant(span[1]),
        "requests_per_second": 1000,
        **more,
    }


def config(*sources, **more):
    document = {"study": {"name": "chat"}, "sources": list(sources), **more}
    return parse_config(document, place="study.toml", folder=Path())


def by_series(batches):
    found = {}
    for batch in batches:
        ends = np.cumsum(batch.counts)
        for labels, begin, end in zip(batch.labels, ends - batch.counts, ends, strict=True):
            mine = found.setdefault(series_text(labels), {})
            pairs = zip(
                batch.time_ms[begin:end].tolist(), batch.bits[begin:end].tolist(), strict=True
            )
            for time_ms, bits in pairs:
                assert time_ms not in mine, "a sample came twice"
                mine[time_ms] = bits
    return found


def numbers(found):
    """Set NaN and staleness markers aside, and series that hold nothing else."""

    def is_number(bits):
        return bits & 0x7FFFFFFFFFFFFFFF <= 0x7FF0000000000000

    kept = {name: {t: b for t, b in s.items() if is_number(b)} for name, s in found.items()}
    return {name: samples for name, samples in kept.items() if samples}


def stale(found):
    return {(name, t) for name, s in found.items() for t, b in s.items() if b == STALE_BITS}


def dumped(data):
    line = re.compile(r"(\{.*\}) (\S+) (-?\d+)")
    found = {}
    for row in promtool("tsdb", "dump", data).splitlines():
        name, value, time_ms = line.fullmatch(row).groups()
        found.setdefault(name, {})[int(time_ms)] = bits_of(float(value))
    return found


def from_server(url, span, fetch, tiles=1):
    edges = [span[0] * 1000 + (span[1] - span[0]) * 1000 * i // tiles for i in range(tiles + 1)]
    with Server(config(asked(url, span)).sources[0], "here") as server:
        return by_series(
            batch
            for first, last in pairwise(edges)
            for batch in fetch(server, Wanted(ALL, first, last - 1), {})
        )


def from_blocks(data):
    return by_series(
        batch
        for block in find_blocks(str(data), "here")[0]
        for batch in read_block(block, lambda _: True, Passed())
    )


def assert_routes_agree(url, data, span):
    blocks = from_blocks(data)
    remote = from_server(url, span, fetch_remote)
    ranges = from_server(url, span, fetch_ranges)
    assert numbers(blocks) == numbers(dumped(data))
    assert numbers(blocks) == numbers(remote)
    assert numbers(blocks) == numbers(ranges)
    assert stale(blocks) == stale(remote)
    assert stale(ranges) == set()
    return blocks


def test_written_samples_are_the_same_by_every_route(written_server, written_blocks):
    found = assert_routes_agree(written_server, written_blocks, WRITTEN)
    assert sum(map(len, found.values())) > 40_000


@pytest.mark.recordings
def test_recorded_samples_are_the_same_by_every_route(recorded_server, recorded_blocks):
    found = assert_routes_agree(recorded_server, recorded_blocks, RECORDED)
    assert sum(map(len, found.values())) == 613_495
    assert len(stale(found)) == 658


@pytest.mark.parametrize("fetch", [fetch_remote, fetch_ranges])
def test_tiles_do_not_matter(written_server, fetch):
    whole = from_server(written_server, WRITTEN, fetch)
    assert from_server(written_server, WRITTEN, fetch, tiles=7) == whole
    assert from_server(written_server, WRITTEN, fetch, tiles=50) == whole


def tables(telemetry):
    """All that later stages see of the samples, but for texts and the count of NaN."""
    rows = {
        name: sorted((replace(row, samples=0, source=0) for row in found), key=lambda row: row.key)
        for name, found in telemetry.series.items()
    }
    samples = {
        name: telemetry.samples(*name).sort("key", "time_ms").rows() for name in telemetry.series
    }
    counts = {}
    for name, found in samples.items():
        start_ms = min((time_ms for _, time_ms, _, _ in found), default=0) - 15_000.0
        sums = telemetry.bucket_counts(*name, start_ms=start_ms, step_ms=15_000.0, steps=6000)
        counts[name] = {cell: of_step.tolist() for cell, of_step in sums.items()}
    return rows, telemetry.facts, samples, counts


def studied(folder, source, **more):
    return tables(read_telemetry(config(source, **more), folder))


def assert_studies_agree(tmp_path, url, data, span, monkeypatch):
    dump = tmp_path / "dump.txt"
    dump.write_text(promtool("tsdb", "dump", data), encoding="utf-8")
    blocks = studied(tmp_path / "tsdb", {"kind": "tsdb", "path": str(data)})
    assert blocks[2], "there are samples"
    assert studied(tmp_path / "dump", {"kind": "tsdb-dump", "path": str(dump)}) == blocks
    assert studied(tmp_path / "remote", asked(url, span)) == blocks
    monkeypatch.setattr(
        "signalstudy.telemetry.prometheus.ROUTES",
        [r for r in prometheus_routes() if r.name == "range queries"],
    )
    told = read_telemetry(config(asked(url, span)), tmp_path / "ranges")
    assert any("by range queries" in note for note in told.notes)
    assert tables(told) == blocks


def prometheus_routes():
    from signalstudy.telemetry.prometheus import ROUTES  # noqa: PLC0415 - before it is replaced

    return ROUTES


def test_written_studies_are_the_same_by_every_route(
    tmp_path, written_server, written_blocks, monkeypatch
):
    assert_studies_agree(tmp_path, written_server, written_blocks, WRITTEN, monkeypatch)


@pytest.mark.recordings
def test_recorded_studies_are_the_same_by_every_route(
    tmp_path, recorded_server, recorded_blocks, monkeypatch
):
    assert_studies_agree(tmp_path, recorded_server, recorded_blocks, RECORDED, monkeypatch)


def test_the_route_is_chosen_by_asking_and_said(tmp_path, written_server):
    said = []
    told = read_telemetry(
        config(asked(written_server, WRITTEN)), tmp_path / "a", progress=said.append
    )
    assert any("version 2" in note and "by remote read" in note for note in told.notes)
    assert any("series every" in line and "samples" in line for line in said)
    assert told.source_files == (written_server,)


def test_above_the_budget_nothing_is_fetched_and_a_shorter_span_is_proposed(
    tmp_path, written_server
):
    said = []
    with pytest.raises(
        ConfigurationError, match=r"nothing was fetched\. last = \"[0-9]+[hm]\""
    ) as no:
        read_telemetry(
            config(asked(written_server, WRITTEN, max_samples=20_000)),
            tmp_path / "a",
            progress=said.append,
        )
    assert not any("tiles" in line for line in said)
    assert not (tmp_path / "a").exists()
    # latency and tokens are what a study needs: of this fleet the gauge alone can be spared
    assert re.search(
        rf"leave out, by match = .*{RUNNING} \([0-9]+% of it; costs running", str(no.value)
    )


def test_what_is_proposed_to_be_dropped_can_be_pasted(tmp_path, written_server):
    left = asked(written_server, WRITTEN, match=[f'{{__name__!~"{RUNNING}.*"}}'])
    told = read_telemetry(config(left), tmp_path / "a")
    metrics = {row.metric for rows in told.series.values() for row in rows}
    assert RUNNING not in metrics
    assert TOKENS in metrics


def test_the_last_part_of_a_server_and_of_blocks_is_the_same(
    tmp_path, written_server, written_blocks
):
    study = tmp_path / "study.toml"
    end = instant(START + EVERY * STEPS)
    about = f'kind = "prometheus"\nurl = "{written_server}"\nstart = {instant(START)}\nend = {end}'
    found = []
    for source in (about, f'kind = "tsdb"\npath = "{written_blocks}"'):
        study.write_text(f'[study]\nname = "chat"\n[[sources]]\n{source}\n', encoding="utf-8")
        told = read_telemetry(read_config(study, last="1h"), tmp_path / str(len(found)))
        found.append(
            {row.key: told.facts[row.key] for rows in told.series.values() for row in rows}
        )
    assert found[0].keys() == found[1].keys()
    for facts in zip(*(rows.values() for rows in found), strict=True):
        first, last = min(f.first_ms for f in facts), max(f.last_ms for f in facts)
        assert 3_500_000 < last - first < 3_620_000


def test_openmetrics_text_is_read_as_the_blocks_made_of_it(tmp_path, written_blocks):
    text = {"kind": "openmetrics", "path": str(written_blocks.parent / "written.txt")}
    blocks = studied(tmp_path / "tsdb", {"kind": "tsdb", "path": str(written_blocks)})
    assert studied(tmp_path / "text", text) == blocks


def test_match_narrows_what_is_fetched(tmp_path, written_server):
    one = asked(written_server, WRITTEN, match=['{replica="d0"}'])
    told = read_telemetry(config(one), tmp_path / "a")
    assert {row.replica for rows in told.series.values() for row in rows} == {"d0"}
    two = asked(written_server, WRITTEN, match=['{replica="d0"}', TOKENS])
    told = read_telemetry(config(two), tmp_path / "b")
    [rows] = told.series.values()
    assert len([row for row in rows if row.metric == TOKENS]) == 3
    assert {row.replica for row in rows if row.metric == RUNNING} == {"d0"}
    assert all(fact.copies == 0 for fact in told.facts.values())


def test_a_server_without_known_metrics_says_so(tmp_path, written_server):
    nothing = asked(written_server, (START - 90_000, START - 86_400))
    with pytest.raises(TableError, match="no metric that the study knows"):
        read_telemetry(config(nothing), tmp_path / "a")


def test_a_store_of_a_server_is_reused(tmp_path, written_server):
    said = []
    ask = config(asked(written_server, WRITTEN))
    first = read_telemetry(ask, tmp_path / "a")
    assert read_telemetry(ask, tmp_path / "a", progress=said.append).digest == first.digest
    assert said == ["sources are unchanged: the store is reused"]
    assert not (tmp_path / "a" / "fetched").exists()


def test_expressions_of_the_server_become_signals(tmp_path, written_server):
    query = f"sum by (service, pool) (rate({TOKENS}[1m]))"
    ask = asked(
        written_server,
        WRITTEN,
        match=[RUNNING],
        queries={"decode_tokens_per_second": query},
    )
    own = {"name": "busy_ratio", "promql": f"avg by (service, pool) ({RUNNING} > bool 20)"}
    told = read_telemetry(config(ask, signals=[own]), tmp_path / "a")
    assert [row.quantity for row in told.series["chat", "production"] if row.metric == own["name"]]
    [row] = [r for rows in told.series.values() for r in rows if r.metric.startswith("decode_")]
    assert (row.service, row.pool, row.replica) == ("chat", "decode", None)
    assert told.facts[row.key].cadence_ms == 60_000
    samples = told.samples("chat", "production").filter(key=row.key)
    mean = samples["value"].sum() / (samples["interval_ms"].sum() / 1000)
    assert mean == pytest.approx(3 * 450 / EVERY, rel=0.1)
