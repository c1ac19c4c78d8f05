"""A server that answers as a test tells it, for all that a real one does not do on demand."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from signalstudy.telemetry.checksums import crc32c_of
from signalstudy.telemetry.varints import write_varint
from tests.telemetry.chunk_writer import bits_of, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

STREAMED = {"Content-Type": "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"}
START = 1_767_571_200
TOKENS = "vllm:generation_tokens_total"
LABELS = {"__name__": TOKENS, "service": "chat", "pool": "decode", "replica": "d0"}
SAMPLES = [(1000 * (START + 10 * i), 100.0 * i) for i in range(60)]


@dataclass
class Asked:
    """One request as it came."""

    path: str
    form: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What to say; `body` in pieces, `length`: what Content-Length claims, where it lies."""

    body: Iterable[bytes] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


Script = dict[str, "Callable[[Asked], Answer]"]


def data(content: Any) -> Answer:
    return Answer([json.dumps({"status": "success", "data": content}).encode()])


def refusal(status: int, said: str = "no") -> Answer:
    return Answer([json.dumps({"status": "error", "error": said}).encode()], status)


def field_of(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return write_varint(number << 3) + write_varint(content)
    return write_varint(number << 3 | 2) + write_varint(len(content)) + content


def series_message(labels: dict[str, str], chunks: Iterable[bytes], encoding: int = 1) -> bytes:
    said = b"".join(
        field_of(1, field_of(1, k.encode()) + field_of(2, v.encode())) for k, v in labels.items()
    )
    return said + b"".join(field_of(2, field_of(3, encoding) + field_of(4, c)) for c in chunks)


def frame(message: bytes) -> bytes:
    return write_varint(len(message)) + crc32c_of(message).to_bytes(4, "big") + message


def good_frame(encoding: int = 1) -> bytes:
    chunk = encode([t for t, _ in SAMPLES], [bits_of(v) for _, v in SAMPLES])
    return frame(field_of(1, series_message(LABELS, [chunk], encoding)) + field_of(2, 0))


def matrix_answer() -> dict[str, Any]:
    values = [[t / 1000, repr(v)] for t, v in SAMPLES]
    return {"resultType": "matrix", "result": [{"metric": LABELS, "values": values}]}


def export_lines() -> bytes:
    times, values = [t for t, _ in SAMPLES], [v for _, v in SAMPLES]
    return json.dumps({"metric": LABELS, "values": values, "timestamps": times}).encode() + b"\n"


def sound() -> Script:
    """Play a server like Prometheus, with one series."""
    return {
        "/api/v1/label/__name__/values": lambda _: data([TOKENS, "odd_metric"]),
        "/api/v1/status/buildinfo": lambda _: data({"version": "9.9"}),
        "/api/v1/query_range": lambda _: data({"resultType": "matrix", "result": []}),
        "/api/v1/query": lambda _: data(matrix_answer()),
        "/api/v1/read": lambda _: Answer([good_frame()], headers=STREAMED),
    }


@contextmanager
def serving(script: Script) -> Iterator[tuple[str, list[Asked]]]:
    """Serve the script until the end of the context; give the address and what was asked."""
    seen: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            split = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_form = "urlencoded" in self.headers.get("Content-Type", "")
            form = parse_qs(body.decode() if is_form else split.query)
            asked = Asked(split.path, form, dict(self.headers.items()), body)
            seen.append(asked)
            answer = script.get(split.path, lambda _: refusal(404, "page not found"))(asked)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.length is not None:
                self.send_header("Content-Length", str(answer.length))
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            try:
                for piece in answer.body:
                    self.wfile.write(piece)
                    self.wfile.flush()
            except OSError:
                pass  # the client has had enough

        do_GET = do_POST  # noqa: N815 - the name that the library calls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
