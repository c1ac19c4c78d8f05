"""Rows for a terminal or a pipe: aligned text, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from signalstudy.vocabulary.spoken import one_line, spoken_number
from signalstudy.vocabulary.tables import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

NARROWEST_LAST = 24


def render_rows(rows: Sequence[dict[str, Any]], form: str, *, width: int = 120) -> str:
    """Render rows that have the same keys as `table`, `json` or `csv`; a newline at the end.

    A table shows numbers with four digits and cuts its last column to `width`; the others hold
    everything.
    """
    if form == "json":
        return json.dumps(list(rows), indent=1, allow_nan=False) + "\n"
    if form == "csv":
        stream = io.StringIO()
        if rows:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        return stream.getvalue()
    if not rows:
        return "nothing\n"
    columns = list(rows[0])
    cells = [[_cell(row[name]) for name in columns] for row in rows]
    widths = [max(len(name), *(len(line[at]) for line in cells)) for at, name in enumerate(columns)]
    room = max(width - sum(widths[:-1]) - 2 * (len(widths) - 1), NARROWEST_LAST)
    lines = []
    for line in [columns, *cells]:
        head = [cell.ljust(wide) for cell, wide in zip(line[:-1], widths[:-1], strict=True)]
        lines.append("  ".join([*head, shortened(line[-1], room)]).rstrip())
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return spoken_number(value)
    return one_line(value)
