import csv
import math
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from signalstudy.evidence.gather import gather_evidence, view_signal
from signalstudy.evidence.measures import MEASURES
from signalstudy.timeline.timeline import SignalSeries
from tests.evidence.planted import autoregression, day_of_demand, timeline

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "data"
STEPS = 600


def measures_of(evidence, signal):
    return next(s.measures for s in evidence.signals if s.signal == signal)


def test_a_planted_service_is_recovered():
    demand = day_of_demand()
    rng = np.random.default_rng(0)
    signals = {
        "tokens_per_second": np.roll(demand, 2) * rng.normal(1.0, 0.05, demand.size),
        "noise_ratio": 0.5 + autoregression(rng, demand.size, 12, 0.1),
    }
    evidence = gather_evidence(timeline(signals, demand))
    good, bad = (measures_of(evidence, name) for name in signals)
    assert good["lag_seconds"].value == pytest.approx(20.0, abs=1.0)
    assert good["demand_elasticity"].value == pytest.approx(1.0, abs=0.02)
    assert good["independence_probability"].value < 0.01
    assert bad["independence_probability"].value > 0.05
    assert bad["lag_seconds"].status == "unidentified"
    assert evidence.demand_source == {"decode": "requests"}
    for estimates in (good, bad):
        assert list(estimates) == list(MEASURES)
        assert all(estimate.days == pytest.approx(1.0) for estimate in estimates.values())


def test_lags_are_between_centres():
    demand = day_of_demand()
    point = SignalSeries("point", "total", np.roll(demand, 2))
    mean = SignalSeries("mean", "total", np.roll(demand, 2), averaged_seconds=10.0)
    evidence = gather_evidence(timeline({"point": point, "mean": mean}, demand))
    assert measures_of(evidence, "mean")["lag_seconds"].value == pytest.approx(20.0, abs=0.5)
    assert measures_of(evidence, "point")["lag_seconds"].value == pytest.approx(25.0, abs=0.5)


def test_a_total_is_set_against_demand_and_a_share_against_demand_per_ready_replica():
    demand = day_of_demand(steps=100)
    replicas = np.full(100, 4.0)
    replicas[:10] = 0.0
    line = timeline({"x": demand}, demand, replicas=replicas)
    pool = line.pools["decode"]
    total = view_signal(line, pool, SignalSeries("x", "total", demand))
    share = view_signal(line, pool, SignalSeries("x", "intensive", demand))
    np.testing.assert_array_equal(total.reference, demand)
    np.testing.assert_array_equal(share.reference[10:], demand[10:] / 4.0)
    assert np.isnan(share.reference[:10]).all()


def test_excluded_steps_are_left_out_and_not_missed():
    demand = day_of_demand(steps=2000)
    signal = demand.copy()
    signal[500:700] = 9e9
    usable = np.ones(2000, dtype=bool)
    usable[500:700] = False
    measures = measures_of(
        gather_evidence(timeline({"x": signal * 2.0}, demand, usable=usable)), "x"
    )
    assert measures["coverage_ratio"].value == 1.0
    assert measures["demand_correlation"].value == pytest.approx(1.0)


@pytest.mark.parametrize("scale", [1.0, 1.0 + 1e-9])
def test_a_signal_that_is_the_demand_proves_nothing(scale):
    demand = day_of_demand(steps=2000)
    same_as = ("x",) if scale == 1.0 else ()
    evidence = gather_evidence(timeline({"x": demand * scale}, demand, same_as=same_as))
    measures = evidence.signals[0].measures
    for name in ("demand_correlation", "linearity_ratio", "lag_seconds", "demand_elasticity"):
        assert measures[name].status == "not_applicable"
        assert "very signal" in measures[name].note
    assert measures["coverage_ratio"].value == 1.0
    assert evidence.signals[0].block_losses is None


def test_without_demand_the_sentence_says_what_to_add():
    evidence = gather_evidence(timeline({"x": day_of_demand(steps=500)}, None))
    measures = evidence.signals[0].measures
    assert measures["coverage_ratio"].value == 1.0
    for name, measure in MEASURES.items():
        if measure.needs_demand:
            assert measures[name].status == "not_applicable"
            assert "gateway" in measures[name].note
    assert evidence.demand_source == {}


def test_equal_seeds_give_equal_evidence():
    demand = day_of_demand(steps=1000)
    signals = {"x": demand * np.random.default_rng(0).normal(1.0, 0.1, 1000)}
    first, again = (gather_evidence(timeline(signals, demand), seed=3) for _ in range(2))
    assert first.signals[0].measures == again.signals[0].measures


