"""The planted truths, found again by plain NumPy and SciPy from what one would record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from signalstudy.synthetic.as_timeline import timeline_of
from signalstudy.synthetic.generate import generate_service
from signalstudy.synthetic.service import TOTAL_SIGNALS, ServiceSpec

SPEC = ServiceSpec(days=0.5)


@pytest.fixture(scope="module")
def service():
    return generate_service(SPEC, seed=3)


@pytest.fixture(scope="module")
def timeline(service):
    return timeline_of(service)


def high_passed(values):
    trend = np.convolve(np.pad(values, 120, mode="edge"), np.full(241, 1 / 241), mode="valid")
    return values - trend


def lag_steps(signal, demand, most=20):
    """Give the lag of the largest cross-correlation, refined by a parabola."""
    x, y = high_passed(demand), high_passed(signal)
    lags = np.arange(-most, most + 1)
    inner = slice(most, x.size - most)
    c = np.array([np.dot(x[inner], np.roll(y, -lag)[inner]) for lag in lags])
    top = int(np.argmax(c))
    below, peak, above = c[top - 1 : top + 2]
    return lags[top] + 0.5 * (below - above) / (below - 2.0 * peak + above)


@pytest.mark.parametrize("lag_seconds", [3.0, 12.0, 40.0])
def test_decode_throughput_lags_demand_by_the_planted_time(lag_seconds):
    planted = generate_service(replace(SPEC, decode_lag_seconds=lag_seconds), seed=1)
    pool = timeline_of(planted).pools["decode"]
    found = lag_steps(pool.signals["decode_tokens_per_second"].values, pool.demand.per_second)
    assert found * SPEC.step_seconds == pytest.approx(lag_seconds, abs=SPEC.step_seconds / 4)
    assert planted.truth.lag_seconds["decode"] == lag_seconds


def test_a_gauge_lags_as_its_pool_when_read_at_its_own_time(timeline):
    pool = timeline.pools["decode"]
    found = lag_steps(pool.signals["sm_activity_ratio"].values, pool.demand.per_second)
    # A gauge is a point at the step's end; demand is centred half a step earlier.
    centred = (found + 0.5) * SPEC.step_seconds
    assert centred == pytest.approx(SPEC.decode_lag_seconds, abs=SPEC.step_seconds / 4)


def test_throughput_is_proportional_to_demand(timeline):
    for pool, name in (
        ("decode", "decode_tokens_per_second"),
        ("prefill", "prefill_uncached_tokens_per_second"),
    ):
        recorded = timeline.pools[pool]
        hours = recorded.demand.per_second.reshape(-1, 60).mean(axis=1)
        signal = recorded.signals[name].values.reshape(-1, 60).mean(axis=1)
        slope = np.polyfit(np.log(hours), np.log(signal), 1)[0]
        assert slope == pytest.approx(1.0, abs=0.02)


def test_measurement_noise_is_the_planted_one(service, timeline):
    measured = timeline.pools["decode"].signals["decode_tokens_per_second"].values
    true = service.pools["decode"].work_per_second
    assert np.std(measured / true) == pytest.approx(service.truth.noise_ratio, rel=0.05)


@pytest.mark.parametrize("pool", ["prefill", "decode"])
def test_requests_miss_the_objective_first_at_the_planted_knee(service, timeline, pool):
    counts = next(c for c in timeline.slo_counts if c.pool == pool)
    work = service.pools[pool].work_per_second / service.pools[pool].replicas
    order = np.argsort(work)
    share = np.divide(
        counts.over_low, counts.observed, out=np.zeros(work.size), where=counts.observed > 0
    )
    fit = isotonic_regression(share[order], weights=np.maximum(counts.observed[order], 1e-9)).x
    crossing = work[order][np.argmax(fit > counts.objective.allowed_share)]
    assert crossing == pytest.approx(service.truth.knee_per_second[pool], rel=0.08)


def test_the_knee_is_visited_from_both_sides(service):
    for pool in service.pools.values():
        work = pool.work_per_second / pool.replicas
        share_above = np.mean(work > service.truth.knee_per_second[pool.pool])
        assert 0.005 < share_above < 0.5


def test_cache_distortion_is_the_planted_one(service, timeline):
    signals = timeline.pools["prefill"].signals
    work = service.pools["prefill"].work_per_second
    hits = timeline.prefix_cache_hit_ratio
    terciles = np.array_split(np.argsort(hits), 3)

    def distortion(name):
        medians = [np.median((signals[name].values / work)[t]) for t in terciles]
        return np.ptp(medians) / np.median(medians)

    truth = service.truth.cache_distortion_ratio
    assert distortion("prefill_tokens_per_second") == pytest.approx(truth, rel=0.15)
    assert truth > 0.3
    assert distortion("prefill_uncached_tokens_per_second") < 0.01


def test_shapes_are_what_their_names_say(timeline, service):
    truth = service.truth
    demand = timeline.pools["decode"].demand.per_second
    low, high = demand < np.quantile(demand, 0.2), demand > np.quantile(demand, 0.8)

    def growth(name):
        values = timeline.pools["decode"].signals[name].values
        return np.nanmean(values[high]) / np.nanmean(values[low])

    of_decode = {
        signal: shape for (pool, signal), shape in truth.shapes.items() if pool == "decode"
    }
    growths = {
        shape: [growth(signal) for signal, its in of_decode.items() if its == shape]
        for shape in ("proportional", "pinned", "concave", "convex", "noise")
    }
    swing = demand[high].mean() / demand[low].mean()
    assert all(g == pytest.approx(swing, rel=0.1) for g in growths["proportional"])
    assert max(growths["pinned"]) < 1.15
    assert 1.15 < max(growths["concave"]) < 0.8 * swing
    assert min(growths["convex"]) > 1.05 * swing
    assert abs(growths["noise"][0] - 1.0) < 0.3


def test_every_signal_has_a_planted_shape(service, timeline):
    recorded = {(p, s) for p, pool in timeline.pools.items() for s in pool.signals}
    assert recorded == set(service.truth.shapes)


def test_demand_is_every_token_of_every_request_booked_at_arrival(service):
    requests, step = service.requests, service.spec.step_seconds
    assert service.demand_per_second["decode"].sum() * step == requests.output_tokens.sum()
    uncached = requests.prompt_tokens.sum() - requests.cached_prompt_tokens.sum()
    assert service.demand_per_second["prefill"].sum() * step == pytest.approx(uncached)


def test_replicas_add_up_to_their_pool():
    planted = generate_service(replace(SPEC, replica_plan="autoscaled", noise_ratio=0.0), seed=5)
    for pool in planted.pools.values():
        for values in pool.replica_signals.values():
            serving = np.isfinite(values).sum(axis=1)
            np.testing.assert_array_equal(serving, pool.replicas)
        name = "decode_tokens_per_second"
        if pool.pool == "decode":
            assert name in TOTAL_SIGNALS
            total = np.nansum(pool.replica_signals[name], axis=1)
            np.testing.assert_allclose(total, pool.work_per_second)


def test_autoscaling_holds_work_per_replica_near_its_target():
    fixed = generate_service(SPEC, seed=6)
    scaled = generate_service(replace(SPEC, replica_plan="autoscaled"), seed=6)

    def spread(service):
        pool = service.pools["decode"]
        work = pool.work_per_second / pool.replicas
        return work.std() / work.mean()

    assert spread(scaled) < 0.5 * spread(fixed)
    timeline = timeline_of(scaled)
    assert {event.kind for event in timeline.events} == {"scale_out", "scale_in"}
    assert (timeline.startup_seconds == scaled.spec.startup_seconds).all()


def test_independent_noise_follows_nothing():
    planted = generate_service(replace(SPEC, independent_noise=True), seed=7)
    timeline = timeline_of(planted)
    for pool in timeline.pools.values():
        demand = high_passed(pool.demand.per_second)
        for series in pool.signals.values():
            correlation = np.corrcoef(high_passed(series.values), demand)[0, 1]
            # About 150 independent stretches of 300 s: a standard error of 0.08.
            assert abs(correlation) < 0.3, series.name
    assert set(planted.truth.shapes.values()) == {"noise"}


def test_equal_seeds_give_equal_services():
    spec = replace(SPEC, days=0.05)
    one, two, other = (generate_service(spec, seed=seed) for seed in (8, 8, 9))
    np.testing.assert_array_equal(one.requests.ttft_seconds, two.requests.ttft_seconds)
    assert one.requests.ttft_seconds.size != other.requests.ttft_seconds.size
