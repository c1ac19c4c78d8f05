"""A signal that a deploy changed has two answers, and the study gives both."""

from dataclasses import replace

import numpy as np
import pytest

from signalstudy.evidence.gather import gather_evidence
from signalstudy.ranking.rank import rank_signals
from signalstudy.study.regimes import noted_changes, study_regimes, summarise_regime, with_regimes
from signalstudy.synthetic.as_timeline import timeline_of
from signalstudy.synthetic.generate import generate_service
from signalstudy.synthetic.service import ServiceSpec
from signalstudy.timeline.timeline import Event

SPEC = ServiceSpec(days=2.0, step_seconds=30.0, hit_swing=0.0)
KEPT = ("decode_tokens_per_second", "sm_activity_ratio")


@pytest.fixture(scope="module")
def steady():
    """Give two days of decode throughput and a concave gauge, which stay what they are."""
    timeline = timeline_of(generate_service(SPEC, seed=5))
    decode = timeline.pools["decode"]
    kept = {name: decode.signals[name] for name in KEPT}
    return replace(timeline, pools={"decode": replace(decode, signals=kept)})


def deployed(timeline, name, change, *, at_share=0.5, event=True):
    """Change what a signal shows from one time on, with the event that would be known."""
    pool = timeline.pools["decode"]
    first = round(at_share * timeline.time_seconds.size)
    values = pool.signals[name].values.copy()
    values[first:] = change(values[first:])
    signals = pool.signals | {name: replace(pool.signals[name], values=values)}
    at = float(timeline.time_seconds[first - 1])
    events = (Event(at, "decode", "version", "version 1 gave way to 2"),) if event else ()
    pools = {"decode": replace(pool, signals=signals)}
    return replace(timeline, pools=pools, events=events), at


def study(timeline):
    evidence = gather_evidence(timeline)
    regimes = study_regimes(timeline, evidence, gather_evidence, seed=0)
    return with_regimes(rank_signals(evidence), evidence, regimes), regimes


def test_a_steady_record_is_one_regime(steady):
    ranking, regimes = study(steady)
    assert regimes == ()
    assert ranking.best.signal == "decode_tokens_per_second"


@pytest.mark.parametrize("event", [True, False], ids=["known event", "nothing known"])
def test_each_side_of_a_deploy_gets_its_own_verdict(steady, event):
    # From the deploy on the gauge is pinned: half of what it was, whatever demand does.
    timeline, at = deployed(steady, "sm_activity_ratio", lambda x: 0.05 + 0.0 * x, event=event)
    level = float(np.nanmean(timeline.pools["decode"].signals["sm_activity_ratio"].values))
    assert level > 0.0
    ranking, regimes = study(timeline)
    assert len(regimes) == 2
    assert abs(regimes[1].start_seconds - at) <= (60.0 if event else 7200.0)
    assert regimes[1].started_with == ("version 1 gave way to 2" if event else "")
    by_name = {s.signal: s for s in ranking.signals}
    gauge, work = by_name["sm_activity_ratio"], by_name["decode_tokens_per_second"]
    assert "Each regime alone: until 2026-01-0" in gauge.reason
    assert "Each regime alone" not in work.reason
    assert work.verdict == "proportional"
    assert ("when version 1 gave way to 2" in ranking.summary) == event
    for regime in regimes:
        assert regime.ranking.best.signal == "decode_tokens_per_second"
    assert [row.status for row in noted_changes(timeline, regimes)] == ["warning"] * event


def test_a_gain_that_doubles_leaves_the_whole_undetermined_and_each_part_proportional(steady):
    timeline, _ = deployed(steady, "decode_tokens_per_second", lambda x: 2.0 * x)
    ranking, regimes = study(timeline)
    by_name = {s.signal: s for s in ranking.signals}
    assert by_name["decode_tokens_per_second"].verdict == "undetermined"
    for regime in regimes:
        assert regime.ranking.best.signal == "decode_tokens_per_second"
        told = summarise_regime(regime)
        [work] = [s for s in told["signals"] if s["signal"] == "decode_tokens_per_second"]
        elasticity = work["measures"]["demand_elasticity"]
        assert elasticity["low"] <= 1.0 <= elasticity["high"]


def test_an_event_that_changed_nothing_cuts_nothing(steady):
    timeline, _ = deployed(steady, "sm_activity_ratio", lambda x: x)
    assert timeline.events
    assert study(timeline)[1] == ()
    [row] = noted_changes(timeline, ())
    assert (row.check, row.status) == ("version of decode", "note")
    assert "no signal is seen to answer demand otherwise" in row.note