RNG = np.random.default_rng(0)
ODD = {
    "constant": np.full(STEPS, 0.7),
    "zero": np.zeros(STEPS),
    "unknown": np.full(STEPS, np.nan),
    "noise": RNG.normal(size=STEPS),
    "infinite": np.where(np.arange(STEPS) % 7 == 0, np.inf, 1.0 + np.arange(STEPS)),
    "huge": np.where(np.arange(STEPS) == 300, 1e300, RNG.normal(size=STEPS)),
    "spiky": np.where(np.arange(STEPS) % 97 == 0, 1e12, RNG.uniform(1, 2, STEPS)),
    "one": np.where(np.arange(STEPS) == 5, 1.0, np.nan),
    "few_values": np.repeat([0.0, 1.0, 0.0, 2.0], STEPS // 4),
    "one_jump": np.where(np.arange(STEPS) < 590, 0.0, 5.0),
    "gap": np.where(
        (np.arange(STEPS) > 100) & (np.arange(STEPS) < 500), np.nan, RNG.uniform(size=STEPS)
    ),
    "sparse": np.where(np.arange(STEPS) % 30 == 0, RNG.uniform(size=STEPS), np.nan),
    "tiny": 1e-12 * RNG.uniform(1, 2, STEPS),
    "ramp": np.linspace(-5.0, 5.0, STEPS),
    "demand": day_of_demand(steps=STEPS),
    "bursts": np.where(np.arange(STEPS) % 200 < 20, 1000.0, 0.0),
}


def assert_sound(evidence):
    for signal in evidence.signals:
        for name, estimate in signal.measures.items():
            numbers = (estimate.value, estimate.low, estimate.high, estimate.effective_observations)
            assert all(number is None or math.isfinite(number) for number in numbers), name
            if estimate.value is None:
                assert len(estimate.note) > 20, name
            if estimate.low is not None:
                assert estimate.low <= estimate.value <= estimate.high, name


@pytest.mark.parametrize("demand", sorted(ODD))
def test_odd_series_give_a_number_or_a_sentence(demand):
    replicas = np.where(np.arange(STEPS) < STEPS // 2, 1.0, 3.0)
    assert_sound(gather_evidence(timeline(ODD, ODD[demand], replicas=replicas)))


@pytest.mark.parametrize("steps", [1, 2, 5, 19, 20, 30])
def test_short_records_give_a_number_or_a_sentence(steps):
    signals = {name: values[:steps] for name, values in ODD.items()}
    assert_sound(gather_evidence(timeline(signals, ODD["demand"][:steps], step_seconds=360.0)))


VALUES = st.one_of(st.just(math.nan), st.sampled_from([0.0, 1.0, 2.0]), st.floats(-1e9, 1e9))


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.lists(st.tuples(VALUES, VALUES, st.integers(0, 3)), min_size=18, max_size=60))
def test_arbitrary_series_give_a_number_or_a_sentence(rows):
    signal, demand, replicas = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    assert_sound(gather_evidence(timeline({"x": signal}, np.abs(demand), replicas=replicas)))


def test_a_day_of_twelve_signals_takes_about_a_second():
    demand = day_of_demand()
    rng = np.random.default_rng(0)
    signals = {f"s{k}": demand + rng.normal(0, 50, demand.size) for k in range(12)}
    line = timeline(signals, demand, replicas=np.ceil(demand / 300.0))
    gather_evidence(timeline({"warm_up": signals["s0"]}, demand))
    started = time.process_time()
    gather_evidence(line)
    assert time.process_time() - started < 3.0


def read_heteroscale():
    path = RECORDINGS / "heteroscale_fig2" / "fig2_digitised.csv"
    if not path.exists():
        pytest.skip("The recording heteroscale_fig2 is not beside the repository.")
    with path.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


@pytest.mark.recordings
def test_the_digitised_day_of_the_paper_says_what_the_paper_says():
    table = read_heteroscale()
    names = ("tbt", "ttft", "decode_gpu_util", "prefill_gpu_util", "decode_sm", "prefill_sm")
    signals = {name: SignalSeries(name, "intensive", table[name]) for name in names}
    evidence = gather_evidence(timeline(signals, table["decode_tps"], step_seconds=360.0))
    elasticity = {name: measures_of(evidence, name)["demand_elasticity"] for name in names}
    assert elasticity["tbt"].value == pytest.approx(0.28, abs=0.03)
    assert elasticity["ttft"].value == pytest.approx(0.28, abs=0.03)
    assert elasticity["prefill_gpu_util"].value == pytest.approx(0.95, abs=0.03)
    assert elasticity["prefill_sm"].low < 1.0 < elasticity["prefill_sm"].high
    assert elasticity["decode_sm"].high < 0.4
    assert abs(elasticity["decode_gpu_util"].value) < 0.05
    gain = {name: measures_of(evidence, name)["gain_ratio"].value for name in names}
    # TTFT scatters so much that one day does not tell its bend from a line, but tells its rise.
    assert gain["ttft"] is None
    assert 0.0 < elasticity["ttft"].low < elasticity["ttft"].high < 0.7
    assert gain["decode_sm"] < 1.0 / 3.0
    assert gain["tbt"] == pytest.approx(1.4, abs=0.2)
    linear = {name: measures_of(evidence, name)["linearity_ratio"].value for name in names}
    assert linear["tbt"] > 0.97
    assert linear["decode_gpu_util"] < 0.5
    assert measures_of(evidence, "decode_gpu_util")["dynamic_range_ratio"].value < 0.12
    for name in ("prefill_gpu_util", "prefill_sm"):
        assert measures_of(evidence, name)["independence_probability"].value < 0.01


def test_before_and_after_all_demand_nobody_asks():
    demand = day_of_demand(steps=2000)
    signal = demand * 2.0
    demand[:1500] = np.nan
    measures = measures_of(gather_evidence(timeline({"x": signal}, demand)), "x")
    assert measures["coverage_ratio"].value == 1.0
    signal[1500:1750] = np.nan
    measures = measures_of(gather_evidence(timeline({"x": signal}, demand)), "x")
    assert measures["coverage_ratio"].value == pytest.approx(0.5)


def test_a_service_at_rest_does_not_make_every_signal_its_demand():
    demand = np.zeros(2000)
    demand[::200] = 50.0
    evidence = gather_evidence(timeline({"x": np.roll(demand, 3)}, demand))
    assert measures_of(evidence, "x")["demand_correlation"].status != "not_applicable"
