"""What is known exactly of the recordings comes out exactly."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.telemetry.read import read_telemetry
from signalstudy.timeline.align import align
from signalstudy.vocabulary.objectives import Objective
from tests.house.project import ROOT
from tests.telemetry.written import study

DATA = ROOT.parent / "shared" / "data"
pytestmark = pytest.mark.recordings

ANSWERED, PROMPT_TOKENS, OUTPUT_TOKENS = 7_135, 11_051_714, 1_275_317  # of its README


def recording(*names: str):
    files = [DATA.joinpath(*name.split("/")) for name in names]
    if not all(file.exists() for file in files):
        pytest.skip("the recordings are not beside this checkout")
    return files


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    table, dump = recording("dynamo_live/samples.parquet", "dynamo_live/tsdb_dump.txt.xz")
    folder = tmp_path_factory.mktemp("live")
    labels = {"pools": {"gateway": {"pool": "frontend"}}}
    return {
        "table": read_telemetry(study(table, name="dynamo-live"), folder / "table"),
        "dump": read_telemetry(
            study({"kind": "tsdb-dump", "path": dump}, name="dynamo-live", labels=labels),
            folder / "dump",
        ),
    }


def increase(telemetry, quantity: str) -> float:
    """Sum a counter at the frontend, resets handled, straight from the store."""
    keys = {
        row.key
        for row in telemetry.series[("dynamo-live", "production")]
        if (row.pool, row.quantity) == ("gateway", quantity)
    }
    frame = telemetry.samples("dynamo-live", "production")
    return float(frame.filter(frame["key"].is_in(list(keys)))["value"].sum())


@pytest.mark.parametrize("form", ["table", "dump"])
@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ("prompt_tokens_per_request_sum", PROMPT_TOKENS),
        ("decode_tokens", OUTPUT_TOKENS),
    ],
)
def test_counters_at_the_frontend_increase_by_what_the_client_recorded(
    live, form, quantity, expected
):
    assert increase(live[form], quantity) == expected


@pytest.mark.parametrize("form", ["table", "dump"])
def test_answered_requests_are_those_of_the_client(live, form):
    found = align(live[form], "dynamo-live")
    finished = found.pools["gateway"].signals["requests_per_second"].values
    assert increase(live[form], "finished_requests") == ANSWERED
    assert np.nansum(finished) * found.step_seconds == pytest.approx(ANSWERED, abs=2)


def test_dump_and_table_of_one_capture_agree(live):
    one, two = (align(live[form], "dynamo-live") for form in ("table", "dump"))
    assert one.step_seconds == two.step_seconds == 5.0
    np.testing.assert_allclose(one.time_seconds, two.time_seconds)
    assert one.pools.keys() == two.pools.keys()
    for name, pool in one.pools.items():
        assert pool.signals.keys() == two.pools[name].signals.keys()
        for signal, series in pool.signals.items():
            np.testing.assert_allclose(
                series.values, two.pools[name].signals[signal].values, rtol=1e-9, err_msg=signal
            )
        np.testing.assert_allclose(pool.ready_replicas, two.pools[name].ready_replicas)


def test_replicas_that_come_and_go_are_seen(live):
    decode = align(live["dump"], "dynamo-live").pools["decode"]
    known = decode.ready_replicas[np.isfinite(decode.ready_replicas)]
    assert (known.min(), known.max()) == (2.0, 3.0)


@pytest.mark.parametrize("run", ["ramp_p2d2", "shift"])
def test_histograms_count_as_the_single_requests_do(tmp_path, run):
    """Limits of 1 s and 40 ms are edges: over the whole run both routes must agree."""
    table, log = recording(
        f"dynamo_offline/{run}/samples.parquet", f"dynamo_offline/{run}/requests.parquet"
    )
    limits = (Objective("ttft", 0.99, 1.0), Objective("tbt", 0.99, 0.04))
    service = f"offline-{run.replace('_', '-')}"
    counted = align(read_telemetry(study(table), tmp_path / "a"), service, objectives=limits)
    both = read_telemetry(study(table, {"kind": "requests", "path": log}), tmp_path / "b")
    known = align(both, service, objectives=limits)
    for histogram, single in zip(counted.slo_counts, known.slo_counts, strict=True):
        assert histogram.source.startswith("histogram")
        assert single.source == "requests"
        assert histogram.is_exact
        total, over = histogram.observed.sum(), histogram.over_low.sum()
        assert total == pytest.approx(single.observed.sum(), rel=0.002)
        assert over == pytest.approx(single.over_low.sum(), rel=0.01, abs=5)
    assert known.pools["decode"].demand.source == "requests"
    assert counted.pools["decode"].demand.source == "gateway_tokens"
    one, two = (t.pools["decode"].demand.per_second for t in (counted, known))
    size = min(one.size, two.size)
    inside = np.isfinite(one[:size]) & np.isfinite(two[:size])
    assert np.corrcoef(one[:size][inside], two[:size][inside])[0, 1] > 0.9
