"""The commands export and lint as users meet them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from signalstudy.cli import commands
from signalstudy.scalers.export import SCALERS

CORPUS = Path(__file__).with_name("corpus")
POLICY = Path(__file__).parents[1] / "golden" / "policy" / "unified.yaml"


def run(*args, expect):
    done = CliRunner().invoke(commands, [str(arg) for arg in args], prog_name="signalstudy")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == expect, done.output
    return done


def test_export_writes_yaml_to_stdout():
    done = run(
        "export",
        POLICY,
        "--to",
        "hpa",
        "--query",
        'gpu_utilization_ratio=avg(x{job="a"})',
        expect=0,
    )
    kinds = [document["kind"] for document in yaml.safe_load_all(done.stdout) if document]
    assert kinds == ["HorizontalPodAutoscaler", "ConfigMap"]
    assert done.stderr == ""


def test_export_without_a_query_says_which_and_exits_2():
    done = run("export", POLICY, "--to", "keda", expect=2)
    assert "needs a query for unified.gpu_utilization_ratio" in done.stderr
    assert done.stdout == ""


def test_export_to_an_unknown_scaler_names_all():
    done = run("export", POLICY, "--to", "knative", expect=2)
    assert all(name in done.stderr for name in SCALERS)


@pytest.mark.parametrize("path", ["nowhere.yaml", CORPUS / "good-keda-total.yaml"])
def test_export_of_what_is_no_policy_is_one_sentence(path):
    done = run("export", path, "--to", "hpa", expect=2)
    assert len(done.stderr.strip().splitlines()) == 1


def test_lint_exits_1_on_an_error_and_0_on_warnings_and_on_nothing():
    assert "[bounds]" in run("lint", CORPUS / "bad-hpa-min-above-max.yaml", expect=1).stdout
    assert "warning" in run("lint", CORPUS / "bad-hpa-min-equals-max.yaml", expect=0).stdout
    assert run("lint", CORPUS / "good-keda-total.yaml", expect=0).stdout == "Nothing found.\n"


def test_lint_holds_files_against_a_study():
    path = CORPUS / "bad-hpa-target-at-saturation.yaml"
    run("lint", path, expect=0)
    done = run("lint", path, "--on", CORPUS / "study.json", "--format", "json", expect=1)
    assert json.loads(done.stdout)[0]["check"] == "target_at_saturation"
    assert run("lint", path, "--on", CORPUS / "nowhere.json", expect=2).stdout == ""
    assert (
        "unknown service"
        in run("lint", path, "--on", CORPUS / "study.json", "--service", "x", expect=2).stderr
    )
