from __future__ import annotations

import copy
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.policy.read import read_policy
from signalstudy.policy.write import policy_yaml, write_policy
from signalstudy.policy.yaml_text import dump, parse
from signalstudy.vocabulary.errors import ConfigurationError

if TYPE_CHECKING:
    from signalstudy.policy.policy import Policy

GOLDEN = Path(__file__).parents[1] / "golden" / "policy"
REWRITE = (
    "SIGNALSTUDY_REWRITE_GOLDEN"  # set to 1 to write the golden files anew, then read the diff
)

ROUGH_LABELS = [
    'it\'s "quoted"',
    "two\nlines",
    "<script>alert(1)</script>",
    "key: value # comment",
    "x" * 300,
    "- item",
    "no",
    "1e3",
    "12:30",
    "0x1f",
    "null",
    "2026-01-05",
    "{{ template }}",
    "\x85next\u2028line\u202eturned",
    " leading and trailing ",
    "漢字 🚀",
    "",
]


def labelled(policy: Policy, label: str) -> Policy:
    document = copy.deepcopy(policy.document)
    document["metadata"]["service"] = label
    return replace(policy, document=document)


@pytest.mark.parametrize("which", ["disaggregated", "unified"])
def test_the_file_is_the_golden_one(which, request):
    text = policy_yaml(request.getfixturevalue(which).draft())
    golden = GOLDEN / f"{which}.yaml"
    if os.environ.get(REWRITE) == "1":
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("label", ROUGH_LABELS)
def test_a_rough_label_comes_back_as_it_was(disaggregated, tmp_path, label):
    policy = labelled(disaggregated.draft(), label)
    write_policy(policy, tmp_path / "chat.yaml")
    assert read_policy(tmp_path / "chat.yaml").document == policy.document


@pytest.mark.parametrize("label", ROUGH_LABELS)
def test_any_yaml_reader_gets_the_same_label(disaggregated, label):
    loaded = yaml.safe_load(policy_yaml(labelled(disaggregated.draft(), label)))
    assert loaded["metadata"]["service"] == label


@pytest.mark.parametrize("label", ["\nkind: Evil", "\rkind: Evil", "\u2028kind: Evil", "\x85a"])
def test_a_label_cannot_break_out_of_the_comments(disaggregated, label):
    policy = disaggregated.but(study=replace(disaggregated.study, study_name=label)).draft()
    lines = policy_yaml(labelled(policy, label)).splitlines()
    head = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
    assert lines[len(head)] == "apiVersion: signalstudy.dev/v1alpha1"
    assert sum("Evil" in line for line in lines if line.startswith("kind")) == 0


