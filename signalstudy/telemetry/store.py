"""The store on disk: Parquet parts, one a service and day, and telemetry.duckdb over them.

Everything is written beside its place and renamed when whole, so that a run that dies leaves the
old store or none, never half of one.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from signalstudy.shipped import shipped
from signalstudy.telemetry.discover import SeriesRow
from signalstudy.telemetry.files import find_files
from signalstudy.telemetry.telemetry import DATABASE, PARTS, SeriesFacts, Telemetry
from signalstudy.telemetry.tsdb import block_files
from signalstudy.vocabulary.slug import slugs

if TYPE_CHECKING:
    from signalstudy.config import StudyConfig

READ_BYTES = 1 << 22
NO_INCREMENTS = (
    "CREATE OR REPLACE TEMP VIEW increments AS SELECT 0::UBIGINT AS key, 0::BIGINT AS time_ms, "
    "0.0::DOUBLE AS value, 0::BIGINT AS interval_ms WHERE false"
)
DAY_MS = 86_400_000


def content_digest(config: StudyConfig) -> str:
    """Digest the sources' content, and what of the configuration decides how it is read.

    Paths and times of change do not matter: the same data elsewhere have the same digest.
    """
    digest = blake2b(digest_size=16)
    for number, source in enumerate(config.sources, start=1):
        digest.update(f"{source.kind} {source.role} ".encode())
        if source.kind == "prometheus":
            asked = {"url", "tenant", "start", "end", "match", "queries"}
            said = source.model_dump(mode="json", include=asked)
            digest.update(json.dumps(said, sort_keys=True).encode())
            continue
        digest.update((source.last or "").encode())
        listed = block_files if source.kind == "tsdb" else find_files
        for file in listed(source.path, f"[[sources]] {number}"):
            digest.update(_file_digest(str(file), file.stat().st_size, file.stat().st_mtime_ns))
    said = config.model_dump(mode="json", include={"study", "labels", "signals"})
    digest.update(json.dumps(said, sort_keys=True).encode())
    return digest.hexdigest()


@cache
def _file_digest(path: str, size: int, changed_ns: int) -> bytes:  # noqa: ARG001 - the cache's key
    digest = blake2b(digest_size=16)
    with Path(path).open("rb") as stream:
        while block := stream.read(READ_BYTES):
            digest.update(block)
    return digest.digest()


@cache
def code_digest() -> str:
    """Digest the code that makes the store, so that a new version reads the sources again."""
    digest = blake2b(tool_version().encode(), digest_size=16)
    package = Path(__file__).resolve().parent
    code = [*package.glob("*.py"), *(package.parent / "vocabulary").glob("signals.py")]
    code += [*(package.parent / "vocabulary").glob("*.toml"), *shipped("queries").glob("*.sql")]
    for file in sorted(code):
        digest.update(file.read_bytes())
    return digest.hexdigest()


@cache
def tool_version() -> str:
    """Give the version of this package, or 0 where it was never installed."""
    try:
        return version("signalstudy")
    except PackageNotFoundError:
        return "0"


def write_store(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    increments: Path,
    *,
    digest: str,
    facts: dict[str, Any],
) -> None:
    """Write parts and database from the working tables of `connection` and the parts `increments`.

    Working tables: series, series_facts, all_requests, points. `facts` is kept as JSON for the
    next run.
    """
    token = f"{os.getpid()}.new"
    parts, database = folder / f"{PARTS}.{token}", folder / f"{DATABASE}.{token}"
    try:
        increments.mkdir(parents=True, exist_ok=True)
        increments.rename(parts)
        _write_requests(connection, parts)
        # From here until the database has its name there is no store: a run that dies now reads
        # the sources again.
        (folder / DATABASE).unlink(missing_ok=True)
        shutil.rmtree(folder / PARTS, ignore_errors=True)
        parts.rename(folder / PARTS)
        _write_database(connection, database, folder / PARTS, digest, facts)
        database.rename(folder / DATABASE)
    finally:
        shutil.rmtree(parts, ignore_errors=True)
        database.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what runs left here that were killed: names that end in a process no longer alive."""
    for left in (*folder.glob("*.new*"), *folder.glob("scratch.*")):
        found = re.search(r"\.(\d+)(\.new.*)?$", left.name)
        if found is None or _is_alive(int(found.group(1))):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _write_requests(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write request logs, one Parquet part a service and day, by arrival."""
    services = _column(
        connection, "SELECT DISTINCT service FROM series UNION SELECT service FROM all_requests"
    )
    for service, name in slugs(services).items():
        mine = "SELECT * FROM all_requests WHERE service = $service"
        connection.execute(f"CREATE OR REPLACE TEMP TABLE part AS {mine}", {"service": service})
        day = f"arrived_ms // {DAY_MS}"
        for number in _column(connection, f"SELECT DISTINCT {day} FROM part ORDER BY 1"):
            (folder / name).mkdir(exist_ok=True)
            date = datetime.fromtimestamp(number * DAY_MS / 1000, UTC).date().isoformat()
            path = f"{folder / name}/requests-{date}.parquet".replace("'", "''")
            connection.execute(
                f"COPY (SELECT * FROM part WHERE {day} = {int(number)} ORDER BY arrived_ms) "
                f"TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
            )
        connection.execute("DROP TABLE part")


def _column(connection: duckdb.DuckDBPyConnection, select: str) -> list[Any]:
    return [row[0] for row in connection.execute(select).fetchall()]


def _write_database(
    connection: duckdb.DuckDBPyConnection,
    database: Path,
    parts: Path,
    digest: str,
    facts: dict[str, Any],
) -> None:
    target = str(database).replace("'", "''")
    connection.execute(NO_INCREMENTS)
    connection.execute(f"ATTACH '{target}' AS store")
    try:
        for table in ("series", "points", "series_facts"):
            connection.execute(f"CREATE TABLE store.{table} AS SELECT * FROM {table}")
        connection.execute("CREATE TABLE store.facts (name VARCHAR, value VARCHAR)")
        rows = [("digest", digest), ("facts", json.dumps(facts))]
        rows.append(("parts", json.dumps(_sizes(parts))))
        connection.executemany("INSERT INTO store.facts VALUES (?, ?)", rows)
    finally:
        connection.execute("DETACH store")
    with duckdb.connect(str(database)) as store:
        for view, pattern, empty in (
            ("parts", "[0-9]*.parquet", "increments"),
            ("request_parts", "requests-*.parquet", "all_requests"),
        ):
            folder = glob.escape(str(parts.absolute()))
            place = f"{folder}/*/{pattern}".replace("'", "''")
            if any(parts.glob(f"*/{pattern}")):
                store.execute(f"CREATE VIEW {view} AS SELECT * FROM read_parquet('{place}')")
            else:
                columns = connection.sql(f"SELECT * FROM {empty} LIMIT 0")
                typed = ", ".join(
                    f"CAST(NULL AS {kind}) AS {name}"
                    for name, kind in zip(columns.columns, columns.types, strict=True)
                )
                store.execute(f"CREATE VIEW {view} AS SELECT {typed} WHERE false")


def _sizes(parts: Path) -> dict[str, int]:
    """Give the size of every part, so that a part which was lost or torn is noticed."""
    found = sorted(parts.rglob("*.parquet"))
    return {str(part.relative_to(parts)): part.stat().st_size for part in found}


def open_store(folder: Path, digest: str) -> Telemetry | None:
    """Open the store in `folder` where it holds exactly `digest`; else None."""
    database = folder / DATABASE
    if not database.is_file() or not (folder / PARTS).is_dir():
        return None
    try:
        with duckdb.connect(str(database), read_only=True) as connection:
            said = dict(connection.execute("SELECT name, value FROM facts").fetchall())
            if said.get("digest") != digest or said.get("parts") != json.dumps(
                _sizes(folder / PARTS)
            ):
                return None
            series = connection.sql("SELECT * FROM series").pl()
            facts = connection.sql("SELECT * FROM series_facts").pl()
            requests = connection.execute(
                "SELECT DISTINCT service, role FROM request_parts"
            ).fetchall()
            points = _column(connection, "SELECT DISTINCT service FROM points")
    except duckdb.Error:
        return None  # a store that cannot be read is none; the sources are read again
    rows: dict[tuple[str, str], list[SeriesRow]] = {}
    for row in series.select(f.name for f in fields(SeriesRow)).iter_rows(named=True):
        rows.setdefault((row["service"], row["role"]), []).append(SeriesRow(**row))
    more = json.loads(said["facts"])
    return Telemetry(
        folder=folder,
        digest=digest,
        series={name: tuple(found) for name, found in rows.items()},
        facts={row["key"]: SeriesFacts(**row) for row in facts.iter_rows(named=True)},
        request_services=frozenset((s, r) for s, r in requests),
        point_services=frozenset(points),
        left_out=more["left_out"],
        notes=tuple(more["notes"]),
        source_files=tuple(more["source_files"]),
    )
