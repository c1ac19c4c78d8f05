"""Open files of any of the accepted formats as one DuckDB relation."""

from __future__ import annotations

import csv
import glob
import gzip
import lzma
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import duckdb
import zstandard

from signalstudy.vocabulary.errors import TableError
from signalstudy.vocabulary.spoken import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COMPRESSIONS = (".gz", ".zst", ".xz")
BLOCK_BYTES = 1 << 22
SEPARATORS = ",;\t|"
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
    if kind == "parquet":
        return relation
    if relation.columns in (["column0"], ["json"]):
        raise TableError(f"{place}: {files[0]} is no table with named columns")
    try:  # text is parsed once, not at every question
        try:
            relation.create(quoted(place))
        except duckdb.ConversionException:
            # Files of one glob write a column in different ways: each value is then read by itself.
            if kind != "csv":
                raise
            _open(connection, kind, paths, place, as_text=True).create(quoted(place))
    except duckdb.Error as error:
        raise TableError(f"{place}: {files[0].name}: {first_line(error)}") from None
    return connection.table(quoted(place))


def _open(
    connection: duckdb.DuckDBPyConnection,
    kind: str,
    paths: list[str],
    place: str,
    *,
    as_text: bool = False,
) -> duckdb.DuckDBPyRelation:
    try:
        if kind == "parquet":
            return connection.read_parquet(paths, union_by_name=True)
        many = cast("Any", paths)  # both readers take lists, which their stubs do not say
        if kind == "json":
            return connection.read_json(many, format="auto", union_by_name=True, sample_size=-1)
        separator = _separator(Path(paths[0]), place)
        # Left to guess, the engine skips lines that do not fit, the header among them.
        return connection.read_csv(
            many,
            header=True,
            skiprows=0,
            sep=separator,
            quotechar='"',
            escapechar='"',
            union_by_name=True,
            sample_size=-1,
            all_varchar=as_text,
            # Times stay text: the engine would choose between day and month first by itself.
            auto_type_candidates=["NULL", "BOOLEAN", "BIGINT", "DOUBLE", "VARCHAR"],
        )
    except (duckdb.Error, OSError) as error:
        if "sniffing" in str(error):
            raise TableError(f"{place}: {_misfit(paths, separator, place)}") from None
        raise TableError(f"{place}: {Path(paths[0]).name}: {first_line(error)}") from None


def _separator(file: Path, place: str) -> str:
    """Tell what separates columns: the commonest of the usual characters in the header."""
    line = next(blocks(file, place), b"").partition(b"\n")[0]
    header = line.decode("utf-8-sig", errors="replace").rstrip("\r")
    separator = max(SEPARATORS, key=header.count)
    names = next(csv.reader([header], delimiter=separator), [])
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise TableError(f"{place}: {file.name}: the header names column {twice[:80]!r} twice")
    return separator


def _misfit(paths: Sequence[str], separator: str, place: str) -> str:
    """Say which line of which file has not as many columns as its header."""
    for path in paths:
        content = b"".join(blocks(Path(path), place))
        lines = (line.decode() for line in content.splitlines(keepends=True))
        rows = csv.reader(lines, delimiter=separator)
        try:
            header = next(rows)
            for row in rows:
                if row and len(row) != len(header):
                    return (
                        f"{path}, line {rows.line_num}: {len(row)} columns separated by "
                        f"{separator!r}, but the header names {len(header)}"
                    )
        except (csv.Error, UnicodeDecodeError, StopIteration):
            return f"{path} is no CSV in UTF-8"
    return f"{paths[0]} is no CSV with columns separated by {separator!r}"


def first_line(error: Exception) -> str:
    """Give what an engine's error says in one line."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = said[0] if said else type(error).__name__
    if line.startswith("Invalid Input Error: CSV Error on Line") and len(said) > 1:
        line += f": {said[2] if said[1].startswith('Original Line') and said[2:] else said[1]}"
    return one_line(line.removeprefix("Invalid Input Error: "))[:400]


def _unpacked(file: Path, place: str, scratch: Path) -> Path:
    """Unpack .xz and .zst beside the store; others stay as they are.

    DuckDB does not read the one, and takes a torn file of the other for a whole one.
    """
    if file.suffix.lower() not in (".xz", ".zst"):
        return file
    scratch.mkdir(parents=True, exist_ok=True)
    target = scratch / f"{len(list(scratch.iterdir()))}-{file.stem}"
    with target.open("wb") as plain:
        for block in blocks(file, place):
            plain.write(block)
    if target.stat().st_size == 0:
        raise TableError(f"{place}: {file} is empty")
    return target


def blocks(file: Path, place: str) -> Iterator[bytes]:
    """Give the content of a file, unpacked, block by block; raises TableError where it is torn."""
    suffix = file.suffix.lower()
    try:
        if suffix == ".zst":
            yield from _zstandard_blocks(file)
            return
        with _opened(file, suffix) as stream:
            while block := stream.read(BLOCK_BYTES):
                yield block
    except (lzma.LZMAError, zlib.error, zstandard.ZstdError, EOFError, OSError) as error:
        raise TableError(f"{place}: {file} cannot be read: {error}") from None


def _opened(file: Path, suffix: str) -> BinaryIO:
    if suffix == ".xz":
        return cast("BinaryIO", lzma.open(file))
    if suffix == ".gz":
        return cast("BinaryIO", gzip.open(file))
    return file.open("rb")


def _zstandard_blocks(file: Path) -> Iterator[bytes]:
    """Unpack frame after frame; the library's own stream takes a torn frame for a whole one."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    is_inside = False
    with file.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES >> 4):
            rest = block
            while rest:
                yield frame.decompress(rest)
                is_inside, rest = not frame.eof, frame.unused_data
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
    if is_inside:
        raise EOFError("the last frame ends too early")


def quoted(name: str) -> str:
    """Quote a column name from a stranger's file, so that it can only ever be a name."""
    return '"' + name.replace('"', '""') + '"'
