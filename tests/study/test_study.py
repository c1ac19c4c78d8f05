"""The Study as people meet it in a notebook: tables with manners."""

from __future__ import annotations

from dataclasses import replace

import pytest

from signalstudy.study.run import run_study
from signalstudy.synthetic.generate import generate_service
from signalstudy.synthetic.service import ServiceSpec
from signalstudy.synthetic.write import write_table


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    path = write_table(generate_service(ServiceSpec(days=0.25), seed=2), folder)
    return run_study(path, out=folder / "out")


def test_a_study_says_what_to_follow_in_at_most_ten_lines(study):
    lines = repr(study).splitlines()
    assert len(lines) <= 10
    best = study.services["planted"].ranking.best
    assert f"{best.pool}.{best.signal}" in repr(study)
    assert "policy/planted.yaml" in study._repr_html_()


def test_the_ranking_of_a_study_stacks_its_services(study):
    twin = replace(study.services["planted"], service="twin")
    twin = replace(twin, ranking=replace(twin.ranking, service="twin"))
    both = replace(study, services={**study.services, "twin": twin})
    frame = both.ranking.frame()
    one = study.services["planted"].ranking.frame()
    assert frame.height == 2 * one.height
    assert set(frame["service"]) == {"planted", "twin"}
    assert len(repr(both.ranking).splitlines()) == 3
    assert both.ranking._repr_html_().count("<table") == 2


def test_labels_in_html_are_escaped(study):
    hostile = replace(study, name="<script>alert(1)</script>")
    assert "<script>" not in hostile._repr_html_()


def test_a_service_shows_its_tables(study):
    service = study.services["planted"]
    assert repr(service).startswith("planted: Follow")
    assert service._repr_html_().count("<table") == 3
