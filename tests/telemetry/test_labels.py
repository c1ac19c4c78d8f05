"""Labels as they are in the field: engines, GPU exporter and cluster each name a pod their way."""

from __future__ import annotations

from pathlib import Path

import pytest

from signalstudy.config import parse_config
from signalstudy.telemetry.labels import identify
from signalstudy.vocabulary.errors import TableError

LABELS = {
    "service": ["namespace", "model_name"],
    "pools": {
        "prefill": {"job": "vllm.*", "component": "prefill", "exported_pod": "chat-prefill-.*"},
        "decode": {"job": "vllm.*", "component": "decode", "exported_pod": "chat-decode-.*"},
    },
}


def told(labels, *, strict=True, said=LABELS):
    document = {
        "study": {"name": "chat"},
        "sources": [{"kind": "table", "path": "x.csv"}],
        "labels": said,
    }
    config = parse_config(document, place="study.toml", folder=Path())
    return identify(labels, config, "here", strict=strict)


@pytest.mark.parametrize(
    ("labels", "pool"),
    [
        ({"job": "vllm-0", "component": "decode"}, "decode"),
        ({"job": "vllm-0", "component": "prefill"}, "prefill"),
        ({"exported_pod": "chat-decode-3", "job": "dcgm"}, ""),
        ({"exported_pod": "chat-decode-3"}, "decode"),
        ({"exported_pod": "other-3"}, ""),
        ({"instance": "node-1"}, ""),
        ({"component": "decode", "exported_pod": "chat-prefill-1"}, ""),
    ],
)
def test_the_labels_of_a_pool_that_a_series_has_must_all_agree(labels, pool):
    assert told(labels).pool == pool


def test_labels_for_service_are_joined_and_the_first_for_replica_counts():
    found = told({"namespace": "llm", "model_name": "m", "pod": "p-1", "instance": "i"})
    assert (found.service, found.replica) == ("llm/m", "p-1")
    assert told({"instance": "i"}).service == "chat"


def test_a_strange_pool_is_refused_in_a_table_and_set_aside_in_a_dump():
    with pytest.raises(TableError, match=r"here: unknown pool 'a100'.*\[labels.pools\]"):
        told({"pool": "a100"}, said={})
    assert told({"pool": "a100"}, said={}, strict=False).pool is None
    assert told({"pool": " Service "}, said={}).pool == "gateway"
