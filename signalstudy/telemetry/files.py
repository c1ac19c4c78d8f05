"""Open files of any of the accepted formats as one DuckDB relation."""

from __future__ import annotations

import glob
import lzma
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import duckdb

from signalstudy.vocabulary.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPRESSIONS = (".gz", ".zst", ".xz")
FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
}


def find_files(path: str, place: str) -> list[Path]:
    """Expand a path or glob into files, sorted; raises TableError where there is none."""
    exact = Path(path)
    if exact.is_file():
        return [exact]
    if exact.is_dir():
        raise TableError(f"{place}: {path} is a folder. Name files, for example {path}/*.parquet.")
    found = sorted(Path(p) for p in glob.glob(path, recursive=True) if Path(p).is_file())  # noqa: PTH207 - the pattern is absolute
    if not found:
        raise TableError(f"{place}: there is no file {path}")
    return found


def format_of(file: Path, place: str) -> str:
    """Tell the format from the name: parquet, csv or json."""
    suffixes = [s.lower() for s in file.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    found = FORMATS.get(suffixes[-1]) if suffixes else None
    if found is None:
        raise TableError(
            f"{place}: {file.name}: the name must end in one of {', '.join(sorted(FORMATS))}, "
            f"with {', '.join(COMPRESSIONS)} behind it where compressed"
        )
    return found


def open_table(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], place: str, scratch: Path
) -> duckdb.DuckDBPyRelation:
    """Open files of one format as one relation, columns matched by name.

    `scratch` is a folder for what must be unpacked first (.xz). Raises TableError, naming the
    file, where one is empty, truncated or no table at all.
    """
    formats = {format_of(file, place) for file in files}
    if len(formats) > 1:
        raise TableError(f"{place}: files of several formats ({', '.join(sorted(formats))})")
    kind = formats.pop()
    for file in files:
        if file.stat().st_size == 0:
            raise TableError(f"{place}: {file} is empty")
    paths = [str(_unpacked(file, place, scratch)) for file in files]
    relation = _open(connection, kind, paths, place)
    if kind != "parquet" and relation.columns in (["column0"], ["json"]):
        raise TableError(f"{place}: {files[0]} is no table with named columns")
    return relation


def _open(
    connection: duckdb.DuckDBPyConnection, kind: str, paths: list[str], place: str
) -> duckdb.DuckDBPyRelation:
    try:
        if kind == "parquet":
            return connection.read_parquet(paths, union_by_name=True)
        many = cast("Any", paths)  # both readers take lists, which their stubs do not say
        if kind == "json":
            return connection.read_json(many, format="auto", union_by_name=True, sample_size=-1)
        return connection.read_csv(many, header=True, union_by_name=True, sample_size=-1)
    except (duckdb.Error, OSError) as error:
        raise TableError(f"{place}: {_first_line(error, paths)}") from None


def _first_line(error: Exception, paths: list[str]) -> str:
    line = str(error).strip().splitlines()[0]
    return line if any(Path(p).name in line for p in paths) else f"{paths[0]}: {line}"


def _unpacked(file: Path, place: str, scratch: Path) -> Path:
    """Unpack .xz, which DuckDB does not read, beside the store; others stay as they are."""
    if file.suffix.lower() != ".xz":
        return file
    scratch.mkdir(parents=True, exist_ok=True)
    target = scratch / f"{len(list(scratch.iterdir()))}-{file.stem}"
    try:
        with lzma.open(file) as packed, target.open("wb") as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
    except (lzma.LZMAError, EOFError) as error:
        raise TableError(f"{place}: {file} cannot be unpacked: {error}") from None
    if target.stat().st_size == 0:
        raise TableError(f"{place}: {file} is empty")
    return target


def quoted(name: str) -> str:
    """Quote a column name from a stranger's file, so that it can only ever be a name."""
    return '"' + name.replace('"', '""') + '"'
