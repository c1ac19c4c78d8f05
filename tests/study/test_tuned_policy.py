"""Twin of study/tuned_policy.py."""

from __future__ import annotations

import json

import pytest

from signalstudy.lint.facts import facts_of
from signalstudy.lint.lint import lint
from signalstudy.policy.write import policy_yaml
from signalstudy.replay.headroom import Tuned
from signalstudy.study import tuned_policy
from signalstudy.study.run import run_study
from signalstudy.study.stages import study_json, study_text
from signalstudy.synthetic.generate import generate_service
from signalstudy.synthetic.service import ServiceSpec
from signalstudy.synthetic.write import write_table
from signalstudy.vocabulary.estimate import Estimate

SPEC = ServiceSpec(days=0.5, step_seconds=15.0)


def test_unlike_room_for_ramps_moves_the_policys_ratio_and_not_that_of_the_capacities(
    tmp_path, monkeypatch
):
    path = write_table(generate_service(SPEC, seed=3), tmp_path)
    wide = {"prefill": Estimate(1.8), "decode": Estimate(1.2)}
    monkeypatch.setattr(tuned_policy, "tune_headrooms", lambda *_, **__: Tuned({}, 60.0))
    formula = run_study(path, out=tmp_path / "formula").services["planted"]
    monkeypatch.setattr(tuned_policy, "tune_headrooms", lambda *_, **__: Tuned(wide, 60.0))
    study = run_study(path, out=tmp_path / "replayed")
    service = study.services["planted"]
    assert formula.pd_ratio.kept is None
    assert service.pd_ratio.ratio == formula.pd_ratio.ratio
    kept = service.policy.document["spec"]["ratio"]["prefillPerDecode"]
    room = {name: one.value for name, one in formula.threshold.pool_headrooms.items()}
    expected = service.pd_ratio.ratio.value * 1.5 * room["decode"] / room["prefill"]
    assert kept == pytest.approx(expected, rel=1e-3)
    assert service.pd_ratio.kept == pytest.approx(kept, rel=1e-3)
    written = service.policy.document["spec"]["ratio"]
    operated = service.pd_ratio.band_low, service.pd_ratio.band_high
    assert operated == pytest.approx((written["min"], written["max"]), rel=1e-3)
    assert f"at {service.pd_ratio.kept:.3g} prefill per decode" in service.pd_ratio.note
    assert "the policy keeps" in study_text(study)
    assert "The capacities alone give" in policy_yaml(service.policy)
    facts = facts_of(json.loads(study_json(study)), None)
    findings = lint({"policy.yaml": policy_yaml(service.policy)}, facts=facts)
    assert "ratio" not in {finding.check for finding in findings}
