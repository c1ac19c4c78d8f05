"""`signalstudy replay` as users meet it."""

from __future__ import annotations

import csv
import io
import json

import pytest
from click.testing import CliRunner

from signalstudy.cli import commands
from signalstudy.replay.recorded import replay_policy
from signalstudy.study.replays import printed
from signalstudy.synthetic.generate import generate_service
from signalstudy.synthetic.service import ServiceSpec
from signalstudy.synthetic.write import write_table
from tests.replay import planted

SPEC = ServiceSpec(days=0.25, step_seconds=15.0)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replayed")
    study = write_table(generate_service(SPEC, seed=3), folder)
    done = CliRunner().invoke(commands, ["run", str(study), "--out", str(folder / "out")])
    assert done.exit_code == 0, done.output
    [policy] = (folder / "out" / "policy").iterdir()
    return study, policy, folder / "out"


def replay(ran, *more, policy=None):
    study, drafted, out = ran
    line = ["replay", str(policy or drafted), "--on", str(study), "--out", str(out), *more]
    return CliRunner().invoke(commands, line)


def test_a_drafted_policy_is_replayed_beside_what_happened_and_all_rivals(ran):
    done = replay(ran, "--against", "all", "--draws", "5", "--format", "json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    runs = {run["name"]: run for run in document["runs"]}
    assert {"recorded", "planted", "fixed-peak", "clairvoyant", "heteroscale"} <= set(runs)
    assert {"hpa-gpu-utilization", "hpa-ttft", "kthena-ratio"} <= set(runs)
    # The planted service has no queue to follow.
    assert "keda-queue" not in runs
    assert any(note.startswith("keda-queue is left out") for note in document["notes"])
    for run in runs.values():
        assert 0.0 <= run["slo_attainment_ratio"]["value"] <= 1.0
        assert run["gpu_hours"]["value"] > 0.0
    assert runs["clairvoyant"]["gpu_hours"]["value"] <= runs["fixed-peak"]["gpu_hours"]["value"]
    drafted = runs["planted"]
    assert drafted["slo_attainment_ratio"]["value"] > 0.95
    assert drafted["gpu_hours"]["low"] <= drafted["gpu_hours"]["value"]


def test_a_part_of_the_recording_is_replayed_as_a_table(ran):
    done = replay(ran, "--draws", "0", "--from", "2026-01-05T03:00:00Z", "--to", "2026-01-05T05:00")
    assert done.exit_code == 0, done.output
    head, columns, recorded, drafted, *_ = done.stdout.splitlines()
    assert head == "planted, 2026-01-05T03:00:00Z to 2026-01-05T05:00:00Z"
    assert columns.startswith("run")
    assert recorded.split()[:2] == ["recorded", "10"]  # two hours of two and three replicas
    assert drafted.startswith("planted")
    assert "replaying planted" in done.stderr


def test_candidates_are_ranked_by_what_they_kept_and_cost(ran):
    study, _, out = ran
    line = ["replay", "--candidates", "--on", str(study), "--out", str(out), "--draws", "0"]
    done = CliRunner().invoke(commands, [*line, "--format", "json", "--quiet"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    runs = {run["name"]: run for run in document["runs"]}
    standings = document["candidates"]
    assert [one["study_rank"] for one in standings] == list(range(1, len(standings) + 1))
    assert len(standings) >= 3
    assert {one["run"] for one in standings} == set(runs) - {"recorded"}
    [service] = json.loads((out / "study.json").read_text())["services"]
    first = service["signals"][0]
    assert standings[0]["run"] == f"{first['pool']}.{first['signal']}"
    attained = {name: run["slo_attainment_ratio"]["value"] for name, run in runs.items()}
    kept = [one for one in standings if attained[one["run"]] >= document["asked_attainment"]]
    costs = {one["run"]: runs[one["run"]]["gpu_hours"]["value"] for one in kept}
    cheapest = min(costs, key=costs.get)
    assert next(one for one in kept if one["run"] == cheapest)["replay_rank"] == 1
    table = CliRunner().invoke(commands, [*line, "--quiet"])
    assert "study_rank" in table.stdout


def test_without_a_policy_and_without_candidates_there_is_nothing_to_replay(ran):
    done = CliRunner().invoke(commands, ["replay", "--on", str(ran[0]), "--quiet"])
    assert done.exit_code == 2
    assert "name a policy file, or say --candidates" in done.stderr


def test_every_form_holds_every_run():
    service = planted.unified(planted.steps(2800.0))
    found = [replay_policy(planted.policy(), service, against=["heteroscale"], draws=0)]
    text = printed(found, "table", width=100)
    assert "heteroscale: target " in text
    assert " x capacity), theta 0.1; the best of 4 tried" in text
    rows = list(csv.DictReader(io.StringIO(printed(found, "csv", width=100))))
    assert [(row["service"], row["run"]) for row in rows] == [
        ("chat", "recorded"), ("chat", "chat"), ("chat", "heteroscale")
    ]  # fmt: skip
    assert len(json.loads(printed(found * 2, "json", width=100))) == 2


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--engine", "magic"), "--engine: unknown engine 'magic'."),
        (("--trace", "t.jsonl"), "the recorded replay has the study's own demand."),
        (("--against", "nobody"), "--against: unknown rival 'nobody'."),
        (("--from", "yesterday"), "--from 'yesterday' is no time. Write 2026-01-05T00:00:00Z."),
        (("--service", "other"), "unknown service 'other'"),
        (("--inventory", "nowhere.yaml"), "nowhere.yaml: cannot be read"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(ran, more, sentence):
    done = replay(ran, *more, "--quiet")
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_file_that_is_no_policy_is_named(ran, tmp_path):
    path = tmp_path / "not.yaml"
    path.write_text("kind: Nothing\n")
    done = replay(ran, "--quiet", policy=path)
    assert done.exit_code == 2
    assert "not.yaml" in done.stderr
