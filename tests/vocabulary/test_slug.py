from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.vocabulary.slug import slugs

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def test_a_label_keeps_its_name():
    assert slugs(["chat", "llm-7b", "a" * 63]) == {
        "chat": "chat",
        "llm-7b": "llm-7b",
        "a" * 63: "a" * 63,
    }


def test_what_is_changed_carries_a_hash_of_the_raw_name():
    given_labels = slugs(["Chat", "llm/chat", "größe"])
    assert re.fullmatch(r"chat-[0-9a-f]{8}", given_labels["Chat"])
    assert re.fullmatch(r"llm-chat-[0-9a-f]{8}", given_labels["llm/chat"])
    assert re.fullmatch(r"gro-e-[0-9a-f]{8}|gro\w*-[0-9a-f]{8}", given_labels["größe"])


def test_names_that_leave_nothing_still_get_a_label():
    labels = slugs(["", "..", "/", "\n", "漢字"])
    assert len(set(labels.values())) == 5
    assert all(re.fullmatch(r"service-[0-9a-f]{8}", label) for label in labels.values())


def test_a_name_that_looks_like_anothers_hash_keeps_it():
    stolen = slugs(["Chat"])["Chat"]
    labels = slugs(["Chat", stolen])
    assert labels[stolen] == stolen
    assert labels["Chat"] != stolen
    assert labels["Chat"].startswith(stolen[:-1])


@settings(deadline=None)
@given(st.lists(st.text(max_size=300), max_size=20))
def test_labels_are_valid_distinct_and_independent_of_order(services):
    labels = slugs(services)
    assert set(labels) == set(services)
    assert len(set(labels.values())) == len(labels)
    assert all(LABEL.fullmatch(label) for label in labels.values())
    assert labels == slugs(reversed(services))
