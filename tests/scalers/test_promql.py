"""Queries that a scaler can trust, by their text; tests/real_servers has them evaluated."""

from __future__ import annotations

import pytest

from signalstudy.scalers.promql import alive, one_value, outermost, selectors


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("sum(rate(a_total[1m]))", ["a_total"]),
        ('sum by (job, le) (rate(a:b{x="}",y=~"c|d"}[5m] offset 1h))', ['a:b{x="}",y=~"c|d"}']),
        ('{__name__=~"a.*",job="b"}', ['{__name__=~"a.*",job="b"}']),
        ("a / on (pod) group_left (node) b", ["a", "b"]),
        ("histogram_quantile(0.99, sum(rate(l_bucket[1m])) by (le))", ["l_bucket"]),
        ('label_replace(a, "b", "$1", "c", "(.*)") or vector(0)', ["a"]),
        ("a > bool 5e3 and b unless c # d", ["a", "b", "c"]),
        ("1 + 2", []),
    ],
)
def test_the_series_that_a_query_reads_are_found(query, read):
    assert [str(selector) for selector in selectors(query)] == read


@pytest.mark.parametrize(
    ("query", "aggregation"),
    [
        ("sum(a)", "sum"),
        (" max ( a ) ", "max"),
        ("sum(a) / sum(b)", ""),
        ("sum by (x) (a)", ""),
        ("sum(a) by (x)", ""),
        ("rate(a[1m])", ""),
        ('sum(a{x=")"})', "sum"),
    ],
)
def test_the_aggregation_around_a_whole_query_is_found(query, aggregation):
    assert outermost(query) == aggregation


@pytest.mark.parametrize(
    ("query", "is_alive"),
    [
        ('sum(rate(a{job="j",le="1",namespace="n"}[1m]))', 'sum(up{job="j",namespace="n"}) > 0'),
        (
            'a{job="j",pool="decode"}',  # where `up` does not know the pool, the series tell
            "sum(up{_}) > 0 or count(a{_}) > 0 and on() absent(up{_})",
        ),
        ('sum(a{namespace="n"})', 'count(a{namespace="n"}) > 0'),  # up of others would count too
        ("job:decode:rate1m", "count(job:decode:rate1m) > 0"),
    ],
)
def test_targets_are_alive_by_up_where_the_query_names_them(query, is_alive):
    assert alive(query) == is_alive.replace("_", 'job="j",pool="decode"')


def test_several_series_are_taken_together():
    assert one_value("rate(a[1m])", "sum", "x").startswith("(sum(rate(a[1m])) or (x) * 0)")
    assert one_value("sum(a)", "sum", "x").startswith("(sum(a) or (x) * 0)")
    assert "(avg(a / b) >= 0)" in one_value("a / b", "avg", "x")


@pytest.mark.parametrize("query", ['sum(a{job="j"})', 'rate(a{job="j",pool="p"}[1m]) / b', "a"])
def test_a_query_that_is_safe_already_stays_and_takes_other_targets(query):
    once = one_value(query, "sum", alive(query))
    assert alive(once) == alive(query)
    assert one_value(once, "sum", alive(once)) == once
    assert one_value(once, "max", "sum(up) > 0") == one_value(query, "sum", "sum(up) > 0")


def test_a_comment_or_a_break_in_a_query_cannot_eat_what_is_put_around_it():
    assert one_value("sum(a) # of b", "sum", "x") == "(sum(a) or (x) * 0) and on() (x)"
    assert one_value("sum(\n  a\n)", "sum", "x").startswith("(sum( a ) or (x) * 0)")
    assert one_value('sum(a{b="# c"})', "sum", "x").startswith('(sum(a{b="# c"}) or')
