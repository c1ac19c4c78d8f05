"""Replays in the offline engine: what policies cost and keep, and that bad ones are shown to be."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from signalstudy.replay.controller import Controller
from signalstudy.replay.engine import replay as engine_replay
from signalstudy.replay.engine import setting
from signalstudy.replay.engine.processes import run_all
from signalstudy.replay.engine.replay import check_files, need_engine, replay_in_engine
from signalstudy.replay.engine.run import Fleet, job_of
from signalstudy.replay.engine.run import run as run_one
from signalstudy.replay.engine.sight import View
from signalstudy.replay.engine.trace import with_shared_prefix
from signalstudy.replay.recorded import replay_policy
from signalstudy.vocabulary.errors import ConfigurationError, SignalStudyError
from tests.replay import planted
from tests.replay.engine import simulated

pytest.importorskip("dynamo._core", reason="the engine of the extra `replay` is for Linux")
GPUS = {"prefill": 2.0, "decode": 2.0}


@pytest.fixture(scope="module", autouse=True)
def in_this_process(tmp_path_factory):
    """Run the engine in the process of the tests, but for those of `run_all` itself."""

    def run_here(jobs, **_):
        return [run_one(job, tmp_path_factory.mktemp("run")) for job in jobs]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setting, "run_all", run_here)
        yield


def replayed(policies, per_second, *, service=None, **more):
    """Replay planted policies on a planted trace, one value of `per_second` a minute."""
    named = [(one.name, one) for one in policies]
    return replay_in_engine(
        named,
        service or simulated.service(),
        trace=simulated.trace(np.asarray(per_second, dtype=float)),
        profile=simulated.profile(),
        startup_seconds=60.0,
        gpus_per_replica=GPUS,
        **more,
    )


def follows(**spec):
    """Give a policy on decode tokens that holds 70 of them a replica; prefill goes along."""
    return planted.split_policy(**{"target": 70.0, "ratio": 1.0, **spec})


def fixed(count):
    pools = {pool: planted.rule(count, count) for pool in ("prefill", "decode")}
    return planted.split_policy(pools=pools)


@pytest.fixture(scope="module")
def risen():
    """Give a quarter of an hour at 1 request a second, then 25 minutes at 4."""
    return np.concatenate([np.full(15, 1.0), np.full(25, 4.0)])


@pytest.fixture(scope="module")
def followed(risen):
    return replayed([follows(), fixed(4)], risen)


def test_a_fixed_fleet_costs_its_replicas_and_keeps_its_requests(followed):
    run = next(run for run in followed.runs if run.scale_events.value == 0)
    span = 40.0 / 60.0
    assert run.gpu_hours.value == pytest.approx(4 * 4 * span, rel=0.002)
    assert run.replica_seconds["decode"] == pytest.approx(4 * 3600.0 * span, rel=0.002)
    assert run.slo_attainment_ratio.value > 0.99


def test_a_policy_follows_demand_and_costs_less(followed):
    run = followed.runs[0]
    decode = run.pools["decode"]
    early, late = decode.ready_replicas[30:55], decode.ready_replicas[-50:-10]
    # 1 and 4 requests of 60 tokens a second, 70 tokens a second a replica
    assert np.median(early) == pytest.approx(1, abs=0.51)
    assert np.median(late) == pytest.approx(4 * 60 / 70, abs=1.01)
    assert run.gpu_hours.value < followed.runs[1].gpu_hours.value
    assert run.slo_attainment_ratio.value > 0.75


def test_the_engine_says_that_it_cannot_put_back_what_it_drains(followed):
    rule = planted.rule()
    rule["scaleIn"]["observationSeconds"] = 120
    soft = replayed([follows(pools={"decode": rule, "prefill": rule})], np.full(3, 1.0))
    for replay, is_soft in ((soft, True), (followed, False)):
        assert is_soft == any("cannot put it back" in note for note in replay.notes)


def test_the_form_is_that_of_the_contract(followed, risen):
    found = followed.as_dict()
    assert found["engine"] == "dynamo"
    assert found["trace"]["start"].startswith("2026-01-05T00:00:0")  # the first arrival
    assert found["trace"]["requests"] == simulated.trace(risen).requests
    for run in found["runs"]:
        assert run["gpu_hours"]["low"] is None
        assert 0.0 <= run["slo_attainment_ratio"]["value"] <= 1.0
        assert set(run["replica_seconds"]) == {"prefill", "decode"}


def test_the_same_seed_gives_the_same_replay():
    first, again = (replayed([follows()], np.full(6, 2.0), seed=5) for _ in range(2))
    assert first.as_dict() == again.as_dict()


def test_a_policy_that_starves_is_said_to(risen):
    at_most_one = {pool: planted.rule(1, 1) for pool in ("prefill", "decode")}
    run = replayed([follows(pools=at_most_one)], risen[10:35]).runs[0]
    assert any("Starves" in flag for flag in run.flags)
    assert run.slo_attainment_ratio.value < 0.6


def test_a_policy_that_never_triggers_is_said_to(risen):
    run = replayed([follows(target=1e6)], risen[4:30]).runs[0]
    assert run.scale_events.value == 0
    assert any("Never scales" in flag for flag in run.flags)


def test_a_policy_that_flaps_is_said_to():
    quick = {pool: planted.rule(out=0, back=0) for pool in ("prefill", "decode")}
    waves = np.tile([1.0, 1.0, 1.0, 4.0, 4.0, 4.0], 8)
    tolerances = {"scaleOutTolerance": 0.02, "scaleInTolerance": 0.02}
    proportional = {"targetPerReplica": {"value": 50.0, "status": "ok"}, **tolerances}
    run = replayed([follows(pools=quick, proportional=proportional)], waves).runs[0]
    assert any("Flaps" in flag for flag in run.flags)
    calm = replayed([follows()], np.full(40, 2.0)).runs[0]
    assert not any("Flaps" in flag for flag in calm.flags)


def ask_for_nothing(name):
    """Give a controller that wants no replicas at all."""

    def decide(state, observation):
        return {pool: np.zeros((1, 1)) for pool in state.replicas}

    return Controller(name, (), {}, {}, {}, decide)


@pytest.fixture
def job(tmp_path):
    """Make a job of ten minutes, as a replay does."""
    found = []
    replay = functools.partial(replayed, [], np.full(10, 3.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            engine_replay, "_runs", lambda shared, *_, **__: (found.append(shared), ([], []))[1]
        )
        replay()
    [shared] = found
    path = tmp_path / "trace.jsonl"
    simulated.trace(np.full(10, 3.0)).write(path)
    return replace(shared.template, trace=path, name="ten minutes")


def test_who_asks_for_no_replicas_keeps_one_and_the_run_ends(job, tmp_path):
    asks = replace(job, make=functools.partial(ask_for_nothing, "nothing"), plan=None)
    [ran] = run_all([asks], at_once=1, folder=tmp_path)
    assert ran.requests["arrived_ms"].size == job.offered.arrived_seconds.size
    assert min(asked["decode"] for _, asked in ran.asked) == 1


def test_a_run_that_takes_too_long_is_ended(job, tmp_path):
    with pytest.raises(ConfigurationError, match="ten minutes: the engine did not finish in time"):
        run_all([job], at_once=1, folder=tmp_path, limit_seconds=0.0)


def broken(name):
    def decide(state, observation):
        raise ZeroDivisionError("planted")

    return Controller(name, (), {}, {}, {}, decide)


def test_a_run_that_breaks_says_why(job, tmp_path):
    asks = replace(job, make=functools.partial(broken, "breaks"), plan=None)
    with pytest.raises(ConfigurationError, match=r"ten minutes: the engine broke off.*planted"):
        run_all([asks], at_once=1, folder=tmp_path)


def test_runs_come_back_in_their_order_however_many_go_side_by_side(job, tmp_path):
    jobs = [replace(job, fleet=replace(job.fleet, start={"prefill": 1, "decode": count}))
            for count in (1, 2, 3)]  # fmt: skip
    found = run_all(jobs, at_once=2, folder=tmp_path)
    assert [ran.asked[0][1]["decode"] for ran in found] == [1, 2, 3]


def test_hindsight_finds_the_cheapest_plan_that_keeps_enough():
    hump = np.concatenate([np.full(10, 1.0), np.full(5, 3.0)])
    replay = replayed([], hump, rivals=["fixed-peak", "clairvoyant"], attainment=0.95)
    runs = {run.name: run for run in replay.runs}
    for run in runs.values():
        assert run.slo_attainment_ratio.value >= 0.95
    assert runs["clairvoyant"].gpu_hours.value < runs["fixed-peak"].gpu_hours.value
    assert "c = " in runs["clairvoyant"].given


def test_rivals_are_tuned_before_the_span_and_say_what_they_were_given():
    per_second = np.full(15, 2.0)
    start = planted.START
    replay = replayed(
        [follows()], per_second, rivals=["hpa-gpu-utilization", "heteroscale"],
        span=(start + 600.0, None),
    )  # fmt: skip
    names = [run.name for run in replay.runs]
    assert names == ["chat", "hpa-gpu-utilization", "heteroscale"]
    assert "gpu_utilization_ratio at" in replay.runs[1].given
    assert replay.start.startswith("2026-01-05T00:10:0")


def test_without_a_trace_requests_are_drawn_from_the_study():
    service = simulated.service(hours=0.5)
    replay = replay_in_engine(
        [("p", follows())], service, profile=simulated.profile(), startup_seconds=60.0,
        gpus_per_replica=GPUS,
    )  # fmt: skip
    assert "drawn from the study's rhythm" in " ".join(replay.notes)
    # Ten requests a step of 15 s are counted in the planted study.
    assert replay.requests == pytest.approx(10 * 120, rel=0.1)


def test_one_pool_that_does_both_is_replayed_as_well():
    service = planted.unified(planted.day(60.0, hours=1.0), per_replica=planted.Estimate(60.0))
    replay = replay_in_engine(
        [("p", planted.policy(target=40.0))], service,
        trace=simulated.trace(np.concatenate([np.full(10, 0.5), np.full(20, 1.5)])),
        profile=simulated.profile(), startup_seconds=30.0, gpus_per_replica={"unified": 1.0},
    )  # fmt: skip
    run = replay.runs[0]
    assert set(run.replica_seconds) == {"unified"}
    assert run.pools["unified"].ready_replicas.max() >= 2
    assert run.slo_attainment_ratio.value > 0.7


def test_where_the_engine_is_missing_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(engine_replay.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'signalstudy\[replay\]'"):
        need_engine()


def test_an_unknown_signal_is_named(risen):
    policy = follows()
    policy.document["spec"]["signal"]["name"] = "moon_phase_ratio"
    with pytest.raises(SignalStudyError, match="moon_phase_ratio"):
        replayed([policy], risen[:5])


def test_the_recorded_replay_takes_no_trace():
    with pytest.raises(ConfigurationError, match="--engine dynamo"):
        replay_policy(follows(), simulated.service(), trace="t.jsonl")


def test_nothing_waits_in_a_fleet_that_is_large_enough(followed):
    run = followed.runs[1]
    assert not any("Starves" in flag or "wanted more" in flag for flag in run.flags)
    assert all((pool.wait_seconds > 0.0).mean() < 0.01 for pool in run.pools.values())


def test_the_worst_moment_says_what_the_policy_saw(risen):
    at_most_one = {pool: planted.rule(1, 1) for pool in ("prefill", "decode")}
    run = replayed([follows(pools=at_most_one)], risen[8:28]).runs[0]
    moment = run.worst_moments[0]
    assert moment.missed_ratio > 0.3
    assert moment.ready_replicas == {"prefill": 1.0, "decode": 1.0}
    assert moment.saw["decode.decode_tokens_per_second"] > 0.0
    assert run.late_ratio[-1] > 0.9


def test_wrong_files_are_found_out_before_anything_is_studied(tmp_path):
    with pytest.raises(SignalStudyError, match="--trace: there is no file"):
        check_files(tmp_path / "none.jsonl", None)
    (tmp_path / "p.npz").write_bytes(b"no archive")
    with pytest.raises(SignalStudyError, match=r"p\.npz: this is no NPZ"):
        check_files(None, tmp_path / "p.npz")
    check_files(None, "aiconfigurator:model@gpu")


def test_requests_that_nearly_fill_the_cache_do_not_stop_the_engine(tmp_path):
    # Two that fill it to the last block evict each other for ever where eviction is allowed.
    size = 6
    large = with_shared_prefix(
        "large",
        planted.START,
        arrived_seconds=0.5 * np.arange(size),
        prompt_tokens=np.full(size, 16_000),
        output_tokens=np.full(size, 2_000),
        cached_tokens=None,
    )
    sides = {"prefill": "prefill", "decode": "decode"}
    profile = simulated.profile()
    profile = replace(profile, engine=profile.engine | {"num_gpu_blocks": 500})
    fleet = Fleet(sides, dict.fromkeys(sides, 1), 60.0, GPUS, profile)
    view = View(10.0, {}, {}, {}, {}, 0)
    job = job_of(large, tmp_path / "large.jsonl", fleet, view)
    assert not job.evicts
    ran = run_one(job, tmp_path)
    assert np.isfinite(ran.requests["e2e_ms"]).sum() == size
    with pytest.raises(Exception, match="zero-duration"):
        run_one(replace(job, evicts=True), tmp_path)
    small = job_of(simulated.trace(np.full(2, 0.5)), tmp_path / "small.jsonl", fleet, view)
    assert small.evicts


def test_what_does_not_fit_into_a_replica_is_left_out_of_every_run():
    trace = simulated.trace(np.full(30, 0.3))
    tokens = trace.output_tokens.copy()
    tokens[5] = 60_000
    replay = replay_in_engine(
        [("fixed", fixed(3))],
        simulated.service(),
        trace=replace(trace, output_tokens=tokens),
        profile=simulated.profile(),
        gpus_per_replica=GPUS,
    )
    assert replay.requests == trace.requests - 1
    assert replay.runs[0].slo_attainment_ratio.value == 1.0
    assert any(note.startswith("1 of ") and "left out" in note for note in replay.notes)
