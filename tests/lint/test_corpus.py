"""A corpus of manifests, each saying in its first line what is wrong with it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from signalstudy.lint.facts import facts_of
from signalstudy.lint.lint import lint

CORPUS = Path(__file__).with_name("corpus")
FILES = sorted(CORPUS.glob("*.yaml"))
WHEN = datetime(2026, 1, 20, tzinfo=UTC)
OF_PART_3 = {
    1: {"unreachable"},
    2: {"average_as_total", "total_times_replicas", "several_series"},
    3: {"key", "version"},
    4: {"range", "bounds", "ratio_unreachable"},
    5: {"flapping", "no_hysteresis", "two_scalers"},
    6: {"cooldown_shorter_than_start"},
    7: {"series_absent", "series_switched_off"},
    8: {"nan_at_idle", "zero_in_outage"},
    9: {"does_not_fall"},
    10: {"largest_of_several", "occupancy_alone"},
    11: {"long_window", "without_effect"},
    12: {"unit"},
    13: {"ratio", "ratio_split"},
    14: {"evidence", "stale_digest", "target_at_saturation"},
}
"""The static checks of the reference study, by their number there."""


def expected(text):
    told = re.match(r"# expect: (.*)", text)[1]
    return set() if told == "nothing" else set(told.split(", "))


def found(path):
    text = path.read_text(encoding="utf-8")
    facts = None
    if "# on: study.json" in text:
        facts = facts_of(json.loads((CORPUS / "study.json").read_text()), None)
    return text, lint({path.name: text}, facts=facts, now=WHEN)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_planted_fault_is_found_and_nothing_else(path):
    text, findings = found(path)
    assert {finding.check for finding in findings} == expected(text), findings


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_finding_names_the_file_and_is_a_sentence(path):
    for finding in found(path)[1]:
        assert finding.where.startswith(path.name)
        assert finding.sentence.endswith((".", '"false".', "?"))
        assert "\n" not in finding.sentence


def test_the_corpus_is_large_and_plants_every_kind_of_fault():
    good = [path for path in FILES if path.stem.startswith("good")]
    assert len(FILES) >= 100
    assert len(good) >= 25
    assert all(expected(path.read_text()) == set() for path in good)
    planted = set().union(*(expected(path.read_text()) for path in FILES))
    for number, checks in OF_PART_3.items():
        assert checks <= planted, number
