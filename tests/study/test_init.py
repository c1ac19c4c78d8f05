"""What init writes runs as it is, and says what it guessed and what it could not join."""

from __future__ import annotations

import json
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from signalstudy.config import read_config
from signalstudy.study.check import check_study
from signalstudy.study.init import study_text, write_study_file
from signalstudy.telemetry.discover import RawSeries
from signalstudy.telemetry.look import Look
from signalstudy.vocabulary.errors import ConfigurationError, SignalStudyError
from tests.house.project import ROOT
from tests.telemetry.block_writer import write_block
from tests.telemetry.scripted_server import data, export_lines, serving
from tests.telemetry.test_tsdb import TWO
from tests.telemetry.written import GOOD, as_csv, as_dump, as_parquet

SAMPLE = ROOT / "sample"


def proposed(*series: tuple[str, dict[str, str]], kind: str = "prometheus"):
    """Give the document that init would write for these series, and its comments."""
    seen = tuple(
        RawSeries(i, 1, kind, "production", metric, labels.get("le"), json.dumps(labels), 9)
        for i, (metric, labels) in enumerate(series)
    )
    span = ('last = "14d"',) if kind == "prometheus" else ()
    text = study_text(Look(kind, "http://prom.example:9090", seen, span), Path())
    return tomllib.loads(text), text


RUNNING, GPU = "vllm:num_requests_running", "DCGM_FI_DEV_GPU_UTIL"


def engine(model="m", pod="p-0", **labels):
    return RUNNING, {"model_name": model, "pod": pod, "namespace": "llm", **labels}


@pytest.mark.parametrize(
    ("name", "write", "kind"),
    [
        ("a.csv", as_csv, "table"),
        ("a.parquet", as_parquet, "table"),
        ("a.txt", as_dump, "tsdb-dump"),
        ("a.jsonl", lambda _: export_lines(), "vm-export"),
        ("b.txt", lambda _: openmetrics(), "openmetrics"),
    ],
)
def test_files_are_known_by_what_is_in_them_and_the_study_runs(tmp_path, name, write, kind):
    (tmp_path / name).write_bytes(write(GOOD))
    said = write_study_file(str(tmp_path / name), tmp_path / "study.toml")
    config = read_config(tmp_path / "study.toml")
    assert config.sources[0].kind == kind
    assert any("wrote" in sentence for sentence in said)
    assert check_study(tmp_path / "study.toml", out=tmp_path / "out")


def openmetrics() -> bytes:
    rows = [
        f'{RUNNING}{{pool="decode",replica="d0"}} {i % 7} {1_767_571_200 + 10 * i}\n'
        for i in range(60)
    ]
    return "".join(rows).encode()


def test_a_folder_of_blocks_is_looked_at_and_the_study_runs(tmp_path):
    write_block(tmp_path / "data", TWO)
    write_study_file(str(tmp_path / "data"), tmp_path / "study.toml")
    assert check_study(tmp_path / "study.toml", out=tmp_path / "out")
    text = (tmp_path / "study.toml").read_text()
    assert 'kind = "tsdb"' in text
    assert "decode x 2" in text


def test_the_sample_is_told_apart_and_its_edges_are_shown(tmp_path):
    write_study_file(str(SAMPLE / "telemetry.parquet"), tmp_path / "study.toml")
    text = (tmp_path / "study.toml").read_text()
    assert "Service chat: decode x 4, prefill x 3" in text
    assert "Service search" in text
    assert 'service = ["service"]' in text
    write_study_file(str(SAMPLE / "requests.parquet"), tmp_path / "other.toml")
    assert read_config(tmp_path / "other.toml").sources[0].kind == "requests"


def test_what_is_there_is_never_overwritten(tmp_path):
    (tmp_path / "study.toml").write_text("mine")
    with pytest.raises(ConfigurationError, match="is there already"):
        write_study_file(None, tmp_path / "study.toml")
    assert (tmp_path / "study.toml").read_text() == "mine"


