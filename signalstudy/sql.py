"""Read, describe and run one file of queries/. SQL reshapes, Python judges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from signalstudy.shipped import shipped
from signalstudy.vocabulary.errors import QueryError

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, slots=True)
class Query:
    """One SELECT and what its header says of it."""

    name: str
    text: str
    about: str
    reads: tuple[str, ...]
    needs: tuple[str, ...]
    returns: tuple[str, ...]


@cache
def read_query(name: str) -> Query:
    """Read queries/<name>.sql with its header; raises QueryError where it has none."""
    path = shipped("queries") / f"{name}.sql"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise QueryError(f"queries/{name}.sql cannot be read: {error}") from None
    header = [line[2:].strip() for line in text.splitlines() if line.startswith("--")]
    said = {
        key: tuple(word.strip(" $") for word in value.split(",") if word.strip() != "nothing")
        for key, _, value in (line.partition(":") for line in header)
        if key in ("reads", "needs", "returns")
    }
    if not header or set(said) != {"reads", "needs", "returns"}:
        raise QueryError(f"queries/{name}.sql: the header must say reads, needs and returns")
    return Query(name, text, header[0], said["reads"], said["needs"], said["returns"])


def run_query(
    connection: duckdb.DuckDBPyConnection, name: str, **parameters: Any
) -> duckdb.DuckDBPyRelation:
    """Run queries/<name>.sql with exactly the parameters its header needs."""
    query = read_query(name)
    if set(parameters) != set(query.needs):
        raise QueryError(
            f"queries/{name}.sql needs {', '.join(query.needs) or 'nothing'}, "
            f"not {', '.join(sorted(parameters)) or 'nothing'}"
        )
    return connection.sql(query.text, params=parameters or None)
