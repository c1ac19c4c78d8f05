"""How a number came about, on a small planted study and through the command line."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace

import polars as pl
import pytest
from click.testing import CliRunner

from signalstudy.cli import commands
from signalstudy.config import read_config
from signalstudy.evidence.measures import MEASURES
from signalstudy.policy.origins import numbers_of
from signalstudy.study.explain import (
    explain,
    explain_study,
    explanation_rows,
    explanation_text,
)
from signalstudy.study.fitted import ALSO_CALLED, fitted_numbers
from signalstudy.study.run import run_study
from signalstudy.study.summary import summarise
from signalstudy.synthetic.generate import generate_service
from signalstudy.synthetic.service import ServiceSpec
from signalstudy.synthetic.write import write_table
from signalstudy.telemetry.read import read_telemetry
from signalstudy.vocabulary.errors import UnknownNameError

SPEC = ServiceSpec(days=0.1, step_seconds=15.0)
SIGNAL = "decode.decode_tokens_per_second"


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    return write_table(generate_service(SPEC, seed=3), folder)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def ran(planted, out):
    config = read_config(planted)
    study = run_study(planted, out=out)
    return study, config, read_telemetry(config, out)


@pytest.fixture(scope="module")
def whole(ran):
    return explain(*ran, SIGNAL, None)


def test_every_measure_of_the_signal_is_explained_with_its_formula(whole):
    (found,) = whole
    numbers = {number.measure: number for number in found.numbers}
    assert set(MEASURES) <= set(numbers)
    for number in numbers.values():
        assert number.question.endswith("?")
        assert number.formula.endswith(".")
    assert "S_xy / sqrt(S_xx S_yy)" in numbers["demand_correlation"].formula


def test_the_steps_used_and_left_out_add_up_to_the_span(whole):
    origin = dict(whole[0].origin)
    used, all_steps = (
        int(count.replace(",", ""))
        for count in re.match(r"([\d,]+) of ([\d,]+) steps used", origin["rows"]).groups()
    )
    left = [int(c.replace(",", "")) for c in re.findall(r"([\d,]+) (?:in|without)", origin["rows"])]
    assert used + sum(left) == all_steps
    assert f"{all_steps:,} steps of 15 s" in origin["span"]


def test_the_correlation_rests_on_the_steps_that_are_said_to_be_used(whole):
    note = next(n for n in whole[0].numbers if n.measure == "effective_observations").estimate.note
    paired = int(re.match(r"(\d+) steps hold both", note)[1])
    used = int(dict(whole[0].origin)["rows"].split(" of ")[0].replace(",", ""))
    assert used - 60 <= paired <= used  # the lag's shift loses some at an end


def test_what_a_replica_bears_is_explained_beside_the_evidence(whole):
    assert {"capacity", "target"} <= {number.measure for number in whole[0].numbers}


def numbers_in(document, path=()):
    """List the paths of all estimates in a document: what has a value and a status."""
    if isinstance(document, dict):
        if {"value", "status"} <= set(document):
            yield path
        for key, inner in document.items():
            yield from numbers_in(inner, (*path, key))
    elif isinstance(document, list):
        for inner in document:
            yield from numbers_in(inner, path)


def test_every_number_of_study_json_and_of_the_policy_is_explained(ran):
    study, config_, telemetry = ran
    (service,) = study.services.values()
    told = {}
    for ranked in service.ranking.signals:
        (found,) = explain(study, config_, telemetry, f"{ranked.pool}.{ranked.signal}", None)
        told[ranked.pool, ranked.signal] = {one.measure: one.estimate for one in found.numbers}
        assert all(one.formula.endswith(".") for one in found.numbers)
        assert set(ranked.measures) <= set(told[ranked.pool, ranked.signal])
    document = summarise(study)["services"][0]
    anywhere = {name for numbers in told.values() for name in numbers}
    names = anywhere | {also for also, name in ALSO_CALLED.items() if name in anywhere}
    for path in {*numbers_in(document["threshold"]), *numbers_in(document["pd_ratio"])}:
        last = path[-1] if path else "pd_ratio"
        assert last in names or f"capacity: {last}" in names, path
    for name in ("tolerance_ratio", "max_observed"):
        assert name in names
    policy = {entry["number"] for entry in service.policy.document["spec"]["evidence"]}
    assert {f"policy.{number}" for number in policy} <= names


@pytest.mark.parametrize(
    ("asked", "measure"),
    [
        ("per_replica", "capacity"),
        ("proportional.targetPerReplica.value", "policy.proportional.targetPerReplica.value"),
    ],
)
def test_a_number_is_found_by_the_name_it_has_where_it_stands(ran, asked, measure):
    (found,) = explain(*ran, SIGNAL, asked)
    assert [number.measure for number in found.numbers] == [measure]


@pytest.mark.parametrize("last", ["maxStepRatio", "cooldownSeconds"])
def test_a_number_of_every_pool_and_direction_is_found_by_its_last_word(ran, last):
    (found,) = explain(*ran, SIGNAL, last)
    assert {number.measure for number in found.numbers} == {
        f"policy.pools.{pool}.{way}.{last}"
        for pool in ("decode", "prefill")
        for way in ("scaleIn", "scaleOut")
    }
    text = explanation_text([found])
    if last == "maxStepRatio":
        assert "chosen, not estimated: a tenth at once" in text
    else:
        assert "`T_prov(p95) + t90(signal) + w/2`" in text


def test_every_number_written_in_the_policy_is_explained(ran):
    (service,) = ran[0].services.values()
    (found,) = explain(*ran, SIGNAL, None)
    told = {number.measure: number for number in found.numbers}
    written = [path for path, _ in numbers_of(service.policy.document["spec"])]
    assert [path for path in written if f"policy.{path}" not in told] == []
    assert [path for path in written if not told[f"policy.{path}"].estimate.method] == []


def test_a_signal_of_the_gateway_is_explained_with_the_pool_whose_work_it_is(ran):
    (service,) = ran[0].services.values()
    best = next(one for one in service.ranking.signals if f"{one.pool}.{one.signal}" == SIGNAL)
    names = {one.measure for one in fitted_numbers(service, replace(best, pool="gateway"))}
    assert {"capacity", "target", "headroom_ratio"} <= names
    assert not fitted_numbers(service, replace(best, pool="gateway", signal="ttft_p50_seconds"))


def test_what_several_services_have_in_common_is_explained_too(ran):
    study = ran[0]
    (service,) = study.services.values()
    other = replace(service, service="b", evidence=replace(service.evidence, service="b"))
    twice = replace(study, services={"a": service, "b": other})
    (found, _) = explain(twice, ran[1], ran[2], SIGNAL, "pooled_demand_correlation")
    (number,) = found.numbers
    assert "over 2 services" in number.question
    assert number.estimate.value is not None
    assert explain(twice, ran[1], ran[2], SIGNAL, "expected_demand_correlation")


def test_one_measure_alone(ran):
    (found,) = explain(*ran, SIGNAL, "lag_seconds")
    assert [number.measure for number in found.numbers] == ["lag_seconds"]
    text = explanation_text([found])
    assert "lag_seconds: How late is it, of its own?" in text
    assert "demand_correlation" not in text


def test_unknown_names_are_answered_with_the_choices(ran):
    with pytest.raises(UnknownNameError, match=r"Did you mean 'decode\.decode_tokens_per_second'"):
        explain(*ran, "decode.decode_tokens", None)
    with pytest.raises(UnknownNameError, match=r"unknown measure 'lag'.*Known: .*lag_seconds"):
        explain(*ran, SIGNAL, "lag")


def test_a_signal_that_is_not_in_the_data_says_why_and_has_no_values(ran):
    (service,) = ran[0].services.values()
    absent = next(one for one in service.ranking.signals if one.verdict == "unavailable")
    name = f"{absent.pool}.{absent.signal}"
    (found,) = explain(*ran, name, None)
    assert dict(found.origin)["verdict"].startswith("unavailable: ")
    assert all(number.estimate.value is None for number in found.numbers)
    with pytest.raises(UnknownNameError, match="unknown measure 'lag_seconds'"):
        explain(*ran, name, "lag_seconds")


def test_the_command_prints_what_the_function_gives(planted, out, whole):
    arguments = [str(planted), "--signal", SIGNAL, "--out", str(out), "--quiet"]
    with contextlib.chdir(out):
        done = CliRunner().invoke(commands, ["explain", *arguments, "--format", "json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == explanation_rows(whole)


def test_what_was_dropped_of_a_counter_is_counted(tmp_path):
    stamps = [1767571200 + 15 * i for i in range(960)]
    served = [100.0 * i for i in range(480)] + [100.0 * i for i in range(480)]  # one reset
    rows = {"timestamp": stamps, "metric": ["vllm:generation_tokens_total"] * 960, "value": served}
    frame = pl.DataFrame(rows).with_columns(pod=pl.lit("a"), pool=pl.lit("decode"))
    pl.concat([frame, frame[:7]]).write_parquet(tmp_path / "t.parquet")  # and seven copies
    (tmp_path / "study.toml").write_text(
        '[study]\nname = "drops"\n[[sources]]\nkind = "table"\npath = "t.parquet"\n'
    )
    (found,) = explain_study(tmp_path / "study.toml", SIGNAL, out=tmp_path / "out")
    source = dict(found.origin)["source"]
    assert source.startswith("vllm:generation_tokens_total: 1 series")
    assert "copies of a sample (one kept): 7" in source
    assert "counter resets (counted from 0 again): 1" in source
