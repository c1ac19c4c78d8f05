"""The command line as users meet it: exit codes, messages, and what is left in the folder."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import subprocess
import sys
from dataclasses import replace

import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from signalstudy.cli import commands
from signalstudy.synthetic.generate import generate_service
from signalstudy.synthetic.service import ServiceSpec
from signalstudy.synthetic.write import write_table

SPEC = ServiceSpec(days=0.25, step_seconds=15.0)
SOURCE = '[study]\nname="a"\n[[sources]]\nkind="table"\npath='
HEADER = "timestamp,decode_tokens_per_second\n"


def signalstudy(*args, cwd, expect):
    """Run a command in this process, in the folder `cwd`."""
    with contextlib.chdir(cwd):
        done = CliRunner().invoke(commands, [str(arg) for arg in args], prog_name="signalstudy")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == expect, done.output
    return done


def test_last_wants_a_source_that_has_a_span(planted, tmp_path):
    for last, said in (("6h", "kind prometheus or tsdb"), ("soon", "no duration")):
        done = signalstudy("run", planted, "--last", last, cwd=tmp_path, expect=2)
        assert said in done.output


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    return write_table(generate_service(SPEC, seed=3), folder)


@pytest.fixture(scope="module")
def ran(planted, tmp_path_factory):
    cwd = tmp_path_factory.mktemp("work")
    done = signalstudy("run", planted, "--format", "json", "--strict", cwd=cwd, expect=0)
    return cwd, done


def test_run_writes_the_study_into_its_folder_and_json_to_stdout(ran):
    cwd, done = ran
    assert json.loads(done.stdout) == json.loads((cwd / "planted-study/study.json").read_text())
    assert {p.name for p in (cwd / "planted-study").iterdir()} == {
        "telemetry.duckdb", "telemetry", "study.json", "evidence.parquet", "policy", "report.html",
        "plotly.min.js",
    }  # fmt: skip
    assert "Report: planted-study/report.html" in done.stderr


def test_every_stage_prints_its_result_from_the_same_store(ran, planted):
    cwd, _ = ran
    before = (cwd / "planted-study/telemetry.duckdb").stat().st_mtime_ns
    rows = json.loads(
        signalstudy("rank", planted, "--format", "json", "--quiet", cwd=cwd, expect=0).stdout
    )
    assert rows[0]["verdict"] == "proportional"
    text = signalstudy("fit", planted, "--format", "csv", "--quiet", cwd=cwd, expect=0).stdout
    assert {"per_replica", "target"} <= {
        row["quantity"] for row in csv.DictReader(io.StringIO(text))
    }
    said = signalstudy("policy", planted, "--quiet", cwd=cwd, expect=0)
    [policy] = yaml.safe_load_all(said.stdout)
    assert policy["kind"] == "ScalingPolicy"
    assert said.stderr == ""
    again = signalstudy("check", planted, cwd=cwd, expect=0)
    assert "the store is reused" in again.stderr
    assert "demand of decode" in again.stdout
    assert (cwd / "planted-study/telemetry.duckdb").stat().st_mtime_ns == before


def test_every_stage_speaks_json_and_csv_and_the_report_is_the_page(ran, planted):
    cwd, _ = ran
    for stage in ("evidence", "rank", "fit", "policy", "check"):
        said = signalstudy(stage, planted, "--format", "json", "--quiet", cwd=cwd, expect=0).stdout
        table = signalstudy(stage, planted, "--format", "csv", "--quiet", cwd=cwd, expect=0).stdout
        assert json.loads(said), stage
        assert list(csv.DictReader(io.StringIO(table))), stage
    [policy] = json.loads(
        signalstudy("policy", planted, "--format", "json", "--quiet", cwd=cwd, expect=0).stdout
    )
    assert policy["kind"] == "ScalingPolicy"
    page = signalstudy("report", planted, "--quiet", cwd=cwd, expect=0).stdout
    assert page.strip() == (cwd / "planted-study/report.html").read_text().strip()


def test_options_that_scripts_give_to_every_command_are_taken_by_all(ran):
    cwd, _ = ran
    [policy] = (cwd / "planted-study/policy").iterdir()
    query = "decode.decode_tokens_per_second=sum(rate(x[1m]))"
    own = ("export", policy, "--to", "dynamo", "--query", query)
    [manifest, *_] = json.loads(
        signalstudy(*own, "--quiet", "--format", "json", cwd=cwd, expect=0).stdout
    )
    assert manifest == next(
        yaml.safe_load_all(signalstudy(*own, "--quiet", cwd=cwd, expect=0).stdout)
    )
    signalstudy("signals", "--quiet", "--debug", cwd=cwd, expect=0)
    silent = signalstudy("init", "--quiet", "--out", cwd / "new.toml", cwd=cwd, expect=0)
    assert silent.output == ""
    options = {option for param in commands.commands["demo"].params for option in param.opts}
    assert {"--out", "--service", "--format", "--quiet", "--debug"} <= options


def test_every_stage_exits_1_where_nothing_qualifies(tmp_path):
    path = write_table(
        generate_service(replace(SPEC, independent_noise=True), seed=4), tmp_path / "noise"
    )
    for stage in ("rank", "policy"):
        done = signalstudy(stage, path, "--quiet", cwd=tmp_path, expect=1)
    assert list(yaml.safe_load_all(done.stdout)) == []
    assert done.stdout.startswith("# planted: No ")


def test_noise_exits_1_and_says_that_nothing_qualifies(tmp_path):
    path = write_table(
        generate_service(replace(SPEC, independent_noise=True), seed=4), tmp_path / "noise"
    )
    done = signalstudy("run", path, "--quiet", cwd=tmp_path, expect=1)
    assert "No signal qualifies for proportional control" in done.stdout
    assert "proportional  " not in done.stdout
    assert not (tmp_path / "planted-study/policy").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no [study]"),
        ("[study", "not valid TOML"),
        ('[study]\nname="a"\n', "there is no [[sources]]"),
        ('[study]\nname="a"\nsed=1\n[[sources]]\nkind="table"\npath="t.csv"', "unknown key 'sed'"),
        ('[study]\nname="a"\n[[sources]]\nkind="tabel"\npath="t.csv"', "Did you mean 'table'?"),
        (SOURCE + '"t.csv"', "there is no file"),
        (
            SOURCE + '"good.csv"\n[[objectives]]\nsignal="tfft"\nquantile=0.9\nat_most_seconds=1',
            "[[objectives]] 1: unknown signal 'tfft'. Did you mean 'ttft'? Known: e2e, tbt, ttft.",
        ),
        (SOURCE + '"header.csv"', "header.csv"),
        (SOURCE + '"text.csv"', "'lots', which is no number"),
        (SOURCE + '"cut.parquet"', "cut.parquet"),
        (SOURCE + '"one.csv"', "single sample"),
    ],
)  # fmt: skip
def test_wrong_input_gets_one_message_exit_2_and_leaves_nothing(text, words, tmp_path):
    (tmp_path / "good.csv").write_text(
        "timestamp,decode_tokens_per_second\n2026-01-05T00:00:00Z,1\n"
    )
    (tmp_path / "header.csv").write_text("timestamp,decode_tokens_per_second\n")
    (tmp_path / "text.csv").write_text("timestamp,decode_tokens_per_second\n2026-01-05,lots\n")
    (tmp_path / "one.csv").write_text(
        "timestamp,decode_tokens_per_second\n2026-01-05T00:00:00Z,1\n"
    )
    pl.DataFrame({"timestamp": range(1000)}).write_parquet(tmp_path / "whole.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:200])
    (tmp_path / "study.toml").write_text(text)
    before = sorted(tmp_path.iterdir())
    done = signalstudy("run", "study.toml", "--quiet", cwd=tmp_path, expect=2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert sorted(tmp_path.iterdir()) == before


def test_a_missing_study_is_named(tmp_path):
    done = signalstudy("run", "nowhere.toml", cwd=tmp_path, expect=2)
    assert "nowhere.toml: there is no such file" in done.stderr


def test_the_catalogue_prints_names_units_and_engine_metrics(tmp_path):
    rows = json.loads(signalstudy("signals", "--format", "json", cwd=tmp_path, expect=0).stdout)
    by_name = {row["signal"]: row for row in rows}
    assert "vllm:generation_tokens_total" in by_name["decode_tokens_per_second"]["metrics"]
    assert by_name["gpu_utilization_ratio"]["unit"] == "ratio"
    assert "decode_tokens_per_second" in signalstudy("signals", cwd=tmp_path, expect=0).stdout


def test_labels_that_are_code_stay_labels(tmp_path):
    hostile = ["a'; DROP TABLE series; --", "<script>alert(1)</script>", "../../etc", "x" * 300,
               "line\nbreak", 'quo"te', "Chat", "chat"]  # fmt: skip
    rows = 240
    stamps = [1767571200 + 60 * i for i in range(rows)]
    values = [[100.0 + (i * 37 + k) % 91 for i in range(rows)] for k in range(len(hostile))]
    frames = [
        pl.DataFrame(
            {
                "timestamp": stamps,
                "service": [name] * rows,
                "decode_tokens_per_second": served,
                "offered_decode_tokens_per_second": [value + 1.0 for value in served],
            }
        )
        for name, served in zip(hostile, values, strict=True)
    ]
    pl.concat(frames).write_parquet(tmp_path / "t.parquet")
    (tmp_path / "study.toml").write_text(
        '[study]\nname = "hostile"\n[[sources]]\nkind = "table"\npath = "t.parquet"\n'
    )
    done = signalstudy("run", "study.toml", "--out", "out", cwd=tmp_path, expect=1)
    summary = json.loads((tmp_path / "out/study.json").read_text())
    assert {s["service"] for s in summary["services"]} == set(hostile)
    assert {p.name for p in tmp_path.iterdir()} == {"t.parquet", "study.toml", "out"}
    pages = [p.read_text() for p in (tmp_path / "out").glob("*.html")]
    assert len(pages) == len(hostile) + 1
    assert not any("<script>alert(1)" in page for page in pages)
    assert "\nbreak" not in done.stdout


def test_the_installed_command_ends_with_the_exit_code_and_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "signalstudy.cli", "run", "nowhere.toml"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: nowhere.toml: there is no such file")
