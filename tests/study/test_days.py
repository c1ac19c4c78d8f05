"""Several days of a planted service with an autoscaler in the loop: what one day cannot show."""

import pytest

from signalstudy.evidence.gather import gather_evidence
from signalstudy.evidence.pooling import agreement_of_days
from signalstudy.ranking.rank import rank_signals
from signalstudy.synthetic.as_timeline import timeline_of
from signalstudy.synthetic.generate import generate_service
from signalstudy.synthetic.service import ServiceSpec

SPEC = ServiceSpec(days=4.0, step_seconds=30.0, replica_plan="autoscaled")


@pytest.fixture(scope="module")
def planted():
    service = generate_service(SPEC, seed=11)
    evidence = gather_evidence(timeline_of(service))
    return service, evidence, rank_signals(evidence)


def test_four_days_with_an_autoscaler_give_the_planted_verdicts(planted):
    service, _, ranking = planted
    expected = {"proportional": "proportional", "pinned": "rejected", "distorted": "rejected"}
    wrong = {
        (s.pool, s.signal): (shape, s.verdict)
        for s in ranking.signals
        if (shape := service.truth.shapes.get((s.pool, s.signal))) in expected
        and s.verdict != expected[shape]
    }
    assert wrong == {}


def test_lag_and_elasticity_lie_where_they_were_planted(planted):
    service, _, ranking = planted
    for signal in ranking.signals:
        if service.truth.shapes.get((signal.pool, signal.signal)) == "proportional":
            lag, slope = (signal.measures[m] for m in ("lag_seconds", "demand_elasticity"))
            assert lag.low <= service.truth.lag_seconds[signal.pool] <= lag.high
            assert slope.low - 0.01 <= 1.0 <= slope.high + 0.01


def test_signals_per_replica_fall_when_the_autoscaler_adds_replicas(planted):
    _, _, ranking = planted
    by_name = {(s.pool, s.signal): s.measures for s in ranking.signals}
    follows = by_name["prefill", "gpu_utilization_ratio"]["capacity_elasticity"]
    assert follows.high <= -0.5
    assert "changes alone" in follows.note
    pinned = by_name["decode", "gpu_utilization_ratio"]["capacity_elasticity"]
    assert pinned.low > -0.5


def test_days_agree_on_the_order_of_signals(planted):
    _, evidence, _ = planted
    agreement = agreement_of_days(evidence)["decode"]
    assert agreement.value > 0.7
    assert agreement.note.startswith("4 raters of")
