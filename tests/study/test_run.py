"""The whole study on planted services: what was planted is found, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import polars as pl
import pytest
import yaml

from signalstudy.report.write import write_report
from signalstudy.study.run import default_folder, run_study
from signalstudy.study.summary import evidence_frame, study_schema, summarise
from signalstudy.study.write import write_study
from signalstudy.synthetic.generate import generate_service
from signalstudy.synthetic.service import ServiceSpec
from signalstudy.synthetic.write import write_table
from signalstudy.vocabulary.errors import UnknownNameError

SPEC = ServiceSpec(replica_plan="redeployed", days=1.0)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    service = generate_service(SPEC, seed=1)
    path = write_table(service, folder)
    return service, path, run_study(path, out=folder / "out")


def test_every_planted_shape_gets_its_verdict(planted):
    service, _, study = planted
    expected = {
        "proportional": {"proportional"},
        "distorted": {"rejected"},
        "pinned": {"rejected"},
        "concave": {"rejected"},
        "cliff": {"guard"},
        "noise": {"rejected"},
    }
    [found] = study.services.values()
    wrong = {
        (s.pool, s.signal): (service.truth.shapes[s.pool, s.signal], s.verdict)
        for s in found.ranking.signals
        if (shape := service.truth.shapes.get((s.pool, s.signal))) in expected
        and s.verdict not in expected[shape]
    }
    assert wrong == {}


def test_planted_lag_knee_and_ratio_lie_within_their_intervals(planted):
    service, _, study = planted
    [found] = study.services.values()
    truth = service.truth
    measures = {(s.pool, s.signal): s.measures for s in found.ranking.signals}
    for pool, signal in (
        ("decode", "decode_tokens_per_second"),
        ("prefill", "prefill_uncached_tokens_per_second"),
    ):
        lag = measures[pool, signal]["lag_seconds"]
        assert lag.low <= truth.lag_seconds[pool] <= lag.high
        capacity = found.threshold.capacities[pool].per_replica
        assert capacity.status == "ok"
        assert capacity.low <= truth.knee_per_second[pool] <= capacity.high
        fell = measures[pool, signal]["capacity_elasticity"]
        assert fell.low <= -1.0 <= fell.high + 0.01
    distortion = measures["prefill", "prefill_tokens_per_second"]["cache_distortion_ratio"]
    assert distortion.low <= truth.cache_distortion_ratio <= distortion.high
    ratio = found.pd_ratio.ratio
    assert ratio.low <= truth.pd_ratio <= ratio.high


def test_noise_that_knows_nothing_of_demand_qualifies_nowhere(tmp_path):
    spec = replace(SPEC, independent_noise=True, replica_plan="fixed", days=0.5)
    path = write_table(generate_service(spec, seed=5), tmp_path)
    study = run_study(path, out=tmp_path / "out")
    [found] = study.services.values()
    assert found.ranking.best is None
    assert found.policy is None
    assert "No signal qualifies" in found.policy_note


def test_study_json_keeps_to_its_schema_and_says_what_the_nouns_say(planted):
    _, _, study = planted
    summary = summarise(study)
    text = json.dumps(summary, allow_nan=False)
    jsonschema.validate(json.loads(text), study_schema())
    [service] = summary["services"]
    [found] = study.services.values()
    assert service["threshold"]["per_replica"]["value"] == found.threshold.per_replica.value
    assert [s["rank"] for s in service["signals"] if s["rank"] is not None] == list(
        range(1, sum(s["rank"] is not None for s in service["signals"]) + 1)
    )
    needed = {
        "coverage_ratio", "demand_correlation", "effective_observations", "lag_seconds",
        "seen_lag_seconds", "signal_to_noise_ratio", "peak_separation", "linearity_ratio",
        "demand_elasticity", "gain_ratio", "dynamic_range_ratio", "capacity_elasticity",
        "cache_distortion_ratio", "breach_recall_ratio", "breach_lead_seconds",
        "false_alarms_per_day", "rank_probability",
    }  # fmt: skip
    for signal in service["signals"]:
        if signal["verdict"] != "unavailable":
            assert needed <= set(signal["measures"])


def test_the_folder_holds_what_the_contract_says(planted, tmp_path):
    _, _, study = planted
    write_study(study, tmp_path)
    page = write_report(study, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {
        "study.json", "evidence.parquet", "policy", "report.html", "plotly.min.js",
    }  # fmt: skip
    evidence = pl.read_parquet(tmp_path / "evidence.parquet")
    assert evidence.equals(evidence_frame(study))
    [policy] = (tmp_path / "policy").iterdir()
    document = yaml.safe_load(policy.read_text())
    assert document["kind"] == "ScalingPolicy"
    assert document["metadata"]["study"]["fingerprint"] == study.digest
    assert page.stat().st_size < 2_000_000


def test_a_second_run_leaves_every_file_as_it_was(planted, tmp_path):
    _, path, _ = planted
    before = {}
    for _ in range(2):
        study = run_study(path, out=tmp_path)
        write_study(study, tmp_path)
        write_report(study, tmp_path)
        now = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
        assert not before or now == before
        before = now


def test_an_unknown_service_is_told_the_known_ones(planted, tmp_path):
    _, path, _ = planted
    with pytest.raises(UnknownNameError, match=r"--service: unknown service 'chatt'.*planted"):
        run_study(path, out=tmp_path, service="chatt")


@pytest.mark.parametrize(
    ("name", "folder"),
    [("chat", "chat-study"), ("Day_2.x", "Day_2.x-study"), ("../up", "up-"), ("a/b", "a-b-")],
)
def test_the_folder_of_a_study_is_its_name_made_safe(name, folder):
    from pathlib import Path  # noqa: PLC0415

    from signalstudy.config import parse_config  # noqa: PLC0415

    document = {"study": {"name": name}, "sources": [{"kind": "table", "path": "x.csv"}]}
    config = parse_config(document, place="study.toml", folder=Path())
    assert str(default_folder(config)).startswith(folder)
    assert default_folder(config).parent == Path()


def test_the_pool_whose_knee_was_visited_leads(tmp_path):
    """Prefill has replicas to spare, decode passes its knee: only its target is known."""
    service = generate_service(ServiceSpec(prefill_replicas=8, prefill_lag_seconds=0.0), seed=3)
    [found] = run_study(write_table(service, tmp_path), out=tmp_path / "out").services.values()
    capacities = found.threshold.capacities
    assert capacities["decode"].per_replica.status == "ok"
    assert capacities["prefill"].per_replica.status == "lower_bound"
    assert found.ranking.best.pool == found.threshold.pool == "decode"
    assert found.threshold.per_replica.status == found.threshold.target.status == "ok"
    assert "It leads because" in found.ranking.best.reason
    assert found.ranking.summary.startswith(f"Follow {found.ranking.best.signal} of the decode")
