"""Service by service: the same output as from a study held whole."""

from __future__ import annotations

import json

import jsonschema
import polars as pl
import pytest

from signalstudy.report.stream import run_and_report
from signalstudy.report.write import write_report
from signalstudy.study.run import run_study
from signalstudy.study.summary import study_schema, summarise
from signalstudy.study.write import write_study
from signalstudy.synthetic.generate import generate_service
from signalstudy.synthetic.service import ServiceSpec
from signalstudy.synthetic.write import write_table


@pytest.fixture(scope="module")
def two_services(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    for number in (1, 2):
        spec = ServiceSpec(name=f"service-{number}", days=0.2)
        path = write_table(generate_service(spec, seed=number), folder / str(number))
    text = path.read_text().replace('path = "', 'path = "*/')
    (folder / "study.toml").write_text(text)
    return folder / "study.toml"


def without_dates(text):
    return [line for line in text.splitlines() if "generatedAt" not in line and "valid" not in line]


def test_the_output_is_that_of_a_study_held_whole(two_services, tmp_path):
    streamed, page, _ = run_and_report(two_services, tmp_path / "stream")
    whole = run_study(two_services, out=tmp_path / "whole")
    write_study(whole, tmp_path / "whole")
    write_report(whole, tmp_path / "whole")
    assert page == tmp_path / "stream" / "report.html"
    assert all(found.timeline is None for found in streamed.services.values())
    names = {
        kind: sorted(
            str(p.relative_to(tmp_path / kind)) for p in (tmp_path / kind).rglob("*") if p.is_file()
        )
        for kind in ("stream", "whole")
    }
    assert names["stream"] == names["whole"]
    summaries = [json.loads((tmp_path / k / "study.json").read_text()) for k in names]
    assert summaries[0] == summaries[1]
    frames = [pl.read_parquet(tmp_path / k / "evidence.parquet") for k in names]
    assert frames[0].equals(frames[1])
    for name in ("service-1", "service-2"):
        texts = [(tmp_path / k / "policy" / f"{name}.yaml").read_text() for k in names]
        assert without_dates(texts[0]) == without_dates(texts[1])
        assert (tmp_path / "stream" / f"report-{name}.html").stat().st_size > 100_000


def test_what_several_services_have_in_common_is_pooled(two_services, tmp_path):
    study, _, _ = run_and_report(two_services, tmp_path)
    rows = {(r["pool"], r["signal"], r["measure"]): r for r in summarise(study)["pooled"]}
    pooled = rows["decode", "decode_tokens_per_second", "demand_elasticity"]
    assert pooled["services"] == 2
    assert pooled["mean"]["low"] <= 1.0 <= pooled["mean"]["high"]
    assert pooled["prediction"]["status"] == "unidentified"  # two do not tell of a third
    assert set(pooled["shrunk"]) == {"service-1", "service-2"}
    jsonschema.validate(summarise(study), study_schema())
