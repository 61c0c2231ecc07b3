"""An HTTP receiver that follows a plan: it answers, refuses, resets or stalls. It records each request."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


@dataclass(frozen=True, slots=True)
class Received:
    """One request that arrived completely."""

    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"


@dataclass
class Step:
    """The reaction to one request. `reset` resets the connection: `before` reading the request, or `after`."""

    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)
    reset: str = ""
    stall: float = 0.0
    """Seconds before the head of the answer."""
    drip: float = 0.0
    """Seconds between the first byte of its body and the rest."""


class HttpSink:
    """`with HttpSink([Step(503), Step()]) as sink:` serves on loopback. After the plan it repeats the last step.

    With `answer`, that function chooses each step after the plan.
    """

    def __init__(self, plan: list[Step] | None = None, answer: Callable[[Received], Step] | None = None) -> None:
        self.plan = plan or ([] if answer else [Step()])
        self.received: list[Received] = []
        self._answer = answer
        self._count = 0
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                sink._handle(self)

            do_GET = do_PUT = do_PATCH = do_DELETE = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook/secret-part-of-the-path"

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        planned = self._answer is None or self._count < len(self.plan)
        step = self.plan[min(self._count, len(self.plan) - 1)] if planned else None
        self._count += 1
        if step is not None and step.reset == "before":
            _reset(request.connection)
            return
        body = request.rfile.read(int(request.headers.get("Content-Length", "0")))
        received = Received(request.path, {k.lower(): v for k, v in request.headers.items()}, body, request.command)
        self.received.append(received)
        if step is None:
            assert self._answer is not None
            step = self._answer(received)
        time.sleep(step.stall)
        if step.reset == "after":
            _reset(request.connection)
            return
        request.send_response(step.status)
        for name, value in step.headers.items():
            request.send_header(name, value)
        # 204 and 304 have no body (RFC 9110 §6.4.1). The client would read one as the head of its next answer.
        has_body = step.status not in (204, 304)
        body = step.body if has_body else b""
        if has_body:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        try:
            request.wfile.write(body[:1] if step.drip else body)
            time.sleep(step.drip)
            request.wfile.write(body[1:] if step.drip else b"")
        except OSError:
            request.close_connection = True

    def __enter__(self) -> HttpSink:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # The handler's files keep the socket open: only a shutdown reaches the other side at once.
    connection.shutdown(socket.SHUT_RDWR)
    connection.close()
