"""Names and labels that anyone may have written: they stay text, in YAML, PromQL and comments."""

from __future__ import annotations

import copy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.scalers.export import SCALERS, export
from signalstudy.scalers.promql import selectors
from signalstudy.study.matchers import quoted
from signalstudy.vocabulary.errors import ExportError
from tests.scalers.policies import guarded, policy, unified
from tests.scalers.test_export import with_evidence

HOSTILE = [
    'x"} or vector(1e9) #',
    "a\nkind: Pod\n---\nspec: {}",
    "\u202egnp.exe\u2028\u0085\ufeff",
    "{{ .Values.name }}",
    "a: b # c",
    "*anchor &b !!python/object:os.system",
    "\x1b[31mred\x07\r",
    "a" * 300,
    "=cmd|' /C calc'!A0",
]
MADE = dict.fromkeys(SCALERS, guarded) | {
    "dynamo": lambda: with_evidence(policy()),
    "ray-serve": lambda: unified("running_requests", 16.0, None),
}


def shape(text):
    return [sorted(document) for document in yaml.safe_load_all(text) if document]


@pytest.mark.parametrize("to", SCALERS)
@settings(max_examples=25, deadline=None)
@given(service=st.sampled_from(HOSTILE) | st.text(max_size=80))
def test_a_service_of_any_name_changes_no_structure(to, service):
    made = MADE[to]()
    plain = export(made, to)
    made.document["metadata"]["service"] = service
    text = export(made, to)
    assert shape(text) == shape(plain)
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("to", sorted(set(SCALERS) - {"dynamo", "ray-serve"}))
@settings(max_examples=25, deadline=None)
@given(value=st.sampled_from(HOSTILE) | st.text(st.characters(codec="utf-8"), max_size=40))
def test_a_label_of_any_value_stays_one_matcher_of_the_query(to, value):
    query = f'sum(rate(tokens_total{{service={quoted(value)},job="vllm"}}[1m]))'
    made = policy()
    made.document["spec"]["signal"]["promql"] = query
    text = export(made, to)
    assert shape(text) == shape(export(policy(), to))
    (selector,) = selectors(query)
    assert selector.matchers == (("service", "=", quoted(value)), ("job", "=", '"vllm"'))


@pytest.mark.parametrize("to", ["hpa", "keda", "aibrix", "kthena", "prometheus-rules"])
@pytest.mark.parametrize("key", ["name", "namespace", "kind", "apiVersion"])
@pytest.mark.parametrize("value", [*HOSTILE, "", "-a", "A b", "a/b/c"])
def test_an_object_that_kubernetes_would_refuse_is_named(to, key, value):
    made = guarded()
    made.document["spec"]["pools"]["decode"]["targetRef"][key] = value
    with pytest.raises(ExportError, match=rf"spec\.pools\.decode\.targetRef\.{key}: ") as caught:
        export(made, to)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("to", ["hpa", "keda", "aibrix"])
def test_a_long_name_still_fits_a_label_and_tells_services_apart(to):
    names = []
    for last in "xy":
        made = guarded()
        long = copy.deepcopy(made.document)
        long["metadata"]["name"] = "a" * 62 + last
        whole = type(made)(long["metadata"]["name"], long)
        found = [d for d in yaml.safe_load_all(export(whole, to)) if d["kind"] != "ConfigMap"]
        names += [document["metadata"]["name"] for document in found]
        for document in found:
            labels = document["metadata"]["labels"].values()
            assert all(len(text) <= 63 for text in (document["metadata"]["name"], *labels))
    assert len(set(names)) == 4
