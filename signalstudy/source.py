"""One [[sources]] of study.toml: files of one kind, or a server of the Prometheus family."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from signalstudy.vocabulary.durations import duration_seconds

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal[
    "table", "requests", "points", "prometheus", "tsdb", "tsdb-dump", "openmetrics", "vm-export"
]
SOURCE_KINDS: tuple[str, ...] = get_args(Kind)
HAS_SPAN = ("prometheus", "tsdb")
"""Kinds of which the last part alone can be read."""


def _utc(value: Any) -> Any:
    """Read a time without zone as UTC, as everywhere."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    raise ValueError("a time is wanted, such as 2026-01-05T00:00:00Z")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _duration(value: str) -> str:
    if duration_seconds(value) < 1:
        raise ValueError(f"{value!r} is below a second")
    return value


def _query(value: Any) -> Any:
    return {"promql": value} if isinstance(value, str) else value


Instant = Annotated[datetime, BeforeValidator(_utc)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
Duration = Annotated[str, AfterValidator(_duration)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Strict(BaseModel):
    """Unknown keys are refused, nothing changes after reading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class ServerQuery(Strict):
    """One of `queries`: an expression, and the window it averages over where it does not say."""

    promql: Annotated[str, Field(min_length=1)]
    window: Duration | None = None

    @property
    def window_seconds(self) -> float | None:
        """The window declared, None where none was."""
        return None if self.window is None else duration_seconds(self.window)


class Source(Strict):
    """One [[sources]]: files of one kind, or a server of the Prometheus family.

    `last` is counted back from now, rounded down to a hundredth of itself, so that the commands
    of one sitting ask for the same span.
    """

    kind: Kind
    path: str = ""
    role: Literal["production", "pressure-test"] = "production"
    url: str | None = None
    start: Instant | None = None
    end: Instant | None = None
    last: Duration | None = None
    match: Names = ()
    queries: dict[str, Annotated[ServerQuery, BeforeValidator(_query)]] = Field(
        default_factory=dict
    )
    max_samples: Annotated[int, Field(ge=1)] = 2_000_000_000
    requests_per_second: PositiveSeconds = 10.0
    token_env: str | None = None
    token_file: str | None = None
    username_env: str | None = None
    password_env: str | None = None
    headers_env: str | None = None
    tenant: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @property
    def name(self) -> str:
        """Where it comes from, for people."""
        return self.url if self.url is not None else self.path

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Source:
        given = self.model_fields_set - {"kind", "path", "role"}
        if self.kind != "prometheus":
            if not self.path:
                raise ValueError("'path' is missing")
            if given:
                raise ValueError(f"{min(given)!r} is for kind 'prometheus' alone")
            return self
        if self.path or self.url is None:
            raise ValueError("kind 'prometheus' has a url and no path")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise ValueError("url is http:// or https://, a host, and the path before /api")
        if "@" in parts.netloc:
            raise ValueError("url holds credentials: name them by username_env and password_env")
        if (self.last is None) == (self.start is None or self.end is None):
            raise ValueError("kind 'prometheus' wants start and end, or last")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("end is not after start")
        return self

    def lasting(self, last: str) -> Source:
        """Keep the last part of a source that has a span: of a server's, or of a TSDB folder's."""
        if self.kind == "tsdb":
            return self.model_copy(update={"last": last})
        if self.kind != "prometheus" or self.end is None or self.start is None:
            return self
        start = max(self.start, self.end - timedelta(seconds=duration_seconds(last)))
        return self.model_copy(update={"start": start})

    def resolved(self, folder: Path, now: datetime, queries: dict[str, ServerQuery]) -> Source:
        """Make paths absolute, relative to `folder`, and `last` a span that ends at `now`.

        A server is asked for `queries` as well.
        """
        found: dict[str, Any] = {
            name: str((folder / value).absolute())
            for name in ("path", "token_file", "ca_file", "cert_file", "key_file")
            if (value := getattr(self, name))
        }
        if self.kind == "prometheus":
            found["queries"] = {**queries, **self.queries}
        if self.last is not None:
            seconds = duration_seconds(self.last)
            step = max(seconds // 6000 * 60, 60.0)
            end = now.timestamp() // step * step
            found["start"] = datetime.fromtimestamp(end - seconds, UTC)
            found["end"] = datetime.fromtimestamp(end, UTC)
        return self.model_copy(update=found)
