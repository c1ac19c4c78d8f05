"""What single series tell of their quality: planted faults are found, sound data are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.timeline.align import align
from tests.telemetry.written import iso, read, sample, series, study, timeline_of, written

STEPS = 400
RUNNING, TOKENS = "vllm:num_requests_running", "vllm:generation_tokens_total"


def rows_of(timeline, check):
    return [row for row in timeline.quality if row.check.startswith(check)]


def with_log(tmp_path, rows, arrived, **latencies):
    """Align telemetry beside a log of requests that arrived so many seconds after the start."""
    tokens = {"service": "chat", "prompt_tokens": 9, "output_tokens": 9}
    log = [{"arrived_at": iso(1_767_571_200 + t), **tokens, **latencies} for t in arrived]
    sources = [
        {"kind": "table", "path": written(tmp_path, rows, "table.csv")},
        {"kind": "requests", "path": written(tmp_path, log, "log.csv")},
    ]
    return align(read(tmp_path, study(*sources)), "chat")


def moving(seed=0, count=STEPS):
    return np.random.default_rng(seed).integers(1, 30, count).astype(float)


def test_an_exporter_slower_than_its_scrape_is_said_with_its_period(tmp_path):
    stairs = np.repeat(np.random.default_rng(1).uniform(20, 90, STEPS // 3 + 1), 3)[:STEPS]
    rows = series("DCGM_FI_DEV_GPU_UTIL", stairs) + series(RUNNING, moving())
    [found] = rows_of(timeline_of(tmp_path, rows), "refresh of")
    assert found.check == "refresh of decode.gpu_utilization_ratio"
    assert "scraped every 10 s but renewed every 30 s" in found.note


def test_a_pair_of_servers_under_one_name_is_a_sawtooth(tmp_path):
    """The second server began to count later: its values are lower, and come in between."""
    first = np.cumsum(moving())
    rows = [sample(TOKENS, 10.0 * i, v) for i, v in enumerate(first)]
    rows += [sample(TOKENS, 10.0 * i + 4, v - 15) for i, v in enumerate(first) if v > 15]
    [found] = rows_of(timeline_of(tmp_path, rows), "sawtooth")
    assert found.status == "warning"
    assert TOKENS in found.note
    assert "ha_replica" in found.note


def test_a_restart_now_and_then_is_no_sawtooth(tmp_path):
    values = np.concatenate([np.cumsum(part) for part in np.split(moving(), 8)])
    assert not rows_of(timeline_of(tmp_path, series(TOKENS, values)), "sawtooth")


def test_a_series_that_outlives_its_pod_is_a_ghost(tmp_path):
    gone = moving(2)
    gone[STEPS // 2 :] = 7.0
    rows = series(RUNNING, moving(1), replica="d0") + series(RUNNING, gone, replica="d1")
    [found] = rows_of(timeline_of(tmp_path, rows), "ghost series")
    assert "decode.running_requests of d1" in found.note
    assert "d0" not in found.note


def test_a_replica_that_stays_full_is_no_ghost(tmp_path):
    share = [0.5 + 0.01 * (i % 9) for i in range(STEPS)]
    full = [*share[: STEPS // 2], *[1.0] * (STEPS // 2)]
    name = "gpu_utilization_ratio"
    rows = series(name, share, replica="d0") + series(name, full, replica="d1")
    assert not rows_of(timeline_of(tmp_path, rows), "ghost series")


@pytest.mark.parametrize("value", [0.0, None])
def test_a_pod_that_idles_or_ends_is_no_ghost(tmp_path, value):
    quiet = [*moving(2)[: STEPS // 2], *([] if value is None else [value] * (STEPS // 2))]
    rows = series(RUNNING, moving(1), replica="d0") + series(RUNNING, quiet, replica="d1")
    assert not rows_of(timeline_of(tmp_path, rows), "ghost series")


@pytest.mark.parametrize("offset", [0.0, 7.0, -23.0])
def test_the_clocks_of_log_and_metrics_are_compared(tmp_path, offset):
    """A gateway counts arrivals, by a clock that is ahead of the log's."""
    random = np.random.default_rng(3)
    pace = 0.4 + 0.3 * np.sin(np.arange(STEPS) / 9.0)
    arrived = np.sort(
        np.concatenate(
            [10.0 * i + random.uniform(0, 10, random.poisson(10 * p)) for i, p in enumerate(pace)]
        )
    )
    counted = [float((arrived + offset <= 10.0 * i).sum()) for i in range(STEPS)]
    rows = series("dynamo_frontend_requests_started_total", counted, pool="gateway")
    rows += series(RUNNING, moving())
    timeline = with_log(tmp_path, rows, arrived)
    [found] = rows_of(timeline, "clock of the request log")
    assert found.status == ("ok" if offset == 0 else "warning")
    said = float(found.note.split(": ")[1].split(" s")[0])
    assert said == pytest.approx(offset, abs=1.0)


def test_a_prefill_engine_is_done_with_a_request_at_its_first_token(tmp_path):
    """What it counts as finished runs ahead of the log by the decode time: no clock is off."""
    random = np.random.default_rng(5)
    arrived = np.sort(random.uniform(0.0, 10.0 * STEPS, 3 * STEPS))
    first, last = arrived + 0.5, arrived + 25.0
    stamps = 10.0 * np.arange(STEPS)
    rows = series(RUNNING, moving())
    for pool, at in (("prefill", first), ("decode", last)):
        counted = np.searchsorted(np.sort(at), stamps).astype(float)
        rows += series("vllm:request_success_total", counted, pool=pool)
    timeline = with_log(tmp_path, rows, arrived, ttft_seconds=0.5, e2e_seconds=25.0)
    [found] = rows_of(timeline, "clock of the request log")
    assert found.status == "ok"


def test_what_nobody_exports_is_one_row(tmp_path):
    [found] = rows_of(
        timeline_of(tmp_path, series(RUNNING, moving())), "signals exported by no one"
    )
    assert "decode.sm_activity_ratio" in found.note
    assert "DCGM_FI_PROF_SM_ACTIVE" in found.note