@given(
    st.recursive(
        st.text()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.booleans()
        | st.none(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
)
@settings(max_examples=200, deadline=None)
def test_what_is_written_is_what_is_read(value):
    assert parse(dump({"value": value}), "here") == {"value": value}


def test_the_first_lines_say_study_threshold_versions_and_digests(disaggregated):
    head = [line for line in policy_yaml(disaggregated.draft()).splitlines() if line[:1] == "#"]
    assert head[0] == "# Scaling policy of chat"
    assert "2026-01-05T00:00:00Z to 2026-01-12T00:00:00Z" in head[1]
    assert "5e1f00d5" in head[1]
    assert head[2].startswith("# signalstudy 0.1.0, spec ")
    assert head[3] == (
        "# threshold 2310 [2240, 2390] decode_tokens_per_second per decode replica (ok)"
    )
    assert head[4] == "# target 1890 [1800, 1960] (ok)"


def test_a_rerun_with_an_equal_spec_leaves_every_byte(disaggregated, tmp_path):
    path = tmp_path / "policy" / "chat.yaml"
    assert write_policy(disaggregated.draft(), path) == []
    before = path.read_bytes()
    later = replace(disaggregated.study, generated_at="2026-02-01T00:00:00Z", tool_version="0.2.0")
    assert write_policy(disaggregated.but(study=later).draft(), path) == []
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["chat.yaml"]


def with_target(drafting, value, low, high, **more):
    target = replace(drafting.threshold.target, value=value, low=low, high=high, **more)
    return drafting.but(threshold=replace(drafting.threshold, target=target))


def test_a_refit_whose_interval_holds_the_old_value_keeps_it(disaggregated, tmp_path):
    path = tmp_path / "chat.yaml"
    write_policy(disaggregated.draft(), path)
    moved = write_policy(with_target(disaggregated, 1920.0, 1850.0, 1990.0).draft(), path)
    target = read_policy(path).document["spec"]["proportional"]["targetPerReplica"]
    assert moved == []
    assert (target["value"], target["low"], target["high"]) == (1890.0, 1850.0, 1990.0)


def test_a_refit_whose_interval_excludes_the_old_value_moves_it_and_says_why(
    disaggregated, tmp_path
):
    path = tmp_path / "chat.yaml"
    write_policy(disaggregated.draft(), path)
    moved = write_policy(with_target(disaggregated, 1600.0, 1500.0, 1700.0).draft(), path)
    assert read_policy(path).document["spec"]["proportional"]["targetPerReplica"]["value"] == 1600.0
    assert moved[0] == (
        "spec.proportional.targetPerReplica.value: 1890.0 -> 1600.0 "
        "(the new interval 1500.0..1700.0 excludes 1890.0)."
    )


def test_a_target_is_not_lowered_without_a_breach(disaggregated, tmp_path):
    path = tmp_path / "chat.yaml"
    write_policy(disaggregated.draft(), path)
    lower = with_target(disaggregated, 1600.0, 1500.0, 1700.0, status="lower_bound").draft()
    moved = write_policy(lower, path)
    assert read_policy(path).document["spec"]["proportional"]["targetPerReplica"]["value"] == 1890.0
    assert "no breach speaks against the old value" in moved[0]


def test_under_another_objective_no_old_number_is_kept(disaggregated, tmp_path):
    path = tmp_path / "chat.yaml"
    write_policy(disaggregated.draft(), path)
    strict = replace(disaggregated.objectives[1], at_most_seconds=0.03)
    changed = with_target(disaggregated, 1920.0, 1850.0, 1990.0).but(
        objectives=(disaggregated.objectives[0], strict)
    )
    moved = write_policy(changed.draft(), path)
    assert read_policy(path).document["spec"]["proportional"]["targetPerReplica"]["value"] == 1920.0
    assert any("targetPerReplica.value: 1890.0 -> 1920.0" in sentence for sentence in moved)


def test_a_floor_that_a_person_wrote_survives_a_refit(disaggregated, tmp_path):
    path = tmp_path / "chat.yaml"
    policy = disaggregated.draft()
    floor = {"days": ["monday"], "from": "08:00", "to": "10:00", "replicas": {"decode": 6}}
    policy.document["spec"]["schedule"] = [floor]
    write_policy(policy, path)
    write_policy(with_target(disaggregated, 1600.0, 1500.0, 1700.0).draft(), path)
    assert read_policy(path).document["spec"]["schedule"] == [floor]


def test_the_drafted_policy_is_not_changed_by_writing_it(disaggregated, tmp_path):
    path = tmp_path / "chat.yaml"
    write_policy(disaggregated.draft(), path)
    refit = with_target(disaggregated, 1920.0, 1850.0, 1990.0).draft()
    before = copy.deepcopy(refit.document)
    write_policy(refit, path)
    assert refit.document == before


def test_a_broken_file_in_the_way_is_named_and_kept(disaggregated, tmp_path):
    path = tmp_path / "chat.yaml"
    path.write_text("kind: [", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"chat\.yaml, line 1: not readable as YAML"):
        write_policy(disaggregated.draft(), path)
    assert path.read_text(encoding="utf-8") == "kind: ["


def test_a_place_that_cannot_be_written_is_one_sentence(disaggregated, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="cannot be"):
        write_policy(disaggregated.draft(), tmp_path / "file" / "chat.yaml")