def test_without_a_source_a_form_is_written(tmp_path):
    write_study_file(None, tmp_path / "new" / "study.toml")
    assert read_config(tmp_path / "new" / "study.toml").sources[0].kind == "table"


def test_nothing_is_written_where_nothing_can_be_read(tmp_path):
    (tmp_path / "notes.md").write_text("# hello\n\nworld")
    for where in (tmp_path / "nowhere", tmp_path / "notes.md", tmp_path):
        with pytest.raises(SignalStudyError):
            write_study_file(str(where), tmp_path / "study.toml")
    assert not (tmp_path / "study.toml").exists()


def test_models_in_several_namespaces_are_services_of_both():
    document, text = proposed(engine(), engine("n", "q-0"), engine("m", "r-0", namespace="dev"))
    assert document["labels"]["service"] == ["namespace", "model_name"]
    assert document["labels"]["replica"][0] == "pod"
    assert all(f"Service {name}:" in text for name in ("llm/m", "llm/n", "dev/m"))
    assert document["sources"][0]["last"] == "14d"


def test_one_model_in_one_namespace_is_the_study_itself():
    document, text = proposed(engine(), engine(pod="p-1"))
    assert document["labels"]["service"] == []
    assert "Service prom-example: unified x 2" in text


def test_pools_are_found_under_any_label_that_says_prefill_and_decode():
    series = [engine(pod=f"p-{w}", worker=w) for w in ("prefill", "decode")]
    assert proposed(*series)[0]["labels"]["pool"] == ["worker"]
    series = [engine(pod=f"p-{w}", job=f"vllm-{w}-h100") for w in ("prefill", "decode")]
    document, text = proposed(*series)
    assert document["labels"]["pools"]["prefill"] == {"job": ".*prefill.*"}
    assert "decode x 1, prefill x 1" in text
    assert "taken as unified" in proposed(engine())[1]


def test_gpus_are_joined_by_pod_and_what_is_not_is_listed():
    gpu = {"Hostname": "node7", "instance": "node7:9400", "gpu": "0", "namespace": "llm"}
    _, text = proposed(
        engine(), engine("n", "q-0"), (GPU, {**gpu, "pod": "p-0"}), (GPU, {**gpu, "pod": "job-7"})
    )
    assert f"1 series of {GPU} name a pod or owner that no engine's series name" in text
    assert "Not joined: 1 series of DCGM_FI_DEV_GPU_UTIL" in text


def test_a_pair_of_servers_is_seen():
    pair = [engine(prometheus_replica=f"prometheus-{i}") for i in (0, 1)]
    assert proposed(*pair)[0]["labels"]["ha_replica"] == ["prometheus_replica"]


@pytest.mark.parametrize("is_live", [True, False])
def test_a_server_is_asked_for_its_span_and_series(tmp_path, is_live):
    now = time.time()
    first, last = (now - 20 * 86400, now) if is_live else (now - 50 * 86400, now - 40 * 86400)

    def names(asked):
        start, end = (float(asked.form[name][0]) for name in ("start", "end"))
        return data([RUNNING, "odd"] if start <= last and end >= first else [])

    script = {
        "/api/v1/label/__name__/values": names,
        "/api/v1/series": lambda _: data([{"__name__": RUNNING, "pod": "p-0", "pool": "decode"}]),
    }
    with serving(script) as (url, _):
        write_study_file(url, tmp_path / "study.toml")
        [source] = read_config(tmp_path / "study.toml").sources
    if is_live:
        assert source.last == "14d"
    else:
        assert abs(source.end - datetime.fromtimestamp(last, UTC)).total_seconds() < 1200
        assert 0 < source.end.timestamp() - source.start.timestamp() <= 14 * 86400


def test_a_server_that_knows_no_metric_says_so(tmp_path):
    script = {"/api/v1/label/__name__/values": lambda _: data(["odd"])}
    with serving(script) as (url, _), pytest.raises(SignalStudyError, match="no metric that"):
        write_study_file(url, tmp_path / "study.toml")
