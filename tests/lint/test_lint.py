"""lint beyond its corpus: files, our own exports, several files at once, odd input."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.lint.facts import canonical, facts_of
from signalstudy.lint.finding import findings_text
from signalstudy.lint.lint import lint
from signalstudy.policy.yaml_text import dump
from signalstudy.scalers.export import export
from signalstudy.vocabulary.errors import ConfigurationError, UnknownNameError
from tests.scalers.policies import FLOORS, guarded, policy, two_signals, unified

CORPUS = Path(__file__).with_name("corpus")
WHEN = datetime(2026, 1, 20, tzinfo=UTC)


@pytest.mark.parametrize("to", ["hpa", "keda", "aibrix", "kthena"])
@pytest.mark.parametrize(
    "made",
    [
        policy(),
        guarded(schedule=FLOORS),
        two_signals(),
        unified("gpu_utilization_ratio", 0.6, 'avg(x{job="a"})', "intensive"),
    ],
    ids=["joint", "guarded", "two_signals", "intensive"],
)
def test_what_we_export_is_free_of_findings(to, made):
    if to == "kthena" and "ratio" not in made.document["spec"]:
        return  # it takes no intensive signal
    assert lint({"x": export(made, to)}) == []


def test_all_documents_of_all_files_are_checked_and_other_kinds_left_alone():
    good = (CORPUS / "good-hpa-external-total.yaml").read_text()
    bad = (CORPUS / "bad-hpa-min-above-max.yaml").read_text()
    other = "apiVersion: v1\nkind: Service\n"
    found = lint({"a": f"{good}---\n{other}---\n{bad}---\n{bad}", "b": bad})
    assert [finding.where[:2] for finding in found] == ["a,", "b,"]  # twice the same is once


def test_pools_are_paired_across_files():
    both = (CORPUS / "bad-hpa-one-target-for-both-pools.yaml").read_text()
    decode, prefill = both.split("---\n")
    assert {finding.check for finding in lint({"a": decode, "b": prefill})} == {"ratio_split"}


@pytest.mark.parametrize("text", ["", "kind: Deployment\n", "[]\n", "just text\n"])
def test_a_file_without_anything_to_check_is_an_error_with_the_choices(text):
    with pytest.raises(ConfigurationError, match=r"nothing to check.*ScaledObject"):
        lint({"x.yaml": text})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{- if .Values.on }}\nkind: ScaledObject\n{{- end }}\n", "render it first"),
        ("kind: ScaledObject\nmetadata: {{ .Values.name }}\n", "render it first"),
        ("a: &a [*a]\nkind: ScaledObject\n", "stand for more than"),
        ("kind: ScaledObject\nkind: ScaledObject\n", "stands twice"),
        ("a: &a {b: 1}\nc: {<<: *a, d: 1, d: 2}\n", "stands twice"),
        ("kind: ScaledObject\n" + "# x\n" * 300_000, "more than 1,000,000 characters"),
    ],
)
def test_what_cannot_be_read_says_why(text, says):
    with pytest.raises(ConfigurationError, match=says):
        lint({"x.yaml": text})


def test_aliases_that_blow_up_are_refused_before_they_do():
    levels = "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{f'*{chr(97 + i)},' * 9}]\n" for i in range(9)
    )
    with pytest.raises(ConfigurationError, match="stand for more than"):
        lint({"x.yaml": "a: &a [x,x,x,x,x,x,x,x,x]\n" + levels})


def test_knatives_own_podautoscaler_is_none_of_ours():
    text = "apiVersion: autoscaling.internal.knative.dev/v1alpha1\nkind: PodAutoscaler\n"
    with pytest.raises(ConfigurationError, match="nothing to check"):
        lint({"x.yaml": text})


def test_a_broken_file_is_named_with_its_line():
    with pytest.raises(ConfigurationError, match=r"x\.yaml, line 2"):
        lint({"x.yaml": "kind: ScaledObject\nspec: ]\n"})


def test_the_text_ends_with_how_many_there_are():
    found = lint({"x": (CORPUS / "bad-hpa-min-above-max.yaml").read_text()})
    text = findings_text(found)
    assert text.splitlines()[0].endswith("error: the minimum 50 is above the maximum 40. [bounds]")
    assert text.splitlines()[-1] == "Errors: 1; warnings: 0."
    assert findings_text([]) == "Nothing found.\n"


def test_a_service_of_several_has_to_be_named():
    service = {"service": "a", "signals": [], "threshold": {}, "pd_ratio": {}}
    study = {"study": {}, "services": [service, {**service, "service": "b"}]}
    assert facts_of(study, "b").service == "b"
    with pytest.raises(ConfigurationError, match="with --service: a, b"):
        facts_of(study, None)
    with pytest.raises(UnknownNameError, match="unknown service 'c'"):
        facts_of(study, "c")
    with pytest.raises(ConfigurationError, match=r"not the study\.json"):
        facts_of({"services": [1]}, None)


@pytest.mark.parametrize(
    ("metric", "signal"),
    [
        ("vllm:generation_tokens_total", "decode_tokens_per_second"),
        ("vllm:time_to_first_token_seconds_bucket", "ttft"),
        ("DCGM_FI_DEV_GPU_UTIL", "gpu_utilization_ratio"),
        ("waiting_requests", "waiting_requests"),
        ("nobody_knows", ""),
    ],
)
def test_a_metric_is_known_by_the_catalogue(metric, signal):
    assert canonical(metric) == signal


GOOD = [
    document
    for path in sorted(CORPUS.glob("good-*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]


def places(value, path=()):
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_manifest_however_odd_is_an_internal_error(data):
    document = copy.deepcopy(data.draw(st.sampled_from(GOOD)))
    document.setdefault("kind", "ScaledObject")
    where = data.draw(st.sampled_from([p for p in places(document) if p and p != ("kind",)]))
    odd = data.draw(
        st.sampled_from([None, "", "x", "-1", "1e400", 0, -3, 10**12, 0.5, [], {}, {"a": 1}, True])
    )
    parent = document
    for key in where[:-1]:
        parent = parent[key]
    parent[where[-1]] = odd
    try:
        found = lint({"x.yaml": dump(document)}, now=WHEN)
    except ConfigurationError:
        return  # a sentence: the kind is gone, or a text cannot be YAML
    assert all(finding.sentence for finding in found)


@pytest.mark.parametrize("which", ["disaggregated", "unified"])
def test_a_policy_that_we_draft_is_free_of_findings(which):
    golden = Path(__file__).parents[1] / "golden" / "policy" / f"{which}.yaml"
    assert lint({"x": golden.read_text(encoding="utf-8")}, now=WHEN) == []
