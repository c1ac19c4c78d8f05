"""Queries are files with a header, run with exactly what it needs."""

from __future__ import annotations

import duckdb
import pytest

from signalstudy.sql import read_query, run_query
from signalstudy.vocabulary.errors import QueryError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Point the package at a folder of queries of our own."""
    monkeypatch.setattr("signalstudy.sql.shipped", lambda _: tmp_path)
    read_query.cache_clear()
    yield tmp_path
    read_query.cache_clear()


GOOD = """-- What it is about.
-- reads: numbers, others
-- needs: $low, $high
-- returns: n
SELECT n FROM numbers WHERE n BETWEEN $low AND $high
"""


def test_a_header_is_read_word_by_word(folder):
    (folder / "between.sql").write_text(GOOD)
    query = read_query("between")
    assert query.about == "What it is about."
    assert query.reads == ("numbers", "others")
    assert query.needs == ("low", "high")
    assert query.returns == ("n",)


def test_nothing_means_nothing(folder):
    (folder / "all.sql").write_text(
        "-- All.\n-- reads: a\n-- needs: nothing\n-- returns: n\nFROM a"
    )
    assert read_query("all").needs == ()


@pytest.mark.parametrize("line", ["-- reads: numbers, others\n", "-- needs: $low, $high\n"])
def test_a_header_without_one_of_its_lines_is_refused(folder, line):
    (folder / "between.sql").write_text(GOOD.replace(line, ""))
    with pytest.raises(QueryError, match=r"queries/between\.sql: the header must say"):
        read_query("between")


def test_a_query_that_is_not_there_is_named(folder):
    with pytest.raises(QueryError, match=r"queries/nowhere\.sql cannot be read"):
        read_query("nowhere")


def test_parameters_are_bound_and_never_pasted(folder):
    (folder / "between.sql").write_text(GOOD)
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE numbers AS SELECT * FROM (VALUES ('a'), ('''b')) AS t(n)")
        found = run_query(connection, "between", low="'b", high="'; drop table numbers; --")
        assert found.fetchall() == []
        assert len(connection.execute("FROM numbers").fetchall()) == 2


@pytest.mark.parametrize("given", [{}, {"low": 1}, {"low": 1, "high": 2, "more": 3}])
def test_other_parameters_than_the_header_names_are_refused(folder, given):
    (folder / "between.sql").write_text(GOOD)
    with duckdb.connect() as connection, pytest.raises(QueryError, match=r"needs low, high, not"):
        run_query(connection, "between", **given)
