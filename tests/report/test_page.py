from __future__ import annotations

from dataclasses import replace

from signalstudy.report.page import key_numbers, service_page, threshold_sentence, tone_of
from signalstudy.threshold.drift import PART_OF_DAY, Drift, PartCapacity
from signalstudy.vocabulary.estimate import Estimate, unidentified


def page_of(service):
    """Make the page without policy text or links."""
    return service_page(service, policy_yaml="", policy_href="", index_href="")


def test_the_threshold_is_one_sentence_with_interval_and_what_binds(studies):
    sentence = threshold_sentence(studies.make_service())
    assert sentence.startswith("One decode replica bears 2,310 tokens/s (2,241 to 2,379)")
    assert "before TBT breaks its objective; hold it at 1,890 tokens/s" in sentence
    assert "the next 2.75 min" in sentence


def test_a_lower_bound_says_at_least(studies):
    service = studies.make_service()
    bound = Estimate(2310.0, status="lower_bound", note="The knee was not visited.")
    threshold = replace(service.threshold, per_replica=bound)
    sentence = threshold_sentence(replace(service, threshold=threshold))
    assert "bears at least 2,310 tokens/s" in sentence
    assert sentence.endswith("The knee was not visited.")


def test_an_unknown_threshold_is_its_own_sentence(studies):
    service = studies.make_bare_service()
    assert threshold_sentence(service) == service.threshold.per_replica.note


def test_an_unknown_target_says_why(studies):
    service = studies.make_service()
    threshold = replace(service.threshold, target=unidentified("No ramp was seen."))
    assert threshold_sentence(replace(service, threshold=threshold)).endswith("No ramp was seen.")


def test_key_numbers_say_what_cannot_be_told(studies):
    cards = {card.label: card for card in key_numbers(studies.make_bare_service())}
    assert cards["signal to follow"].value == "none qualifies"
    assert cards["target per replica"].value == "does not apply"
    assert "recorded" not in cards


def test_the_page_takes_its_colour_from_the_best_verdict(studies):
    assert tone_of(studies.make_service()) == "proportional"
    assert tone_of(studies.make_bare_service()) == "undetermined"
    service = studies.make_service()
    empty = replace(service.ranking, signals=())
    assert tone_of(replace(service, ranking=empty)) == "undetermined"


def test_signals_that_are_not_in_the_data_stand_apart(studies):
    page = page_of(studies.make_service())
    assert {row.verdict for row in page.unavailable} == {"unavailable"}
    assert len(page.signals) == 11
    assert [row.rank for row in page.signals] == [str(rank) for rank in range(1, 12)]


def test_what_failed_stands_first_in_data_quality(studies):
    page = page_of(studies.make_service())
    assert [check.status for check in page.quality] == ["failed", "warning", "note", "ok"]


def test_every_number_of_the_threshold_is_listed(studies):
    names = [row.name for row in page_of(studies.make_service()).threshold_numbers]
    assert names[:4] == ["target", "per_replica", "headroom_ratio", "horizon_seconds"]
    assert "capacity of prefill" in names
    assert "decode, p99 tbt <= 0.04 s" in names


def test_a_long_ranking_shows_the_telling_signals_and_keeps_the_others_in_order(studies):
    service = studies.make_service()
    first = service.ranking.signals[4]
    many = tuple(
        replace(first, signal=f"e2e_p{n}_seconds", rank=100 + n, verdict="guard") for n in range(30)
    )
    signals = service.ranking.signals + many
    page = page_of(replace(service, ranking=replace(service.ranking, signals=signals)))
    assert sum(row.verdict == "guard" for row in page.signals) == 5
    assert len(page.signals) + len(page.more_signals) == 11 + 30
    assert [row.rank for row in page.more_signals] == [str(100 + n) for n in range(1, 30)]
    assert "e2e_p29" not in page.ranking_figure.json


def test_what_a_replica_bears_part_by_part_is_a_table_and_a_sentence(studies):
    service = studies.make_service()
    assert page_of(service).drift is None
    parts = (
        PartCapacity("00:00 to 06:00 UTC", Estimate(2400.0, 2300.0, 2500.0), "tbt", 12.0),
        PartCapacity("12:00 to 18:00 UTC", Estimate(1900.0, 1800.0, 2000.0), "tbt", None),
    )
    spread = Estimate(2400.0 / 1900.0, 1.12, 1.42)
    drift = Drift("decode", "decode_tokens_per_second", PART_OF_DAY, parts, spread)
    threshold = replace(service.threshold, drifts=(drift,))
    page = page_of(replace(service, threshold=threshold))
    assert [row[1] for row in page.drift["rows"]] == [one.part for one in parts]
    (sentence,) = page.drift_sentences
    assert sentence == (
        "decode, decode_tokens_per_second: By part of the day it drifts: by 1.26 times (1.12 to "
        "1.42) from 1900 a replica (12:00 to 18:00 UTC) to 2400 a replica (00:00 to 06:00 UTC, "
        "replicas 12)."
    )
