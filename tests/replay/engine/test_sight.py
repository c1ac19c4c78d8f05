"""What a scaler sees of the fleet: close to what its finished requests say, and no sooner."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from signalstudy.replay.controller import Controller, Reads
from signalstudy.replay.engine.run import Fleet, job_of, run
from signalstudy.replay.engine.sight import View, check_reads
from signalstudy.replay.relations import Relation
from signalstudy.vocabulary.errors import SignalStudyError
from tests.replay.engine import simulated

pytest.importorskip("dynamo._core", reason="the engine of the extra `replay` is for Linux")
WINDOW = 120.0
READS = tuple(
    Reads(pool, signal, is_total, WINDOW)
    for pool, signal, is_total in [
        ("decode", "decode_tokens_per_second", True),
        ("prefill", "prefill_tokens_per_second", True),
        ("prefill", "prefill_uncached_tokens_per_second", True),
        ("prefill", "requests_per_second", True),
        ("prefill", "gpu_utilization_ratio", False),
        ("decode", "gpu_utilization_ratio", False),
        ("decode", "running_requests", True),
        ("decode", "tbt_mean_seconds", False),
        ("decode", "ttft_p90_seconds", False),
    ]
)
VIEW = View(10.0, {}, {}, {"prefill": "", "decode": ""}, {}, 0)


def looks(reads=READS):
    """Give a controller that looks and leaves everything as it is."""

    def decide(state, observation):
        return {}

    return Controller("looks", reads, {}, {}, {}, decide)


def ran_with(tmp_path, view=VIEW, reads=READS):
    sides = {"prefill": "prefill", "decode": "decode"}
    fleet = Fleet(sides, {"prefill": 3, "decode": 3}, 60.0, dict.fromkeys(sides, 1.0),
                  simulated.profile())  # fmt: skip
    per_second = np.concatenate([np.full(8, 1.0), np.full(8, 3.0)])
    trace = simulated.trace(per_second, cached=128)
    job = job_of(trace, tmp_path / "trace.jsonl", fleet, view)
    return run(replace(job, make=functools.partial(looks, reads), plan=None), tmp_path)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    return ran_with(tmp_path_factory.mktemp("sight"))


def seen(ran, key):
    """Give (seconds, values) of a signal once its window is whole."""
    at = np.array([moment for moment, _ in ran.seen])
    values = np.array([saw[key] for _, saw in ran.seen])
    known = np.isfinite(values)
    return at[known], values[known]


def mean_rate(when_ms, amounts, ends):
    """Give the true rate over the window that ends with the last scrape before each time."""
    order = np.argsort(when_ms)
    when, total = when_ms[order] / 1000.0, np.concatenate([[0.0], np.cumsum(amounts[order])])
    until = total[np.searchsorted(when, ends, side="right")]
    return (until - total[np.searchsorted(when, ends - WINDOW, side="right")]) / WINDOW


def scrape_before(at):
    return np.floor(at / 10.0 + 1e-6) * 10.0


def test_nothing_is_known_before_the_window_is_whole(ran):
    at, _ = seen(ran, "decode.decode_tokens_per_second")
    assert at[0] >= WINDOW
    assert ran.seen[0][0] < 30.0


@pytest.mark.parametrize(
    ("key", "when", "amount", "within"),
    [
        ("prefill.requests_per_second", "prefilled_ms", None, 0.1),
        ("prefill.prefill_tokens_per_second", "prefilled_ms", "prompt_tokens", 0.1),
        ("prefill.prefill_uncached_tokens_per_second", "prefilled_ms", "uncached", 0.15),
    ],
)
def test_work_is_what_was_done(ran, key, when, amount, within):
    at, values = seen(ran, key)
    rows = ran.requests
    uncached = rows["prompt_tokens"] - rows["cached_tokens"]
    amounts = {None: np.ones(uncached.size), "uncached": uncached}.get(amount)
    truth = mean_rate(rows[when], rows[amount] if amounts is None else amounts, scrape_before(at))
    busy = (truth > 0.3 * truth.max()) & (at > 2.0 * WINDOW)
    assert values[busy] == pytest.approx(truth[busy], rel=within)


def test_output_tokens_are_those_of_the_engine(ran):
    at, values = seen(ran, "decode.decode_tokens_per_second")
    rows = ran.requests
    shares = np.linspace(0.0, 1.0, 20)[:, None]
    when = rows["first_token_ms"] + shares * (rows["last_token_ms"] - rows["first_token_ms"])
    amounts = np.broadcast_to(rows["output_tokens"] / 20.0, when.shape)
    truth = mean_rate(when.ravel(), amounts.ravel(), scrape_before(at))
    assert values == pytest.approx(truth, rel=0.05)


def test_utilization_is_the_busy_share(ran):
    at, values = seen(ran, "prefill.gpu_utilization_ratio")
    rows = ran.requests
    uncached = rows["prompt_tokens"] - rows["cached_tokens"]
    truth = mean_rate(rows["prefilled_ms"], uncached * 1e-3, scrape_before(at)) / 3.0
    assert values == pytest.approx(truth, abs=0.06)
    _, decode = seen(ran, "decode.gpu_utilization_ratio")
    assert 0.2 < decode.mean() <= 1.0


def test_latencies_are_those_of_requests_that_finished(ran):
    rows = ran.requests
    at, tbt = seen(ran, "decode.tbt_mean_seconds")
    _, ttft = seen(ran, "decode.ttft_p90_seconds")
    ends = scrape_before(at)
    for end, mean, quantile in list(zip(ends, tbt, ttft, strict=True))[::7]:
        done = (rows["last_token_ms"] <= 1000 * end) & (
            rows["last_token_ms"] > 1000 * (end - WINDOW)
        )
        assert mean == pytest.approx(rows["tbt_ms"][done].mean() / 1000.0, rel=0.03)
        exact = np.quantile(rows["ttft_ms"][done], 0.9) / 1000.0
        assert quantile == pytest.approx(exact, rel=0.35)


def test_lag_and_noise_of_the_study_are_added(tmp_path, ran):
    key = "decode.decode_tokens_per_second"
    late = ran_with(tmp_path, replace(VIEW, lag_seconds={key: 60.0}), READS[:1])
    at, values = seen(ran, key)
    late_at, late_values = seen(late, key)
    assert late_at[0] >= at[0] + 60.0 - 15.0
    same = np.interp(late_at - 60.0, at, values)
    # Decisions do not fall on scrapes, so that a reading may be one scrape older.
    assert np.median(np.abs(late_values / same - 1.0)) < 0.03
    noisy = ran_with(tmp_path, replace(VIEW, noise_ratio={key: 0.2}), READS[:1])
    _, trembling = seen(noisy, key)
    # A window holds 12 scrapes: 0.2 / sqrt(12) is about 6 %.
    assert 0.02 < np.std(trembling / values - 1.0) < 0.12


def test_signals_the_engine_lacks_are_read_off_the_studys_relation(tmp_path):
    relation = Relation(np.array([0.0, 100.0]), np.array([0.0, 1.0]), 0.0, 100.0)
    view = replace(VIEW, work={"decode": "decode_tokens_per_second"},
                   relations={"decode.sm_activity_ratio": relation})  # fmt: skip
    reads = (READS[0], Reads("decode", "sm_activity_ratio", False, WINDOW))
    found = ran_with(tmp_path, view, reads)
    _, tokens = seen(found, "decode.decode_tokens_per_second")
    _, activity = seen(found, "decode.sm_activity_ratio")
    assert activity == pytest.approx(np.minimum(tokens / 3.0 / 100.0, 1.0), rel=0.02)


def test_what_nobody_shows_is_refused():
    known = {"decode": ["sm_activity_ratio"]}
    with pytest.raises(SignalStudyError, match="unknown signal 'moon_ratio'"):
        check_reads(looks((Reads("decode", "moon_ratio", False, 60.0),)), VIEW, known.get)
    with pytest.raises(SignalStudyError, match="how it answers to work"):
        check_reads(looks((Reads("decode", "sm_activity_ratio", False, 60.0),)), VIEW, known.get)
