from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from signalstudy.vocabulary.tables import html_table, shortened, text_table

CELLS = st.lists(st.tuples(st.text(), st.text()), max_size=30)


@given(CELLS, st.text())
def test_a_text_table_has_at_most_ten_lines(rows, title):
    assert len(text_table(["a", "b"], rows, title=title).splitlines()) <= 10


@given(CELLS)
def test_an_html_table_holds_no_markup_of_its_cells(rows):
    text = html_table(["a", "b"], rows)
    assert text.count("<td") == 2 * len(rows)
    assert text.count("<tr>") == len(rows) + 1


def test_rows_that_do_not_fit_are_counted():
    text = text_table(["n"], [[str(n)] for n in range(20)], title="numbers")
    lines = text.splitlines()
    assert lines[:3] == ["numbers", "n", "0"]
    assert lines[-1] == "… and 13 more"
    assert len(lines) == 10


def test_a_table_that_just_fits_counts_nothing():
    lines = text_table(["n"], [[str(n)] for n in range(9)]).splitlines()
    assert lines == ["n", *map(str, range(9))]


def test_columns_line_up():
    assert text_table(["a", "b"], [["long cell", "x"]]).splitlines() == [
        "a          b",
        "long cell  x",
    ]


def test_an_empty_table_is_its_header():
    assert text_table(["a", "b"], []) == "a  b"
    assert html_table(["a"], []).endswith("<tbody></tbody></table>")


def test_what_is_cut_says_so():
    assert shortened("abcdef", 4) == "abc…"
    assert shortened("abcd", 4) == "abcd"
