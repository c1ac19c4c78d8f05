from __future__ import annotations

import pytest

from signalstudy.policy.read import read_policy
from signalstudy.policy.write import policy_yaml
from signalstudy.vocabulary.errors import ConfigurationError


def refusal(tmp_path, text):
    path = tmp_path / "policy.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    with pytest.raises(ConfigurationError) as caught:
        read_policy(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


@pytest.fixture
def text(disaggregated):
    return policy_yaml(disaggregated.draft())


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("", "holds no keys"),
        ("just words", "holds no keys"),
        ("- a\n- b", "holds no keys"),
        ("kind: [1, 2", "line 1: not readable as YAML"),
        ("a: 1\nb: 2\na: 3\n", "line 3: not readable as YAML: the key 'a' stands twice"),
        ("1: a", "keys have to be text"),
        ("a: 1\n---\nb: 2\n", "expected a single document"),
        ("a: &x [1]\nb: *x\n", "line 2: not readable as YAML: aliases are not allowed"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: !secret x", "could not determine a constructor"),
        ("<<: {a: 1}", "unknown key '<<'"),
        ("[" * 5000, "not readable as YAML"),
        ("a: " + "9" * 6000, "not readable as YAML"),
        ("a: 'x", "line 1"),
        ("a: \x00", "not readable as YAML"),
        (b"\xff\xfe\x00\xd8", "UTF-8"),
        ("a: b\n" + "#" * 1_000_001, "more than 1,000,000 characters"),
    ],
)
def test_what_is_not_a_policy_is_refused_in_one_sentence(tmp_path, broken, says):
    assert says in refusal(tmp_path, broken)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("kind: ScalingPolicy", "kind: Deployment", "kind: 'Deployment' is not 'ScalingPolicy'"),
        ("v1alpha1", "v9", "apiVersion: 'signalstudy.dev/v9' is not 'signalstudy.dev/v1alpha1'"),
        ("minReplicas: 2", "minReplicas: -2", "spec.pools.decode.minReplicas: -2 is less than"),
        ("minReplicas: 2", "minReplicas: 50", "minReplicas 50 is above maxReplicas 40"),
        ("minReplicas: 2", "minReplicas: two", "'two' is not of type integer"),
        ("minReplicas: 2", "minReplica: 2", "Did you mean 'minReplicas'?"),
        ("kind: total", "kind: sum", "'sum' is not possible. Known: intensive, total."),
        ("perReplicaOf: decode", "perReplicaOf: unified", "Known: decode, prefill"),
        ("scaleInTolerance: 0.2", "scaleInTolerance: .nan", "scaleInTolerance: '.nan' is not"),
        ("scaleInTolerance: 0.2", "scaleInTolerance: 1.5", "scaleInTolerance: 1.5 is greater"),
        ("value: 1890.0", "value: 1e999", "is not a usable number"),
        ("value: 1890.0", "value: 0", "0 is less than or equal to the minimum"),
        ("min: 1.2\n", "min: 2.2\n", "spec.ratio: min 2.2 is above max 1.4"),
        ("signal: ttft\n", "signal: itl\n", "spec.objectives[0].signal: 'itl' is not possible"),
        ("    prefill:\n", "    training:\n", "'training' is not possible"),
    ],
)
def test_a_fault_in_a_policy_is_named_with_its_place(tmp_path, text, old, new, says):
    assert old in text
    assert says in refusal(tmp_path, text.replace(old, new, 1))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: cannot be read"):
        read_policy(tmp_path / "nowhere.yaml")


def test_words_and_dates_stay_text_and_exponents_are_numbers(tmp_path, text):
    path = tmp_path / "policy.yaml"
    text = text.replace("service: chat", "service: no", 1).replace("1890.0", "1.89e3")
    text = text.replace("'2026-01-12T08:30:00Z'", "2026-01-12T08:30:00Z")
    path.write_text(text, encoding="utf-8")
    document = read_policy(path).document
    assert document["metadata"]["service"] == "no"
    assert document["metadata"]["generatedAt"] == "2026-01-12T08:30:00Z"
    assert document["spec"]["proportional"]["targetPerReplica"]["value"] == 1890.0
