"""A replay as a page shows it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from signalstudy.replay.candidates import Standing
from signalstudy.replay.recorded import replay_policy
from signalstudy.report.replayed import own_replay, replay_section
from signalstudy.report.write import write_replay
from tests.replay import planted

HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture(scope="module")
def replay():
    service = planted.unified(planted.day(4000.0, hours=12.0), 4.0)
    short = planted.policy("short", pools={"unified": planted.rule(1, 4)})
    return replay_policy(
        [planted.policy(), short], service, against=["fixed-peak", "heteroscale"], draws=3
    )


def test_a_row_a_run_with_intervals_flags_and_what_a_rival_was_given(replay):
    section = replay_section(replay)
    assert section.headings[0] == "GPU-hours"
    rows = {row.name: row for row in section.rows}
    assert list(rows) == [run.name for run in replay.runs]
    assert rows["chat"].numbers[0].interval
    assert any("Starves" in flag for flag in rows["short"].flags)
    assert rows["short"].moments[0].startswith("2026-01-05T")
    assert "target" in rows["heteroscale"].given
    assert section.front.json
    assert section.over_time.json


def test_candidates_show_both_ranks_and_the_finding(replay):
    standing = Standing("chat", "proportional", 1, 2, "Ranked before short, which keeps more.")
    section = replay_section(replace(replay, standings=(standing,)))
    assert section.headings[:2] == ("study", "replay")
    rows = {row.name: row for row in section.rows}
    assert rows["chat"].ranks == ("1", "2")
    assert rows["recorded"].ranks == ("", "")
    assert rows["chat"].finding.startswith("Ranked before short")


def test_censored_minutes_give_a_column_of_their_own(replay):
    noted = replace(replay, notes=("In 1 h the recording served less (censored).",))
    assert "without censored minutes" in replay_section(noted).headings
    assert "without censored minutes" not in replay_section(replay).headings


def test_the_page_and_its_json_are_written_and_every_label_is_text(replay, tmp_path):
    hostile = replace(
        replay, service=HOSTILE, notes=(HOSTILE,),
        runs=tuple(replace(run, name=HOSTILE, given=HOSTILE) for run in replay.runs),
    )  # fmt: skip
    page = write_replay([hostile, replay], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "plotly.min.js", "replay.html", "replay.json",
    ]  # fmt: skip
    text = page.read_text("utf-8")
    assert "alert(1)</script>" not in text
    assert text.count("<h2>") == 2
    assert not re.search(r'(?:src|href)="(?!plotly\.min\.js|#|report\.html)', text)
    documents = json.loads((tmp_path / "replay.json").read_text("utf-8"))
    assert [one["service"] for one in documents] == [HOSTILE, "chat"]
    assert 'href="report.html"' not in text
    (tmp_path / "report.html").write_text("x")
    assert 'href="report.html"' in write_replay([replay], tmp_path).read_text("utf-8")


def test_a_service_whose_policy_cannot_be_replayed_says_why(studies):
    service = studies.make_service()
    found, said = own_replay(service)
    assert said == ""
    assert [run.name for run in found.runs] == ["recorded", "chat", "fixed-peak", "clairvoyant"]
    assert own_replay(replace(service, policy=None)) == (None, "There is no policy to replay.")
    found, said = own_replay(replace(service, objectives=()))
    assert found is None
    assert "No replay without objectives" in said
    document = {**service.policy.document, "spec": dict(service.policy.document["spec"])}
    document["spec"]["signal"] = {**document["spec"]["signal"], "name": "nobody_has_this"}
    found, said = own_replay(replace(service, policy=replace(service.policy, document=document)))
    assert found is None
    assert "unknown signal 'nobody_has_this'" in said
