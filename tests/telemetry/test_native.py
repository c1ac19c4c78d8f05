"""Native histograms: Prometheus's own cases in our words (README.md), and the study's view."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalstudy.telemetry.chunks import ChunkError
from signalstudy.telemetry.native import NativeBatch, bounds_of, cumulative, edges_of
from signalstudy.telemetry.native_chunks import HISTOGRAM, decode_native
from signalstudy.telemetry.native_functions import native_increase, native_quantile, native_rate
from signalstudy.telemetry.prom_functions import VERSION_2, VERSION_3
from signalstudy.telemetry.raw_parts import RawParts
from tests.telemetry.chunk_writer import BitWriter
from tests.telemetry.native_writer import CUSTOM, Histogram, encode_native, integer, natural
from tests.telemetry.written import read, study, written

BUCKETS = [2, 3, 0, 1, 4]


def native(positive=(), negative=(), zero=0.0, width=0.001, schema=0, total=100.0, every_ms=0):
    """Make samples of buckets from index 0 on, mirrored below zero; one row a sample."""
    rows = [np.atleast_2d(np.array(part, dtype=float)) for part in (positive, negative)]
    size = max(row.shape[0] for row in rows)
    low, high = bounds_of(schema, np.arange(rows[0].shape[1]))
    mirror = bounds_of(schema, np.arange(rows[1].shape[1]))
    zeros = np.broadcast_to(np.atleast_1d(np.array(zero, dtype=float)), size)[:, None]
    counts = np.hstack([zeros, *(np.broadcast_to(row, (size, row.shape[1])) for row in rows)])
    return NativeBatch(
        {"__name__": "h"},
        np.arange(size) * every_ms,
        counts.sum(axis=1),
        np.broadcast_to(np.atleast_1d(np.array(total, dtype=float)), size).copy(),
        np.concatenate([[-width], low, -mirror[1]]),
        np.concatenate([[width], high, -mirror[0]]),
        counts,
    )


ABOVE = native(BUCKETS, zero=2)
BELOW = native(negative=BUCKETS, zero=2)
BOTH = native(BUCKETS, BUCKETS, zero=4)
QUANTILES = {
    "half of a histogram": (native([1, 2, 1]), {0.5: 2**0.5}),
    "mirrored": (native(negative=[1, 2, 1]), {0.5: -(2**0.5)}),
    "between two halves": (native([1, 2, 1], [1, 2, 1]), {0.5: 0.5}),
    "only a zero bucket": (native(zero=1, width=0.5), {0.5: 0.0}),
    "nothing": (native([0, 0]), {0.5: np.nan}),
    "above zero": (
        ABOVE,
        {1.001: np.inf, 1: 16, 0.99: 15.67072476139083, 0.9: 12.99603834169977, 0.6: 4.594793419988138, 0.5: 1.5874010519681994, 0.1: 0.0006, 0: 0, -1: -np.inf},  # noqa: E501
    ),
    "below zero": (
        BELOW,
        {1.001: np.inf, 1: 0, 0.99: -0.00006, 0.9: -0.0006, 0.5: -1.5874010519681996, 0.1: -12.996038341699768, 0: -16, -1: -np.inf},  # noqa: E501
    ),
    "on both sides": (
        BOTH,
        {1: 16, 0.99: 15.34822590920423, 0.9: 10.556063286183155, 0.7: 1.2030250360821164, 0.55: 0.0006, 0.5: 0, 0.45: -0.0006, 0.3: -1.2030250360821169, 0.1: -10.556063286183155, 0.01: -15.34822590920423, 0: -16},  # noqa: E501
    ),
    "the inverse of a fraction": (ABOVE, {0.08333333333333333: 0.0005, 0.6320802083934297: 6}),
    **{
        f"schema {schema}, bucket {empty}": (
            native([0] * empty + [5], schema=schema), {0.5: 2 ** ((empty - 0.5) * 2.0**-schema)}
        )
        for schema in (-1, 0, 1)
        for empty in (1, 2)
    },
}  # fmt: skip


@pytest.mark.parametrize("name", QUANTILES)
def test_quantiles_are_those_of_prometheus(name):
    batch, expected = QUANTILES[name]
    found = {quantile: native_quantile(quantile, batch)[0] for quantile in expected}
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-15, nan_ok=True)


def test_version_2_interpolates_linearly():
    assert native_quantile(0.5, native([1, 2, 1]), VERSION_2) == pytest.approx([1.5])


def test_what_is_no_number_is_counted_but_in_no_bucket():
    """Of four observations one was NaN: the highest quantiles are the end of the last bucket."""
    base = native([1, 2], total=np.nan)
    batch = NativeBatch(
        base.labels, base.time_ms, base.count + 1, base.total, base.lower, base.upper, base.counts
    )
    assert native_quantile(0.99, batch) == pytest.approx([2.0])
    assert native_quantile(0.25, batch) == pytest.approx([1.0])


def test_custom_buckets_are_those_of_a_classic_histogram():
    lower, upper = np.array([-np.inf, 5.0, 10.0]), np.array([5.0, 10.0, np.inf])
    batch = NativeBatch(
        {}, np.zeros(1, np.int64), np.array([12.0]), np.array([0.0]), lower, upper,
        np.array([[4.0, 4.0, 4.0]]), is_custom=True,
    )  # fmt: skip
    found = [native_quantile(q, batch)[0] for q in (0, 0.25, 0.5, 0.99)]
    assert found == pytest.approx([0.0, 3.75, 7.5, 10.0])


INCREASING = native(
    [[1 + i, 2 + 12 * i, 1] for i in range(11)], total=[5.0 + i for i in range(11)], every_ms=60_000
)


def test_rates_and_increases_are_those_of_counters():
    at = np.array([600_000])
    rate = native_rate(INCREASING, at, 300_000)
    assert rate.count == pytest.approx([13 / 60])
    assert rate.total == pytest.approx([1 / 60])
    assert rate.counts[0] == pytest.approx([0, 1 / 60, 12 / 60, 0])
    increase = native_increase(INCREASING, at, 300_000)
    assert increase.counts[0] == pytest.approx([0, 5, 60, 0])
    assert np.isnan(native_rate(INCREASING, at, 30_000).count).all()


def test_a_fall_of_any_bucket_resets_the_whole():
    """The count grows on, yet the second bucket has begun anew."""
    batch = native([[1, 5], [1, 6], [9, 2], [10, 3]], every_ms=60_000)
    found = native_increase(batch, np.array([180_000]), 180_000, VERSION_2)
    assert found.counts[0] == pytest.approx([0, 10, 4])
    assert found.count == pytest.approx([14])


def test_only_version_3_stops_at_the_zero_of_the_count():
    batch = native([[1], [11], [21]], every_ms=60_000)
    at = np.array([130_000])
    assert native_increase(batch, at, 190_000, VERSION_3).count == pytest.approx(
        [20 * (120 + 6 + 10) / 120]
    )
    assert native_increase(batch, at, 190_000, VERSION_2).count == pytest.approx(
        [20 * (120 + 60 + 10) / 120]
    )


CHUNK = [
    Histogram(10_000 * i, 0.5 * i, {-3: i, -2: 2 * i, 4: i * i}, {1: i // 2}, zero=i // 3)
    for i in range(40)
]


def decoded(content, encoding=HISTOGRAM):
    return decode_native(content, encoding, {"__name__": "h"})


def test_chunks_give_what_was_written():
    batch = decoded(encode_native(CHUNK, schema=2))
    assert batch.time_ms.tolist() == [sample.time_ms for sample in CHUNK]
    assert batch.count.tolist() == [sample.count for sample in CHUNK]
    assert batch.total.tolist() == [sample.total for sample in CHUNK]
    assert batch.upper == pytest.approx([2.0**-128, 2**-0.75, 2**-0.5, 2.0, -(2.0**0)])
    assert batch.lower[1:4] == pytest.approx([0.5, 2**-0.75, 2**0.75])
    last = [13, 39, 78, 1521, 19]
    assert batch.counts[-1].tolist() == last


def test_chunks_of_custom_buckets_have_the_bounds_that_were_given():
    samples = [Histogram(1000 * i, 1.0 * i, {0: i, 2: 3 * i, 3: i}) for i in range(9)]
    batch = decoded(encode_native(samples, CUSTOM, bounds=(0.25, 0.5, 1.0)))
    assert batch.is_custom
    assert batch.lower.tolist() == [-np.inf, 0.5, 1.0]
    assert batch.upper.tolist() == [0.25, 1.0, np.inf]
    assert batch.counts[-1].tolist() == [8, 24, 8]


def test_gauge_histograms_are_none_of_ours():
    assert decoded(encode_native(CHUNK, schema=2, flags=0b11000000)) is None


@given(seed=st.integers(0, 10_000), encoding=st.sampled_from([2, 3]))
def test_damaged_chunks_are_an_error_or_other_numbers_never_more(seed, encoding):
    random = np.random.default_rng(seed)
    content = bytearray(encode_native(CHUNK, schema=2))
    for _ in range(int(random.integers(1, 4))):
        content[int(random.integers(0, len(content)))] ^= 1 << int(random.integers(0, 8))
    content = bytes(content[: int(random.integers(1, len(content) + 1))])
    with contextlib.suppress(ChunkError):
        found = decoded(content, encoding)
        assert found is None or found.counts.shape == (found.time_ms.size, found.lower.size)


@pytest.mark.parametrize("of_negative", [False, True])
def test_spans_without_end_are_refused_at_the_end_of_the_chunk(of_negative):
    out = BitWriter()
    out.write(0, 8)  # the zero bucket has the width of zero
    integer(out, 2)  # the schema
    if of_negative:
        natural(out, 0)
    natural(out, 1 << 62)  # so many spans follow, each of a length and an offset of zero
    head = (1).to_bytes(2, "big") + b"\0"
    with pytest.raises(ChunkError, match="truncated"):
        decode_native(head + out.content() + bytes(40), HISTOGRAM, {})


def test_edges_are_those_that_no_bucket_straddles():
    assert edges_of([0.5, 1.0, 2.0], [1.0, 2.0, 4.0]).tolist() == [0.5, 1.0, 2.0, 4.0]
    assert edges_of([0.5, 1.0, 1.0], [1.0, 2.0, 4.0]).tolist() == [0.5, 1.0, 4.0]
    assert edges_of([0.0, 0.5], [0.001, 1.0]).tolist() == [0.001, 0.5, 1.0]
    assert edges_of([-np.inf, 1.0], [0.5, np.inf]).tolist() == [0.5, 1.0]
    low, high = bounds_of(8, np.arange(400))
    fine = edges_of(low, high)
    assert fine.size <= 160
    assert all(np.isclose(edge, [*low, *high], rtol=1e-11).any() for edge in fine)


def test_observations_below_an_edge_are_counted():
    batch = native([2, 3, 4], zero=1).from_zero()
    edges = edges_of(batch.lower, batch.upper)
    assert edges.tolist() == [0.001, 0.5, 1.0, 2.0, 4.0]
    assert cumulative(batch, edges)[0].tolist() == [1, 1, 3, 6, 10, 10]


def expanded(folder, batches):
    """Give metric and le -> time -> value of the classic series, and the notes."""
    import duckdb  # noqa: PLC0415

    parts = RawParts(folder, "production")
    for name, part in batches.items():
        parts.write(name, part)
    with duckdb.connect() as connection:
        notes = parts.register(connection, 1)
        rows = connection.execute(
            "SELECT metric, le, time_ms, value FROM raw_1 JOIN raw_series_1 USING (key)"
        ).fetchall()
    found = {}
    for metric, le, time_ms, value in rows:
        found.setdefault((metric, le), {})[time_ms] = value
    return found, notes


def test_the_study_sees_the_series_of_a_classic_histogram_however_it_was_cut(tmp_path):
    batch = native([[i, 2 * i, i] for i in range(9)], total=[3.0 * i for i in range(9)], every_ms=9)
    whole, notes = expanded(tmp_path / "a", {"0": [batch]})
    parts = {"0": [batch.between(0, 30)], "1": [batch.between(31, 50), batch.between(51, 99)]}
    assert expanded(tmp_path / "b", parts)[0] == whole
    assert any("9 samples of native histograms" in note for note in notes)
    edges = ["0.5", "1", "2", "4", "+Inf"]
    assert {le for metric, le in whole if metric == "h_bucket"} == set(edges)
    assert [whole["h_bucket", le][72] for le in edges] == [0, 8, 24, 32, 32]
    assert (whole["h_count", None][72], whole["h_sum", None][72]) == (32, 24)


def test_where_a_server_has_both_kinds_the_classic_one_counts(tmp_path):
    from signalstudy.telemetry.raw_parts import SampleBatch  # noqa: PLC0415

    batch = native([[1, 2], [2, 4]], every_ms=10)
    classic = SampleBatch(
        ({"__name__": "h_count"},),
        np.array([2]),
        np.array([0, 10]),
        np.array([3.0, 6.0]).view(np.uint64),
    )
    found, notes = expanded(tmp_path, {"0": [classic, batch]})
    assert set(found) == {("h_count", None)}
    assert not any("native" in note for note in notes)


def test_a_dump_prints_them_between_braces(tmp_path):
    labels = '{__name__="vllm:time_to_first_token_seconds", pod="p", pool="decode", service="chat"}'
    lines = []
    for i in range(1, 30):
        buckets = f"[-0.001,0.001]:{i}, (0.5,1]:{2 * i}, (2,4]:{i}"
        at = 1_767_571_200_000 + 10_000 * i
        lines.append(f"{labels} {{count:{4 * i}, sum:{2.5 * i}, {buckets}}} {at}\n")
    dump = written(tmp_path, "".join(lines).encode(), "dump.txt")
    told = read(tmp_path, study({"kind": "tsdb-dump", "path": dump}))
    assert any("29 samples of native histograms are read" in note for note in told.notes)
    rows = {row.le: row.key for row in told.series["chat", "production"] if row.form == "bucket"}
    assert sorted(rows) == [0.001, 0.5, 1.0, 2.0, 4.0, np.inf]
    sums = told.bucket_counts("chat", "production", start_ms=0.0, step_ms=1e15, steps=1)
    by_edge = {edge: float(counts.sum()) for (_, _, edge), counts in sums.items()}
    assert by_edge == {0.001: 28, 0.5: 28, 1.0: 84, 2.0: 84, 4.0: 112, np.inf: 112}
