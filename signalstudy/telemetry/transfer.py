"""One server over HTTP: who we are, how patient we are, and how much we take from it.

Credentials come from the environment or files, go into requests and nowhere else. A redirect is
never followed: it could carry them to another host.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx

from signalstudy.telemetry.refusals import ServerError
from signalstudy.vocabulary.errors import ConfigurationError
from signalstudy.vocabulary.spoken import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from signalstudy.source import Source

    Result = TypeVar("Result")

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
CONNECT_SECONDS, SILENCE_SECONDS, DEADLINE_SECONDS = 10.0, 120.0, 900.0
LARGEST_ANSWER_BYTES = 1 << 29
SHOWN_BYTES = 4096
BUSY = frozenset({408, 429, 500, 502, 503, 504})


class Server:
    """A server of the Prometheus family. Use as a context; all times are seconds."""

    def __init__(self, source: Source, place: str) -> None:
        self.url = (source.url or "").rstrip("/")
        self.place = f"{place}, {self.url}"
        self.interval = 1.0 / source.requests_per_second
        self.warnings: set[str] = set()
        self._next = 0.0
        self._client = httpx.Client(
            headers=_headers(source, place),
            auth=_basic(source, place),
            verify=_trust(source, place),
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def patiently(self, attempt: Callable[[], Result]) -> Result:
        """Call `attempt` again, after longer and longer pauses, where its failure may pass."""
        for number in range(1, ATTEMPTS):
            try:
                return attempt()
            except ServerError as error:
                if not error.is_passing:
                    raise
                time.sleep(min(FIRST_PAUSE_SECONDS * 4.0 ** (number - 1), LONGEST_PAUSE_SECONDS))
        return attempt()

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        form: dict[str, Any] | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        method: str = "POST",
    ) -> Iterator[tuple[httpx.Headers, Iterator[bytes]]]:
        """Ask once; give the answer's headers and its content as it comes.

        Raises ServerError for every answer that is not 200 and for every break.
        """
        self._wait()
        try:
            with self._client.stream(
                method,
                f"{self.url}{path}",
                data=form if method == "POST" else None,
                params=form if method == "GET" else None,
                content=body,
                headers=headers,
            ) as answer:
                self._refuse(answer)
                yield answer.headers, self._pieces(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            said = one_line(str(error)) or type(error).__name__
            is_passing = isinstance(error, httpx.TransportError) and not isinstance(
                error, httpx.UnsupportedProtocol
            )
            raise ServerError(f"{self.place}: {said}", is_passing=is_passing) from None

    def ask(self, path: str, **form: Any) -> Any:
        """Ask the query API, with patience; give `data` of its JSON answer."""
        return self.patiently(lambda: self._ask(path, form))

    def _ask(self, path: str, form: dict[str, Any]) -> Any:
        method = "GET" if "/label/" in path or "/status/" in path else "POST"
        with self.stream(path, form=form, method=method) as (_, pieces):
            content = b"".join(pieces)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            raise ServerError(f"{self.place}{path}: the answer is no JSON", status=200) from None
        if not isinstance(answer, dict) or answer.get("status") != "success":
            raise ServerError(f"{self.place}{path}: the answer is no success", status=200)
        warnings = answer.get("warnings")
        if isinstance(warnings, list):
            self.warnings.update(one_line(str(warning))[:200] for warning in warnings[:9])
        return answer.get("data")

    def _wait(self) -> None:
        """Keep the distance between requests that the server may expect."""
        now = time.monotonic()
        if now < self._next:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + self.interval

    def _refuse(self, answer: httpx.Response) -> None:
        if answer.status_code == httpx.codes.OK:
            return
        if answer.is_redirect:
            target = one_line(answer.headers.get("location", ""))[:200]
            raise ServerError(
                f"{self.place}: redirects to {target}, which is not followed. "
                "Name the final address as url.",
                status=answer.status_code,
            )
        content = b""
        for piece in answer.iter_bytes():
            content += piece
            if len(content) > SHOWN_BYTES:
                break
        said = _error_text(content[:SHOWN_BYTES])
        hint = ""
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            hint = (
                " Credentials: token_env, token_file, username_env and password_env, headers_env."
            )
        raise ServerError(
            f"{self.place}: answers {answer.status_code}: {said or answer.reason_phrase}.{hint}",
            status=answer.status_code,
            is_passing=answer.status_code in BUSY,
        )

    def _pieces(self, answer: httpx.Response) -> Iterator[bytes]:
        seen, deadline = 0, time.monotonic() + DEADLINE_SECONDS
        for piece in answer.iter_bytes():
            seen += len(piece)
            if seen > LARGEST_ANSWER_BYTES:
                raise ServerError(
                    f"{self.place}: one answer is longer than {LARGEST_ANSWER_BYTES:,} bytes"
                )
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{self.place}: one answer takes longer than {DEADLINE_SECONDS:.0f} s"
                )
            yield piece


def _error_text(content: bytes) -> str:
    """Give what a server says went wrong: its JSON's `error`, else its first line."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        return one_line(answer["error"])[:300]
    lines = content.decode(errors="replace").strip().splitlines()
    return one_line(lines[0])[:300] if lines else ""


def _environment(name: str, key: str, place: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ConfigurationError(f"{place}: {key} = {name!r}: that variable is not set")
    return value.strip()


def _headers(source: Source, place: str) -> dict[str, str]:
    """Give the headers of every request; `headers_env` holds lines `Name: value`, or JSON."""
    headers = {"User-Agent": "signalstudy"}
    if source.token_env is not None:
        headers["Authorization"] = f"Bearer {_environment(source.token_env, 'token_env', place)}"
    if source.token_file is not None:
        headers["Authorization"] = f"Bearer {_content(source.token_file, 'token_file', place)}"
    if source.tenant is not None:
        headers["X-Scope-OrgID"] = headers["THANOS-TENANT"] = source.tenant
    if source.headers_env is not None:
        text = _environment(source.headers_env, "headers_env", place)
        pairs = _pairs(text)
        if not pairs:
            raise ConfigurationError(f"{place}: headers_env: lines `Name: value` are wanted")
        headers.update(pairs)
    if any(not value.isascii() or "\n" in value for value in headers.values()):
        raise ConfigurationError(f"{place}: a header or token holds what no header may hold")
    return headers


def _pairs(text: str) -> dict[str, str]:
    if text.startswith("{"):
        try:
            return {str(name): str(value) for name, value in json.loads(text).items()}
        except (ValueError, AttributeError, RecursionError):
            return {}
    lines = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in lines if colon}


def _basic(source: Source, place: str) -> httpx.BasicAuth | None:
    if source.username_env is None or source.password_env is None:
        return None
    return httpx.BasicAuth(
        _environment(source.username_env, "username_env", place),
        _environment(source.password_env, "password_env", place),
    )


def _content(path: str, key: str, place: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{place}: {key}: {path} cannot be read: {error}") from None


def _trust(source: Source, place: str) -> ssl.SSLContext:
    """Trust the system's authorities, or the one named; show the certificate named."""
    try:
        context = ssl.create_default_context(cafile=source.ca_file)
        if source.cert_file is not None:
            context.load_cert_chain(source.cert_file, source.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"{place}: ca_file, cert_file or key_file cannot be used: {error}"
        ) from None
    return context
