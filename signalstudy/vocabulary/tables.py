"""Tables with manners: a result as a few lines of text, and as escaped HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from signalstudy.vocabulary.spoken import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDEST_CELL = 48
_WIDEST_TITLE = 110


def shortened(text: str, width: int) -> str:
    """Cut `text` to `width` characters, saying with an ellipsis that it was cut."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def text_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    title: str = "",
    max_lines: int = 10,
) -> str:
    """Draw a table in at most `max_lines` lines, title and header included.

    Rows that do not fit are counted in the last line. Cells are strings or speak for themselves
    by `str`; columns line up on the left.
    """
    lines = [shortened(one_line(title), _WIDEST_TITLE)] if title else []
    room = max_lines - len(lines) - 1
    shown = rows if len(rows) <= room else rows[: room - 1]
    cells = [[shortened(one_line(cell), _WIDEST_CELL) for cell in row] for row in shown]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in (columns, *cells):
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(padded).rstrip())
    if len(shown) < len(rows):
        lines.append(f"… and {len(rows) - len(shown)} more")
    return "\n".join(lines)


def html_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> str:
    """Give the same table as HTML; every cell is escaped, labels are untrusted text."""
    caption = (
        f'<caption style="text-align:left;caption-side:top">{escape(one_line(title))}</caption>'
        if title
        else ""
    )
    head = "".join(f'<th style="text-align:left">{escape(one_line(name))}</th>' for name in columns)
    body = "".join(
        "<tr>"
        + "".join(f'<td style="text-align:left">{escape(one_line(cell))}</td>' for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
